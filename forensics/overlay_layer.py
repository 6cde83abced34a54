"""One layer as the merge looks at it: its tree, its marks, and the names in a directory, found when they are asked for."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from forensics.filesystem import Tree
from forensics.overlay_marks import Marks, kernel_marks
from forensics.wh_marks import aufs_marks, fuse_marks

FILE, DIRECTORY = ord("f"), ord("d")


@dataclass(frozen=True)
class LayerTree:
    """A layer and all that its directory holds.

    key: unique among the layers; lower: the key of the layer right below it. marks: as Layer.marks, or `none` for a directory
    that is shown as it is. first_entry: the entry id of the tree's row 0; row r's is first_entry + r.
    """

    key: str
    lower: str | None
    marks: str
    tree: Tree
    first_entry: int

    @cached_property
    def paths(self) -> list[bytes]:
        """Each row's path inside the layer, `/etc/passwd`; empty for the layer's root."""
        parent, names = self.tree.parent, self.tree.names
        # names of one directory stand together in most trees
        starts = [*(np.flatnonzero(np.diff(parent)) + 1).tolist(), len(parent)]
        paths = [b""]
        for start, end in pairwise(starts):
            above = paths[parent[start]] + b"/"
            paths += [above + name for name in names[start:end]]
        return paths


def read_marks(layer: LayerTree) -> Marks:
    """The marks in a layer's tree, in the language of its driver."""
    if layer.marks == "fuse":
        return fuse_marks(layer.tree)
    if layer.marks == "aufs":
        return aufs_marks(layer.tree)
    if layer.marks == "none":
        return Marks()
    return kernel_marks(layer.tree, layer.marks)


class LayerIndex:
    """A layer with its marks; `types` holds each row's type as in Tree.type."""

    def __init__(self, layer: LayerTree) -> None:
        self.layer = layer
        self.marks = read_marks(layer)
        self.types = layer.tree.type.tobytes()
        self._children: dict[int, dict[bytes, int]] = {}
        self._marked: set[int] | None = None

    def entry(self, row: int) -> int:
        """The row's entry id."""
        return self.layer.first_entry + row

    def children(self, row: int) -> dict[bytes, int]:
        """The rows in a directory by the name that each stands for: a whiteout by the name that it hides."""
        found = self._children.get(row)
        if found is None:
            found = self._children[row] = self._read_children(row)
        return found

    def _read_children(self, row: int) -> dict[bytes, int]:
        names, whiteouts, hints = self.layer.tree.names, self.marks.whiteouts, self.marks.hints
        rows = self.child_rows(row)
        rows.reverse()  # of a name that stands twice in a damaged directory, the first counts
        if hints.isdisjoint(rows) and whiteouts.keys().isdisjoint(rows):
            return {names[child]: child for child in rows}
        found: dict[bytes, int] = {}
        for child in rows:
            if child in hints:
                continue
            hidden = whiteouts.get(child)
            if hidden is None:
                if found.get(names[child], child) not in whiteouts:
                    found[names[child]] = child
            else:
                found[hidden] = child
        return found

    def child_rows(self, row: int) -> list[int]:
        """The rows whose parent is `row`."""
        return self._order[self._starts[row] : self._starts[row + 1]].tolist()

    def is_plain(self, row: int) -> bool:
        """Whether no row at or below this one has a mark, so that on its own it shows just what it holds."""
        if self._marked is None:
            marks, self._marked = self.marks, {0}
            for marked in (*marks.whiteouts, *marks.hints, *marks.redirects, *marks.metacopies):
                at = marked
                while at not in self._marked:
                    self._marked.add(at)
                    at = int(self.layer.tree.parent[at])
        return row not in self._marked

    def below(self, row: int) -> list[int]:
        """All rows below a directory, itself left out."""
        return [below for first, last in self.ranges_below(row) for below in range(first, last + 1)]

    def ranges_below(self, row: int) -> list[tuple[int, int]]:
        """All rows below a directory as (first, last): in most trees they stand together."""
        ranges: list[tuple[int, int]] = []
        pending = [row]
        while pending:
            directory = pending.pop()
            begin, end = self._starts[directory], self._starts[directory + 1]
            if begin == end:
                continue
            first, last = self._order[begin], self._order[end - 1]
            if last - first == end - begin - 1:
                _extend(ranges, first, last)
                directories = self._directories
                pending.extend(directories[bisect_left(directories, first) : bisect_right(directories, last)])
            else:
                for child in self.child_rows(directory):
                    _extend(ranges, child, child)
                    if self.types[child] == DIRECTORY:
                        pending.append(child)
        return ranges

    @cached_property
    def _directories(self) -> list[int]:
        rows: list[int] = np.flatnonzero(self.layer.tree.type == DIRECTORY).tolist()
        return rows

    # Indexing a memoryview is three times as fast as indexing an array.

    @cached_property
    def _order(self) -> memoryview[int]:
        """Rows by parent; of each parent, in their own order."""
        return np.argsort(self.layer.tree.parent, kind="stable").data

    @cached_property
    def _starts(self) -> memoryview[int]:
        """Where each row's children are in `_order`, and at the end its length."""
        parent = self.layer.tree.parent[np.asarray(self._order)]
        return np.searchsorted(parent, np.arange(len(parent) + 1)).data


def as_ranges(rows: Iterable[int]) -> list[tuple[int, int]]:
    """Rows, which come in order, as (first, last)."""
    ranges: list[tuple[int, int]] = []
    for row in rows:
        _extend(ranges, row, row)
    return ranges


def _extend(ranges: list[tuple[int, int]], first: int, last: int) -> None:
    if ranges and ranges[-1][1] + 1 == first:
        ranges[-1] = ranges[-1][0], last
    else:
        ranges.append((first, last))
