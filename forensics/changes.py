"""What `docker diff` says of a container: its merged view against that of the layer below it, or of its init layer.

moby (Docker 20.10 to 28), pkg/archive/changes.go: collectFileInfoForChanges, addChanges; changes_unix.go: statDifferent. The
daemon walks both views; where one lies on the other, only what the layer's delta names can differ.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

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
    entries = _Entries(chain)
    old = {entries.path(entry): entry for entry, _, _ in delta.hidden} | dict(delta.lost)
    new = dict(_own_paths(chain[0], delta)) | {path: entry for _, entry, path in delta.placed}
    return _changes(
        {path: entries.find(entry) for path, entry in new.items()}, {path: entries.find(entry) for path, entry in old.items()}
    )


def view_changes(new: Sequence[LayerTree], old: Sequence[LayerTree]) -> list[Change]:
    """The changes of the view of one chain of layers (topmost first) against that of another, sorted by path."""
    return _changes(_view(new), _view(old))


def _changes(new: Mapping[bytes, _Row], old: Mapping[bytes, _Row]) -> list[Change]:
    """Of two views, or of just those parts of them where they can differ, by path; a root's is empty."""
    changes: dict[bytes, str] = {}
    for path, row in new.items():
        before = old.get(path)
        if before is None:
            changes[path] = "A"
        elif _differ(*before, *row):
            changes[path] = "C"
    for path in old.keys() - new.keys():
        parent = path.rpartition(b"/")[0]
        if parent in new:
            tree, at = new[parent]
            listed = tree.type[at] in _DIR_BIT
        else:
            listed = parent not in old  # else what was above went with it
        if listed:
            changes[path] = "D"
    for path in list(changes):
        parent = path.rpartition(b"/")[0]
        while parent and parent not in changes:
            changes[parent] = "C"
            parent = parent.rpartition(b"/")[0]
    changes.pop(b"", None)
    return sorted(((kind, path) for path, kind in changes.items()), key=lambda change: change[1])


def _view(chain: Sequence[LayerTree]) -> dict[bytes, _Row]:
    """All that a chain's view shows."""
    entries, merger = _Entries(chain), Merger()
    shown: dict[bytes, int] = {}
    for layer in reversed(chain):
        delta = merger.add(layer)
        for entry, _, _ in delta.hidden:
            shown.pop(entries.path(entry), None)
        for path, _ in delta.lost:
            shown.pop(path, None)
        shown.update(_own_paths(layer, delta))
        shown.update((path, entry) for _, entry, path in delta.placed)
    return {path: entries.find(entry) for path, entry in shown.items()}


class _Entries:
    """The entries of a chain of layers; a root's path is empty here, so that every other one begins with its parent's."""

    def __init__(self, chain: Sequence[LayerTree]) -> None:
        self._layers = sorted(chain, key=lambda layer: layer.first_entry)
        self._firsts = [layer.first_entry for layer in self._layers]
        self._paths: dict[int, bytes] = {}

    def find(self, entry: int) -> tuple[Tree, int]:
        layer = self._layers[bisect_right(self._firsts, entry) - 1]
        return layer.tree, entry - layer.first_entry

    def path(self, entry: int) -> bytes:
        tree, row = self.find(entry)
        first, way = entry - row, []
        while row and first + row not in self._paths:
            way.append(row)
            row = int(tree.parent[row])
        path = self._paths[first + row] if row else b""
        for step in reversed(way):
            path = self._paths[first + step] = path + b"/" + tree.names[step]
        return path


def _own_paths(layer: LayerTree, delta: Delta) -> Iterator[tuple[bytes, int]]:
    """The layer's own entries that its view shows, by path."""
    invisible = {entry for entry, _ in delta.invisible}
    paths: list[bytes] = []
    for row, (parent, name) in enumerate(zip(layer.tree.parent.tolist(), layer.tree.names, strict=True)):
        paths.append(paths[parent] + b"/" + name if row else b"")
        if layer.first_entry + row not in invisible:
            yield paths[row], layer.first_entry + row


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
