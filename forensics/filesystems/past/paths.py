"""Paths at a moment: from the names that the log tells, and from those that stand in directories now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from forensics.filesystem import Filesystem, Problem

BEFORE = -1
"""The moment before the first transaction of the log; a moment is a transaction's place among those that the log holds."""


class Name(NamedTuple):
    """A name that an inode had in a directory from one moment to another; `generation` tells which directory of this number."""

    first: int
    last: int
    parent: int
    generation: int
    name: bytes


Life = tuple[int, int]
"""The moments from and to which an inode was in use."""
_OF_NOW = -1  # the generation of a directory that is named by one of now
MOST_NAMES = 1 << 12  # of one inode that are told: a whiteout has one for every file that it hides


def tell_more_names(fs: Filesystem, number: int, most: int) -> None:
    """A problem, once for each inode: not all of its names are told."""
    told = Problem("deleted files", f"inode {number}", f"it had more than {most:,} names; the others are not told")
    if told not in fs.problems:
        fs.problems.append(told)


@dataclass
class PastPaths:
    """names: by inode number. lives: by inode number and generation, of the inodes that the log has states of."""

    fs: Filesystem
    names: Mapping[int, Sequence[Name]]
    lives: Mapping[tuple[int, int], Life]
    _now: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    _known: dict[tuple[int, int, int], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for directory, inside in self.fs.directories():
            for name, number in inside:
                self._now[number] = directory, name

    def paths(self, number: int, moment: int) -> list[tuple[bytes, tuple[int, int]]]:
        """An inode's paths at a moment, with their directories (number, generation)."""
        names = self._valid(number, moment)
        if len(names) > MOST_NAMES:
            tell_more_names(self.fs, number, MOST_NAMES)
            names = names[:MOST_NAMES]
        found = {
            (self.directory(name.parent, name.generation, moment) + b"/" + name.name, (name.parent, name.generation))
            for name in names
        }
        return sorted(found)

    def last_known(self, number: int, life: Life) -> list[tuple[bytes, tuple[int, int]]]:
        """The paths that an inode had last in its life, as far as names of it are known."""
        seen = [n.last for n in self.names.get(number, ()) if n.last >= life[0] and n.first <= life[1] and self._stood(n, n.last)]
        return self.paths(number, max(seen)) if seen else []

    def directory(self, number: int, generation: int, moment: int) -> bytes:
        """A directory's path without the last slash; `#` and its number where it is not known."""
        parts: list[bytes] = []
        start = (number, generation, moment)
        entered = set[int]()
        while number != self.fs.root:
            known = self._known.get((number, generation, moment))
            if known is not None:
                parts.append(known)
                break
            named = self._valid(number, moment)
            if number in entered or not (named or self._is_now(number, generation)):
                parts.append(b"#%d" % number)
                break
            entered.add(number)
            if named:
                parts.append(b"/" + named[0].name)
                number, generation = named[0].parent, named[0].generation
            else:
                number, name = self._now[number]
                generation = _OF_NOW
                parts.append(b"/" + name)
        path = b"".join(reversed(parts))
        self._known[start] = path
        return path

    def _is_now(self, number: int, generation: int) -> bool:
        """Whether the directory is there now, and not another one with its number."""
        return number in self._now and generation in (_OF_NOW, self.fs.inode(number).generation)

    def _valid(self, number: int, moment: int) -> list[Name]:
        return [name for name in self.names.get(number, ()) if name.first <= moment <= name.last and self._stood(name, moment)]

    def _stood(self, name: Name, moment: int) -> bool:
        """Whether the directory that a name stands in was there then."""
        life = self.lives.get((name.parent, name.generation))
        return life is None or life[0] <= moment <= life[1]
