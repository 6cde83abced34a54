"""The log of an ext3 or ext4 journal: which transactions are complete, and where the blocks stand that they wrote.

The rules on where the log ends are the kernel's (fs/jbd2/recovery.c do_one_pass, 6.18). Where the kernel gives up and refuses the
mount, the transactions before the damage are kept and `refused` says why.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from forensics.filesystems.bulk.reading import read_or_nothing
from forensics.source import Source
from parsers import jbd2
from parsers.ext4_inode import Run
from parsers.jbd2 import JournalSuperblock, Tag


@dataclass(frozen=True, slots=True)
class Log:
    """The journal's blocks by number. `runs` are those of the journal's file, sorted by logical block."""

    source: Source
    block_size: int
    runs: Sequence[Run]
    superblock: JournalSuperblock

    def offset(self, number: int) -> int | None:
        """The byte offset in the source of a journal block, None where the journal has no such block."""
        if not 0 <= number < self.superblock.s_maxlen:
            return None
        return place(self.runs, number, self.block_size)

    def read(self, number: int) -> bytes | None:
        """A journal block, None where it cannot be read."""
        offset = self.offset(number)
        block = b"" if offset is None else read_or_nothing(self.source, offset, self.block_size)
        return block if len(block) == self.block_size else None

    def after(self, number: int, count: int = 1) -> int:
        """The block that is `count` blocks further in the ring."""
        number += count
        return number - (self.superblock.end - self.superblock.s_first) if number >= self.superblock.end else number


def place(runs: Sequence[Run], number: int, block_size: int) -> int | None:
    """The byte offset of a file's block, None where none is mapped."""
    at = bisect_right(runs, number, key=lambda run: run.logical) - 1
    if at < 0 or number >= runs[at].logical + runs[at].count:
        return None
    return (runs[at].physical + number - runs[at].logical) * block_size


@dataclass(slots=True)
class Transaction:
    """One transaction: its descriptor and revoke blocks, by number in the journal."""

    sequence: int
    descriptors: list[int] = field(default_factory=list)
    revokes: list[int] = field(default_factory=list)
    commit_sec: int = 0


@dataclass(frozen=True, slots=True)
class Scan:
    """The complete transactions, the sequence number of the one after them, and why the kernel would refuse the mount.

    place: the byte offset in the source of what is to blame.
    """

    transactions: list[Transaction]
    next_sequence: int
    refused: str | None = None
    place: int | None = None


def writes(log: Log, transaction: Transaction) -> Iterator[tuple[Tag, int]]:
    """What a transaction wrote, in order: each block's tag, and the journal block that holds its copy."""
    for number in transaction.descriptors:
        block = log.read(number)
        for n, tag in enumerate(jbd2.tags(block, log.superblock) if block else ()):
            yield tag, log.after(number, n + 1)


def revoked(log: Log, transaction: Transaction) -> Iterator[int]:
    """The filesystem blocks whose copies in this transaction and in older ones must not come back."""
    for number in transaction.revokes:
        block = log.read(number)
        yield from (jbd2.revoked(block, log.superblock) if block else None) or ()


def scan(log: Log) -> Scan:
    """Walk the log from its start to the end of its last complete transaction."""
    return _Scanner(log).run()


class _Scanner:
    """PASS_SCAN and PASS_REVOKE in one: what stands in the log, up to where it ends."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.journal = log.superblock
        self.done: list[Transaction] = []
        self.current = Transaction(self.journal.s_sequence)
        self.crc = 0xFFFFFFFF
        self.last_commit_sec = 0
        self.doubtful: str | None = None
        self.failed: int | None = None

    def run(self) -> Scan:
        number = self.journal.s_start
        left = self.journal.end - self.journal.s_first  # the ring's length: after that many blocks the log has met itself
        while left > 0:
            block = self.log.read(number)
            if block is None:
                return self._end(f"journal block {number} cannot be read", number)
            header = jbd2.header(block)
            if header is None or header.h_sequence != self.current.sequence:
                break
            following = self.log.after(number)
            left -= 1
            if header.h_blocktype == jbd2.DESCRIPTOR:
                if not jbd2.block_sound(block, self.journal):
                    self.doubtful = f"descriptor block {number}"
                tags = jbd2.tags(block, self.journal)
                self.current.descriptors.append(number)
                if self.journal.checksum_v1 and self.failed is None and not self._add_to_crc(block, following, len(tags)):
                    break
                left -= len(tags)
                following = self.log.after(following, len(tags))
            elif header.h_blocktype == jbd2.REVOKE:
                if not jbd2.block_sound(block, self.journal):
                    self.doubtful = f"revoke block {number}"
                if jbd2.revoked(block, self.journal) is None:
                    return self._end(f"revoke block {number} claims more than it holds", number)
                self.current.revokes.append(number)
            elif header.h_blocktype == jbd2.COMMIT:
                ended = self._commit(block, number)
                if ended is not None:
                    return ended
            else:
                break
            number = following
        return self._end()

    def _add_to_crc(self, block: bytes, first: int, count: int) -> bool:
        """Checksum v1 goes over the descriptor block and its data; false where one of them cannot be read."""
        self.crc = jbd2.crc32_be(block, self.crc)
        for n in range(count):
            data = self.log.read(self.log.after(first, n))
            if data is None:
                return False
            self.crc = jbd2.crc32_be(data, self.crc)
        return True

    def _commit(self, block: bytes, number: int) -> Scan | None:
        """The end of the current transaction; a Scan where it is the end of the log too."""
        commit_sec = jbd2.commit(block).h_commit_sec
        sequence = self.current.sequence
        if self.doubtful is not None:
            # Blocks that an earlier journal left behind have old commit times; they are no damage, only the log's end.
            if commit_sec >= self.last_commit_sec:
                return self._end(f"the checksum of {self.doubtful} in transaction {sequence} does not match", number)
            return self._end()
        if self.journal.checksum_v1 and self.failed is not None:
            return self._end(f"transaction {self.failed} is damaged: a later one is complete", number)
        if jbd2.commit_sound(block, self.journal, self.crc):
            self.crc = 0xFFFFFFFF
        elif commit_sec < self.last_commit_sec:
            return self._end()
        else:
            self.failed = sequence
            if not self.journal.async_commit:
                return self._end(f"the checksum of transaction {sequence} does not match", number)
        self.last_commit_sec = commit_sec
        self.current.commit_sec = commit_sec
        self.done.append(self.current)
        self.current = Transaction((sequence + 1) & 0xFFFFFFFF)
        return None

    def _end(self, refused: str | None = None, number: int | None = None) -> Scan:
        next_sequence = self.current.sequence
        if self.failed is not None:
            # With asynchronous commits a bad one was interrupted: the log ends before it, whatever follows.
            self.done = [t for t in self.done if (t.sequence - self.failed) & 0xFFFFFFFF >= 1 << 31]
            next_sequence = self.failed
        return Scan(self.done, next_sequence, refused, None if number is None else self.log.offset(number))
