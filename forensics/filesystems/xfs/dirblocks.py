"""Directories by the thousand: blocks of entries, and short forms in inodes, all walked at the same time.

The checks are those of the kernel (fs/xfs/libxfs/xfs_dir2_data.c, xfs_dir2_sf.c); a block is left at its first bad entry.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.listing import BlockFault, Found
from forensics.filesystems.bulk.reading import Numbers
from parsers.xfs_dir import (
    BLOCK_MAGICS,
    DATA_MAGICS,
    ENTRY_HEAD,
    FREE_TAG,
    FTYPES,
    HASH_ENTRY_SIZE,
    HEADER_SIZES,
    SHORT_ENTRY_HEAD,
    SHORT_HEADER,
    TAG_SIZE,
    TAIL,
)

MOST_FAULTS = 1000  # of one kind that are told of blocks walked together
TYPE_CODES = np.zeros(256, np.uint8)
TYPE_CODES[: len(FTYPES)] = [ord(t) if t else 0 for t in FTYPES]
_DOT = 0x2E


class _Live(NamedTuple):
    """Entries found: row, where the name begins in the flat bytes, its length, the inode, the type's byte."""

    row: Numbers
    start: Numbers
    length: Numbers
    inode: Numbers
    kind: NDArray[np.uint8]


def walk_blocks(data: NDArray[np.uint8], has_crc: bool, has_types: bool) -> Found:
    """The entries of directory blocks, one to a row of `data`."""
    width = data.shape[1]
    flat = data.reshape(-1)
    words = flat.view(">u8")
    shorts = flat.view(">u2")
    magics = data[:, :4].copy().view(">u4")[:, 0]
    single = magics == int.from_bytes(BLOCK_MAGICS[has_crc], "big")
    known = single | (magics == int.from_bytes(DATA_MAGICS[has_crc], "big"))
    faults = [BlockFault(row, 0, "no block of directory entries") for row in np.flatnonzero(~known)[:MOST_FAULTS].tolist()]
    header = HEADER_SIZES[has_crc]
    tails = data[:, width - TAIL.size : width - 4].copy().view(">u4")[:, 0].astype(np.int64)
    limits = np.where(single, width - TAIL.size - HASH_ENTRY_SIZE * tails, width)
    short = known & (limits < header)
    for row in np.flatnonzero(short)[:MOST_FAULTS].tolist():
        faults.append(BlockFault(row, width - TAIL.size, f"a directory block with {tails[row]} hash entries"))
    row = np.flatnonzero(known & ~short)
    position = np.full(len(row), header, np.int64)
    limit = limits[row]
    more = position < limit
    row, position, limit = row[more], position[more], limit[more]
    found: list[_Live] = []
    extra = ENTRY_HEAD + int(has_types) + TAG_SIZE + 7
    while len(row):
        base = row * width + position
        at = base >> 3
        free = shorts[base >> 1] == FREE_TAG
        name_length = flat[np.minimum(base + 8, len(flat) - 1)].astype(np.int64)
        length = np.where(free, shorts[(base >> 1) + 1].astype(np.int64), name_length + extra & ~7)
        after = position + length
        good = (length >= 16 - 8 * free) & (length & 7 == 0) & (after <= limit) & (free | (name_length > 0))
        last = np.where(good, base + length - TAG_SIZE, 0) >> 1
        good &= shorts[last] == position
        for i in np.flatnonzero(~good)[:MOST_FAULTS].tolist():
            faults.append(BlockFault(int(row[i]), int(position[i]), f"an entry of {length[i]} bytes cannot be"))
        live = good & ~free
        start = base[live] + ENTRY_HEAD
        size = name_length[live]
        kinds = flat[start + size] if has_types else np.zeros(len(start), np.uint8)
        found.append(_Live(row[live], start, size, words[at[live]].astype(np.int64), kinds))
        keep = good & (after < limit)
        row, position, limit = row[keep], after[keep], limit[keep]
    return _names(flat, width, found, faults)


def walk_short_forms(data: NDArray[np.uint8], limits: Numbers, has_types: bool) -> Found:
    """The entries of directories in inodes, one fork to a row of `data`, each used up to its limit."""
    count, width = data.shape
    flat = np.concatenate([data.reshape(-1), np.zeros(16, np.uint8)])
    wide = data[:, 1] != 0
    left = data[:, 0].astype(np.int64)
    number_size = np.where(wide, 8, 4)
    row = np.arange(count)
    position = SHORT_HEADER.size - 4 + number_size
    kind_size = int(has_types)
    faults: list[BlockFault] = []
    found: list[_Live] = []
    while True:
        more = left[row] > 0
        row, position = row[more], position[more]
        if not len(row):
            break
        left[row] -= 1
        base = row * width + position
        fits = position + SHORT_ENTRY_HEAD < limits[row]
        name_length = flat[np.where(fits, base, 0)].astype(np.int64)
        after = position + SHORT_ENTRY_HEAD + name_length + kind_size + number_size[row]
        good = fits & (name_length > 0) & (after <= limits[row])
        for i in np.flatnonzero(~good)[:MOST_FAULTS].tolist():
            faults.append(BlockFault(int(row[i]), int(position[i]), "an entry that does not fit the inode"))
        row, base, after, size = row[good], base[good], after[good], name_length[good]
        start = base + SHORT_ENTRY_HEAD
        kinds = flat[start + size] if has_types else np.zeros(len(start), np.uint8)
        place = start + size + kind_size
        inode = _numbers(flat, place, wide[row])
        found.append(_Live(row, start, size, inode, kinds))
        position = after
    return _names(flat, width, found, faults)


def _numbers(flat: NDArray[np.uint8], place: Numbers, wide: NDArray[np.bool_]) -> Numbers:
    """Inode numbers of 8 bytes, or of 4 where they are not wide, at any place."""
    every = flat[place[:, None] + np.arange(8)].view(">u8")[:, 0].astype(np.uint64)
    numbers: Numbers = np.where(wide, every, every >> np.uint64(32)).astype(np.int64)
    return numbers


def _names(flat: NDArray[np.uint8], width: int, parts: list[_Live], faults: list[BlockFault]) -> Found:
    """The names gathered, `.` and `..` left out, and those that no name can be."""
    if not parts:
        none: Numbers = np.zeros(0, np.int64)
        return Found(none, none, none.astype(np.uint8), none, none.astype(np.uint8), none.astype(np.uint8), faults)  # type: ignore[arg-type] # inode numbers are 64 bits wide here
    row, start, length, inode, kind = map(np.concatenate, zip(*parts, strict=True))
    first = flat[start]
    second = flat[np.minimum(start + 1, len(flat) - 1)]
    keep = ~((first == _DOT) & ((length == 1) | ((length == 2) & (second == _DOT))))
    row, start, length, inode, kind = row[keep], start[keep], length[keep], inode[keep], kind[keep]
    ends = np.cumsum(length)
    begins = ends - length
    total = int(ends[-1]) if len(ends) else 0
    names = flat[np.arange(total) + np.repeat(start - begins, length)]
    right = (inode > 0) & (inode < 1 << 56)
    for i in np.flatnonzero(~right)[:MOST_FAULTS].tolist():
        faults.append(BlockFault(int(row[i]), int(start[i]) % width, f"an entry names inode {inode[i]}"))
    bad = np.flatnonzero((names == ord("/")) | (names == 0))
    if len(bad):
        wrong = np.unique(np.searchsorted(ends, bad, "right"))
        for i in wrong[:MOST_FAULTS].tolist():
            faults.append(BlockFault(int(row[i]), int(start[i]) % width, "a name with a `/` or a NUL in it"))
        right[wrong] = False
    if not right.all():
        row, inode, kind, begins, length = row[right], inode[right], kind[right], begins[right], length[right]
    return Found(row, inode, TYPE_CODES[kind], begins, length.astype(np.uint8), names, faults)
