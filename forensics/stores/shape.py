"""Directories found by what is in them, anywhere in a filesystem."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from weakref import WeakKeyDictionary

from forensics.filesystem import Filesystem
from forensics.stores.reading import Place

MAX_DEPTH = 4096


class Branches:
    """The directories of a filesystem that have subdirectories: each one's inode number, and those by name."""

    def __init__(self, fs: Filesystem) -> None:
        self.directories = [(number, dict(inside)) for number, inside in fs.directories() if inside]

    @cached_property
    def _parents(self) -> dict[int, int]:
        return {child: number for number, names in reversed(self.directories) for child in names.values()}

    def path(self, fs: Filesystem, number: int) -> bytes:
        """The path of a directory."""
        names: list[bytes] = []
        while number != fs.root and len(names) < MAX_DEPTH:
            above = self._parents.get(number)
            if above is None:
                break
            names.append(next((entry.name for entry in fs.entries(above) if entry.inode == number), b"?"))
            number = above
        return b"/" + b"/".join(reversed(names))


# Every engine looks through all directories for the shape of its own; a filesystem is walked for the first of them only.
_branches: WeakKeyDictionary[Filesystem, Branches] = WeakKeyDictionary()


def branches(fs: Filesystem) -> Branches:
    """The directories that have subdirectories, as `Filesystem.directories` tells them."""
    if fs not in _branches:
        _branches[fs] = Branches(fs)
    return _branches[fs]


def directories_with(partition: int, fs: Filesystem, wanted: Callable[[Mapping[bytes, int]], bool]) -> Iterator[Place]:
    """The directories whose subdirectories, by name, are as wanted; by inode number."""
    found = branches(fs)
    for number in sorted(number for number, names in found.directories if wanted(names)):
        yield Place(partition, fs, number, found.path(fs, number))
