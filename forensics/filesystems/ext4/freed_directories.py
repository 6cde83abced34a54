"""Names in directory blocks that were freed with their directory.

What the kernel takes out of a directory that it removes with all that is in it never reaches the disk: the block is freed before,
and a revoke record names it. It holds what it held when the journal's ring began, if no transaction in the ring changed it before
that one.
"""

from __future__ import annotations

import numpy as np

from forensics.filesystems.ext4.dirblocks import walk_blocks
from forensics.filesystems.ext4.history import History
from forensics.filesystems.ext4.inodes import InodeTables
from forensics.filesystems.ext4.past_inodes import States
from forensics.filesystems.ext4.reading import read_or_nothing
from forensics.filesystems.past.paths import BEFORE, Name
from parsers.crc32c import crc32c
from parsers.ext4 import Incompat
from parsers.ext4_inode import DIR_ENTRY

DOT = 12 | 1 << 16 | 2 << 24
"""The words that `.` begins with behind its inode: rec_len, name_len, file_type."""
TAIL = 12  # bytes of a block's checksum, an entry of inode 0 whose file_type is 0xDE
TAIL_TYPE = 0xDE


def read_freed_names(history: History, states: States, tables: InodeTables, names: dict[int, list[Name]]) -> None:
    """Add the names that freed directory blocks hold, as those that their directories had up to their removal."""
    has_types = bool(tables.geometry.superblock.incompat & Incompat.FILETYPE)
    size = history.block_size
    for block, moment in history.revoked.tolist():
        if history.at(block, moment - 1) is not None:
            continue  # the journal has the block as it was before
        data = read_or_nothing(history.source, block * size, size)
        if len(data) < size or not _begins_directory(data):
            continue
        (number,) = DIR_ENTRY.unpack(data)[:1]
        generation = _removed_at(states, number, moment)
        if generation is None or not _is_sound(data, number, generation, tables.geometry.seed):
            continue
        table = np.frombuffer(data, np.uint8).reshape(1, -1)
        found = walk_blocks(table, np.array([size]), np.ones(1, np.bool_), tables.count, has_types)
        for inode, start, length in zip(found.inode.tolist(), found.start.tolist(), found.length.tolist(), strict=True):
            name = found.names[start : start + length].tobytes()
            names.setdefault(inode, []).append(Name(BEFORE, moment - 1, number, generation, name))


def _begins_directory(data: bytes) -> bool:
    return int.from_bytes(data[4:8], "little") == DOT and data[8:9] == b"." and data[9:12].count(0) == 3


def _removed_at(states: States, number: int, moment: int) -> int | None:
    """The generation of the directory of this number that went in a transaction."""
    first, last = np.searchsorted(states.number, [number, number + 1])
    rows = np.flatnonzero((states.first[first:last] == moment) & (states.columns.type[first:last] == 0)) + first
    return int(states.generation[rows[0]]) if len(rows) else None


def _is_sound(data: bytes, number: int, generation: int, seed: int | None) -> bool:
    """Whether the block's checksum is that of this directory (dirent tail, namei.c ext4_dirblock_csum)."""
    if seed is None:
        return True
    if data[-TAIL + 4 : -4] != bytes([TAIL, 0, 0, TAIL_TYPE]):
        return False
    own = crc32c(number.to_bytes(4, "little") + generation.to_bytes(4, "little"), seed)
    return crc32c(data[:-TAIL], own) == int.from_bytes(data[-4:], "little")
