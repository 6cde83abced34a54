"""What a daemon leaves out of a layer's archive though its directory has it: what changes nothing of what is below.

Docker writes the archive of a layer that it or BuildKit filled in place by comparing two views, where its driver knows no better:
fuse-overlayfs, and overlay2 in a user namespace. A directory that was copied up with its mode and owner, and a whiteout over
nothing, then are in the layer's directory only. Of directories, no times are compared: those of /etc change when an engine mounts
something there for a step of a build. Source: moby v20.10 to v28, daemon/graphdriver/fsdiff.go, pkg/archive/changes.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forensics.filesystem import Filesystem, Tree
from forensics.records import Layer
from parsers.errors import EvidenceError, FormatError

MAX_BELOW = 500  # as overlayfs takes
_WHITEOUT = b".wh."
_OPAQUE = b".opaque"  # the end of every xattr that cuts off what is below a directory


@dataclass(frozen=True, slots=True)
class Below:
    """A layer below: its tree, and where in it a path is."""

    tree: Tree
    rows: Mapping[bytes, int]


def paths_of(tree: Tree) -> dict[bytes, int]:
    """The row of each path; the root's is empty."""
    paths: list[bytes] = [b""]
    for parent, name in zip(tree.parent[1:].tolist(), tree.names[1:], strict=True):
        above = paths[parent]
        paths.append(above + b"/" + name if above else name)
    return {path: row for row, path in enumerate(paths)}


def layers_below(layer: Layer, by_key: Mapping[str, Layer]) -> list[Layer]:
    """The layers that a layer is stacked on, the top one first."""
    found: list[Layer] = []
    here = by_key.get(layer.lower) if layer.lower is not None else None
    while here is not None and here not in found and len(found) < MAX_BELOW:
        found.append(here)
        here = by_key.get(here.lower) if here.lower is not None else None
    return found


def read_below(layers: Sequence[Layer], filesystems: Mapping[int, Filesystem]) -> list[Below] | None:
    """The trees of the layers, None where one cannot be read."""
    found = []
    for layer in layers:
        fs = filesystems.get(layer.partition)
        if fs is None or layer.directory is None:
            return None
        try:
            tree = fs.tree(layer.directory)
        except (FormatError, EvidenceError):
            return None
        found.append(Below(tree, paths_of(tree)))
    return found


def changes_nothing(tree: Tree, path: bytes, row: int, below: Sequence[Below]) -> bool:
    """Whether what is below would be seen as it is without this entry, too: a directory, or a whiteout."""
    directory, _, name = path.rpartition(b"/")
    if _is_whiteout(tree, row):
        hidden = name.removeprefix(_WHITEOUT)
        targets = {path, directory + b"/" + hidden if directory else hidden}
        return not any(targets & each.rows.keys() for each in below)
    if chr(tree.type[row]) != "d" or any(key.endswith(_OPAQUE) for key in tree.xattrs.get(row, {})):
        return False
    for each in below:
        other = each.rows.get(path)
        if other is not None:
            return _is_same_directory(tree, row, each.tree, other)
        if _hides(each, path):
            return False
    return False


def _is_whiteout(tree: Tree, row: int) -> bool:
    return chr(tree.type[row]) == "c" and not int(tree.rdev_major[row]) and not int(tree.rdev_minor[row])


def _is_same_directory(tree: Tree, row: int, other: Tree, at: int) -> bool:
    if chr(other.type[at]) != "d":
        return False
    columns = (tree.mode, other.mode), (tree.uid, other.uid), (tree.gid, other.gid)
    return all(int(mine[row]) == int(theirs[at]) for mine, theirs in columns)


def _hides(layer: Below, path: bytes) -> bool:
    """Whether a layer that has no such path hides it, or a directory above it."""
    parts = path.split(b"/")
    for count in range(1, len(parts) + 1):
        *above, last = parts[:count]
        for name in (last, _WHITEOUT + last):
            row = layer.rows.get(b"/".join([*above, name]))
            if row is not None and (name != last or chr(layer.tree.type[row]) != "d"):
                return True
    return False
