"""Builds a Tree: the rows of a directory and all below it, from a listing of directories and the inode tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import NO_TIME, Tree
from forensics.filesystems.ext4.attributes import Attributes
from forensics.filesystems.ext4.columns import TIMES, Columns, columns
from forensics.filesystems.ext4.content import is_fast_link
from forensics.filesystems.ext4.inodes import InodeTables, Rows, records
from forensics.filesystems.ext4.listing import Listing
from forensics.filesystems.ext4.problems import ProblemLog
from forensics.filesystems.ext4.reading import Numbers
from forensics.filesystems.ext4.walk import Walk
from parsers.errors import FormatError
from parsers.ext4 import GOOD_OLD_INODE_SIZE, Incompat
from parsers.ext4_inode import BLOCK_AT, IN_INODE, InodeFlag
from parsers.ext4_xattr import MAGIC

BATCH = 1 << 16  # inodes that are decoded at the same time
GRAIN = 4096  # bytes that stand together in the disk image, whatever that is made of, unless a block is smaller


class TreeBuilder:
    """Fills a Tree's columns; `attributes` and `target_of` (of long symlinks) read what no column holds."""

    def __init__(
        self,
        tables: InodeTables,
        problems: ProblemLog,
        attributes: Attributes,
        target_of: Callable[[int], bytes],
    ) -> None:
        self._tables = tables
        self._problems = problems
        self._attributes = attributes
        self._target_of = target_of
        self._superblock = tables.geometry.superblock

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
        found = columns(records(rows), bool(self._superblock.incompat & Incompat.LARGEDIR))
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
        live = found.type != 0
        with_xattrs = (found.file_acl != 0) | _has_ibody(rows, found.extra_isize)
        for at in np.flatnonzero(with_xattrs & live).tolist():
            raw, extra_isize, file_acl = rows[at].tobytes(), int(found.extra_isize[at]), int(found.file_acl[at])
            xattrs = self._attributes.read(int(numbers[at]), raw, extra_isize, file_acl)
            if xattrs:
                stats.xattrs[first + at] = xattrs
        self._fill_targets(stats, first, numbers, rows, found)

    def _fill_targets(self, stats: _Stats, first: int, numbers: Numbers, rows: Rows, found: Columns) -> None:
        links = np.flatnonzero(found.type == ord("l"))
        sizes, sectors, acls = found.size[links].tolist(), found.sectors[links].tolist(), found.file_acl[links].tolist()
        inline = (found.flags[links] & InodeFlag.INLINE_DATA != 0).tolist()
        blocks = rows[links, BLOCK_AT : BLOCK_AT + IN_INODE].tobytes()
        for i, (at, size) in enumerate(zip(links.tolist(), sizes, strict=True)):
            if not inline[i] and is_fast_link(size, sectors[i], acls[i], self._superblock):
                stats.targets[first + at] = blocks[i * IN_INODE : i * IN_INODE + size].split(b"\0", 1)[0]
                continue
            try:
                stats.targets[first + at] = self._target_of(int(numbers[at]))
            except FormatError as error:
                self._problems.add("symlink", int(numbers[at]), error.what, error.offset)

    def _locate(self, numbers: Numbers) -> Numbers:
        size = min(GRAIN, self._superblock.block_size)
        offsets = self._tables.offsets(numbers)
        grains, inverse = np.unique(offsets // size, return_inverse=True)
        places = [self._tables.source.locate(grain * size) if grain >= 0 else None for grain in grains.tolist()]
        start = np.array([-1 if place is None else place for place in places], np.int64)[inverse]
        located = np.where(start >= 0, start + offsets % size, -1)
        if self._tables.overrides:
            for at in np.flatnonzero(np.isin(numbers, np.fromiter(self._tables.overrides, np.int64))).tolist():
                place = self._tables.locate(int(numbers[at]))
                located[at] = -1 if place is None else place
        return located

    def _report_lost(self, rows: Numbers, names: list[bytes], inode: Numbers, directory: Numbers) -> None:
        for row in rows.tolist():
            name = names[row].decode("utf-8", "backslashreplace")
            offset = int(self._tables.offsets(inode[row : row + 1])[0])
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
