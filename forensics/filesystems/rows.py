"""Trees of back ends that know one entry at a time: rows of inodes to the columns of a Tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from forensics.filesystem import NO_TIME, Inode, Tree

Row = tuple[bytes, int, Inode]
"""An entry's name, its parent's row (-1 for the first), and its inode."""

_TIMES = ("mtime_ns", "atime_ns", "ctime_ns", "crtime_ns")
_INT64 = range(NO_TIME + 1, 1 << 63)


def tree_of(rows: Sequence[Row], targets: Mapping[int, bytes], xattrs: Mapping[int, dict[bytes, bytes]]) -> Tree:
    """The Tree of these rows, of which a directory's comes before its children's. targets, xattrs: by row."""
    inodes = [inode for _, _, inode in rows]
    far: dict[tuple[int, str], int] = {}

    def times(column: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        values = [getattr(inode, column) for inode in inodes]
        for row, value in enumerate(values):
            if value is not None and value not in _INT64:
                far[row, column], values[row] = value, None
        return np.array([NO_TIME if value is None else value for value in values], np.int64)

    mtime, atime, ctime, crtime = map(times, _TIMES)
    return Tree(
        names=[name for name, _, _ in rows],
        parent=np.array([parent for _, parent, _ in rows], np.int64),
        inode=np.array([inode.number for inode in inodes], np.int64),
        type=np.array([ord(inode.type) for inode in inodes], np.uint8),
        mode=np.array([inode.mode for inode in inodes], np.uint16),
        uid=np.array([inode.uid for inode in inodes], np.uint32),
        gid=np.array([inode.gid for inode in inodes], np.uint32),
        size=np.array([inode.size for inode in inodes], np.int64),
        nlink=np.array([inode.nlink for inode in inodes], np.int64),
        mtime_ns=mtime,
        atime_ns=atime,
        ctime_ns=ctime,
        crtime_ns=crtime,
        rdev_major=np.array([inode.rdev[0] if inode.rdev else 0 for inode in inodes], np.uint32),
        rdev_minor=np.array([inode.rdev[1] if inode.rdev else 0 for inode in inodes], np.uint32),
        offset=np.array([-1 if inode.offset is None else inode.offset for inode in inodes], np.int64),
        targets=dict(targets),
        xattrs=dict(xattrs),
        far_times=far,
    )
