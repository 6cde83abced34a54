"""Directories found by what is in them, anywhere in a filesystem."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import Filesystem
from forensics.stores.reading import Place

MAX_DEPTH = 4096


# Every engine looks through all directories for the shape of its own; a filesystem is walked for the first of them only.
_branches: WeakKeyDictionary[Filesystem, list[tuple[int, Sequence[tuple[bytes, int]]]]] = WeakKeyDictionary()


def branches(fs: Filesystem) -> Sequence[tuple[int, Sequence[tuple[bytes, int]]]]:
    """The directories that have subdirectories, each with them, as `Filesystem.directories` tells them."""
    if fs not in _branches:
        _branches[fs] = [(number, inside) for number, inside in fs.directories() if inside]
    return _branches[fs]


def directories_with(partition: int, fs: Filesystem, wanted: Callable[[Mapping[bytes, int]], bool]) -> Iterator[Place]:
    """The directories whose subdirectories, by name, are as wanted; by inode number."""
    children, parents = array("Q"), array("Q")
    found = []
    for number, subdirectories in branches(fs):
        names = dict(subdirectories)
        children.extend(names.values())
        parents.extend([number] * len(names))
        if wanted(names):
            found.append(number)
    child, parent = np.array(children, np.uint64), np.array(parents, np.uint64)
    for number in sorted(found):
        yield Place(partition, fs, number, _path(fs, number, child, parent))


def _path(fs: Filesystem, number: int, child: NDArray[np.uint64], parent: NDArray[np.uint64]) -> bytes:
    """The path of a directory; `child` is a subdirectory of `parent`, row by row."""
    names: list[bytes] = []
    while number != fs.root and len(names) < MAX_DEPTH:
        rows = np.flatnonzero(child == number)
        if not len(rows):
            break
        above = int(parent[rows[0]])
        names.append(next((entry.name for entry in fs.entries(above) if entry.inode == number), b"?"))
        number = above
    return b"/" + b"/".join(reversed(names))
