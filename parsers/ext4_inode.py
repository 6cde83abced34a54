"""The inodes, extents and directory entries of ext2, ext3 and ext4.

Source: Linux 6.12, fs/ext4/ext4.h, ext4_extents.h, inode.c. All integers are little-endian.
"""

from __future__ import annotations

from typing import NamedTuple

from construct import Bytes, Int8ul, Int16ul, Int32sl, Int32ul, Padding, Struct

from parsers.errors import FormatError
from parsers.ext4 import GOOD_OLD_INODE_SIZE
from parsers.layout import Buffer, Layout

IN_INODE = 60  # bytes of i_block
EXTENT_MAGIC = 0xF30A
MAX_EXTENT_DEPTH = 5
MAX_INITIALISED = 32768  # blocks; an ee_len above it is an unwritten extent of ee_len - 32768 blocks


class InodeFlag:
    """i_flags, as far as reading depends on it; plain integers, for they are tested once for every file."""

    ENCRYPT = 0x800
    INDEX = 0x1000
    EXTENTS = 0x80000
    VERITY = 0x100000
    EA_INODE = 0x200000
    INLINE_DATA = 0x10000000
    CASEFOLD = 0x40000000


INODE = Layout(
    Struct(
        "i_mode" / Int16ul,
        "i_uid" / Int16ul,
        "i_size_lo" / Int32ul,
        "i_atime" / Int32sl,
        "i_ctime" / Int32sl,
        "i_mtime" / Int32sl,
        "i_dtime" / Int32ul,
        "i_gid" / Int16ul,
        "i_links_count" / Int16ul,
        "i_blocks_lo" / Int32ul,
        "i_flags" / Int32ul,
        "i_version" / Int32ul,
        "i_block" / Bytes(60),
        "i_generation" / Int32ul,
        "i_file_acl_lo" / Int32ul,
        "i_size_high" / Int32ul,
        "i_obso_faddr" / Int32ul,
        "i_blocks_high" / Int16ul,
        "i_file_acl_high" / Int16ul,
        "i_uid_high" / Int16ul,
        "i_gid_high" / Int16ul,
        "i_checksum_lo" / Int16ul,
        Padding(2),
    )
)
BLOCK_AT = INODE.offset_of("i_block")
INODE_EXTRA = Layout(
    Struct(
        "i_extra_isize" / Int16ul,
        "i_checksum_hi" / Int16ul,
        "i_ctime_extra" / Int32ul,
        "i_mtime_extra" / Int32ul,
        "i_atime_extra" / Int32ul,
        "i_crtime" / Int32sl,
        "i_crtime_extra" / Int32ul,
        "i_version_hi" / Int32ul,
        "i_projid" / Int32ul,
    )
)
"""Follows INODE where s_inode_size is more than 128. A field is there only if i_extra_isize reaches its end."""
EXTRA_ENDS = {"i_ctime_extra": 8, "i_mtime_extra": 12, "i_atime_extra": 16, "i_crtime": 20, "i_crtime_extra": 24}
"""The least i_extra_isize with which a field is there."""

EXTENT_HEADER = Layout(
    Struct("eh_magic" / Int16ul, "eh_entries" / Int16ul, "eh_max" / Int16ul, "eh_depth" / Int16ul, "eh_generation" / Int32ul)
)
EXTENT = Layout(Struct("ee_block" / Int32ul, "ee_len" / Int16ul, "ee_start_hi" / Int16ul, "ee_start_lo" / Int32ul))
EXTENT_INDEX = Layout(Struct("ei_block" / Int32ul, "ei_leaf_lo" / Int32ul, "ei_leaf_hi" / Int16ul, Padding(2)))
DIR_ENTRY = Layout(Struct("inode" / Int32ul, "rec_len" / Int16ul, "name_len" / Int8ul, "file_type" / Int8ul))
DIR_ENTRY_TYPES = (None, "f", "d", "c", "b", "p", "s", "l")
MODE_TYPES = {0x1000: "p", 0x2000: "c", 0x4000: "d", 0x6000: "b", 0x8000: "f", 0xA000: "l", 0xC000: "s"}


class InodeRecord(NamedTuple):
    """An inode as it stands on the disk, its split fields joined; crtime is None where there is no room for one."""

    mode: int
    uid: int
    gid: int
    size: int
    links: int
    sectors: int
    flags: int
    block: bytes
    generation: int
    file_acl: int
    dtime: int
    atime: int
    mtime: int
    ctime: int
    crtime: int | None
    extra_isize: int

    @property
    def type(self) -> str:
        """f d l c b p s, or `?`."""
        return MODE_TYPES.get(self.mode & 0xF000, "?")


def parse_inode(raw: Buffer, large_directories: bool = False) -> InodeRecord:
    """An inode of the filesystem's inode size. Raises FormatError where the kernel would not believe it (inode.c __ext4_iget)."""
    (mode, uid, size, atime, ctime, mtime, dtime, gid, links, blocks, flags, _version, block, generation, acl, size_hi, _faddr,
     blocks_hi, acl_hi, uid_hi, gid_hi, _checksum) = INODE.unpack(raw)  # fmt: skip
    extra_isize = 0
    crtime: int | None = None
    atime_extra = ctime_extra = mtime_extra = 0
    if len(raw) > GOOD_OLD_INODE_SIZE:
        extra_isize, _, c, m, a, created, created_extra, _, _ = INODE_EXTRA.unpack(raw, GOOD_OLD_INODE_SIZE)
        if extra_isize > len(raw) - GOOD_OLD_INODE_SIZE or extra_isize & 3:
            raise FormatError(f"i_extra_isize is {extra_isize}", offset=GOOD_OLD_INODE_SIZE)
        there = extra_isize or INODE_EXTRA.size  # none was ever set: the kernel takes all
        ctime_extra = c if there >= EXTRA_ENDS["i_ctime_extra"] else 0
        mtime_extra = m if there >= EXTRA_ENDS["i_mtime_extra"] else 0
        atime_extra = a if there >= EXTRA_ENDS["i_atime_extra"] else 0
        if there >= EXTRA_ENDS["i_crtime"]:
            crtime = nanoseconds(created, created_extra if there >= EXTRA_ENDS["i_crtime_extra"] else 0)
    if mode & 0xF000 == 0x8000 or large_directories:
        size |= size_hi << 32
        if size >> 63:
            raise FormatError(f"i_size is {size}", offset=4)
    return InodeRecord(
        mode, uid | uid_hi << 16, gid | gid_hi << 16, size, links, blocks | blocks_hi << 32, flags, block, generation,
        acl | acl_hi << 32, dtime, nanoseconds(atime, atime_extra), nanoseconds(mtime, mtime_extra),
        nanoseconds(ctime, ctime_extra), crtime, extra_isize,
    )  # fmt: skip


def nanoseconds(seconds: int, extra: int) -> int:
    """A time from its signed 32-bit seconds and its extra field: two bits that count 2^32 seconds, thirty of nanoseconds."""
    return (seconds + ((extra & 3) << 32)) * 1_000_000_000 + (extra >> 2)


def device(block: bytes) -> tuple[int, int]:
    """A device's (major, minor) from its i_block: the old 16-bit encoding in the first word, else the new one in the second."""
    old, new = int.from_bytes(block[0:4], "little"), int.from_bytes(block[4:8], "little")
    if old:
        return old >> 8 & 0xFF, old & 0xFF
    return (new & 0xFFF00) >> 8, (new & 0xFF) | (new >> 12 & 0xFFF00)


class Run(NamedTuple):
    """Consecutive blocks of a file, all numbers in blocks: first one in the file, how many, first one on the disk."""

    logical: int
    count: int  # type: ignore[assignment] # nobody misses tuple.count
    physical: int
    unwritten: bool


class ExtentNode(NamedTuple):
    """One node of an extent tree: runs in a leaf (depth 0), else (first logical block, block of the child node) pairs."""

    depth: int
    runs: list[Run]
    children: list[tuple[int, int]]


def parse_extent_node(data: Buffer, depth: int | None = None) -> ExtentNode:
    """An extent tree's node: i_block or a block. Raises FormatError where the header is not that of a node of this depth."""
    magic, entries, capacity, found, _ = EXTENT_HEADER.unpack(data)
    if magic != EXTENT_MAGIC:
        raise FormatError(f"no extent node: magic is {magic:#06x}", offset=0)
    if found > MAX_EXTENT_DEPTH or (depth is not None and found != depth):
        raise FormatError(f"extent node has depth {found}" + ("" if depth is None else f" where {depth} is due"), offset=6)
    if entries > capacity or EXTENT_HEADER.size + entries * EXTENT.size > len(data):
        raise FormatError(f"extent node has {entries} entries where {capacity} fit", offset=2)
    offsets = range(EXTENT_HEADER.size, EXTENT_HEADER.size + entries * EXTENT.size, EXTENT.size)
    if found:
        indexes = (EXTENT_INDEX.unpack(data, at) for at in offsets)
        return ExtentNode(found, [], [(block, high << 32 | low) for block, low, high in indexes])
    leaves = (EXTENT.unpack(data, at) for at in offsets)
    return ExtentNode(0, [extent_run(*leaf) for leaf in leaves], [])


def extent_run(block: int, length: int, high: int, low: int) -> Run:
    """A leaf entry's fields as a run."""
    unwritten = length > MAX_INITIALISED
    return Run(block, length - MAX_INITIALISED if unwritten else length, high << 32 | low, unwritten)
