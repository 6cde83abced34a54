"""One layer as the merge looks at it: its tree, its marks, and the names in a directory, found when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        self._order: NDArray[np.int64] | None = None
        self._starts: NDArray[Any] | None = None
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

    def path(self, row: int) -> bytes:
        """The row's path inside its own layer, `/etc/passwd`; empty for the layer's root."""
        parts = []
        while row:
            parts.append(self.layer.tree.names[row])
            row = int(self.layer.tree.parent[row])
        return b"".join(b"/" + part for part in reversed(parts))

    def _read_children(self, row: int) -> dict[bytes, int]:
        names, whiteouts, hints = self.layer.tree.names, self.marks.whiteouts, self.marks.hints
        found: dict[bytes, int] = {}
        for child in reversed(self.child_rows(row)):  # of a name that stands twice in a damaged directory, the first counts
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
        if self._order is None or self._starts is None:
            parent = self.layer.tree.parent
            self._order = np.argsort(parent, kind="stable")
            self._starts = np.searchsorted(parent[self._order], np.arange(len(parent) + 1))
        rows: list[int] = self._order[self._starts[row] : self._starts[row + 1]].tolist()
        return rows

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
        rows, pending = [], [row]
        while pending:
            children = self.child_rows(pending.pop())
            rows.extend(children)
            pending.extend(child for child in children if self.types[child] == DIRECTORY)
        return rows
