"""Fills a Tree from the inode tables of ext2, ext3 and ext4."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.bulk.tree import GRAIN, TIMES, Stats, TreeBuilder, locate_all
from forensics.filesystems.ext4.attributes import Attributes
from forensics.filesystems.ext4.columns import Columns, columns
from forensics.filesystems.ext4.content import is_fast_link
from forensics.filesystems.ext4.inodes import InodeTables, Rows, records
from parsers.errors import FormatError
from parsers.ext4 import GOOD_OLD_INODE_SIZE, Incompat
from parsers.ext4_inode import BLOCK_AT, IN_INODE, InodeFlag
from parsers.ext4_xattr import MAGIC


class Ext4TreeBuilder(TreeBuilder):
    """Fills a Tree's columns; `attributes` and `target_of` (of long symlinks) read what no column holds."""

    batch = 1 << 16

    def __init__(
        self,
        tables: InodeTables,
        problems: ProblemLog,
        attributes: Attributes,
        target_of: Callable[[int], bytes],
    ) -> None:
        super().__init__(problems)
        self._tables = tables
        self._attributes = attributes
        self._target_of = target_of
        self._superblock = tables.geometry.superblock

    def _fill(self, stats: Stats, first: int, numbers: Numbers) -> None:
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

    def _fill_targets(self, stats: Stats, first: int, numbers: Numbers, rows: Rows, found: Columns) -> None:
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
        located = locate_all(self._tables.source, self._offsets(numbers), min(GRAIN, self._superblock.block_size))
        if self._tables.overrides:
            for at in np.flatnonzero(np.isin(numbers, np.fromiter(self._tables.overrides, np.int64))).tolist():
                place = self._tables.locate(int(numbers[at]))
                located[at] = -1 if place is None else place
        return located

    def _offsets(self, numbers: Numbers) -> Numbers:
        return self._tables.offsets(numbers)

    def _distinct(self, inode: Numbers) -> tuple[Numbers, Numbers]:
        greatest = self._tables.count
        if len(inode) < greatest // 16:
            return super()._distinct(inode)
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
