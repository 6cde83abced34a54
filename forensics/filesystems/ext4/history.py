"""Every copy of a block that the journal's ring still holds, also of transactions that were written to their places long ago.

The log is a ring that is never wiped: behind its head stand the transactions of the last minutes or days, oldest first. With the
newest copy of each block up to a transaction in the blocks' places, the filesystem stands there as it was after that transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import NO_TIME
from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import LONGEST_READ, Numbers, read_or_nothing
from forensics.filesystems.ext4.columns import LAST_SECOND
from forensics.filesystems.ext4.journal import NOT_REPLAYED, open_log
from forensics.filesystems.ext4.log import Log
from forensics.filesystems.ext4.log import scan as scan_log
from forensics.filesystems.ext4.reader import Ext4
from forensics.filesystems.ext4.replayed import MAGIC, Replayed
from forensics.filesystems.past.paths import BEFORE
from forensics.source import Source
from parsers import jbd2
from parsers.crc32c import crc32c_rows
from parsers.errors import FormatError
from parsers.ext4 import Compat

_BATCH = 1024  # blocks whose checksums are computed together
_HALF = 1 << 31  # of the sequence numbers: what is further ahead lies behind


@dataclass(frozen=True)
class History:
    """Copies of blocks in columns, sorted by block, then by moment.

    A moment is a transaction's place among those of the ring; `times` has the nanoseconds at which each of them was committed,
    NO_TIME where that is not told. place: the byte in `source` where the copy stands; escaped: its first four bytes are to be the
    journal's magic number. A copy of the moment BEFORE is the block itself, where the journal was not written to its place yet.
    revoked: (block, moment) rows, sorted, of the metadata blocks that were freed.
    """

    source: Source
    block_size: int
    times: Numbers
    block: Numbers
    moment: Numbers
    place: Numbers
    escaped: NDArray[np.bool_]
    revoked: Numbers

    @property
    def end(self) -> int:
        """The moment after the last transaction."""
        return len(self.times)

    @cached_property
    def blocks(self) -> Numbers:
        """The blocks of which there are copies, ascending."""
        return np.unique(self.block)

    def rows(self, block: int) -> range:
        """The copies of one block."""
        return range(int(np.searchsorted(self.block, block)), int(np.searchsorted(self.block, block, "right")))

    def at(self, block: int, moment: int) -> int | None:
        """The copy of a block that was valid at a moment, None where the journal does not have it."""
        rows = self.rows(block)
        row = rows.start + int(np.searchsorted(self.moment[rows.start : rows.stop], moment, "right")) - 1
        return row if row >= rows.start else None

    def data(self, rows: Numbers) -> NDArray[np.uint8]:
        """The content of some copies, one to a row; zeros where it cannot be read."""
        table = np.zeros((len(rows), self.block_size), np.uint8)
        for at, row in enumerate(rows.tolist()):
            raw = read_or_nothing(self.source, int(self.place[row]), self.block_size)
            table[at, : len(raw)] = np.frombuffer(raw, np.uint8)
            if self.escaped[row]:
                table[at, : len(MAGIC)] = np.frombuffer(MAGIC, np.uint8)
        return table

    def past(self, moment: int) -> Past:
        """The filesystem's bytes as they were at a moment."""
        return Past(self, moment)


@dataclass(frozen=True)
class Past:
    """A filesystem's bytes as they were after a transaction, as far as the journal has them; the rest as the disk has it.

    Raises FormatError where the disk has a later state only.
    """

    history: History
    moment: int

    @property
    def name(self) -> str:
        """The source's name."""
        return self.history.source.name

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.history.source.size

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset` as they were."""
        history, length = self.history, self.history.block_size
        first = int(np.searchsorted(history.blocks, offset // length))
        last = int(np.searchsorted(history.blocks, -(-(offset + size) // length)))
        data = bytearray(history.source.read(offset, size))
        end = offset + len(data)
        for block in history.blocks[first:last].tolist():
            row = history.at(block, self.moment)
            if row is None:
                raise FormatError(f"block {block} was overwritten since, and the journal does not have it", self.name, offset)
            start, stop = max(block * length, offset), min((block + 1) * length, end)
            if start < stop:
                copy = history.data(np.array([row]))[0].tobytes()
                data[start - offset : stop - offset] = copy[start - block * length : stop - block * length]
        return bytes(data)

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image that holds `offset`."""
        block, at = divmod(offset, self.history.block_size)
        row = self.history.at(block, self.moment)
        return self.history.source.locate(offset if row is None else int(self.history.place[row]) + at)


# Who looks for deleted files, for contents without names and for names in slack reads it: a journal may have a gigabyte.
_histories: WeakKeyDictionary[Ext4, History | None] = WeakKeyDictionary()


def read_history(fs: Ext4) -> History | None:
    """The journal's history; None where the filesystem has no journal, or none that can be read.

    Transactions that a mount would refuse, and all that `fs` is to be read without, are left out.
    """
    if fs not in _histories:
        _histories[fs] = _read_history(fs)
    return _histories[fs]


def _read_history(fs: Ext4) -> History | None:
    if not fs.superblock.compat & Compat.HAS_JOURNAL:
        return None
    raw = fs.source.source if isinstance(fs.source, Replayed) else fs.source
    try:
        log = open_log(fs, ProblemLog(raw))
    except FormatError:
        return None  # told as a problem where it mattered: in the replay
    ring = _Ring(Log(raw, log.block_size, log.runs, log.superblock))
    live = scan_log(ring.log).transactions if fs.superblock.needs_recovery or log.superblock.s_start else []
    tail = log.superblock.s_sequence
    if log.superblock.s_start:
        # What stands in the log behind the last complete transaction never came to be.
        behind = tail if fs.state == NOT_REPLAYED or not live else (live[-1].sequence + 1) & 0xFFFFFFFF
        ring.cut(behind)
    return ring.history(tail if log.superblock.s_start else None)


class _Tagged(NamedTuple):
    """A copy that a descriptor block tells of."""

    sequence: int
    block: int
    number: int
    tag: jbd2.Tag


class _Ring:
    """The blocks of the log that are no data, wherever in the ring they stand."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.journal = log.superblock
        self._heads = np.zeros(self.journal.s_maxlen, np.bool_)
        self._descriptors: list[tuple[int, int]] = []
        self._revoked: list[tuple[int, int]] = []
        self.commits: dict[int, int] = {}
        for numbers, blocks in self._control_blocks():
            self._take(numbers, blocks)

    def _control_blocks(self) -> Iterator[tuple[Numbers, NDArray[np.uint8]]]:
        """All blocks of the log that begin with the magic number, many at a time."""
        size = self.log.block_size
        magic = int.from_bytes(MAGIC, "little")
        step = max(1, LONGEST_READ // size)
        for run in self.log.runs:
            stop = min(run.logical + run.count, self.journal.end)
            for first in range(max(run.logical, self.journal.s_first), stop, step):
                count = min(step, stop - first)
                raw = read_or_nothing(self.log.source, (run.physical + first - run.logical) * size, count * size)
                blocks = np.frombuffer(raw, np.uint8, len(raw) // size * size).reshape(-1, size)
                at = np.flatnonzero(np.ascontiguousarray(blocks[:, :4]).view("<u4")[:, 0] == magic)
                if len(at):
                    yield first + at, blocks[at]

    def _take(self, numbers: Numbers, blocks: NDArray[np.uint8]) -> None:
        """Sort control blocks: descriptors, and the time of each commit."""
        self._heads[numbers] = True
        words = np.ascontiguousarray(blocks[:, :12]).view(">u4").astype(np.int64)
        sound = self._sound(blocks)
        for at in np.flatnonzero(words[:, 1] == jbd2.DESCRIPTOR).tolist():
            if sound[at]:
                self._descriptors.append((int(words[at, 2]), int(numbers[at])))
        for at in np.flatnonzero((words[:, 1] == jbd2.REVOKE) & sound).tolist():
            numbers_of = jbd2.revoked(blocks[at].tobytes(), self.journal) or ()
            self._revoked += [(number, int(words[at, 2])) for number in numbers_of]
        for at in np.flatnonzero(words[:, 1] == jbd2.COMMIT).tolist():
            block = blocks[at].tobytes()
            if self.journal.checksum_v1 or jbd2.commit_sound(block, self.journal, 0):
                told = jbd2.commit(block)
                time = told.h_commit_sec * 1_000_000_000 + told.h_commit_nsec
                self.commits[int(words[at, 2])] = time if 0 < told.h_commit_sec <= LAST_SECOND else NO_TIME

    def _sound(self, blocks: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which blocks' checksums, as descriptors have them, are right."""
        if not self.journal.checksummed:
            return np.ones(len(blocks), np.bool_)
        blanked = blocks.copy()
        blanked[:, -4:] = 0
        told = np.ascontiguousarray(blocks[:, -4:]).view(">u4")[:, 0]
        right: NDArray[np.bool_] = crc32c_rows(blanked, self.journal.seed) == told
        return right

    def cut(self, sequence: int) -> None:
        """Forget the transactions from this one on."""
        self.commits = {own: time for own, time in self.commits.items() if _is_before(own, sequence)}

    def history(self, tail: int | None) -> History:
        """All copies of the complete transactions; tail: the oldest one that was not written to its place yet."""
        order = self._in_order()
        moments = {sequence: moment for moment, sequence in enumerate(order)}
        tagged = [copy for copy in self._tagged() if copy.sequence in moments]
        kept = [copy for part, sound in self._checked(tagged) for copy, good in zip(part, sound, strict=True) if good]
        columns = [
            (c.block, moments[c.sequence], self.log.offset(c.number) or 0, bool(c.tag.flags & jbd2.FLAG_ESCAPE)) for c in kept
        ]
        if tail is not None:
            columns += self._before(columns, sum(_is_before(sequence, tail) for sequence in order))
        table = np.array(columns, np.int64).reshape(-1, 4)
        table = table[np.lexsort((table[:, 2], table[:, 1], table[:, 0]))]
        # Of several copies of a block in one transaction the last one counts.
        same = np.append((np.diff(table[:, 0]) == 0) & (np.diff(table[:, 1]) == 0), False)[: len(table)]
        table = table[~same]
        revoked = sorted((block, moments[sequence]) for block, sequence in self._revoked if sequence in moments)
        times = np.array([self.commits[sequence] for sequence in order], np.int64)
        return History(
            self.log.source, self.log.block_size, times, table[:, 0], table[:, 1], table[:, 2], table[:, 3].astype(np.bool_),
            np.array(revoked, np.int64).reshape(-1, 2),
        )  # fmt: skip

    def _in_order(self) -> list[int]:
        """The sequence numbers of the complete transactions, oldest first; those beyond a gap in the count are no part of it."""
        if not self.commits:
            return []
        newest = max(self.commits)
        if newest - min(self.commits) >= _HALF:  # the count went round
            newest = max(sequence for sequence in self.commits if sequence < _HALF)
        return sorted((s for s in self.commits if not _is_before(newest, s)), key=lambda s: -((newest - s) & 0xFFFFFFFF))

    def _tagged(self) -> Iterator[_Tagged]:
        """The copies behind each descriptor block, up to the next block that is no data."""
        size = self.log.source.size
        for sequence, number in sorted(self._descriptors):
            block = self.log.read(number)
            for n, tag in enumerate(jbd2.tags(block, self.journal) if block else ()):
                at = self.log.after(number, n + 1)
                place = self.log.offset(at)
                if self._heads[at] or place is None:
                    break  # written over by a later transaction
                if (tag.block + 1) * self.log.block_size <= size and place + self.log.block_size <= size:
                    yield _Tagged(sequence, tag.block, at, tag)

    def _checked(self, copies: list[_Tagged]) -> Iterator[tuple[list[_Tagged], list[bool]]]:
        """The copies with whether their data match the checksum in their tag."""
        for first in range(0, len(copies), _BATCH):
            part = copies[first : first + _BATCH]
            if not self.journal.checksummed:
                yield part, [True] * len(part)
                continue
            starts = {c.sequence: jbd2.data_crc_start(self.journal, c.sequence) for c in part}
            seeds = np.array([starts[c.sequence] for c in part], np.uint32)
            size = self.log.block_size
            data = b"".join(
                read_or_nothing(self.log.source, self.log.offset(c.number) or 0, size).ljust(size, b"\0") for c in part
            )
            sums = crc32c_rows(np.frombuffer(data, np.uint8).reshape(len(part), size), seeds).tolist()
            yield part, [jbd2.tag_sound(c.tag, crc, self.journal) for c, crc in zip(part, sums, strict=True)]

    def _before(self, columns: list[tuple[int, int, int, bool]], tail: int) -> list[tuple[int, int, int, bool]]:
        """The blocks themselves, where only transactions that were not written to their places have copies of them."""
        older = {block for block, moment, _, _ in columns if moment < tail}
        newer = {block for block, moment, _, _ in columns if moment >= tail}
        return [(block, BEFORE, block * self.log.block_size, False) for block in sorted(newer - older)]


def _is_before(sequence: int, other: int) -> bool:
    """Whether a transaction is older than another, by their numbers, which go round."""
    return sequence != other and (other - sequence) & 0xFFFFFFFF < _HALF
