"""The ways through a listing: from a directory down, each directory below entered once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from forensics.filesystems.bulk.listing import Listing
from forensics.filesystems.bulk.reading import Numbers


@dataclass(frozen=True, slots=True)
class Walk:
    """The entries below a directory.

    entries: the listing's rows, in the tree's order. parent: the tree row of each one's directory (row 0: the start).
    visited: the directories entered, as places in the listing. again: the tree rows of directories that had been entered before.
    """

    entries: Numbers
    parent: Numbers
    visited: list[int]
    again: list[int]


class SubDirectories:
    """Which entries of a listing are directories of the same listing."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        directories = listing.directories
        place = np.minimum(np.searchsorted(directories, listing.inode), max(0, len(directories) - 1))
        row = np.flatnonzero(directories[place] == listing.inode) if len(directories) else np.zeros(0, np.int64)
        # Indexing a memoryview is three times as fast as indexing an array, and this is done for every directory.
        self._row = row.data
        self._place = place[row].data
        self._bounds = np.searchsorted(row, np.append(listing.first, len(listing.inode))).data
        self._first = listing.first.data
        self._count = listing.count.data

    @cached_property
    def _names(self) -> Numbers:
        names = np.full(len(self.listing.directories), -1, np.int64)
        names[np.asarray(self._place)[::-1]] = np.asarray(self._row)[::-1]
        return names

    def named_by(self, at: int) -> int | None:
        """The first of the listing's entries that names the directory at a place."""
        row = int(self._names[at])
        return None if row < 0 else row

    def walk(self, start: int) -> Walk:
        """The entries below the directory at a place of the listing; a directory's row comes before its children's."""
        row, place, bounds, first, count = self._row, self._place, self._bounds, self._first, self._count
        entered = {start}
        order: list[int] = []
        own_row: list[int] = []
        again: list[int] = []
        pending = [(start, 0)]
        length = 1
        while pending:
            at, tree_row = pending.pop()
            order.append(at)
            own_row.append(tree_row)
            base = length - first[at]
            length += count[at]
            for i in range(bounds[at], bounds[at + 1]):
                child = place[i]
                if child in entered:
                    again.append(base + row[i])
                else:
                    entered.add(child)
                    pending.append((child, base + row[i]))
        places = np.array(order, np.int64)
        counts = self.listing.count[places]
        starts = self.listing.first[places] - (np.cumsum(counts) - counts)
        entries = np.arange(int(counts.sum()), dtype=np.int64) + np.repeat(starts, counts)
        return Walk(entries, np.repeat(np.array(own_row, np.int64), counts), order, again)

    def of_walk(self, way: Walk) -> Iterator[tuple[int, Sequence[tuple[bytes, int]]]]:
        """The directories of a walk: number, and the subdirectories (name, number) that are entered from there."""
        rows = np.asarray(self._row)
        named = list(zip(self.listing.name_list(rows), self.listing.inode[rows].tolist(), strict=True))
        again = {int(way.entries[row - 1]) for row in way.again}
        numbers = self.listing.directories[np.array(way.visited, np.int64)].tolist()
        for at, number in zip(way.visited, numbers, strict=True):
            part = range(self._bounds[at], self._bounds[at + 1])
            if again:
                yield number, [named[i] for i in part if self._row[i] not in again]
            else:
                yield number, named[part.start : part.stop]
