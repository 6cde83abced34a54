"""Builds a Tree: the rows of a directory and all below it, from a listing of directories and the inode tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import NO_TIME, Tree
from forensics.filesystems.ext4.columns import TIMES, columns
from forensics.filesystems.ext4.inodes import InodeTables, Numbers, Rows
from forensics.filesystems.ext4.listing import Listing
from forensics.filesystems.ext4.problems import ProblemLog
from forensics.source import Source
from parsers.errors import FormatError
from parsers.ext4 import GOOD_OLD_INODE_SIZE
from parsers.ext4_inode import InodeRecord, parse_inode
from parsers.ext4_xattr import MAGIC

BATCH = 1 << 16  # inodes that are decoded at the same time
GRAIN = 4096  # bytes that stand together in the disk image, whatever it is made of


@dataclass(frozen=True, slots=True)
class Walk:
    """The way through a listing from one directory down.

    entries: the listing's rows in the tree's order. parent: the tree row of each one's directory (row 0: the start).
    visited: the directories entered, as places in the listing; again: tree rows of directories that were entered before.
    """

    entries: Numbers
    parent: Numbers
    visited: list[int]
    again: list[int]


@dataclass(frozen=True, slots=True)
class SubDirectories:
    """Which entries of a listing are directories of it; first: per directory, the first of its own in `row`."""

    listing: Listing
    row: Numbers
    child: Numbers
    first: Numbers

    @classmethod
    def of(cls, listing: Listing) -> SubDirectories:
        """Find them."""
        directories = listing.directories
        at = np.minimum(np.searchsorted(directories, listing.inode), max(0, len(directories) - 1))
        row = np.flatnonzero(directories[at] == listing.inode) if len(directories) else np.zeros(0, np.int64)
        first = np.searchsorted(row, np.append(listing.first, len(listing.inode)))
        return cls(listing, row, at[row], first)

    def children(self, at: int) -> tuple[Numbers, Numbers]:
        """The subdirectories of a directory: the listing's rows, and their places in the listing."""
        part = slice(int(self.first[at]), int(self.first[at + 1]))
        return self.row[part], self.child[part]

    def walk(self, start: int) -> Walk:
        """The entries below a directory, each directory entered once."""
        listing = self.listing
        entered = {start}
        order: list[int] = []
        own_row: list[int] = []
        again: list[int] = []
        pending = [(start, 0)]
        length = 1
        while pending:
            at, row = pending.pop()
            order.append(at)
            own_row.append(row)
            rows, places = self.children(at)
            base = length - int(listing.first[at])
            length += int(listing.count[at])
            for entry, place in zip(rows.tolist(), places.tolist(), strict=True):
                if place in entered:
                    again.append(base + entry)
                else:
                    entered.add(place)
                    pending.append((place, base + entry))
        places = np.array(order, np.int64)
        count = listing.count[places]
        step = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        return Walk(np.repeat(listing.first[places], count) + step, np.repeat(np.array(own_row), count), order, again)


class TreeBuilder:
    """Fills a Tree's columns; `xattrs_of` and `target_of` read what does not fit into columns."""

    def __init__(
        self,
        tables: InodeTables,
        problems: ProblemLog,
        large_directories: bool,
        xattrs_of: Callable[[int, bytes, InodeRecord], dict[bytes, bytes]],
        target_of: Callable[[int, bytes, InodeRecord], bytes],
    ) -> None:
        self._tables = tables
        self._problems = problems
        self._large = large_directories
        self._xattrs_of = xattrs_of
        self._target_of = target_of

    def build(self, number: int, listing: Listing, way: Walk) -> Tree:
        """The tree of a directory. An entry whose inode is not in use or damaged is left out and becomes a problem."""
        names = [b"", *listing.name_list(way.entries)]
        inode = np.concatenate([[number], listing.inode[way.entries].astype(np.int64)])
        parent = np.concatenate([[-1], way.parent])
        numbers, inverse = _distinct(inode, self._tables.count)
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
        return self._tree(names, parent, inode, inverse, stats)

    def _tree(self, names: list[bytes], parent: Numbers, inode: Numbers, inverse: Numbers, stats: _Stats) -> Tree:
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

    def _fill(self, stats: _Stats, first: int, numbers: Numbers) -> None:
        rows = self._tables.rows(numbers)
        found = columns(rows, self._large)
        part = slice(first, first + len(numbers))
        stats.type[part] = found.type
        stats.mode[part] = found.mode
        stats.uid[part] = found.uid
        stats.gid[part] = found.gid
        stats.size[part] = found.size
        stats.nlink[part] = found.links
        stats.major[part] = found.major
        stats.minor[part] = found.minor
        for name in TIMES:
            stats.times[name][part] = found.times[name]
        for (at, name), value in found.far_times.items():
            stats.far_times[first + at, name] = value
        stats.offset[part] = self._locate(numbers)
        with_xattrs = (found.file_acl != 0) | _has_ibody(rows, found.extra_isize)
        links = found.type == ord("l")
        for at in np.flatnonzero((with_xattrs | links) & (found.type != 0)).tolist():
            raw = rows[at].tobytes()
            record = parse_inode(raw, self._large)
            if with_xattrs[at]:
                xattrs = self._xattrs_of(int(numbers[at]), raw, record)
                if xattrs:
                    stats.xattrs[first + at] = xattrs
            if links[at]:
                try:
                    stats.targets[first + at] = self._target_of(int(numbers[at]), raw, record)
                except FormatError as error:
                    self._problems.add("symlink", f"inode {numbers[at]}", error.what, error.offset)

    def _locate(self, numbers: Numbers) -> Numbers:
        offsets = self._tables.offsets(numbers)
        grain, inverse = np.unique(offsets // GRAIN, return_inverse=True)
        found = [locate_grain(self._tables.source, int(g)) for g in grain.tolist()]
        start = np.array(found, np.int64)[inverse]
        located = np.where((offsets >= 0) & (start >= 0), start + offsets % GRAIN, -1)
        if self._tables.overrides:
            located[np.isin(numbers, np.fromiter(self._tables.overrides, np.int64))] = -1
        return located

    def _report_lost(self, rows: Numbers, names: list[bytes], inode: Numbers, directory: Numbers) -> None:
        for row in rows.tolist():
            name = names[row].decode("utf-8", "backslashreplace")
            offset = int(self._tables.offsets(inode[row : row + 1])[0])
            error = f"`{name}` names inode {inode[row]}, which is not in use or damaged"
            self._problems.add("directory entry", f"inode {directory[row]}", error, offset if offset >= 0 else None)


def locate_grain(source: Source, grain: int) -> int:
    """The byte in the disk image where a grain begins, -1 where there is no single one."""
    place = source.locate(grain * GRAIN) if grain >= 0 else None
    return -1 if place is None else place


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


def _distinct(inode: Numbers, greatest: int) -> tuple[Numbers, Numbers]:
    """The distinct numbers ascending, and each one's place among them."""
    if len(inode) < greatest // 16:
        numbers, inverse = np.unique(inode, return_inverse=True)
        return numbers, inverse
    used = np.zeros(greatest + 1, np.bool_)
    used[inode] = True
    return np.flatnonzero(used), (np.cumsum(used) - 1)[inode]


def _has_ibody(rows: Rows, extra_isize: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Which inodes have attributes in their body."""
    found = np.zeros(len(rows), np.bool_)
    for extra in np.unique(extra_isize).tolist():
        at = GOOD_OLD_INODE_SIZE + extra
        if extra and at + 4 <= rows.shape[1] and not extra & 3:
            words = np.ascontiguousarray(rows[:, at : at + 4]).view("<u4")[:, 0]
            found |= (words == MAGIC) & (extra_isize == extra)
    return found
