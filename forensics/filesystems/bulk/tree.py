"""Builds a Tree: the rows of a directory and all below it, from a listing of directories and the inodes that it names."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from forensics.filesystem import NO_TIME, Tree
from forensics.filesystems.bulk.listing import Listing
from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.bulk.walk import Walk
from forensics.source import Source

TIMES = ("mtime", "atime", "ctime", "crtime")
GRAIN = 4096  # bytes that stand together in the disk image, whatever that is made of, unless a block is smaller


class Stats:
    """Columns of the distinct inodes of a tree; type 0: not in use, or damaged."""

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


class TreeBuilder(ABC):
    """What is the same for every filesystem; `batch` is how many inodes are decoded at the same time."""

    batch: int

    def __init__(self, problems: ProblemLog) -> None:
        self._problems = problems

    @abstractmethod
    def _fill(self, stats: Stats, first: int, numbers: Numbers) -> None:
        """Decode the inodes with these numbers into the columns, from row `first` on."""

    @abstractmethod
    def _offsets(self, numbers: Numbers) -> Numbers:
        """Where the inodes stand in the source, -1 for nowhere."""

    def _distinct(self, inode: Numbers) -> tuple[Numbers, Numbers]:
        """The distinct numbers ascending, and each one's place among them."""
        numbers, inverse = np.unique(inode, return_inverse=True)
        return numbers, inverse

    def build(self, number: int, listing: Listing, way: Walk) -> Tree:
        """The tree of a directory. An entry whose inode is not in use or damaged is left out and becomes a problem."""
        names = [b"", *listing.name_list(way.entries)]
        inode = np.concatenate([[number], listing.inode[way.entries].astype(np.int64)])
        parent = np.concatenate([[-1], way.parent])
        numbers, inverse = self._distinct(inode)
        stats = Stats(len(numbers))
        for first in range(0, len(numbers), self.batch):
            self._fill(stats, first, numbers[first : first + self.batch])
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

    def _report_lost(self, rows: Numbers, names: list[bytes], inode: Numbers, directory: Numbers) -> None:
        for row in rows.tolist():
            name = names[row].decode("utf-8", "backslashreplace")
            offset = int(self._offsets(inode[row : row + 1])[0])
            error = f"`{name}` names inode {inode[row]}, which is not in use or damaged"
            self._problems.add("directory entry", int(directory[row]), error, offset if offset >= 0 else None)


def locate_all(source: Source, offsets: Numbers, grain: int) -> Numbers:
    """Where bytes of a source stand in the disk image, -1 for nowhere; `grain` bytes stand together there."""
    grains, inverse = np.unique(offsets // grain, return_inverse=True)
    places = [source.locate(at * grain) if at >= 0 else None for at in grains.tolist()]
    start = np.array([-1 if place is None else place for place in places], np.int64)[inverse]
    located: Numbers = np.where(start >= 0, start + offsets % grain, -1)
    return located


def _tree(names: list[bytes], parent: Numbers, inode: Numbers, inverse: Numbers, stats: Stats) -> Tree:
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
