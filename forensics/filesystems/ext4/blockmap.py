"""Where a file's blocks stand: extent trees and the older indirect blocks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.blocks import BlockMap, Damage
from forensics.filesystems.bulk.reading import read_exactly
from forensics.filesystems.ext4.geometry import Geometry
from forensics.source import Source
from parsers.errors import FormatError
from parsers.ext4_inode import BLOCK_AT, InodeFlag, InodeRecord, Run, parse_extent_node

DIRECT = 12
NO_END = 1 << 32  # beyond the last logical block that any file can have
MOST_RUNS = 1 << 21  # of one file: a map of more is made to fill the memory
TOO_MANY = f"the file is in more than {MOST_RUNS} pieces"


def block_map(source: Source, geometry: Geometry, record: InodeRecord, offset: int | None) -> BlockMap:
    """The blocks of a file; `offset` is where its inode stands in the source."""
    if record.flags & InodeFlag.EXTENTS:
        return _extent_tree(source, geometry, record.block, None if offset is None else offset + BLOCK_AT)
    return _IndirectBlocks(source, geometry, record).read()


class _Node(NamedTuple):
    """A node of an extent tree to be read: where, and which blocks of the file it may speak of."""

    offset: int | None
    depth: int | None
    first: int
    end: int


def _extent_tree(source: Source, geometry: Geometry, block: bytes, offset: int | None) -> BlockMap:
    size = geometry.superblock.block_size
    found: list[Run] = []
    damage: list[Damage] = []
    seen: set[int] = set()
    pending = [_Node(offset, None, 0, NO_END)]
    while pending:
        at = pending.pop()
        try:
            node = parse_extent_node(block if at.depth is None else read_exactly(source, at.offset or 0, size), at.depth)
        except FormatError as error:
            damage.append(Damage(at.first, at.end, error.what, at.offset))
            continue
        if len(found) > MOST_RUNS:
            damage.append(Damage(at.first, NO_END, TOO_MANY, at.offset))
            break
        runs = in_order(node.runs, geometry, at.first, at.end)
        found += runs
        if len(runs) < len(node.runs):
            damage.append(Damage(at.first, at.end, "an extent is out of order or outside the filesystem", at.offset))
        children = []
        for (start, child), (end, _) in pairwise([*node.children, (at.end, 0)]):
            if child not in seen and geometry.is_block(child) and at.first <= start < end <= at.end:
                seen.add(child)
                children.append(_Node(child * size, node.depth - 1, start, end))
            else:
                damage.append(Damage(at.first, at.end, f"an extent index points to block {child}", at.offset))
        pending += reversed(children)
    return BlockMap(found, damage)


def in_order(runs: Iterable[Run], geometry: Geometry, first: int = 0, end: int = NO_END) -> list[Run]:
    """Those of the runs that are inside [first, end) and the filesystem and behind the one before."""
    good: list[Run] = []
    for run in runs:
        after = run.logical + run.count
        if run.count and first <= run.logical and after <= end and geometry.is_block(run.physical, run.count):
            good.append(run)
            first = after
    return good


class _IndirectBlocks:
    """Twelve direct blocks, then one tree each of one, two and three levels; a hole is a 0."""

    def __init__(self, source: Source, geometry: Geometry, record: InodeRecord) -> None:
        self._source = source
        self._geometry = geometry
        self._size = geometry.superblock.block_size
        self._per_block = self._size // 4
        self._end = -(-record.size // self._size)
        self._roots = np.frombuffer(record.block, "<u4").astype(np.int64)
        self._runs: list[Run] = []
        self._damage: list[Damage] = []
        self._seen: set[int] = set()

    def read(self) -> BlockMap:
        self._leaf(0, self._roots[:DIRECT], None)
        first = DIRECT
        for level in (1, 2, 3):
            self._tree(int(self._roots[DIRECT + level - 1]), level, first)
            first += self._per_block**level
        return BlockMap(self._runs, self._damage)

    def _tree(self, block: int, level: int, first: int) -> None:
        span = self._per_block**level
        if not block or first >= self._end:
            return
        if len(self._runs) > MOST_RUNS:
            self._damage.append(Damage(first, first + span, TOO_MANY, block * self._size))
            return
        if block in self._seen or not self._geometry.is_block(block):
            self._damage.append(Damage(first, first + span, f"indirect block {block} is out of place", None))
            return
        self._seen.add(block)
        try:
            data = read_exactly(self._source, block * self._size, self._size)
        except FormatError as error:
            self._damage.append(Damage(first, first + span, error.what, block * self._size))
            return
        pointers = np.frombuffer(data, "<u4").astype(np.int64)
        if level == 1:
            self._leaf(first, pointers, block * self._size)
            return
        step = span // self._per_block
        for index in np.flatnonzero(pointers).tolist():
            self._tree(int(pointers[index]), level - 1, first + index * step)

    def _leaf(self, first: int, pointers: NDArray[np.int64], offset: int | None) -> None:
        pointers = pointers[: max(0, self._end - first)]
        superblock = self._geometry.superblock
        good = (pointers > superblock.first_data_block) & (pointers < superblock.blocks_count)
        bad = np.flatnonzero((pointers != 0) & ~good)
        if len(bad):
            error = f"block {pointers[bad[0]]} is outside the filesystem"
            self._damage.append(Damage(first + int(bad[0]), first + int(bad[-1]) + 1, error, offset))
        at = np.flatnonzero(good)
        if not len(at):
            return
        cuts = np.flatnonzero((np.diff(at) != 1) | (np.diff(pointers[at]) != 1)) + 1
        starts = [0, *cuts.tolist()]
        for start, end in zip(starts, [*cuts.tolist(), len(at)], strict=True):
            run = Run(first + int(at[start]), end - start, int(pointers[at[start]]), False)
            last = self._runs[-1] if self._runs else None
            if last and last.logical + last.count == run.logical and last.physical + last.count == run.physical:
                self._runs[-1] = Run(last.logical, last.count + run.count, last.physical, False)
            else:
                self._runs.append(run)
