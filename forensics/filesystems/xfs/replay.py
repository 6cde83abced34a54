"""Applies the log's committed transactions in memory, in the order and under the conditions of the kernel's recovery.

Source: Linux 6.18, fs/xfs/xfs_log_recover.c, xfs_buf_item_recover.c, xfs_inode_item_recover.c, xfs_icreate_item.c.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from forensics.filesystem import Problem
from forensics.filesystems.xfs.geometry import Geometry
from forensics.filesystems.xfs.log import Item, Log, Transaction
from forensics.filesystems.xfs.replayed import Replayed
from forensics.source import Source
from parsers.crc32c import crc32c, crc32c_rows
from parsers.errors import EvidenceError, FormatError
from parsers.xfs_inode import CORE_SIZES, CRC_AT, DINODE, DINODE3, MAGIC
from parsers.xfs_log import (
    BASIC_BLOCK,
    BUF,
    BUF_CANCEL,
    BUF_INODES,
    CHUNK,
    EFD,
    EFI,
    ICREATE,
    ICREATE_FORMAT,
    INODE,
    INODE_FORMAT,
    ITEMS,
    VISIBLE_INTENTS,
    BufItem,
    Ilog,
    bmap_root,
    chunk_runs,
    disk_inode,
    parse_buf_item,
)

CLEAN, REPLAYED, NOT_REPLAYED = "clean", "journal replayed", "journal not replayed"
MOST_CREATED = 1024  # inodes by one item
MOST_PROBLEMS = 100
MANY = 1 << 12  # inodes whose checksums are computed at the same time
OLDER = "; the view may be older than what the host's kernel would show"

LSN_PLACES = {
    b"XFSB": 240, b"XAGI": 320, b"IAB3": 24, b"FIB3": 24, b"AB3B": 24, b"AB3C": 24, b"RMB3": 24, b"R3FC": 24, b"BMA3": 32,
    b"XDB3": 16, b"XDD3": 16, b"XDF3": 16, b"XSLM": 48,
}  # fmt: skip
"""Where metadata keeps the log sequence number of its last change, by its first four bytes."""
CRC_PLACES = {
    b"XFSB": 224, b"XAGI": 312, b"IAB3": 52, b"FIB3": 52, b"AB3B": 52, b"AB3C": 52, b"RMB3": 52, b"R3FC": 52, b"BMA3": 64,
    b"XDB3": 4, b"XDD3": 4, b"XDF3": 4, b"XSLM": 12, b"XARM": 12,
}  # fmt: skip
DA_MAGICS = (0x3BEE, 0x3EBE, 0x3DF1, 0x3DFF)
DA_MAGIC_AT, DA_LSN_AT, DA_CRC_AT = 8, 24, 12
DEV, DATA_FORK, ATTR_FORK, DBROOT, ABROOT = map(int, (Ilog.DEV, Ilog.DATA_FORK, Ilog.ATTR_FORK, Ilog.DBROOT, Ilog.ABROOT))
INODE_LSN_AT = DINODE.size + DINODE3.offset_of("di_lsn")


class Outcome(NamedTuple):
    """What replaying came to."""

    source: Source
    state: str
    problems: list[Problem]


def replay(source: Source, geometry: Geometry, apply: bool = True) -> Outcome:
    """The source as it is after the log is applied; the same source where there is nothing to apply, or not `apply`."""
    if not geometry.superblock.log_start:
        problem = Problem("journal", source.name, "the log is on another volume" + OLDER)
        return Outcome(source, NOT_REPLAYED, [problem])
    try:
        log = Log(source, geometry)
    except (FormatError, EvidenceError) as error:
        offset = error.offset if isinstance(error, FormatError) else None
        place = None if offset is None else source.locate(offset)
        return Outcome(source, NOT_REPLAYED, [Problem("journal", source.name, f"{error}{OLDER}", place)])
    if log.clean or not apply:
        return Outcome(source, CLEAN if log.clean else NOT_REPLAYED, [])
    changes = _Recovery(source, geometry)
    changes.run(log)
    problems = [Problem("journal", source.name, error + OLDER, source.locate(at)) for error, at in log.damage]
    problems += [Problem("journal", source.name, error + OLDER) for error in changes.errors]
    return Outcome(changes.replayed, REPLAYED, problems)


class _Recovery:
    """Replays transactions into `replayed`."""

    def __init__(self, source: Source, geometry: Geometry) -> None:
        self.replayed = Replayed(source)
        self.errors: list[str] = []
        self._geometry = geometry
        self._superblock = geometry.superblock
        self._cancelled: dict[tuple[int, int], int] = {}
        self._unsummed: set[int] = set()

    def run(self, log: Log) -> None:
        """Apply all of its transactions; what cannot be is told in `errors`. The log is read twice, and not kept."""
        for transaction in log.transactions():
            for item in transaction.items:
                if item.type == BUF:
                    buffer = self._buffer(item)
                    if buffer is not None and buffer.flags & BUF_CANCEL:
                        key = (buffer.block, buffer.length)
                        self._cancelled[key] = self._cancelled.get(key, 0) + 1
        begun: set[tuple[int, bytes]] = set()
        for transaction in log.transactions():
            _follow_intents(transaction, begun)
            for item in sorted(transaction.items, key=_turn):
                try:
                    self._apply(item, transaction.lsn)
                except (FormatError, EvidenceError) as error:
                    self._tell(str(error))
        self._sum_inodes()
        for done, _ in sorted(begun):
            self._tell(f"an operation was begun that the kernel would complete at its next mount ({ITEMS[done - 1]})")

    def _sum_inodes(self) -> None:
        """Put right the checksums of changed inodes, which begin at basic blocks."""
        size = self._superblock.inode_size
        blocks = sorted(self._unsummed)
        for first in range(0, len(blocks), MANY):
            part = blocks[first : first + MANY]
            inodes = b"".join(self.replayed.current(block, size // BASIC_BLOCK) for block in part)
            rows = np.frombuffer(inodes, np.uint8).reshape(len(part), size).copy()
            rows[:, CRC_AT : CRC_AT + 4] = 0
            sums = crc32c_rows(rows) ^ np.uint32(0xFFFFFFFF)
            rows[:, CRC_AT : CRC_AT + 4] = sums.astype("<u4").view(np.uint8).reshape(-1, 4)
            for block, row in zip(part, rows, strict=True):
                self.replayed.write(block, row.tobytes())

    def _tell(self, error: str) -> None:
        if error not in self.errors and len(self.errors) < MOST_PROBLEMS:
            self.errors.append(error)

    def _buffer(self, item: Item) -> BufItem | None:
        try:
            return parse_buf_item(item.regions[0])
        except FormatError:
            return None

    def _apply(self, item: Item, lsn: int) -> None:
        if item.type == BUF:
            self._apply_buffer(item, lsn)
        elif item.type == INODE:
            self._apply_inode(item, lsn)
        elif item.type == ICREATE:
            self._create(item)
        elif item.type not in ITEMS and item.type not in (EFI, EFD):
            self._tell(f"the log has items of type {item.type:#06x}, which are not known")

    def _apply_buffer(self, item: Item, lsn: int) -> None:
        buffer = parse_buf_item(item.regions[0])
        key = (buffer.block, buffer.length)
        if key in self._cancelled:
            if buffer.flags & BUF_CANCEL:
                self._cancelled[key] -= 1
                if not self._cancelled[key]:
                    del self._cancelled[key]
            return
        if buffer.flags & BUF_INODES:
            return  # only the list of unlinked inodes is recovered from these
        data = bytearray(self.replayed.current(buffer.block, buffer.length))
        if len(data) < buffer.length * BASIC_BLOCK:
            raise FormatError(f"the log changes block {buffer.block}, which is beyond the end")
        if self._superblock.has_crc and _is_newer(data, lsn):
            return
        regions = iter(item.regions[1:])
        for first, count in region_runs(buffer, item.regions[1:]):
            region = next(regions)
            at = first * CHUNK
            length = min(count * CHUNK, len(region), len(data) - at)
            if length > 0:
                data[at : at + length] = region[:length]
        if self._superblock.has_crc:
            _seal(data, self._superblock.inode_size)
        self.replayed.write(buffer.block, bytes(data))

    def _apply_inode(self, item: Item, lsn: int) -> None:
        regions = item.regions
        if len(regions[0]) < INODE_FORMAT.size or len(regions) < 2:
            raise FormatError("an inode's item in the log is cut off")
        _, _, fields, _, _, number, rdev, block, length, offset = INODE_FORMAT.unpack(regions[0])
        if (block, length) in self._cancelled:
            return
        size = self._superblock.inode_size
        if self._geometry.inode_offset(number) != block * BASIC_BLOCK + offset:
            raise FormatError(f"the log has inode {number} at block {block}, where it is not")
        first, inside = divmod(block * BASIC_BLOCK + offset, BASIC_BLOCK)
        count = -(-(inside + size) // BASIC_BLOCK)
        data = bytearray(self.replayed.current(first, count))
        raw = bytes(data[inside : inside + size])
        if len(raw) < size or int.from_bytes(raw[:2], "big") != MAGIC:
            raise FormatError(f"the log changes inode {number}, which is none")
        has_crc = self._superblock.has_crc
        if has_crc:
            known = int.from_bytes(raw[INODE_LSN_AT : INODE_LSN_AT + 8], "big")
            if known not in (0, (1 << 64) - 1) and known > lsn:
                return
        inode = bytearray(disk_inode(regions[1], raw, has_crc))
        inode = bytearray(put_forks(inode, fields, rdev, regions[2:], size, has_crc))
        if has_crc:
            self._unsummed.add(first)
        data[inside : inside + size] = inode
        self.replayed.write(first, bytes(data))

    def _create(self, item: Item) -> None:
        """Write empty inodes, as the item says that they were allocated."""
        if len(item.regions[0]) < ICREATE_FORMAT.size:
            raise FormatError("an item of created inodes in the log is cut off")
        group, block, count, size, length, generation = ICREATE_FORMAT.unpack(item.regions[0])
        s = self._superblock
        place = self._geometry.group_block(group, block)
        last = self._geometry.group_block(group, block + max(length, 1) - 1)
        if place is None or last is None or size != s.inode_size or count > MOST_CREATED or count != length << s.inopblog:
            raise FormatError(f"the log creates {count} inodes in allocation group {group} at block {block}")
        start = place * s.block_size // BASIC_BLOCK
        if any(start <= cancelled < start + length * s.block_size // BASIC_BLOCK for cancelled, _ in self._cancelled):
            return
        first = group << self._geometry.shift | block << s.inopblog
        inodes = b"".join(_new_inode(first + i, generation, s.inode_size, s.meta_uuid, s.has_crc) for i in range(count))
        self.replayed.write(start, inodes)


def _follow_intents(transaction: Transaction, begun: set[tuple[int, bytes]]) -> None:
    """Note intents whose completion changes what is read, until they are done."""
    for item in transaction.items:
        if item.type in VISIBLE_INTENTS:
            begun.add((VISIBLE_INTENTS[item.type], item.regions[0][8:16]))
        elif item.type in VISIBLE_INTENTS.values():
            begun.discard((item.type, item.regions[0][8:16]))


def _turn(item: Item) -> int:
    """When an item is applied among those of its transaction; xlog_recover_reorder_trans."""
    if item.type == ICREATE:
        return 0
    if item.type == BUF and len(item.regions[0]) >= 6:
        flags = int.from_bytes(item.regions[0][4:6], "little")
        if flags & BUF_CANCEL:
            return 3
        return 2 if flags & BUF_INODES else 0
    return 1


def region_runs(buffer: BufItem, regions: list[bytes]) -> list[tuple[int, int]]:
    """The chunks that each region holds: a run of set bits, or as much of it as the region is long."""
    found: list[tuple[int, int]] = []
    for first, count in chunk_runs(buffer):
        at, left = first, count
        while left > 0 and len(found) < len(regions):
            here = min(left, max(1, len(regions[len(found)]) // CHUNK))
            found.append((at, here))
            at, left = at + here, left - here
    return found


def _is_newer(data: bytearray, lsn: int) -> bool:
    """Whether a block was written after the transaction; xlog_recover_get_buf_lsn."""
    at = LSN_PLACES.get(bytes(data[:4]))
    if at is None and int.from_bytes(data[DA_MAGIC_AT : DA_MAGIC_AT + 2], "big") in DA_MAGICS:
        at = DA_LSN_AT
    if at is None:
        return False
    known = int.from_bytes(data[at : at + 8], "big")
    return known not in (0, (1 << 64) - 1) and known >= lsn


def _seal(data: bytearray, inode_size: int) -> None:
    """Put right the checksum of a changed buffer."""
    at = CRC_PLACES.get(bytes(data[:4]))
    if at is None and int.from_bytes(data[DA_MAGIC_AT : DA_MAGIC_AT + 2], "big") in DA_MAGICS:
        at = DA_CRC_AT
    if at is not None and at + 4 <= len(data):
        _sum(data, at)
    elif int.from_bytes(data[:2], "big") == MAGIC:
        for start in range(0, len(data) - inode_size + 1, inode_size):
            inode = data[start : start + inode_size]
            _sum(inode, CRC_AT)
            data[start : start + inode_size] = inode


def _sum(data: bytearray, at: int) -> None:
    data[at : at + 4] = b"\0\0\0\0"
    data[at : at + 4] = (crc32c(data) ^ 0xFFFFFFFF).to_bytes(4, "little")


def put_forks(inode: bytearray, fields: int, rdev: int, regions: list[bytes], size: int, has_crc: bool) -> bytes:
    """An inode of `size` bytes with the forks that were logged in their places. Raises FormatError where one does not fit."""
    core = CORE_SIZES[3 if has_crc else 2]
    split = core + inode[DINODE.offset_of("di_forkoff")] * 8
    ends = (split if core < split < size else size, size)
    if fields & DEV:
        inode[core : core + 4] = struct.pack(">I", rdev)
    rest = list(regions)
    if fields & DATA_FORK and rest:
        _put_fork(inode, core, ends[0], rest.pop(0), bool(fields & DBROOT), has_crc)
    if fields & ATTR_FORK and rest:
        _put_fork(inode, ends[0], ends[1], rest.pop(0), bool(fields & ABROOT), has_crc)
    return bytes(inode)


def _put_fork(inode: bytearray, start: int, end: int, region: bytes, is_root: bool, has_crc: bool) -> None:
    """Put a logged fork into its inode."""
    data = bmap_root(region, end - start, has_crc) if is_root else region
    if len(data) > end - start:
        raise FormatError(f"a logged fork of {len(data)} bytes where {end - start} fit")
    inode[start : start + len(data)] = data


def _new_inode(number: int, generation: int, size: int, uuid: bytes, has_crc: bool) -> bytes:
    inode = bytearray(size)
    struct.pack_into(">HHB", inode, 0, MAGIC, 0, 3 if has_crc else 2)
    struct.pack_into(">II", inode, DINODE.offset_of("di_gen"), generation, 0xFFFFFFFF)
    if has_crc:
        struct.pack_into(">Q", inode, DINODE.size + DINODE3.offset_of("di_ino"), number)
        at = DINODE.size + DINODE3.offset_of("di_uuid")
        inode[at : at + 16] = uuid
        _sum(inode, CRC_AT)
    return bytes(inode)
