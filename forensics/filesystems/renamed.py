"""A filesystem in which some directories have other names: those that a back end had to make up, and that are known after all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from forensics.filesystem import DirEntry, Filesystem


def renamed(fs: Filesystem, names: Mapping[int, Mapping[bytes, bytes]]) -> Filesystem:
    """The same filesystem, but for the names in it. names: by directory, the new name of each old one; new ones must be free."""
    return cast(Filesystem, _Renamed(fs, names))


class _Renamed:
    """Answers about names itself, and leaves everything else to the filesystem."""

    def __init__(self, fs: Filesystem, names: Mapping[int, Mapping[bytes, bytes]]) -> None:
        self._fs = fs
        self._new = names
        self._old = {directory: {new: old for old, new in inside.items()} for directory, inside in names.items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)

    def entries(self, number: int) -> Sequence[DirEntry]:
        """The names in a directory, sorted."""
        known = self._fs.entries(number)
        new = self._new.get(number)
        if new is None:
            return known
        return sorted((replace(entry, name=new.get(entry.name, entry.name)) for entry in known), key=lambda entry: entry.name)

    def find(self, directory: int, name: bytes) -> int | None:
        """The inode number of one name in a directory."""
        return self._fs.find(directory, self._old.get(directory, {}).get(name, name))

    def directories(self) -> Iterator[tuple[int, Sequence[tuple[bytes, int]]]]:
        """Every directory, once, with its subdirectories."""
        for number, inside in self._fs.directories():
            new = self._new.get(number)
            yield number, inside if new is None else [(new.get(name, name), inode) for name, inode in inside]
