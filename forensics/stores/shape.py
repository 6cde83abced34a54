"""Directories found by what is in them, anywhere in a filesystem."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from weakref import WeakKeyDictionary

from forensics.filesystem import Filesystem
from forensics.stores.reading import Place

MAX_DEPTH = 4096


class Branches:
    """The directories of a filesystem that have subdirectories."""

    def __init__(self, fs: Filesystem) -> None:
        self._directories = [each for each in fs.directories() if each[1]]

    def having(self, telling: Callable[[bytes], object]) -> Iterator[tuple[int, dict[bytes, int]]]:
        """The directories with a subdirectory whose name tells something: each one's inode number, and all of those by name."""
        places = {place for name, having in self._by_name.items() if telling(name) for place in having}
        for place in sorted(places):
            number, inside = self._directories[place]
            yield number, dict(inside)

    @cached_property
    def _by_name(self) -> dict[bytes, list[int]]:
        """The places of the directories that have a subdirectory of a name; many have the same names."""
        found: dict[bytes, list[int]] = {}
        for place, (_, inside) in enumerate(self._directories):
            for name, _ in inside:
                found.setdefault(name, []).append(place)
        return found

    @cached_property
    def _parents(self) -> dict[int, int]:
        return {child: number for number, inside in reversed(self._directories) for _, child in inside}

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


def directories_with(
    partition: int, fs: Filesystem, telling: Callable[[bytes], object], wanted: Callable[[Mapping[bytes, int]], bool]
) -> Iterator[Place]:
    """The directories whose subdirectories, by name, are as wanted; by inode number.

    telling: whether a name is one of those of which every wanted directory has at least one.
    """
    found = branches(fs)
    for number in sorted(number for number, names in found.having(telling) if wanted(names)):
        yield Place(partition, fs, number, found.path(fs, number))
