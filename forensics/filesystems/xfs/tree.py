"""Fills a Tree from the inodes of XFS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.bulk.tree import GRAIN, TIMES, Stats, TreeBuilder, locate_all
from forensics.filesystems.xfs.attributes import Attributes
from forensics.filesystems.xfs.columns import Columns, columns
from forensics.filesystems.xfs.inodes import InodeTables, Rows
from forensics.filesystems.xfs.replayed import Replayed
from parsers.errors import FormatError
from parsers.xfs_inode import CORE_SIZES, Format, InodeFlag2, device, parse_inode
from parsers.xfs_log import BASIC_BLOCK


class XfsTreeBuilder(TreeBuilder):
    """Fills a Tree's columns; `attributes` and `target_of` (of symlinks not in their inode) read what no column holds."""

    batch = 1 << 14

    def __init__(
        self, tables: InodeTables, problems: ProblemLog, attributes: Attributes, target_of: Callable[[int], bytes]
    ) -> None:
        super().__init__(problems)
        self._tables = tables
        self._attributes = attributes
        self._target_of = target_of
        self._superblock = tables.geometry.superblock
        self._core = CORE_SIZES[3 if self._superblock.has_crc else 2]

    def _fill(self, stats: Stats, first: int, numbers: Numbers) -> None:
        rows = self._tables.rows(numbers)
        inode = self._tables.records(rows)
        found = columns(inode, numbers)
        part = slice(first, first + len(numbers))
        stats.type[part] = found.type
        stats.mode[part] = found.mode
        stats.uid[part] = found.uid
        stats.gid[part] = found.gid
        stats.size[part] = found.size
        stats.nlink[part] = found.links
        for name in TIMES:
            stats.times[name][part] = found.times[name]
        for (at, name), value in found.far_times.items():
            stats.far_times[first + at, name] = value
        stats.offset[part] = self._locate(numbers)
        for at in np.flatnonzero((found.type == ord("c")) | (found.type == ord("b"))).tolist():
            stats.major[first + at], stats.minor[first + at] = device(rows[at, self._core : self._core + 4].tobytes())
        self._fill_xattrs(stats, first, numbers, rows, found)
        self._fill_targets(stats, first, numbers, rows, found)

    def _fill_xattrs(self, stats: Stats, first: int, numbers: Numbers, rows: Rows, found: Columns) -> None:
        inode = self._tables.records(rows)
        starts = self._core + inode["di_forkoff"].astype(np.int64) * 8
        there = (found.type != 0) & (starts > self._core)
        local = there & (inode["di_aformat"] == Format.LOCAL)
        counts = rows[np.arange(len(rows)), np.minimum(starts + 2, rows.shape[1] - 1)]
        for at in np.flatnonzero(local & (counts != 0)).tolist():
            start = int(starts[at])
            xattrs = self._attributes.read_short(int(numbers[at]), rows[at, start:].tobytes(), start)
            if xattrs:
                stats.xattrs[first + at] = xattrs
        empty = (inode["di_aformat"] == Format.EXTENTS) & (inode["di_anextents"] == 0)
        if self._tables.geometry.superblock.has_crc:
            empty &= (inode["di_flags2"] & int(InodeFlag2.NREXT64) == 0) | (inode["di_nextents"] == 0)
        for at in np.flatnonzero(there & ~local & ~empty).tolist():
            number = int(numbers[at])
            try:
                xattrs = self._attributes.read(number, parse_inode(rows[at].tobytes()))
            except FormatError as error:
                self._problems.add("extended attributes", number, error.what, self._tables.offset(number))
                continue
            if xattrs:
                stats.xattrs[first + at] = xattrs

    def _fill_targets(self, stats: Stats, first: int, numbers: Numbers, rows: Rows, found: Columns) -> None:
        links = np.flatnonzero(found.type == ord("l"))
        if not len(links):
            return
        inode = self._tables.records(rows)
        split = inode["di_forkoff"][links].astype(np.int64) * 8
        room = np.where(split, split, rows.shape[1] - self._core)
        size = found.size[links]
        inside = (inode["di_format"][links] == Format.LOCAL) & (size <= room)
        forks = np.ascontiguousarray(rows[links, self._core :])
        width = forks.shape[1]
        data = forks.tobytes()
        for i, (at, length, is_inside) in enumerate(zip(links.tolist(), size.tolist(), inside.tolist(), strict=True)):
            if is_inside:
                stats.targets[first + at] = data[i * width : i * width + length].split(b"\0", 1)[0]
                continue
            try:
                stats.targets[first + at] = self._target_of(int(numbers[at]))
            except FormatError as error:
                self._problems.add("symlink", int(numbers[at]), error.what, error.offset)

    def _locate(self, numbers: Numbers) -> Numbers:
        grain = BASIC_BLOCK if isinstance(self._tables.source, Replayed) else min(GRAIN, self._superblock.block_size)
        return locate_all(self._tables.source, self._offsets(numbers), grain)

    def _offsets(self, numbers: Numbers) -> Numbers:
        return self._tables.geometry.inode_offsets(numbers)
