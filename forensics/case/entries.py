"""A layer's tree as rows of the table `entry`: columns to Python values, bytes to text, a slice at a time."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np

from forensics.filesystem import NO_TIME, Tree
from forensics.text import raw_if_unequal, readable
from parsers.overlay_marks import private_prefixes, visible_xattrs

SLICE = 20_000  # rows turned into Python values at a time, so that a large layer does not double in memory


@dataclass(frozen=True, slots=True)
class LayerEntries:
    """A layer's tree with what is known of its rows besides.

    namespace: whose overlay xattrs are private here, as Layer.marks. marks: why a row is never visible itself, by row.
    metacopy: rows whose bytes another entry has. merged: directories that show lower layers' names too, and the link count 1.
    """

    layer_id: int
    first_entry: int
    tree: Tree
    namespace: str
    marks: Mapping[int, str] = field(default_factory=dict)
    metacopy: frozenset[int] = frozenset()
    merged: frozenset[int] = frozenset()


def tree_paths(tree: Tree) -> list[bytes]:
    """Each row's path below the tree's own directory, `/etc/passwd`; `/` for the directory itself."""
    paths: list[bytes] = [b""]
    for parent, name in zip(tree.parent[1:].tolist(), tree.names[1:], strict=True):
        paths.append(paths[parent] + b"/" + name)
    paths[0] = b"/"
    return paths


def tree_path(tree: Tree, row: int) -> bytes:
    """One row's path, as in `tree_paths`; empty for the directory itself."""
    parts = []
    while row:
        parts.append(tree.names[row])
        row = int(tree.parent[row])
    return b"".join(b"/" + part for part in reversed(parts))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the table `entry`. Only these columns have a value in any of them; in the `sparse` ones '' stands for NULL.

    Binding None is what takes longest in an INSERT (sqlite3 looks for an adapter each time), and nearly all that could be
    bound would be None.
    """

    columns: tuple[str, ...]
    sparse: frozenset[str]
    values: Iterable[tuple[Any, ...]]


def entry_rows(entries: LayerEntries) -> Iterator[Rows]:
    """The layer's rows, some at a time."""
    paths = tree_paths(entries.tree)
    for start in range(0, len(paths), SLICE):
        yield _slice(entries, paths[start : start + SLICE], start)


def far_time_rows(entries: LayerEntries) -> Iterator[tuple[int, str, str]]:
    """Times that SQLite's integers cannot hold, as (entry, column, decimal text)."""
    for (row, column), ns in sorted(entries.tree.far_times.items()):
        yield entries.first_entry + row, column, str(ns)


def _slice(entries: LayerEntries, raw_paths: list[bytes], start: int) -> Rows:
    tree, count = entries.tree, len(raw_paths)
    stop = start + count
    rows = range(start, stop)
    paths, path_raw = _texts(raw_paths)
    target, target_raw = _targets(tree, rows)
    xattrs, private_xattrs = _xattrs(entries, rows)
    columns: dict[str, Iterable[Any] | None] = {
        "id": range(entries.first_entry + start, entries.first_entry + stop),
        "layer_id": repeat(entries.layer_id, count),
        "path": paths,
        "type": tree.type[start:stop].tobytes().decode("ascii"),
        "mode": tree.mode[start:stop].tolist(),
        "uid": tree.uid[start:stop].tolist(),
        "gid": tree.gid[start:stop].tolist(),
        "size": tree.size[start:stop].tolist(),
        "nlink": tree.nlink[start:stop].tolist(),
        "inode": tree.inode[start:stop].tolist(),
    }
    sparse: dict[str, list[Any] | None] = {
        "path_raw": path_raw,
        "mark": _filled(rows, entries.marks),
        "target": target,
        "target_raw": target_raw,
        "rdev": _devices(tree, rows),
        "xattrs": xattrs,
        "private_xattrs": private_xattrs,
        "metacopy": _filled(rows, dict.fromkeys(entries.metacopy, 1)),
        "merged": _filled(rows, dict.fromkeys(entries.merged, 1)),
    }
    for name, column, unknown in (
        ("mtime_ns", tree.mtime_ns, NO_TIME),
        ("atime_ns", tree.atime_ns, NO_TIME),
        ("ctime_ns", tree.ctime_ns, NO_TIME),
        ("crtime_ns", tree.crtime_ns, NO_TIME),
        ("offset", tree.offset, -1),
    ):
        part = column[start:stop]
        if (part == unknown).any():
            sparse[name] = ["" if value == unknown else value for value in part.tolist()]
        else:
            columns[name] = part.tolist()
    filled = {name: values for name, values in sparse.items() if values is not None}
    return Rows((*columns, *filled), frozenset(filled), zip(*columns.values(), *filled.values(), strict=True))


def _texts(raw: list[bytes]) -> tuple[list[str], list[Any] | None]:
    """Texts, and the raw bytes where a text does not give them back; in one go where all are UTF-8."""
    try:
        return b"\0".join(raw).decode("utf-8").split("\0"), None
    except UnicodeDecodeError:
        texts = [readable(r) for r in raw]
        raws = [raw_if_unequal(r, t) for r, t in zip(raw, texts, strict=True)]
        return texts, ["" if r is None else r for r in raws]


def _filled(rows: range, values: Mapping[int, Any]) -> list[Any] | None:
    """A column with the values of these rows, None where none of them has one."""
    found = [row for row in values if row in rows] if len(values) < len(rows) else [row for row in rows if row in values]
    if not found:
        return None
    column: list[Any] = [""] * len(rows)
    for row in found:
        column[row - rows.start] = values[row]
    return column


def _targets(tree: Tree, rows: range) -> tuple[list[Any] | None, list[Any] | None]:
    links = np.flatnonzero(tree.type[rows.start : rows.stop] == ord("l")) + rows.start
    targets = {row: tree.targets[row] for row in links.tolist() if row in tree.targets}
    texts = {row: readable(target) for row, target in targets.items()}
    raws = {row: raw for row, text in texts.items() if (raw := raw_if_unequal(targets[row], text)) is not None}
    return _filled(rows, texts), _filled(rows, raws)


def _devices(tree: Tree, rows: range) -> list[Any] | None:
    kinds = tree.type[rows.start : rows.stop]
    devices = np.flatnonzero((kinds == ord("c")) | (kinds == ord("b"))) + rows.start
    return _filled(rows, {row: f"{tree.rdev_major[row]}:{tree.rdev_minor[row]}" for row in devices.tolist()})


def _xattrs(entries: LayerEntries, rows: range) -> tuple[list[Any] | None, list[Any] | None]:
    all_xattrs, prefixes = entries.tree.xattrs, private_prefixes(entries.namespace)
    shown: dict[int, str] = {}
    private: dict[int, str] = {}
    for row in [row for row in all_xattrs if row in rows] if len(all_xattrs) < len(rows) else rows:
        xattrs = all_xattrs.get(row)
        if xattrs:
            visible = visible_xattrs(xattrs, entries.namespace)
            hidden = {name: value for name, value in xattrs.items() if name.startswith(prefixes)}
            if visible:
                shown[row] = _xattr_json(visible)
            if hidden:
                private[row] = _xattr_json(hidden)
    return _filled(rows, shown), _filled(rows, private)


def _xattr_json(xattrs: Mapping[bytes, bytes]) -> str:
    """A JSON object of xattr names to base64 of their values."""
    return json.dumps({readable(name): base64.b64encode(xattrs[name]).decode("ascii") for name in sorted(xattrs)})
