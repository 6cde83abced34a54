"""The block maps of many files at once, where they are as simple as nearly all are: up to four extents in the inode itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.blocks import Runs
from forensics.filesystems.ext4.geometry import Geometry
from forensics.filesystems.ext4.inodes import Rows, records
from parsers.ext4_inode import BLOCK_AT, EXTENT_MAGIC, IN_INODE, MAX_INITIALISED, InodeFlag

LEAVES = 4  # extents that i_block has room for
PLAIN = InodeFlag.EXTENTS | InodeFlag.INLINE_DATA | InodeFlag.ENCRYPT  # of these, a plain file has the first only
TYPE_BITS, REGULAR = 0xF000, 0x8000


def leaf_runs(rows: Rows, geometry: Geometry) -> tuple[Runs, NDArray[np.bool_]]:
    """The runs of all raw inodes whose extent tree is one sound leaf, and which rows these are."""
    words = np.ascontiguousarray(rows[:, BLOCK_AT : BLOCK_AT + IN_INODE]).view("<u4")
    entries = (words[:, 0] >> 16).astype(np.int64)
    simple = (words[:, 0] & 0xFFFF == EXTENT_MAGIC) & (words[:, 1] >> 16 == 0)
    simple &= (entries <= LEAVES) & (entries <= (words[:, 1] & 0xFFFF))
    leaves = words[:, 3:].reshape(-1, LEAVES, 3)
    logical = leaves[:, :, 0].astype(np.int64)
    length = (leaves[:, :, 1] & 0xFFFF).astype(np.int64)
    physical = leaves[:, :, 2].astype(np.int64) | (leaves[:, :, 1] >> 16).astype(np.int64) << 32
    unwritten = length > MAX_INITIALISED
    count = length - unwritten * MAX_INITIALISED
    used = np.arange(LEAVES) < entries[:, None]
    superblock = geometry.superblock
    good = (count > 0) & (physical > superblock.first_data_block) & (physical + count <= superblock.blocks_count)
    good[:, 1:] &= logical[:, 1:] >= logical[:, :-1] + count[:, :-1]
    good &= logical + count <= 1 << 32
    simple &= (good | ~used).all(axis=1)
    wanted = used & simple[:, None]
    owner = np.nonzero(wanted)[0]
    return Runs(owner, logical[wanted], count[wanted], physical[wanted], unwritten[wanted]), simple


def file_runs(rows: Rows, geometry: Geometry) -> tuple[Runs, NDArray[np.bool_]]:
    """As leaf_runs, of regular files only; runs are cut at the block that holds the file's end."""
    inode = records(rows)
    runs, simple = leaf_runs(rows, geometry)
    simple &= (inode["i_mode"] & TYPE_BITS == REGULAR) & (inode["i_flags"] & PLAIN == InodeFlag.EXTENTS)
    size = inode["i_size_lo"].astype(np.int64) | (inode["i_size_high"] & 0x7FFFFFFF).astype(np.int64) << 32
    left = (-(-size // geometry.superblock.block_size))[runs.owner] - runs.logical
    kept = simple[runs.owner] & (left > 0)
    count = np.minimum(runs.count, left)[kept]
    return Runs(runs.owner[kept], runs.logical[kept], count, runs.physical[kept], runs.unwritten[kept]), simple
