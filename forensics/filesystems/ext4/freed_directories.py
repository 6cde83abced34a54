"""Names in directory blocks that were freed with their directory.

What the kernel takes out of a directory that it removes with all that is in it never reaches the disk: the block is freed before,
and a revoke record names it. It holds what it held when the journal's ring began, if no transaction in the ring changed it before
that one.
"""

from __future__ import annotations

import numpy as np

from forensics.filesystems.bulk.reading import read_or_nothing
from forensics.filesystems.ext4.dirblocks import begin_directories, walk_blocks
from forensics.filesystems.ext4.history import History
from forensics.filesystems.ext4.inodes import InodeTables
from forensics.filesystems.ext4.past_inodes import States
from forensics.filesystems.ext4.past_names import DIRECTORY
from forensics.filesystems.past.paths import BEFORE, Name
from parsers.crc32c import crc32c
from parsers.ext4 import Incompat
from parsers.ext4_inode import DIR_ENTRY

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
        table = np.frombuffer(data, np.uint8).reshape(1, -1)
        if len(data) < size or not begin_directories(table)[0]:
            continue
        (number,) = DIR_ENTRY.unpack(data)[:1]
        fitting = (own for own in _removed_at(states, number, moment) if _is_sound(data, number, own, tables.geometry.seed))
        generation = next(fitting, None)
        if generation is None:
            continue
        found = walk_blocks(table, np.array([size]), np.ones(1, np.bool_), tables.count, has_types)
        for inode, start, length in zip(found.inode.tolist(), found.start.tolist(), found.length.tolist(), strict=True):
            name = found.names[start : start + length].tobytes()
            names.setdefault(inode, []).append(Name(BEFORE, moment - 1, number, generation, name))


def _removed_at(states: States, number: int, moment: int) -> list[int]:
    """The generations that the directory of this number may have had that went in a transaction; another may have its inode."""
    first, last = np.searchsorted(states.number, [number, number + 1])
    began, ended, gone = states.first[first:last], states.last[first:last], states.columns.type[first:last] == 0
    was = (began < moment) & (ended == moment - 1) & (states.columns.type[first:last] == DIRECTORY)
    rows = np.flatnonzero(((began == moment) & gone) | was) + first
    return sorted(set(states.generation[rows].tolist()))


def _is_sound(data: bytes, number: int, generation: int, seed: int | None) -> bool:
    """Whether the block's checksum is that of this directory (dirent tail, namei.c ext4_dirblock_csum)."""
    if seed is None:
        return True
    if data[-TAIL + 4 : -4] != bytes([TAIL, 0, 0, TAIL_TYPE]):
        return False
    own = crc32c(number.to_bytes(4, "little") + generation.to_bytes(4, "little"), seed)
    return crc32c(data[:-TAIL], own) == int.from_bytes(data[-4:], "little")
