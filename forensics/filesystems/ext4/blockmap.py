"""Where a file's blocks stand: extent trees and the older indirect blocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.ext4.geometry import Geometry
from forensics.source import Source
from parsers.errors import FormatError
from parsers.ext4_inode import InodeFlag, InodeRecord, Run, parse_extent_node

DIRECT = 12
NO_END = 1 << 32  # beyond the last logical block that any file can have


class Damage(NamedTuple):
    """A part of a file, [first, end) in blocks, of which the map cannot be read; offset: in the source."""

    first: int
    end: int
    error: str
    offset: int | None


class BlockMap(NamedTuple):
    """A file's runs in logical order, without overlap, and the parts that are not known."""

    runs: list[Run]
    damage: list[Damage]


def block_map(source: Source, geometry: Geometry, record: InodeRecord, offset: int | None) -> BlockMap:
    """The blocks of a file; `offset` is where its inode stands in the source."""
    if record.flags & InodeFlag.EXTENTS:
        return _ExtentTree(source, geometry).read(record.block, offset)
    return _IndirectBlocks(source, geometry, record).read()


def usable(runs: Iterable[Run], geometry: Geometry) -> tuple[list[Run], int]:
    """The runs that are in order and inside the filesystem, and how many are not."""
    good: list[Run] = []
    bad = end = 0
    for run in runs:
        if run.count and run.logical >= end and run.logical + run.count <= NO_END and geometry.is_block(run.physical, run.count):
            good.append(run)
            end = run.logical + run.count
        else:
            bad += 1
    return good, bad


class _ExtentTree:
    def __init__(self, source: Source, geometry: Geometry) -> None:
        self._source = source
        self._geometry = geometry

    def read(self, block: bytes, offset: int | None) -> BlockMap:
        size = self._geometry.superblock.block_size
        found: list[Run] = []
        damage: list[Damage] = []
        seen: set[int] = set()
        place = None if offset is None else offset + 40
        pending: list[tuple[bytes, int | None, int, int, int | None]] = [(block, None, 0, NO_END, place)]
        while pending:
            data, depth, first, end, at = pending.pop()
            try:
                node = parse_extent_node(data, depth)
            except FormatError as error:
                damage.append(Damage(first, end, error.what, at))
                continue
            runs, bad = usable(node.runs, self._geometry)
            inside = [run for run in runs if run.logical >= first and run.logical + run.count <= end]
            found += inside
            if bad or len(inside) < len(runs):
                damage.append(Damage(first, end, "an extent is out of order or outside the filesystem", at))
            starts = [start for start, _ in node.children] + [end]
            children = []
            for (start, child), after in zip(node.children, starts[1:], strict=True):
                if child in seen or not self._geometry.is_block(child) or not first <= start < after <= end:
                    damage.append(Damage(first, end, f"extent index points to block {child}", at))
                    continue
                seen.add(child)
                children.append((self._source.read(child * size, size), node.depth - 1, start, after, child * size))
            pending += reversed(children)
        found.sort()
        runs, bad = usable(found, self._geometry)
        return BlockMap(runs, damage)


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
        if block in self._seen or not self._geometry.is_block(block):
            self._damage.append(Damage(first, first + span, f"indirect block {block} is out of place", None))
            return
        self._seen.add(block)
        data = self._source.read(block * self._size, self._size)
        if len(data) < self._size:
            self._damage.append(Damage(first, first + span, f"indirect block {block} lies beyond the end", block * self._size))
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
        for index in np.flatnonzero((pointers != 0) & ~good).tolist():
            self._damage.append(
                Damage(first + index, first + index + 1, f"block {pointers[index]} is outside the filesystem", offset)
            )
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
