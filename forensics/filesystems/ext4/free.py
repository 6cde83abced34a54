"""Which blocks of an ext2, ext3 or ext4 filesystem belong to nothing, by its block bitmaps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers, read_or_nothing
from forensics.filesystems.ext4.geometry import Geometry
from forensics.source import Source
from parsers.ext4 import Incompat, Superblock

Bits = NDArray[np.bool_]


def free_runs(source: Source, geometry: Geometry, problems: ProblemLog) -> tuple[Numbers, Numbers]:
    """The free blocks as runs, ascending: first blocks, and those behind the last ones.

    A group whose bitmap is lost has no free blocks, and a problem.
    """
    starts: list[Numbers] = []
    ends: list[Numbers] = []
    for first, used in _groups(source, geometry, problems):
        edges = np.flatnonzero(np.diff(np.concatenate([[True], used, [True]]).view(np.int8)))
        starts.append(first + edges[::2])
        ends.append(first + edges[1::2])
    start, end = np.concatenate([*starts, np.zeros(0, np.int64)]), np.concatenate([*ends, np.zeros(0, np.int64)])
    apart = np.append(True, start[1:] != end[:-1])[: len(start)]
    return start[apart], end[np.append(apart[1:], True)[: len(end)]]


def used_blocks(bitmap: bytes, superblock: Superblock, first: int) -> Bits:
    """One group's bitmap as a bool for every block, from block `first` on to the group's or the filesystem's end."""
    count = min(superblock.blocks_per_group, superblock.blocks_count - first)
    ratio = superblock.cluster_size // superblock.block_size
    raw = np.frombuffer(bitmap, np.uint8)[: -(-count // (8 * ratio))]
    bits: Bits = np.unpackbits(raw, bitorder="little").view(np.bool_)
    bits = np.repeat(bits, ratio)[:count] if ratio > 1 else bits[:count]
    return np.append(bits, np.ones(count - len(bits), np.bool_)) if len(bits) < count else bits


def _groups(source: Source, geometry: Geometry, problems: ProblemLog) -> Iterator[tuple[int, Bits]]:
    """Each group's first block and which of its blocks are used."""
    s = geometry.superblock
    metadata = _metadata(geometry)
    for group in range(s.groups):
        first = s.first_data_block + group * s.blocks_per_group
        count = min(s.blocks_per_group, s.blocks_count - first)
        if geometry.unwritten[group]:
            yield first, _only_metadata(geometry, metadata, group, first, count)
            continue
        block = int(geometry.block_bitmaps[group])
        bitmap = read_or_nothing(source, block * s.block_size, s.block_size) if block >= 0 else b""
        if len(bitmap) < s.block_size:
            problems.add("block bitmap", f"block group {group}", "cannot be read; its blocks are taken for used", None)
            yield first, np.ones(count, np.bool_)
            continue
        yield first, used_blocks(bitmap, s, first)


def _metadata(geometry: Geometry) -> tuple[Numbers, Numbers]:
    """The bitmaps and inode tables of all groups as runs, sorted; with flex_bg they stand in other groups than their own."""
    s = geometry.superblock
    tables = geometry.tables[geometry.tables >= 0] // s.block_size
    bitmaps = np.concatenate([geometry.block_bitmaps, geometry.inode_bitmaps])
    bitmaps = bitmaps[bitmaps >= 0]
    length = -(-s.inodes_per_group * s.inode_size // s.block_size)
    starts = np.concatenate([tables, bitmaps])
    ends = np.concatenate([tables + length, bitmaps + 1])
    order = np.argsort(starts, kind="stable")
    return starts[order], ends[order]


def _only_metadata(geometry: Geometry, metadata: tuple[Numbers, Numbers], group: int, first: int, count: int) -> Bits:
    """A group whose bitmap was never written: balloc.c ext4_init_block_bitmap says what that would hold."""
    s = geometry.superblock
    used = np.zeros(count, np.bool_)
    used[: _base_blocks(s, group)] = True
    starts, ends = metadata
    for at in range(int(np.searchsorted(ends, first, "right")), int(np.searchsorted(starts, first + count))):
        used[max(0, int(starts[at]) - first) : max(0, int(ends[at]) - first)] = True
    ratio = s.cluster_size // s.block_size
    if ratio > 1:
        clusters = np.pad(used, (0, -count % ratio)).reshape(-1, ratio).any(axis=1)
        used = np.repeat(clusters, ratio)[:count]
    return used


def _base_blocks(s: Superblock, group: int) -> int:
    """How many blocks a superblock and descriptors take at the start of a group; balloc.c ext4_num_base_meta_blocks."""
    own = 1 if s.has_superblock(group) else 0
    per_block = s.block_size // s.descriptor_size
    if not s.incompat & Incompat.META_BG or group < s.first_meta_bg * per_block:
        blocks = s.first_meta_bg if s.incompat & Incompat.META_BG else -(-s.groups // per_block)
        return own and own + blocks + s.reserved_descriptor_blocks
    return own + (1 if group % per_block in (0, 1, per_block - 1) else 0)
