"""What `docker diff` says of a container: its merged view against that of the layer below it, or of its init layer.

moby (Docker 20.10 to 28), pkg/archive/changes.go: collectFileInfoForChanges, addChanges; changes_unix.go: statDifferent. The
daemon walks both views; where one lies on the other, only what the layer's delta names can differ.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import Tree
from forensics.overlay import Delta, LayerTree, Merger

Change = tuple[str, bytes]  # A, C or D, and an absolute path
_Row = tuple[Tree, int]

_CAPABILITY = b"security.capability"
_SECOND = 1_000_000_000
# statDifferent and isDir test the bit S_IFDIR alone, which block devices and sockets have too
_DIR_BIT = frozenset(b"dbs")


def docker_changes(chain: Sequence[LayerTree], delta: Delta) -> list[Change]:
    """The changes of the topmost layer of `chain` (topmost first) against the view below it, sorted by path."""
    layers = _Layers(chain)
    new = dict(_own_rows(chain[0], delta)) | {path: layers.find(entry) for _, entry, path in delta.placed}
    old, gone = _hidden_rows(layers, delta, new)
    return _changes(new, old | {path: layers.find(entry) for path, entry in delta.lost}, gone)


def view_changes(new: Sequence[LayerTree], old: Sequence[LayerTree]) -> list[Change]:
    """The changes of the view of one chain of layers (topmost first) against that of another, sorted by path."""
    return _changes(_view(new), _view(old))


def _changes(new: Mapping[bytes, _Row], old: Mapping[bytes, _Row], gone: Set[bytes] = frozenset()) -> list[Change]:
    """Of two views, or of just those parts of them where they can differ, by path; a root's is empty.

    gone: directories of the old view; those of them that `old` does not have went with what is above them.
    """
    changes: dict[bytes, str] = {}
    for path, row in new.items():
        before = old.get(path)
        if before is None:
            changes[path] = "A"
        elif _differ(*before, *row):
            changes[path] = "C"
    for path in old.keys() - new.keys():
        parent = _parent(path)
        if parent in new:
            tree, at = new[parent]
            listed = tree.type[at] in _DIR_BIT
        else:
            listed = parent not in old and parent not in gone  # else what was above went with it
        if listed:
            changes[path] = "D"
    for path in list(changes):
        parent = _parent(path)
        while parent and parent not in changes:
            changes[parent] = "C"
            parent = _parent(parent)
    changes.pop(b"", None)
    return sorted(((kind, path) for path, kind in changes.items()), key=lambda change: change[1])


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _hidden_rows(layers: _Layers, delta: Delta, new: Mapping[bytes, _Row]) -> tuple[dict[bytes, _Row], Set[bytes]]:
    """What the old view shows where the new one does not, by path, and the directories of that.

    Of whole trees that went only the topmost is listed, so that what is in a directory that went too is left out, unless the
    new view has something in its place.
    """
    near = new.keys() | {_parent(path) for path in new}
    hidden = list(layers.rows((each.first, each.last) for each in delta.hidden))
    gone = {layer.paths[row] for layer, rows in hidden for row in rows[layer.tree.type[rows] == ord("d")].tolist()}
    old: dict[bytes, _Row] = {}
    for layer, rows in hidden:
        parents, of_row = np.unique(layer.tree.parent[rows], return_inverse=True)
        above = [layer.paths[parent] for parent in parents.tolist()]
        listed = np.array([path in near or path not in gone for path in above], np.bool_)[of_row]
        old.update((layer.paths[row], (layer.tree, row)) for row in rows[listed].tolist())
    return old, gone


def _view(chain: Sequence[LayerTree]) -> dict[bytes, _Row]:
    """All that a chain's view shows."""
    layers, merger = _Layers(chain), Merger()
    shown: dict[bytes, _Row] = {}
    for layer in reversed(chain):
        delta = merger.add(layer)
        for below, rows in layers.rows((each.first, each.last) for each in delta.hidden):
            for row in rows.tolist():
                shown.pop(below.paths[row], None)
        for path, _ in delta.lost:
            shown.pop(path, None)
        shown.update(_own_rows(layer, delta))
        shown.update((path, layers.find(entry)) for _, entry, path in delta.placed)
    return shown


class _Layers:
    """The entries of a chain of layers."""

    def __init__(self, chain: Sequence[LayerTree]) -> None:
        self._layers = sorted(chain, key=lambda layer: layer.first_entry)
        self._firsts = [layer.first_entry for layer in self._layers]

    def find(self, entry: int) -> _Row:
        layer = self._layers[bisect_right(self._firsts, entry) - 1]
        return layer.tree, entry - layer.first_entry

    def rows(self, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[LayerTree, NDArray[np.int64]]]:
        """The entries in ranges, which come in order, as rows of each layer; less the layers' own roots."""
        pending = list(ranges)
        firsts = np.array([first for first, _ in pending], np.int64)
        lasts = np.array([last for _, last in pending], np.int64)
        for layer in self._layers:
            begin, end = layer.first_entry + 1, layer.first_entry + len(layer.tree)
            inside = slice(np.searchsorted(lasts, begin), np.searchsorted(firsts, end))
            change = np.zeros(end - begin + 1, np.int64)
            np.add.at(change, np.maximum(firsts[inside] - begin, 0), 1)
            np.add.at(change, np.minimum(lasts[inside] + 1, end) - begin, -1)
            rows = np.flatnonzero(np.cumsum(change[:-1])) + 1
            if len(rows):
                yield layer, rows


def _own_rows(layer: LayerTree, delta: Delta) -> Iterator[tuple[bytes, _Row]]:
    """The layer's own entries that its view shows, by path."""
    invisible = {entry - layer.first_entry for entry, _ in delta.invisible}
    for row, path in enumerate(layer.paths):
        if row not in invisible:
            yield path, (layer.tree, row)


def _differ(old: Tree, old_row: int, new: Tree, new_row: int) -> bool:
    """statDifferent, and the file capabilities."""
    for column in ("type", "mode", "uid", "gid", "rdev_major", "rdev_minor"):
        if getattr(old, column)[old_row] != getattr(new, column)[new_row]:
            return True
    content = old.size[old_row] != new.size[new_row] or not _same_time(_mtime(old, old_row), _mtime(new, new_row))
    if content and old.type[old_row] not in _DIR_BIT:
        return True
    return old.xattrs.get(old_row, {}).get(_CAPABILITY) != new.xattrs.get(new_row, {}).get(_CAPABILITY)


def _mtime(tree: Tree, row: int) -> int:
    return tree.far_times.get((row, "mtime_ns"), int(tree.mtime_ns[row]))


def _same_time(a: int, b: int) -> bool:
    """Equal, or of one second where one of them has no fraction: tar archives keep none."""
    return a == b or (a // _SECOND == b // _SECOND and (a % _SECOND == 0 or b % _SECOND == 0))
