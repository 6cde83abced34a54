"""Builds a Tree: the rows of a directory and all below it, from a listing of directories and the inodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forensics.filesystem import NO_TIME, Tree
from forensics.filesystems.ext4.listing import Listing
from forensics.filesystems.ext4.problems import ProblemLog
from forensics.filesystems.ext4.reading import Numbers
from forensics.filesystems.ext4.walk import Walk
from forensics.filesystems.xfs.attributes import Attributes
from forensics.filesystems.xfs.columns import TIMES, Columns, columns
from forensics.filesystems.xfs.inodes import InodeTables, Rows
from forensics.filesystems.xfs.replayed import Replayed
from parsers.errors import FormatError
from parsers.xfs_inode import CORE_SIZES, Format, InodeFlag2, device, parse_inode
from parsers.xfs_log import BASIC_BLOCK

BATCH = 1 << 14  # inodes that are decoded at the same time
GRAIN = 4096  # bytes that stand together in the disk image, whatever that is made of, unless a block is smaller


class TreeBuilder:
    """Fills a Tree's columns; `attributes` and `target_of` (of symlinks not in their inode) read what no column holds."""

    def __init__(
        self, tables: InodeTables, problems: ProblemLog, attributes: Attributes, target_of: Callable[[int], bytes]
    ) -> None:
        self._tables = tables
        self._problems = problems
        self._attributes = attributes
        self._target_of = target_of
        self._superblock = tables.geometry.superblock
        self._core = CORE_SIZES[3 if self._superblock.has_crc else 2]

    def build(self, number: int, listing: Listing, way: Walk) -> Tree:
        """The tree of a directory. An entry whose inode is not in use or damaged is left out and becomes a problem."""
        names = [b"", *listing.name_list(way.entries)]
        inode = np.concatenate([[number], listing.inode[way.entries].astype(np.int64)])
        parent = np.concatenate([[-1], way.parent])
        numbers, inverse = np.unique(inode, return_inverse=True)
        stats = _Stats(len(numbers))
        for first in range(0, len(numbers), BATCH):
            self._fill(stats, first, numbers[first : first + BATCH])
        bad = stats.type[inverse] == 0
        bad[0] = False
        if bad.any():
            self._report_lost(np.flatnonzero(bad), names, inode, inode[parent])
            keep = np.flatnonzero(~bad)
            place = np.cumsum(~bad) - 1
            names = [names[i] for i in keep.tolist()]
            inode, inverse = inode[keep], inverse[keep]
            parent = np.where(parent[keep] < 0, -1, place[parent[keep]])
        return _tree(names, parent, inode, inverse, stats)

    def _fill(self, stats: _Stats, first: int, numbers: Numbers) -> None:
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

    def _fill_xattrs(self, stats: _Stats, first: int, numbers: Numbers, rows: Rows, found: Columns) -> None:
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

    def _fill_targets(self, stats: _Stats, first: int, numbers: Numbers, rows: Rows, found: Columns) -> None:
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
        size = BASIC_BLOCK if isinstance(self._tables.source, Replayed) else min(GRAIN, self._superblock.block_size)
        offsets = self._tables.geometry.inode_offsets(numbers)
        grains, inverse = np.unique(offsets // size, return_inverse=True)
        places = [self._tables.source.locate(grain * size) if grain >= 0 else None for grain in grains.tolist()]
        start = np.array([-1 if place is None else place for place in places], np.int64)[inverse]
        located: Numbers = np.where(start >= 0, start + offsets % size, -1)
        return located

    def _report_lost(self, rows: Numbers, names: list[bytes], inode: Numbers, directory: Numbers) -> None:
        for row in rows.tolist():
            name = names[row].decode("utf-8", "backslashreplace")
            offset = int(self._tables.geometry.inode_offsets(inode[row : row + 1])[0])
            error = f"`{name}` names inode {inode[row]}, which is not in use or damaged"
            self._problems.add("directory entry", int(directory[row]), error, offset if offset >= 0 else None)


class _Stats:
    """Columns of the distinct inodes of a tree."""

    def __init__(self, count: int) -> None:
        self.type = np.zeros(count, np.uint8)
        self.mode = np.zeros(count, np.uint16)
        self.uid = np.zeros(count, np.uint32)
        self.gid = np.zeros(count, np.uint32)
        self.size = np.zeros(count, np.int64)
        self.nlink = np.zeros(count, np.int64)
        self.major = np.zeros(count, np.uint32)
        self.minor = np.zeros(count, np.uint32)
        self.offset = np.full(count, -1, np.int64)
        self.times = {name: np.full(count, NO_TIME, np.int64) for name in TIMES}
        self.far_times: dict[tuple[int, str], int] = {}
        self.targets: dict[int, bytes] = {}
        self.xattrs: dict[int, dict[bytes, bytes]] = {}


def _tree(names: list[bytes], parent: Numbers, inode: Numbers, inverse: Numbers, stats: _Stats) -> Tree:
    tree = Tree(
        names=names,
        parent=parent,
        inode=inode,
        type=stats.type[inverse],
        mode=stats.mode[inverse],
        uid=stats.uid[inverse],
        gid=stats.gid[inverse],
        size=stats.size[inverse],
        nlink=stats.nlink[inverse],
        mtime_ns=stats.times["mtime"][inverse],
        atime_ns=stats.times["atime"][inverse],
        ctime_ns=stats.times["ctime"][inverse],
        crtime_ns=stats.times["crtime"][inverse],
        rdev_major=stats.major[inverse],
        rdev_minor=stats.minor[inverse],
        offset=stats.offset[inverse],
    )
    if stats.targets or stats.xattrs or stats.far_times:
        special = np.zeros(len(stats.type), np.bool_)
        special[[*stats.targets, *stats.xattrs, *(at for at, _ in stats.far_times)]] = True
        rows = np.flatnonzero(special[inverse])
        for row, at in zip(rows.tolist(), inverse[rows].tolist(), strict=True):
            if at in stats.targets:
                tree.targets[row] = stats.targets[at]
            if at in stats.xattrs:
                tree.xattrs[row] = stats.xattrs[at]
            for name in TIMES:
                if (at, name) in stats.far_times:
                    tree.far_times[row, f"{name}_ns"] = stats.far_times[at, name]
    return tree
