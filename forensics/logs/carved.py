"""Lines of containers' logs in unallocated space: json-file's and the CRI's. What they were logged by, no line tells.

Lines of neighbouring blocks are kept together, in the order in which they lie. That a line goes on in the next block is inference
where nothing but the two halves tells it: such lines are apart from the others, and possible only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from forensics.logs.formats import PARSERS
from forensics.logs.lines import LogFile, LogLine
from forensics.records import Gap
from forensics.recovery.carving.scan import JSON_LINE, STDERR_LINE, STDOUT_LINE, Hits
from forensics.recovery.carving.space import Space
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.deleted_file import POSSIBLE, PROBABLE
from forensics.recovery.files.extents import Extents
from parsers.errors import EvidenceError
from parsers.log_record import Damage, LogRecord

BEFORE = 5  # blocks before a line's end in which it may begin: engines cut lines after 16 KiB
MOST_BLOCKS = 256  # that are read together
MAX_LINES = 1_000_000  # of one volume
STREAMS = ("stdout", "stderr")
_MARKS: Mapping[str, tuple[bytes, ...]] = {"json-file": (JSON_LINE,), "cri": (STDOUT_LINE, STDERR_LINE)}


def carved_lines(
    hits: Hits,
    extents: Extents | None,
    read: set[int],
    is_containers_own: Callable[[int, int], bool],
    numbers: Iterator[int],
    gaps: list[Gap],
) -> Iterator[LogFile | LogLine]:
    """The lines in one volume. read: numbers of the deleted files whose lines were told already."""
    space, count = hits.space, 0
    for form, marks in _MARKS.items():
        blocks = sorted({offset // space.block_size * space.block_size for mark in marks for offset in hits.of(mark)})
        owners = {block: extents.at(block) if extents is not None else None for block in blocks}
        mine = {
            block: owner
            for block, owner in owners.items()
            if (owner is None or owner.number not in read) and not is_containers_own(space.partition, block)
        }
        for first, end in _runs(space, mine):
            owner = mine[first]
            inside, over = _records(space, form, first, end)
            for records, confidence in ((inside, PROBABLE), (over, POSSIBLE)):
                if not records:
                    continue
                count += len(records)
                if count > MAX_LINES:
                    error = f"more than {MAX_LINES} lines in unallocated space; the others are left out"
                    gaps.append(Gap("log", error, space.partition))
                    return
                yield from _file(space, form, records, confidence, owner, next(numbers))


def _file(
    space: Space, form: str, records: Sequence[LogRecord], confidence: str, owner: Numbered | None, number: int
) -> Iterator[LogFile | LogLine]:
    """Records as lines; their position is that behind the first of them."""
    start = records[0].position
    path, inode = (owner.file.path, owner.file.inode) if owner is not None else (None, None)
    place, how = space.source.locate(start), space.how_at(start)
    yield LogFile(
        number, form, space.partition, path, inode, place, confidence=confidence, origin="recovered", how=how
    )  # fmt: skip
    for position, time_ns, stream, text, raw, ended in records:
        yield LogLine(number, None, time_ns, stream, None, text, raw, position - start, None, int(not ended))


def _runs(space: Space, blocks: Mapping[int, Numbered | None]) -> Iterator[tuple[int, int]]:
    """Neighbouring blocks of one deleted file, or of none, as (first byte, end); at most so many together."""
    first = end = -1
    for block in blocks:
        run = space.run(block)
        stop = min(block + space.block_size, run[1]) if run is not None else block
        joins = block == end and run is not None and run[0] <= first and blocks[block] is blocks[first]
        joins = joins and end - first < MOST_BLOCKS * space.block_size
        if not joins:
            if end > first:
                yield first, end
            first = block
        end = stop
    if end > first:
        yield first, end


def _records(space: Space, form: str, first: int, end: int) -> tuple[list[LogRecord], list[LogRecord]]:
    """The records in a run: those within one block, and those that go over the border between two."""
    size, run = space.block_size, space.run(first)
    low = max(first - BEFORE * size, run[0] if run is not None else first)
    try:
        data = space.source.read(low, end - low)
    except EvidenceError:
        return [], []
    inside: list[LogRecord] = []
    over: list[LogRecord] = []
    for record, stop in _parsed(form, low, data):
        if record.time_ns is not None and record.stream in STREAMS and stop > first:
            (inside if record.position // size == (stop - 1) // size else over).append(record)
    return inside, over


def _parsed(form: str, start: int, data: bytes) -> Iterator[tuple[LogRecord, int]]:
    """The records in some bytes, by their place in the volume, each with its end; the CRI's may be cut off at the end."""
    content = data.rstrip(b"\0")
    for position, time_ns, stream, text, raw, ended in PARSERS[form](iter([(0, content)]), Damage()):
        stop = content.find(b"\n", position)
        whole = ended and (stop >= 0 or form == "json-file")
        yield LogRecord(start + position, time_ns, stream, text, raw, whole), start + (stop if stop >= 0 else len(content))
