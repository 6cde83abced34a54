"""Directories of XFS: the short form in the inode, and the blocks that hold entries.

A directory's blocks below LEAF_OFFSET hold its entries and are read here; those above only lead to them by hash.

Source: Linux 6.18, fs/xfs/libxfs/xfs_da_format.h, xfs_dir2.h and xfs_dir2_sf.c. All integers are big-endian.
"""

from __future__ import annotations

from construct import Bytes, Int8ub, Int32ub, Struct

from parsers.layout import Buffer, Layout

LEAF_OFFSET = 1 << 35  # bytes; XFS_DIR2_LEAF_OFFSET
BLOCK_MAGICS = (b"XD2B", b"XDB3")
DATA_MAGICS = (b"XD2D", b"XDD3")
HEADER_SIZES = (16, 64)
CRC_AT = 4
"""With checksums, a block's header is: magic, crc, blkno, lsn, uuid, owner; then as without, the best free places."""
OWNER_AT = 40
TAIL = Layout(Struct("count" / Int32ub, "stale" / Int32ub))
"""Ends a directory's only block (BLOCK_MAGICS); before it stand `count` hash entries of 8 bytes."""
HASH_ENTRY_SIZE = 8
FREE_TAG = 0xFFFF
ENTRY_HEAD = 9  # bytes of an entry before its name: inumber, namelen; behind it ftype (if the filesystem has it), padding, tag
TAG_SIZE = 2
SHORT_HEADER = Layout(Struct("count" / Int8ub, "i8count" / Int8ub, "parent" / Bytes(4)))
"""The parent takes 8 bytes where i8count is not 0, and so do all the inode numbers."""
SHORT_ENTRY_HEAD = 3  # bytes of a short form entry before its name: namelen, offset; behind it ftype, inumber
FTYPES = (None, "f", "d", "c", "b", "p", "s", "l", None)


def short_form_parent(fork: Buffer) -> int | None:
    """The directory that a short form directory says it stands in."""
    if len(fork) < SHORT_HEADER.size + 4:
        return None
    return int.from_bytes(fork[2 : 10 if fork[1] else 6], "big") or None


def block_parent(block: Buffer, has_crc: bool) -> int | None:
    """The directory that `..` in a directory's first block names: its second entry."""
    at = HEADER_SIZES[has_crc] + 16
    if bytes(block[at + 8 : at + 11]) != b"\2..":
        return None
    return int.from_bytes(block[at : at + 8], "big") or None
