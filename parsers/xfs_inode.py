"""Inodes of XFS: their core, and the maps of their forks.

Source: Linux 6.18, fs/xfs/libxfs/xfs_format.h, xfs_inode_buf.c, xfs_bmap_btree.c. All integers are big-endian, but for di_crc.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple

import numpy as np
from construct import Bytes, Int8ub, Int16ub, Int32sb, Int32ub, Int64sb, Int64ub, Padding, Struct
from numpy.typing import NDArray

from parsers.errors import FormatError
from parsers.layout import Buffer, Layout
from parsers.xfs import LONG_BLOCK, LONG_CRC_SIZE

MAGIC = 0x494E  # IN
CRC_AT = 100  # di_crc


class Format(IntEnum):
    """di_format and di_aformat: what a fork holds."""

    DEV = 0
    LOCAL = 1
    EXTENTS = 2
    BTREE = 3


class InodeFlag(IntFlag):
    """di_flags, as far as reading depends on it."""

    REALTIME = 0x1


class InodeFlag2(IntFlag):
    """di_flags2, as far as reading depends on it."""

    BIGTIME = 0x8
    NREXT64 = 0x10


DINODE = Layout(
    Struct(
        "di_magic" / Int16ub,
        "di_mode" / Int16ub,
        "di_version" / Int8ub,
        "di_format" / Int8ub,
        "di_onlink" / Int16ub,
        "di_uid" / Int32ub,
        "di_gid" / Int32ub,
        "di_nlink" / Int32ub,
        "di_projid_lo" / Int16ub,
        "di_projid_hi" / Int16ub,
        "di_big_nextents" / Int64ub,
        "di_atime_sec" / Int32sb,
        "di_atime_nsec" / Int32ub,
        "di_mtime_sec" / Int32sb,
        "di_mtime_nsec" / Int32ub,
        "di_ctime_sec" / Int32sb,
        "di_ctime_nsec" / Int32ub,
        "di_size" / Int64sb,
        "di_nblocks" / Int64ub,
        "di_extsize" / Int32ub,
        "di_nextents" / Int32ub,
        "di_anextents" / Int16ub,
        "di_forkoff" / Int8ub,
        "di_aformat" / Int8ub,
        "di_dmevmask" / Int32ub,
        "di_dmstate" / Int16ub,
        "di_flags" / Int16ub,
        "di_gen" / Int32ub,
        "di_next_unlinked" / Int32ub,
    )
)
"""The core. With nrext64, di_big_nextents counts the data fork's extents, and di_nextents those of the attribute fork."""
DINODE3 = Layout(
    Struct(
        "di_crc" / Bytes(4),
        "di_changecount" / Int64ub,
        "di_lsn" / Int64ub,
        "di_flags2" / Int64ub,
        "di_cowextsize" / Int32ub,
        Padding(12),
        "di_crtime_sec" / Int32sb,
        "di_crtime_nsec" / Int32ub,
        "di_ino" / Int64ub,
        "di_uuid" / Bytes(16),
    )
)
"""Follows the core in version 3, which filesystems of version 5 have."""
CORE_SIZES = {1: DINODE.size, 2: DINODE.size, 3: DINODE.size + DINODE3.size}
EXTENT_SIZE = 16
BMDR_HEADER = 4  # bytes of a B+tree's root in an inode: bb_level, bb_numrecs
BMAP_MAGICS = (b"BMAP", b"BMA3")
MAX_BMAP_LEVELS = 9
MODE_TYPES = {0x1000: "p", 0x2000: "c", 0x4000: "d", 0x6000: "b", 0x8000: "f", 0xA000: "l", 0xC000: "s"}
BIGTIME_EPOCH = 1 << 31  # seconds before 1970 from which bigtime counts nanoseconds
SECOND = 1_000_000_000


class InodeRecord(NamedTuple):
    """An inode as it stands on the disk; `fork` and `attr_fork` are the bytes of its two forks."""

    mode: int
    format: int
    uid: int
    gid: int
    size: int
    links: int
    extents: int
    attr_format: int
    attr_extents: int
    flags: int
    generation: int
    mtime: int
    atime: int
    ctime: int
    crtime: int | None
    fork: bytes
    fork_at: int
    attr_fork: bytes
    attr_fork_at: int
    number: int | None
    """Its own number as it tells it; None in version 1 and 2."""
    changes: int | None
    """How many transactions changed its core; None in version 1 and 2."""

    @property
    def type(self) -> str:
        """f d l c b p s, or `?`."""
        return MODE_TYPES.get(self.mode & 0xF000, "?")


def parse_inode(raw: Buffer) -> InodeRecord:
    """An inode of the filesystem's inode size. Raises FormatError where it is none, or where the kernel would not believe it."""
    if len(raw) < CORE_SIZES[2]:
        raise FormatError("the inode is cut off", offset=len(raw))
    d = DINODE.fields(raw)
    version = d["di_version"]
    if d["di_magic"] != MAGIC or version not in CORE_SIZES or len(raw) <= CORE_SIZES[version]:
        raise FormatError(f"no inode: magic is {d['di_magic']:#06x}, version {version}", offset=0)
    core = CORE_SIZES[version]
    flags2, crtime, number, changes = 0, None, None, None
    if version == 3:
        e = DINODE3.fields(raw, DINODE.size)
        flags2, number, changes = e["di_flags2"], e["di_ino"], e["di_changecount"]
        crtime = nanoseconds(e["di_crtime_sec"], e["di_crtime_nsec"], flags2)
    if d["di_size"] < 0:
        raise FormatError(f"di_size is {d['di_size']}", offset=DINODE.offset_of("di_size"))
    split = d["di_forkoff"] * 8
    if split and core + split >= len(raw):
        raise FormatError(f"di_forkoff is {d['di_forkoff']}", offset=DINODE.offset_of("di_forkoff"))
    wide = bool(flags2 & InodeFlag2.NREXT64)
    return InodeRecord(
        mode=d["di_mode"],
        format=d["di_format"],
        uid=d["di_uid"],
        gid=d["di_gid"],
        size=d["di_size"],
        links=d["di_onlink"] if version == 1 else d["di_nlink"],
        extents=d["di_big_nextents"] if wide else d["di_nextents"],
        attr_format=d["di_aformat"],
        attr_extents=d["di_nextents"] if wide else d["di_anextents"],
        flags=d["di_flags"],
        generation=d["di_gen"],
        mtime=nanoseconds(d["di_mtime_sec"], d["di_mtime_nsec"], flags2),
        atime=nanoseconds(d["di_atime_sec"], d["di_atime_nsec"], flags2),
        ctime=nanoseconds(d["di_ctime_sec"], d["di_ctime_nsec"], flags2),
        crtime=crtime,
        fork=bytes(raw[core : core + split] if split else raw[core:]),
        fork_at=core,
        attr_fork=bytes(raw[core + split :]) if split else b"",
        attr_fork_at=core + split,
        number=number,
        changes=changes,
    )


def lost_directory(number: int, size: int, has_crc: bool) -> bytes:
    """An inode to stand in for a directory's that is lost: an empty short form, and nothing else known."""
    inode = bytearray(size)
    struct.pack_into(">HHBB", inode, 0, MAGIC, 0x4000, 3 if has_crc else 2, Format.LOCAL)
    struct.pack_into(">I", inode, DINODE.offset_of("di_nlink"), 2)
    struct.pack_into(">q", inode, DINODE.offset_of("di_size"), 6)
    if has_crc:
        struct.pack_into(">Q", inode, DINODE.size + DINODE3.offset_of("di_ino"), number)
    return bytes(inode)


def nanoseconds(seconds: int, fraction: int, flags2: int) -> int:
    """A time from its two words, which bigtime takes as one number of nanoseconds since 1901."""
    if flags2 & InodeFlag2.BIGTIME:
        return ((seconds & 0xFFFFFFFF) << 32 | fraction) - BIGTIME_EPOCH * SECOND
    return seconds * SECOND + fraction


def device(fork: bytes) -> tuple[int, int]:
    """A device's (major, minor) from its data fork."""
    value = int.from_bytes(fork[:4], "big")
    return value >> 18 & 0x3FFF, value & 0x3FFFF


class ExtentColumns(NamedTuple):
    """Extent records in columns: first block of the file, first filesystem block, how many blocks, whether unwritten."""

    logical: NDArray[np.int64]
    start: NDArray[np.int64]
    count: NDArray[np.int64]  # type: ignore[assignment] # nobody misses tuple.count
    unwritten: NDArray[np.bool_]


def parse_extents(data: Buffer, count: int) -> ExtentColumns:
    """Packed extent records; from the highest bit: a flag, 54 bits of logical block, 52 of filesystem block, 21 of length."""
    words = np.frombuffer(data, ">u8", 2 * count).reshape(count, 2)
    return split_extents(words[:, 0].astype(np.uint64), words[:, 1].astype(np.uint64))


def split_extents(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> ExtentColumns:
    """The fields of extent records, given their two halves."""
    return ExtentColumns(
        (high >> np.uint64(9) & np.uint64((1 << 54) - 1)).astype(np.int64),
        ((high & np.uint64(0x1FF)) << np.uint64(43) | low >> np.uint64(21)).astype(np.int64),
        (low & np.uint64(0x1FFFFF)).astype(np.int64),
        high >> np.uint64(63) != 0,
    )


class MapNode(NamedTuple):
    """A node of a fork's B+tree: extents where level is 0, else the filesystem blocks of its children."""

    level: int
    extents: ExtentColumns | None
    children: tuple[int, ...]


def parse_map_root(fork: bytes) -> MapNode:
    """The root of a fork's B+tree, in the fork itself. Raises FormatError."""
    if len(fork) < BMDR_HEADER:
        raise FormatError("the fork has no room for a B+tree", offset=0)
    level, count = int.from_bytes(fork[0:2], "big"), int.from_bytes(fork[2:4], "big")
    room = (len(fork) - BMDR_HEADER) // 16
    if not 1 <= level <= MAX_BMAP_LEVELS or not 0 < count <= room:
        raise FormatError(f"a B+tree root of level {level} with {count} records where {room} fit", offset=0)
    return MapNode(level, None, _pointers(fork, BMDR_HEADER + 8 * room, count))


def parse_map_block(data: Buffer, level: int, has_crc: bool) -> MapNode:
    """A block of a fork's B+tree that stands `level` levels above the leaves. Raises FormatError where it is none."""
    header = LONG_CRC_SIZE if has_crc else LONG_BLOCK.size
    if len(data) < header:
        raise FormatError("a block of the extent map is cut off")
    magic, found, count, _, _ = LONG_BLOCK.unpack(data)
    if magic != BMAP_MAGICS[has_crc] or found != level:
        raise FormatError(f"no block of level {level} of an extent map", offset=0)
    room = (len(data) - header) // EXTENT_SIZE
    if not 0 < count <= room:
        raise FormatError(f"a block of the extent map with {count} records where {room} fit", offset=6)
    if level:
        return MapNode(level, None, _pointers(data, header + 8 * room, count))
    return MapNode(0, parse_extents(data[header : header + EXTENT_SIZE * count], count), ())


def _pointers(data: Buffer, at: int, count: int) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[i : i + 8], "big") for i in range(at, at + 8 * count, 8))
