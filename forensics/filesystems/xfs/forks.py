"""Where the blocks of an inode's forks stand: extents in the inode, and B+trees of them.

Blocks count from the filesystem's start, and not by allocation group as on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.blocks import BlockMap, Damage, Runs
from forensics.filesystems.bulk.reading import Numbers, read_exactly
from forensics.filesystems.xfs.columns import extent_counts
from forensics.filesystems.xfs.geometry import Geometry
from forensics.filesystems.xfs.inodes import Rows
from forensics.source import Source
from parsers.errors import FormatError
from parsers.ext4_inode import Run
from parsers.xfs import LONG_CRC_AT, crc_holds
from parsers.xfs_inode import (
    CORE_SIZES,
    EXTENT_SIZE,
    ExtentColumns,
    Format,
    InodeRecord,
    parse_extents,
    parse_map_block,
    parse_map_root,
    split_extents,
)

NO_END = 1 << 54  # beyond the last logical block that any fork can have
MOST_RUNS = 1 << 21  # of one file: a map of more is made to fill the memory
BATCH = 1 << 14  # inodes whose extents are decoded at the same time


def data_map(source: Source, geometry: Geometry, record: InodeRecord, offset: int) -> BlockMap:
    """The runs of a data fork in logical order; `offset` is where its inode stands in the source."""
    return _fork_map(source, geometry, record.format, record.fork, record.extents, offset + record.fork_at)


def attr_map(source: Source, geometry: Geometry, record: InodeRecord, offset: int) -> BlockMap:
    """The runs of an attribute fork."""
    return _fork_map(source, geometry, record.attr_format, record.attr_fork, record.attr_extents, offset + record.attr_fork_at)


def _fork_map(source: Source, geometry: Geometry, kind: int, fork: bytes, count: int, offset: int) -> BlockMap:
    damage: list[Damage] = []
    if kind == Format.EXTENTS:
        room = len(fork) // EXTENT_SIZE
        if count > room:
            damage.append(Damage(0, NO_END, f"{count} extents in an inode where {room} fit", offset))
        parts = [(parse_extents(fork, min(count, room)), offset)]
    elif kind == Format.BTREE:
        parts = list(_leaves(source, geometry, fork, offset, damage))
    else:
        raise FormatError(f"a fork of format {kind} where one of blocks is due", source.name, offset)
    runs: list[Run] = []
    end = 0
    for extents, place in parts:
        good, part_end = _good(extents, geometry, end)
        if not good.all():
            damage += _bad(extents, good, place)
        physical = geometry.blocks(extents.start[good], extents.count[good])
        columns = (extents.logical[good], extents.count[good], physical, extents.unwritten[good])
        runs += map(Run._make, zip(*(column.tolist() for column in columns), strict=True))
        end = max(end, part_end)
    return BlockMap(runs, damage)


def _good(extents: ExtentColumns, geometry: Geometry, end: int) -> tuple[NDArray[np.bool_], int]:
    """Which extents are sound and follow what ended at `end` in the file, and where they end."""
    good = (extents.count > 0) & (geometry.blocks(extents.start, extents.count) >= 0)
    ends = np.where(good, extents.logical + extents.count, 0)
    before = np.maximum.accumulate(np.concatenate([[end], ends]))
    good &= extents.logical >= before[:-1]
    return good, int(before[-1])


def _bad(extents: ExtentColumns, good: NDArray[np.bool_], offset: int) -> Iterator[Damage]:
    bad = np.flatnonzero(~good)
    first = int(bad[0])
    error = f"extent {first} of {extents.count[first]} blocks at filesystem block {extents.start[first]} cannot be"
    yield Damage(int(extents.logical[bad].min()), int((extents.logical[bad] + extents.count[bad]).max()), error, offset)


def _leaves(
    source: Source, geometry: Geometry, fork: bytes, offset: int, damage: list[Damage]
) -> Iterator[tuple[ExtentColumns, int]]:
    """The extents of a B+tree in order, each with the place of its leaf; what cannot be read goes to `damage`."""
    s = geometry.superblock
    try:
        root = parse_map_root(fork)
    except FormatError as error:
        damage.append(Damage(0, NO_END, error.what, offset))
        return
    pending = [(child, root.level - 1) for child in reversed(root.children)]
    seen: set[int] = set()
    count = 0
    while pending:
        number, level = pending.pop()
        block = geometry.block(number)
        if block is None or number in seen:
            damage.append(Damage(0, NO_END, f"block {number} of the extent map is out of place", offset))
            continue
        seen.add(number)
        place = block * s.block_size
        try:
            data = read_exactly(source, place, s.block_size)
            node = parse_map_block(data, level, s.has_crc)
        except FormatError as error:
            damage.append(Damage(0, NO_END, error.what, place))
            continue
        if s.has_crc and not crc_holds(data, LONG_CRC_AT):
            damage.append(Damage(0, 0, "the checksum of a block of the extent map is wrong", place))
        if node.extents is not None:
            count += len(node.extents.logical)
            if count > MOST_RUNS:
                damage.append(Damage(0, NO_END, f"the file is in more than {MOST_RUNS} pieces", place))
                return
            yield node.extents, place
        pending += [(child, level - 1) for child in reversed(node.children)]


def leaf_runs(rows: Rows, inode: NDArray[np.void], geometry: Geometry) -> tuple[Runs, NDArray[np.bool_]]:
    """The runs of all raw inodes whose data fork is a sound list of extents, and which rows these are."""
    core = CORE_SIZES[3 if geometry.superblock.has_crc else 2]
    room = (rows.shape[1] - core) // EXTENT_SIZE
    counts = extent_counts(inode)
    split = inode["di_forkoff"].astype(np.int64) * 8
    simple = (inode["di_format"] == Format.EXTENTS) & (counts <= np.where(split, split // EXTENT_SIZE, room))
    parts = []
    for width, rows_at in _by_width(counts, simple):
        words = np.ascontiguousarray(rows[rows_at, core : core + EXTENT_SIZE * width]).view(">u8").astype(np.uint64)
        words = words.reshape(len(rows_at), width, 2)
        extents = split_extents(words[:, :, 0], words[:, :, 1])
        physical = geometry.blocks(extents.start, extents.count)
        used = np.arange(width)[None, :] < counts[rows_at][:, None]
        good = (extents.count > 0) & (physical >= 0)
        good[:, 1:] &= extents.logical[:, 1:] >= extents.logical[:, :-1] + extents.count[:, :-1]
        sound = np.ones(len(rows_at), np.bool_)
        sound &= (good | ~used).all(axis=1)
        simple[rows_at] &= sound
        wanted = used & sound[:, None]
        owner = rows_at[np.nonzero(wanted)[0]]
        parts.append(
            (owner, extents.logical[wanted], extents.count[wanted], physical[wanted], extents.unwritten[wanted].astype(np.int64))
        )
    if not parts:
        none: Numbers = np.zeros(0, np.int64)
        return Runs(none, none, none, none, none != 0), simple
    owner, logical, count, physical, unwritten = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(owner, kind="stable")
    return Runs(owner[order], logical[order], count[order], physical[order], unwritten[order] != 0), simple


def _by_width(counts: Numbers, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, Numbers]]:
    """Rows with extents, those of few and those of many apart, some thousands at a time: (room for extents, rows)."""
    least = 0
    for width in (1, 4, 1 << 7):
        rows = np.flatnonzero(wanted & (counts > least) & (counts <= width))
        most = int(counts[rows].max()) if len(rows) else 0
        for first in range(0, len(rows), BATCH):
            yield most, rows[first : first + BATCH]
        least = width
