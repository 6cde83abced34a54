"""What the ring of the log tells of the past: states of inodes, changed blocks, and where allocation changed.

A log item of an inode has its core whole, a fork only where that changed since the inode was last written to its place. An item
of a buffer has the chunks of 128 bytes that changed since then.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakKeyDictionary

from forensics.filesystems.past.paths import BEFORE, Life
from forensics.filesystems.xfs.geometry import Geometry
from forensics.filesystems.xfs.log import Item, Log, Transaction
from forensics.filesystems.xfs.reader import Xfs
from forensics.filesystems.xfs.replay import NOT_REPLAYED, put_forks, region_runs
from forensics.filesystems.xfs.replayed import Replayed
from forensics.filesystems.xfs.ring import ring_transactions
from forensics.source import Source
from parsers.errors import CtrForensicsError, FormatError
from parsers.xfs_inode import CORE_SIZES, DINODE, DINODE3, MAGIC, Format, nanoseconds, parse_inode
from parsers.xfs_log import (
    BASIC_BLOCK,
    BUF,
    BUF_CANCEL,
    BUF_INODES,
    CHUNK,
    INODE,
    INODE_FORMAT,
    Ilog,
    disk_inode,
    parse_buf_item,
)

TYPE_SHIFT = 11  # of blf_flags: what kind of buffer it is; xfs_log_format.h XFS_BLFT_SHIFT
BTREE, AGF, DIRECTORY_TYPES = 4, 5, (10, 11)
MODE_AT, FORMAT_AT, LINKS_AT, GENERATION_AT = map(DINODE.offset_of, ("di_mode", "di_format", "di_nlink", "di_gen"))
CTIME_AT, FLAGS2_AT = DINODE.offset_of("di_ctime_sec"), DINODE.size + DINODE3.offset_of("di_flags2")
FORK = int(Ilog.DATA_FORK | Ilog.DEV)
MOST_STATES = 1 << 18
MOST_BYTES = 128 << 20  # of changed chunks that are kept


class State(NamedTuple):
    """One state of an inode: valid from the moment `first` on, logged again up to `seen`. place: in the source.

    known: whether its data fork is what it was then; else it is left from before, or zeros.
    """

    first: int
    seen: int
    raw: bytes
    place: int
    known: bool

    @property
    def generation(self) -> int:
        """Tells one file from the next one with the same number."""
        return int.from_bytes(self.raw[GENERATION_AT : GENERATION_AT + 4], "big")

    @property
    def mode(self) -> int:
        """Type and permissions, 0 where the inode is free."""
        return int.from_bytes(self.raw[MODE_AT : MODE_AT + 2], "big")

    @property
    def used(self) -> bool:
        """Whether it had a name."""
        return self.mode != 0 and int.from_bytes(self.raw[LINKS_AT : LINKS_AT + 4], "big") != 0


class Change(NamedTuple):
    """What a transaction changed of a block: (byte, new content) pieces; freed: it ceased to be metadata."""

    moment: int
    freed: bool
    pieces: tuple[tuple[int, bytes], ...]


@dataclass
class History:
    """What the log tells.

    states: by inode number, oldest first. directories, maps: changes of blocks, by block. touched: (first block, end, moment) of
    all logged metadata. logged: (moment, inode number) of all logged inodes. allocations: the moments at which an allocation
    group's free space changed, by group. times: of the newest change that each transaction and those before it have. gaps: the
    moments before which a part of the log is damaged. cut: there was more than is kept.
    """

    source: Source
    geometry: Geometry
    end: int = 0
    states: dict[int, list[State]] = field(default_factory=dict)
    directories: dict[int, list[Change]] = field(default_factory=dict)
    maps: dict[int, list[Change]] = field(default_factory=dict)
    touched: list[tuple[int, int, int]] = field(default_factory=list)
    logged: set[tuple[int, int]] = field(default_factory=set)
    allocations: dict[int, list[int]] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)
    cut: bool = False
    _kept: int = 0
    _count: int = 0

    def lives(self) -> dict[tuple[int, int], Life]:
        """When each inode of the log was in use, by number and generation; before its first state, too, if not born there."""
        found: dict[tuple[int, int], Life] = {}
        for number, states in self.states.items():
            for at, state in enumerate(states):
                if not state.used:
                    continue
                key = number, state.generation
                first = found[key][0] if key in found else state.first if at or self._is_born(state) else BEFORE
                found[key] = first, self.last(number, at)
        return found

    def _is_born(self, state: State) -> bool:
        """Whether an inode was made in the transaction that has its first state."""
        try:
            born = parse_inode(state.raw).crtime
        except FormatError:
            return False
        return born is not None and state.first > 0 and born > self.times[state.first - 1]

    def last(self, number: int, at: int) -> int:
        """The last moment at which a state of an inode was valid; `end` stands for now."""
        states = self.states[number]
        return states[at + 1].first - 1 if at + 1 < len(states) else self.end

    def take(self, transaction: Transaction) -> None:
        """Add a transaction, the next one."""
        self.times.append(self.times[-1] if self.times else 0)
        for item in transaction.items:
            try:
                if item.type == INODE:
                    self._take_inode(item)
                elif item.type == BUF:
                    self._take_buffer(item)
            except FormatError:
                continue  # damage loses itself only
        self.end += 1

    def _take_inode(self, item: Item) -> None:
        regions = item.regions
        if len(regions) < 2 or len(regions[0]) < INODE_FORMAT.size:
            raise FormatError("an inode's item in the log is cut off")
        _, _, fields, _, _, number, rdev, block, _, offset = INODE_FORMAT.unpack(regions[0])
        s = self.geometry.superblock
        if self.geometry.inode_offset(number) != block * BASIC_BLOCK + offset:
            return
        if self._count >= MOST_STATES:
            self.cut = True
            return
        states = self.states.setdefault(number, [])
        before = states[-1] if states else None
        core = disk_inode(regions[1], bytes(s.inode_size), s.has_crc)
        generation = int.from_bytes(core[GENERATION_AT : GENERATION_AT + 4], "big")
        if int.from_bytes(core[:2], "big") != MAGIC or (s.has_crc and own_number(core) != number):
            return
        self.logged.add((self.end, number))
        self.times[-1] = max(self.times[-1], changed_ns(core))
        same = before is not None and before.generation == generation and before.mode >> 12 == core[MODE_AT] >> 4
        forks = CORE_SIZES[3 if s.has_crc else 2]
        whole = bytearray(core[:forks] + before.raw[forks:] if before is not None and same else core)
        raw = put_forks(whole, fields, rdev, regions[2:], s.inode_size, s.has_crc)
        nothing = raw[FORMAT_AT] == Format.EXTENTS and not any(_counts(raw))
        kept = before is not None and same and before.known and _shape(before.raw) == _shape(raw)
        known = bool(fields & FORK) or nothing or kept
        state = State(self.end, self.end, raw, item.places[1], known)
        if before is not None and same and before.used == state.used and before.known == known and _is_like(before.raw, raw):
            states[-1] = state._replace(first=before.first)
            return
        states.append(state)
        self._count += 1

    def _take_buffer(self, item: Item) -> None:
        buffer = parse_buf_item(item.regions[0])
        if buffer.flags & BUF_INODES:
            return
        size = self.geometry.superblock.block_size
        block, kind = buffer.block * BASIC_BLOCK // size, buffer.flags >> TYPE_SHIFT
        if kind == AGF:
            self.allocations.setdefault(block // self.geometry.superblock.ag_blocks, []).append(self.end)
        if buffer.block * BASIC_BLOCK % size or buffer.length * BASIC_BLOCK % size:
            return  # one of the headers of an allocation group
        self.touched.append((block, block + buffer.length * BASIC_BLOCK // size, self.end))
        changed = self.directories if kind in DIRECTORY_TYPES else self.maps if kind == BTREE else None
        if buffer.flags & BUF_CANCEL:
            freed = self.maps if block in self.maps else self.directories  # of what never changed only the disk tells what it was
            freed.setdefault(block, []).append(Change(self.end, True, ()))
        elif changed is not None and self._kept >= MOST_BYTES:
            self.cut = True
        elif changed is not None:
            runs = region_runs(buffer, item.regions[1:])
            pieces = tuple(
                (first * CHUNK, region[: count * CHUNK]) for (first, count), region in zip(runs, item.regions[1:], strict=False)
            )
            if kind == BTREE and block not in changed and not (pieces and pieces[0][1][:3] == b"BMA"):
                return
            self._kept += sum(len(data) for _, data in pieces)
            changed.setdefault(block, []).append(Change(self.end, False, pieces))


def own_number(raw: bytes) -> int:
    """The number that an inode of version 3 says it has."""
    at = DINODE.size + DINODE3.offset_of("di_ino")
    return int.from_bytes(raw[at : at + 8], "big")


def changed_ns(raw: bytes) -> int:
    """When an inode was last changed, in nanoseconds."""
    seconds, fraction = struct.unpack_from(">iI", raw, CTIME_AT)
    return nanoseconds(seconds, fraction, int.from_bytes(raw[FLAGS2_AT : FLAGS2_AT + 8], "big") if raw[4] == 3 else 0)


def _counts(raw: bytes) -> bytes:
    """The fields that count the extents of the data fork; version 2 has no more than one, and its neighbours change."""
    return (raw[24:32] if raw[4] == 3 else b"") + raw[76:80]


def _shape(raw: bytes) -> tuple[int, bytes]:
    """What a data fork has kept that was not logged again: every change of one is logged."""
    return raw[FORMAT_AT], _counts(raw)


def _is_like(old: bytes, new: bytes) -> bool:
    """Whether two states of a file differ in no more than their cores, so that the newer one tells of both."""
    core = CORE_SIZES[3 if new[4] == 3 else 2]
    return _shape(old) == _shape(new) and old[core:] == new[core:]


_histories: WeakKeyDictionary[Xfs, History | None] = WeakKeyDictionary()


def read_history(fs: Xfs) -> History | None:
    """What the log tells; None where it cannot be read. What `fs` is to be read without is left out."""
    if fs not in _histories:
        _histories[fs] = _read(fs)
    return _histories[fs]


def _read(fs: Xfs) -> History | None:
    raw = fs.source.source if isinstance(fs.source, Replayed) else fs.source
    if not fs.superblock.log_start:
        return None
    history = History(raw, fs.geometry)
    try:
        for transaction in ring_transactions(Log(raw, fs.geometry), live=fs.state != NOT_REPLAYED):
            if transaction is None:
                history.gaps.append(history.end)
            else:
                history.take(transaction)
    except CtrForensicsError:
        return None  # told as a problem where it mattered: in the replay
    return history
