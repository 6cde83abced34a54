"""The tree of a directory that was removed, as it was when its removal began."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from forensics.filesystem import NO_TIME, Tree
from forensics.recovery.files.deleted import Numbered

REMOVAL = 60_000_000_000
"""Nanoseconds that removing a directory may take: what was deleted longer before it went was deleted on its own."""
_TIMES = ("mtime_ns", "atime_ns", "ctime_ns", "crtime_ns")
_INT64 = range(-(1 << 63) + 1, 1 << 63)


def removed_tree(root: Numbered, files: Iterable[tuple[bytes, Numbered]]) -> Tree:
    """The tree of the directory `root`. files: each with its path below it, `/etc/passwd`.

    Inode numbers are those of the deleted files, negative: they are no inodes of the filesystem as it is now. A file whose
    directory did not come back is left out, and so is one of which no more than its name did.
    """
    last: dict[bytes, Numbered] = {}
    for path, each in sorted(files, key=lambda pair: (pair[1].file.deleted_ns or 0, pair[1].number)):
        if path and _went_with(root, each) and (each.file.size is not None or each.file.type == "d"):
            last[path] = each
    rows: list[tuple[bytes, int, Numbered]] = [(b"", -1, root)]
    places = {b"": 0}
    for path in sorted(last, key=lambda p: (p.count(b"/"), p)):
        directory, _, name = path.rpartition(b"/")
        if directory in places:
            if last[path].file.type == "d":
                places[path] = len(rows)
            rows.append((name, places[directory], last[path]))
    return _tree(rows)


def _went_with(root: Numbered, each: Numbered) -> bool:
    if root.file.deleted_ns is None or each.file.deleted_ns is None:
        return True
    return each.file.deleted_ns >= root.file.deleted_ns - REMOVAL


def _tree(rows: list[tuple[bytes, int, Numbered]]) -> Tree:
    names, parents, numbered = zip(*rows, strict=True)
    files = [each.file for each in numbered]
    keys: dict[tuple[int, int | None], int] = {}
    for each in numbered:
        own = each.file.inode, each.file.generation
        keys[own] = min(each.number, keys.get(own, each.number))
    inode = np.array([-keys[file.inode, file.generation] for file in files], np.int64)
    _, inverse, counts = np.unique(inode, return_inverse=True, return_counts=True)
    is_directory = np.array([file.type == "d" for file in files])
    far: dict[tuple[int, str], int] = {}
    times = {}
    for name in _TIMES:
        values = [getattr(file, name) for file in files]
        far.update({(row, name): v for row, v in enumerate(values) if v is not None and v not in _INT64})
        times[name] = np.array([NO_TIME if v is None or v not in _INT64 else v for v in values], np.int64)
    return Tree(
        names=list(names),
        parent=np.array(parents, np.int64),
        inode=inode,
        type=np.array([ord(file.type) for file in files], np.uint8),
        mode=np.array([file.mode for file in files], np.uint16),
        uid=np.array([file.uid for file in files], np.uint32),
        gid=np.array([file.gid for file in files], np.uint32),
        size=np.array([file.size or 0 for file in files], np.int64),
        nlink=np.where(is_directory, 2, counts[inverse.reshape(-1)]),
        rdev_major=np.array([file.rdev[0] if file.rdev else 0 for file in files], np.uint32),
        rdev_minor=np.array([file.rdev[1] if file.rdev else 0 for file in files], np.uint32),
        offset=np.array([-1 if file.offset is None else file.offset for file in files], np.int64),
        targets={row: file.target for row, file in enumerate(files) if file.target is not None},
        xattrs={row: dict(file.xattrs) for row, file in enumerate(files) if file.xattrs},
        far_times=far,
        **times,
    )
