"""Logs that were deleted, of removed containers or rotated away: their paths tell whose they were, as far as that is known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from forensics.filesystem import Filesystem
from forensics.logs.containers import LogOwner
from forensics.logs.formats import records
from forensics.logs.lines import Joiner, LogFile, LogLine
from forensics.logs.reading import PIECE, Budget, unpacked
from forensics.records import Gap
from forensics.recovery.containers.deleted_clues import IN_LAYER
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.deleted_source import DeletedSource
from forensics.text import readable
from parsers.errors import EvidenceError
from parsers.log_record import Damage, Piece

MAX_BYTES = 16 << 30  # of all deleted logs: many can claim the same blocks

_ID = rb"(?P<id>[0-9a-f]{64})"
_ROTATED = rb"(?:[.-]\d{8}(?:-\d{4,10})?)?(?:\.\d{1,9})?(?:\.gz|\.xz)?"
_PATHS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"(?:.*/)?" + _ID + rb"-json\.log" + _ROTATED), "json-file"),
    (re.compile(rb".*/" + _ID + rb"/(?:local-logs/container|container-cached)\.log" + _ROTATED), "local"),
    (re.compile(rb".*/[a-z0-9]+-containers/" + _ID + rb"/userdata/ctr\.log" + _ROTATED), "k8s-file"),
    (re.compile(rb"(?P<log>.*/pods/[^/]+/(?P<name>[^/]+)/\d+\.log)" + _ROTATED), "cri"),
)
_LINK = re.compile(rb".*/log/containers/.+-" + _ID + rb"\.log")


@dataclass(frozen=True)
class DeletedLog:
    """A deleted file that was a log. container_id, name: what its path, or a link to it, tells."""

    each: Numbered
    path: bytes
    format: str
    container_id: str | None
    name: str | None


def find_deleted_logs(deleted: Sequence[Numbered], owners: Sequence[LogOwner]) -> list[DeletedLog]:
    """The deleted logs of containers, in the order of their paths; each inode once."""
    links = {
        each.file.target: match["id"].decode()
        for each in deleted
        if each.file.target is not None and (match := _LINK.fullmatch(each.file.path or b"")) is not None
    }
    links |= {logged.encode(): each.record.container_id for each in owners if (logged := each.record.log_path) is not None}
    found: dict[tuple[int, int, int | None], DeletedLog] = {}
    for each in sorted(deleted, key=lambda each: (each.partition, each.file.path or b"", each.number)):
        path = each.file.path
        if path is None or each.file.type != "f" or not each.file.size or IN_LAYER.search(path):
            continue
        for pattern, form in _PATHS:
            match = pattern.fullmatch(path)
            if match is not None:
                told = match.groupdict()
                own = told["id"].decode() if "id" in told else links.get(told["log"])
                name = readable(told["name"]) if "name" in told else None
                key = (each.partition, each.file.inode, each.file.generation)
                found.setdefault(key, DeletedLog(each, path, form, own, name))
                break
    return list(found.values())


def deleted_lines(
    logs: Sequence[DeletedLog],
    filesystems: Mapping[int, Filesystem],
    owners: Sequence[LogOwner],
    numbers: Iterator[int],
    budget: Budget,
    gaps: list[Gap],
) -> Iterator[LogFile | LogLine]:
    """The lines of deleted logs, as far as their blocks are left; a line with a lost part is left out."""
    known = {each.record.container_id: each for each in reversed(owners)}
    left = MAX_BYTES
    for log in logs:
        file = log.each.file
        left -= sum(extent.length for extent in file.extents or ())
        if left < 0:
            gaps.append(Gap("log", f"more than {MAX_BYTES} bytes in deleted logs; those of the others are not read"))
            return
        source = DeletedSource(filesystems[log.each.partition], file)
        owner = known.get(log.container_id or "")
        damage = Damage()
        pieces = unpacked(_pieces(source), budget, damage)
        first = next(pieces, None)
        if first is None:
            continue
        form = "json-file" if log.format == "k8s-file" and first[1].startswith(b"{") else log.format
        number, container = next(numbers), owner.number if owner is not None else None
        place = next((at for at in (source.locate(0), file.offset) if at is not None), None)
        yield LogFile(
            number, form, log.each.partition, log.path, file.inode, place, container, log.container_id, log.name,
            file.confidence, "recovered", f"deleted file, {file.method}",
        )  # fmt: skip
        joiner = Joiner(container)
        yield from joiner.lines(number, records(form, first, pieces, damage))
        yield from joiner.rest()


def _pieces(source: DeletedSource) -> Iterator[Piece]:
    """What is left of the content; blocks of zeros, which a trimmed drive gives, are as lost."""
    if source.file.inline is not None:
        yield 0, source.file.inline[: source.size]
        return
    for start, end in _kept(source):
        for at in range(start, end, PIECE):
            try:
                data = source.read(at, min(PIECE, end - at))
            except EvidenceError:
                continue
            if data.strip(b"\0"):
                yield at, data


def _kept(source: DeletedSource) -> Iterator[tuple[int, int]]:
    """The ranges of a file that stand on the disk and are not lost."""
    lost = sorted(source.file.lost)
    for extent in source.file.extents or ():
        start, end = extent.logical, min(extent.logical + extent.length, source.size)
        if extent.offset is None:
            continue
        for first, length in lost:
            if first < end and start < first + length:
                if start < first:
                    yield start, first
                start = first + length
        if start < end:
            yield start, end
