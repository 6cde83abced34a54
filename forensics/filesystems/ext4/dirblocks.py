"""Directory blocks by the thousand: every block is walked by rec_len, all of them at the same time.

The checks are those of the kernel (fs/ext4/dir.c __ext4_check_dir_entry); a block is left at its first bad entry, as there.
The inner nodes of a hashed directory look like blocks of one empty entry, and checksum tails like an empty entry, so
both are passed over by the same walk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.listing import BlockFault, Found
from forensics.filesystems.bulk.reading import Numbers
from parsers.ext4_inode import DIR_ENTRY, DIR_ENTRY_TYPES

LEAST = 12  # bytes of an entry with a name of one byte
HUGE = 65536
MOST_FAULTS = 1000  # of one kind that are told of blocks walked together
TYPE_CODES = np.zeros(256, np.uint8)
TYPE_CODES[: len(DIR_ENTRY_TYPES)] = [ord(t) if t else 0 for t in DIR_ENTRY_TYPES]
_DOT, _DOT_DOT = 0x2E, 0x2E2E
_HEAD = 0xFFFFFF  # of an entry's second word: rec_len and name_len, without the file type


def begin_directories(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which blocks, one to a row, begin with `.` and `..`, as a directory's first block does.

    What stands behind the names, up to a multiple of four bytes, may be of the block's last use: the kernel does not clear it.
    """
    words = np.ascontiguousarray(data[:, :24]).view("<u4")
    dot = (words[:, 1] & _HEAD == LEAST | 1 << 16) & (words[:, 2] & 0xFF == _DOT)
    own: NDArray[np.bool_] = dot & (words[:, 4] >> 16 & 0xFF == 2) & (words[:, 5] & 0xFFFF == _DOT_DOT)
    return own


def walk_blocks(data: NDArray[np.uint8], limits: Numbers, first: NDArray[np.bool_], inodes: int, has_types: bool = True) -> Found:
    """The entries of blocks, one to a row of `data` (a multiple of 4 bytes wide), of which each is used up to its limit.

    first: which rows are first blocks, where `.` and `..` belong. inodes: the greatest possible inode number.
    """
    count, width = data.shape
    words = data.reshape(-1).view("<u4")
    base = np.arange(count, dtype=np.int64) * (width // 4)
    row = np.flatnonzero(limits > 0)
    position = np.zeros(len(row), np.int64)
    limit = limits[row]
    rows, places, entry_inodes, heads = [], [], [], []
    faults: list[BlockFault] = []
    while len(row):
        at = base[row] + (position >> 2)
        inode = words[at]
        head = words[at + 1]
        length = (head & 0xFFFF).astype(np.int64)
        if width >= HUGE:
            length = np.where((length == 0) | (length == HUGE - 1), HUGE, (length & 0xFFFC) | (length & 3) << 16)
        name_length = (head >> 16 & 0xFF).astype(np.int64)
        after = position + length
        good = (length >= LEAST) & (length & 3 == 0) & (length >= (name_length + 11 & ~3)) & (inode <= inodes)
        good &= (after == limit) | (after <= limit - LEAST)
        if not good.all():
            for i in np.flatnonzero(~good)[:MOST_FAULTS].tolist():
                error = _fault(int(length[i]), int(name_length[i]), int(after[i]), int(limit[i]), int(inode[i]))
                faults.append(BlockFault(int(row[i]), int(position[i]), error))
            row, at, inode, head, after, limit = row[good], at[good], inode[good], head[good], after[good], limit[good]
        live = inode != 0
        rows.append(row[live])
        places.append(at[live])
        entry_inodes.append(inode[live])
        heads.append(head[live])
        more = after < limit
        row, position, limit = row[more], after[more], limit[more]
    if not rows:
        return Found(
            row, np.zeros(0, np.uint32), np.zeros(0, np.uint8), row, np.zeros(0, np.uint8), np.zeros(0, np.uint8), faults
        )
    return _names(data, words, _Live(*map(np.concatenate, (rows, places, entry_inodes, heads))), first, has_types, faults)


class _Live(NamedTuple):
    row: NDArray[np.int64]
    place: NDArray[np.int64]  # in words
    inode: NDArray[np.uint32]
    head: NDArray[np.uint32]


def _names(
    data: NDArray[np.uint8],
    words: NDArray[np.uint32],
    live: _Live,
    first: NDArray[np.bool_],
    has_types: bool,
    faults: list[BlockFault],
) -> Found:
    width = data.shape[1]
    length = (live.head >> 16 & 0xFF).astype(np.int64)
    start = (live.place << 2) + DIR_ENTRY.size
    begin = words[np.minimum(live.place + 2, len(words) - 1)]
    dot = (length == 1) & (begin & 0xFF == _DOT)
    dot_dot = (length == 2) & (begin & 0xFFFF == _DOT_DOT)
    offset = (live.place << 2) % width
    misplaced = (dot | dot_dot) & ~(first[live.row] & (offset <= LEAST))
    for i in np.flatnonzero(misplaced)[:MOST_FAULTS].tolist():
        faults.append(BlockFault(int(live.row[i]), int(offset[i]), "an entry `.` or `..` where none belongs"))
    for i in np.flatnonzero(length == 0)[:MOST_FAULTS].tolist():
        faults.append(BlockFault(int(live.row[i]), int(offset[i]), "an entry without a name"))
    keep = np.flatnonzero(~(dot | dot_dot) & (length > 0))
    row, inode, head, start, length = live.row[keep], live.inode[keep], live.head[keep], start[keep], length[keep]
    ends = np.cumsum(length)
    begins = ends - length
    total = int(ends[-1]) if len(ends) else 0
    names = data.reshape(-1)[np.arange(total) + np.repeat(start - begins, length)]
    bad = np.flatnonzero((names == ord("/")) | (names == 0))
    if len(bad):
        wrong = np.unique(np.searchsorted(ends, bad, "right"))
        for i in wrong[:MOST_FAULTS].tolist():
            faults.append(BlockFault(int(row[i]), int(start[i]) % width - DIR_ENTRY.size, "a name with a `/` or a NUL in it"))
        right = np.ones(len(row), np.bool_)
        right[wrong] = False
        row, inode, head, begins, length = row[right], inode[right], head[right], begins[right], length[right]
    kinds = TYPE_CODES[head >> 24] if has_types else np.zeros(len(row), np.uint8)
    return Found(row, inode, kinds, begins, length.astype(np.uint8), names, faults)


def _fault(length: int, name_length: int, after: int, limit: int, inode: int) -> str:
    if length < LEAST:
        return f"rec_len is {length}, smaller than any entry"
    if length & 3:
        return f"rec_len is {length}, no multiple of 4"
    if length < (name_length + 11 & ~3):
        return f"rec_len is {length}, too small for a name of {name_length} bytes"
    if after > limit:
        return f"an entry of {length} bytes runs over the block's end"
    if after != limit and after > limit - LEAST:
        return "an entry ends too close to the block's end"
    return f"an entry names inode {inode}, more than there are"
