"""Back ends that know one entry at a time: their trees, and the way through all of their directories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from forensics.filesystem import NO_TIME, DirEntry, Inode, Problem, Tree
from forensics.source import Source
from parsers.errors import EvidenceError, FormatError

Row = tuple[bytes, int, Inode]
"""An entry's name, its parent's row (-1 for the first), and its inode."""

MAX_ENTRIES = 20_000_000  # of one tree
MOST_PROBLEMS = 10_000
_TIMES = ("mtime_ns", "atime_ns", "ctime_ns", "crtime_ns")
_INT64 = range(NO_TIME + 1, 1 << 63)


class OneByOne(Protocol):
    """The part of the filesystem protocol that the others can be told from."""

    source: Source
    root: int

    @property
    def problems(self) -> list[Problem]:
        """As of a Filesystem."""
        ...

    def inode(self, number: int) -> Inode:
        """The inode's metadata."""
        ...

    def entries(self, number: int) -> Sequence[DirEntry]:
        """The names in a directory, sorted by name."""
        ...

    def target(self, number: int) -> bytes:
        """A symlink's target."""
        ...

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        """Extended attributes by full name."""
        ...


def walk_directories(fs: OneByOne) -> Iterator[tuple[int, Sequence[tuple[bytes, int]]]]:
    """Every directory reachable from the root, once: its inode number and its subdirectories' (name, inode number)."""
    seen, pending = {fs.root}, [fs.root]
    while pending:
        number = pending.pop()
        below = [(entry.name, entry.inode) for entry in fs.entries(number) if entry.type == "d"]
        yield number, below
        new = [inode for _, inode in below if inode not in seen]
        seen.update(new)
        pending.extend(reversed(new))


def walk_tree(fs: OneByOne, number: int) -> Tree:
    """A directory and all below it. What cannot be read is left out and becomes a problem."""
    rows: list[Row] = [(b"", -1, fs.inode(number))]
    targets: dict[int, bytes] = {}
    xattrs: dict[int, dict[bytes, bytes]] = {}
    seen, pending = {number}, [0]
    while pending:
        parent = pending.pop()
        for entry in fs.entries(rows[parent][2].number):
            try:
                inode = fs.inode(entry.inode)
                if inode.type == "l":
                    targets[len(rows)] = fs.target(entry.inode)
            except (FormatError, EvidenceError) as error:
                _add(fs.problems, "inode", entry.inode, error)
                continue
            if inode.type == "d":
                if entry.inode in seen:
                    continue
                seen.add(entry.inode)
                pending.append(len(rows))
            rows.append((entry.name, parent, inode))
        if len(rows) > MAX_ENTRIES:
            raise FormatError(f"more than {MAX_ENTRIES} entries", fs.source.name)
    for row, (_, _, inode) in enumerate(rows):
        try:
            if found := fs.xattrs(inode.number):
                xattrs[row] = found
        except (FormatError, EvidenceError) as error:
            _add(fs.problems, "xattrs", inode.number, error)
    return _tree_of(rows, targets, xattrs)


def _add(problems: list[Problem], what: str, number: int, error: Exception) -> None:
    problem = Problem(what, f"inode {number}", str(error))
    if len(problems) < MOST_PROBLEMS and problem not in problems:
        problems.append(problem)


def _tree_of(rows: Sequence[Row], targets: Mapping[int, bytes], xattrs: Mapping[int, dict[bytes, bytes]]) -> Tree:
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
