"""The journal of ext3 and ext4, replayed in memory: the filesystem as its next mount would see it."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from forensics.filesystem import Problem
from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import read_or_nothing
from forensics.filesystems.ext4.blockmap import block_map
from forensics.filesystems.ext4.fast_commit import Changes, apply
from forensics.filesystems.ext4.log import Log, Scan, Transaction, place, revoked, scan, writes
from forensics.filesystems.ext4.reader import Ext4
from forensics.filesystems.ext4.replayed import Replayed
from forensics.source import Source
from forensics.text import counted
from parsers import ext4_fast_commit, jbd2
from parsers.crc32c import crc32c_rows
from parsers.errors import FormatError
from parsers.ext4 import Compat, Superblock
from parsers.ext4_fast_commit import NONE, FastCommits
from parsers.ext4_inode import EXTENT_MAGIC, INODE, InodeFlag, InodeRecord, parse_inode
from parsers.jbd2 import Tag

CLEAN, UNCLEAN = "clean", "not cleanly unmounted"
REPLAYED, PARTLY, NOT_REPLAYED = "journal replayed", "journal partly replayed", "journal not replayed"

_VALID = 0x1  # s_state: cleanly unmounted; a filesystem with a journal keeps it while mounted
_BACKUP_OF_BLOCKS = 1  # s_jnl_backup_type: s_jnl_blocks has the journal inode's i_block and size
_BATCH = 64  # blocks whose checksums are computed together
_MOST_NAMED = 20  # blocks not replayed that become a problem each
_REFUSED = "the kernel refuses to mount this filesystem"


@dataclass(frozen=True, slots=True)
class Replay:
    """What the journal held.

    source: the filesystem's bytes after replay. changes: what fast commits change beyond them. transactions, fast_commits: how
    many were complete. blocks: how many have another content now. next_sequence: that of the transaction after the last complete
    one, None where no log was read.
    """

    source: Source
    state: str
    transactions: int = 0
    fast_commits: int = 0
    blocks: int = 0
    next_sequence: int | None = None
    changes: Changes = field(default_factory=Changes)
    problems: tuple[Problem, ...] = ()


def replay(fs: Ext4) -> Replay:
    """Read the journal of a filesystem that needs recovery; nothing is raised, what fails is a problem."""
    source, superblock = fs.source, fs.superblock
    if not superblock.compat & Compat.HAS_JOURNAL:
        return Replay(source, CLEAN if superblock.state & _VALID else UNCLEAN)
    if not superblock.needs_recovery:
        return Replay(source, CLEAN)
    problems = ProblemLog(source)
    try:
        log = open_log(fs, problems)
    except FormatError as error:
        problems.add("journal", source.name, f"{error.what}; it is not replayed", error.offset)
        return Replay(source, NOT_REPLAYED, problems=tuple(problems.list))
    if log.superblock.s_start == 0:
        return Replay(source, CLEAN)
    found = scan(log)
    if found.refused is not None:
        kept = f"{counted(len(found.transactions), 'transaction')} before it replayed"
        problems.add("journal", source.name, f"{found.refused}; {_REFUSED}; {kept}", found.place)
    copies, escaped = _Copies(log, problems).collect(found.transactions)
    after = Replayed(source, copies, escaped, superblock.block_size) if copies else source
    fast, changes = NONE, Changes()
    if found.refused is None:
        fast, changes = _fast_commits(log, found, after, problems)
    return Replay(
        source=after,
        state=PARTLY if problems.list else REPLAYED,
        transactions=len(found.transactions),
        fast_commits=fast.commits,
        blocks=len(copies),
        next_sequence=found.next_sequence,
        changes=changes,
        problems=tuple(problems.list),
    )


def open_log(fs: Ext4, problems: ProblemLog) -> Log:
    """The journal's log, by its inode or, where that is damaged, by the copy of its block map in the superblock.

    Raises FormatError where there is no usable journal, UnsupportedFormat naming what is not read.
    """
    source, superblock = fs.source, fs.superblock
    number = superblock.journal_inode
    if not number:
        where = f"on another device, {superblock.journal_uuid.hex()}" if superblock.journal_device else "nowhere"
        raise FormatError(f"the journal stands {where}", source.name)
    try:
        return _open(fs, fs.tables.record(number), fs.tables.offset(number))
    except FormatError as error:
        backup = _backup_inode(superblock)
        if backup is None:
            raise
        try:
            log = _open(fs, backup, None)
        except FormatError:
            raise error from None
        problems.add("journal", source.name, f"{error.what}; its block map is taken from the superblock", error.offset)
        return log


def _open(fs: Ext4, inode: InodeRecord, offset: int | None) -> Log:
    source, block_size = fs.source, fs.block_size
    if inode.type != "f" or not inode.links:
        raise FormatError("the journal's inode is no file", source.name, offset)
    runs = block_map(source, fs.geometry, inode, offset).runs
    first = place(runs, 0, block_size)
    if first is None:
        raise FormatError("the journal has no first block", source.name, offset)
    block = read_or_nothing(source, first, block_size)
    return Log(source, block_size, runs, jbd2.superblock(block, block_size, inode.size // block_size, source.name, first))


def _backup_inode(superblock: Superblock) -> InodeRecord | None:
    """The journal's inode as s_jnl_blocks has it: i_block, then the size's upper and lower half."""
    if superblock.journal_backup_type != _BACKUP_OF_BLOCKS or not any(superblock.journal_backup):
        return None
    *blocks, size_high, size = superblock.journal_backup
    block = struct.pack("<15I", *blocks)
    extents = int.from_bytes(block[:2], "little") == EXTENT_MAGIC
    raw = INODE.declaration.build(
        dict.fromkeys(INODE.names, 0)
        | {
            "i_mode": 0o100600,
            "i_links_count": 1,
            "i_flags": int(InodeFlag.EXTENTS) if extents else 0,
            "i_block": block,
            "i_size_lo": size,
            "i_size_high": size_high,
        }
    )
    return parse_inode(raw)


class _Copies:
    """PASS_REVOKE and PASS_REPLAY: which copy of each block is the one that stays."""

    def __init__(self, log: Log, problems: ProblemLog) -> None:
        self._log = log
        self._problems = problems
        self._copies: dict[int, int] = {}
        self._escaped: set[int] = set()
        self._lost = 0

    def collect(self, transactions: Sequence[Transaction]) -> tuple[dict[int, int], set[int]]:
        """Filesystem block to the byte offset in the source of its copy, and the blocks that are escaped there."""
        written = {tag.block for transaction in transactions for tag, _ in writes(self._log, transaction)}
        gone: set[int] = set()
        for transaction in reversed(transactions):  # the newest copy stays, and a revoke record hides what is not newer
            gone.update(block for block in revoked(self._log, transaction) if block in written)
            newest = {tag.block: (tag, number) for tag, number in writes(self._log, transaction)}
            wanted = (pair for block, pair in newest.items() if block not in self._copies and block not in gone)
            while batch := list(islice(wanted, _BATCH)):
                self._take(batch, transaction.sequence)
        if self._lost > _MOST_NAMED:
            what = f"{self._lost - _MOST_NAMED} more blocks are not replayed"
            self._problems.add("journal", self._log.source.name, what)
        return self._copies, self._escaped

    def _take(self, batch: list[tuple[Tag, int]], sequence: int) -> None:
        sound = self._sound(batch, sequence)
        for tag, number in batch:
            place = self._log.offset(number)
            size = self._log.block_size
            if place is None or place + size > self._log.source.size:
                self._lose(tag, f"its copy, journal block {number}, cannot be read", None)
            elif number not in sound:
                self._lose(tag, f"the checksum of its copy, journal block {number}, does not match; {_REFUSED}", place)
            elif (tag.block + 1) * size > self._log.source.size:
                self._lose(tag, "it lies beyond the end", place)
            else:
                self._copies[tag.block] = place
                if tag.flags & jbd2.FLAG_ESCAPE:
                    self._escaped.add(tag.block)

    def _sound(self, batch: list[tuple[Tag, int]], sequence: int) -> set[int]:
        """The journal blocks whose data match the checksum in their tag."""
        journal = self._log.superblock
        if not journal.checksummed:
            return {number for _, number in batch}
        blocks = [(tag, number, block) for tag, number in batch if (block := self._log.read(number)) is not None]
        if not blocks:
            return set()
        rows = np.frombuffer(b"".join(block for _, _, block in blocks), np.uint8).reshape(len(blocks), -1)
        registers = crc32c_rows(rows, jbd2.data_crc_start(journal, sequence)).tolist()
        return {number for (tag, number, _), crc in zip(blocks, registers, strict=True) if jbd2.tag_sound(tag, crc, journal)}

    def _lose(self, tag: Tag, why: str, place: int | None) -> None:
        self._lost += 1
        if self._lost <= _MOST_NAMED:
            self._problems.add("journal", self._log.source.name, f"block {tag.block} is not replayed: {why}", place)


def _fast_commits(log: Log, found: Scan, after: Source, problems: ProblemLog) -> tuple[FastCommits, Changes]:
    """The fast commits onto the last complete transaction, and what they change on the replayed filesystem."""
    places: list[int] = []

    def blocks() -> Iterator[bytes]:
        for number in log.superblock.fast_commit_area:
            block, place = log.read(number), log.offset(number)
            if block is None or place is None:
                return
            places.append(place)
            yield block

    area = blocks()
    try:
        fs = Ext4(after)
        fast = ext4_fast_commit.scan(area, found.next_sequence, fs.superblock.inode_size)
    except FormatError as error:
        problems.add("fast commits", after.name, f"{error.what}; they are not replayed", error.offset)
        return NONE, Changes()
    if fast.refused is not None:
        at = places[0] if places else None
        problems.add("fast commits", after.name, f"{fast.refused}; {_REFUSED}; those before it are replayed", at)
    return fast, apply(fast.records, places, fs.tables, fs.find, problems)
