"""A layer's tree as rows of the table `entry`: columns to Python values, bytes to text, a slice at a time."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import NO_TIME, Tree
from forensics.text import raw_if_unequal, readable
from parsers.overlay_marks import private_prefixes, visible_xattrs

SLICE = 20_000  # rows turned into Python values at a time, so that a large layer does not double in memory
COLUMNS = (
    "id", "layer_id", "path", "path_raw", "type", "mode", "uid", "gid", "size", "mtime_ns", "atime_ns", "ctime_ns", "crtime_ns",
    "nlink", "inode", "offset", "mark", "target", "target_raw", "rdev", "xattrs", "private_xattrs", "metacopy", "merged",
)  # fmt: skip


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


def entry_rows(entries: LayerEntries) -> Iterator[tuple[Any, ...]]:
    """The layer's rows, one tuple each in the order of COLUMNS."""
    paths = tree_paths(entries.tree)
    for start in range(0, len(paths), SLICE):
        yield from _slice_rows(entries, paths[start : start + SLICE], start)


def far_time_rows(entries: LayerEntries) -> Iterator[tuple[int, str, str]]:
    """Times that SQLite's integers cannot hold, as (entry, column, decimal text)."""
    for (row, column), ns in sorted(entries.tree.far_times.items()):
        yield entries.first_entry + row, column, str(ns)


def _slice_rows(entries: LayerEntries, raw_paths: list[bytes], start: int) -> Iterator[tuple[Any, ...]]:
    tree, count = entries.tree, len(raw_paths)
    stop = start + count
    rows = range(start, stop)
    paths, path_raw = _texts(raw_paths)
    return zip(
        range(entries.first_entry + start, entries.first_entry + stop),
        [entries.layer_id] * count,
        paths,
        path_raw,
        tree.type[start:stop].tobytes().decode("ascii"),
        tree.mode[start:stop].tolist(),
        tree.uid[start:stop].tolist(),
        tree.gid[start:stop].tolist(),
        tree.size[start:stop].tolist(),
        _or_null(tree.mtime_ns[start:stop], NO_TIME),
        _or_null(tree.atime_ns[start:stop], NO_TIME),
        _or_null(tree.ctime_ns[start:stop], NO_TIME),
        _or_null(tree.crtime_ns[start:stop], NO_TIME),
        tree.nlink[start:stop].tolist(),
        tree.inode[start:stop].tolist(),
        _or_null(tree.offset[start:stop], -1),
        _sparse(rows, entries.marks),
        *_targets(tree, rows),
        _devices(tree, start, stop),
        *_xattrs(entries, rows),
        _flags(rows, entries.metacopy),
        _flags(rows, entries.merged),
        strict=True,
    )


def _texts(raw: list[bytes]) -> tuple[list[str], list[bytes | None]]:
    """Texts, and the raw bytes where a text does not give them back; in one go where all are UTF-8."""
    try:
        return b"\0".join(raw).decode("utf-8").split("\0"), [None] * len(raw)
    except UnicodeDecodeError:
        texts = [readable(r) for r in raw]
        return texts, [raw_if_unequal(r, t) for r, t in zip(raw, texts, strict=True)]


def _or_null(column: NDArray[np.int64], null: int) -> list[int | None]:
    values: list[int | None] = column.tolist()
    if (column == null).any():
        return [None if value == null else value for value in values]
    return values


def _sparse(rows: range, values: Mapping[int, str]) -> list[str | None]:
    column: list[str | None] = [None] * len(rows)
    for row, value in values.items():
        if row in rows:
            column[row - rows.start] = value
    return column


def _flags(rows: range, flagged: frozenset[int]) -> list[int | None]:
    return [1 if row in flagged else None for row in rows] if flagged else [None] * len(rows)


def _targets(tree: Tree, rows: range) -> tuple[list[str | None], list[bytes | None]]:
    texts: list[str | None] = [None] * len(rows)
    raws: list[bytes | None] = [None] * len(rows)
    links = np.flatnonzero(tree.type[rows.start : rows.stop] == ord("l")).tolist()
    for index in links:
        target = tree.targets.get(rows.start + index)
        if target is not None:
            text = readable(target)
            texts[index], raws[index] = text, raw_if_unequal(target, text)
    return texts, raws


def _devices(tree: Tree, start: int, stop: int) -> list[str | None]:
    column: list[str | None] = [None] * (stop - start)
    kinds = tree.type[start:stop]
    for index in np.flatnonzero((kinds == ord("c")) | (kinds == ord("b"))).tolist():
        column[index] = f"{tree.rdev_major[start + index]}:{tree.rdev_minor[start + index]}"
    return column


def _xattrs(entries: LayerEntries, rows: range) -> tuple[list[str | None], list[str | None]]:
    shown: list[str | None] = [None] * len(rows)
    private: list[str | None] = [None] * len(rows)
    prefixes = private_prefixes(entries.namespace)
    for row in rows if len(rows) < len(entries.tree.xattrs) else sorted(r for r in entries.tree.xattrs if r in rows):
        xattrs = entries.tree.xattrs.get(row)
        if xattrs:
            visible = visible_xattrs(xattrs, entries.namespace)
            shown[row - rows.start] = _xattr_json(visible)
            private[row - rows.start] = _xattr_json({k: v for k, v in xattrs.items() if k.startswith(prefixes)})
    return shown, private


def _xattr_json(xattrs: Mapping[bytes, bytes]) -> str | None:
    """A JSON object of xattr names to base64 of their values; None where there are none."""
    if not xattrs:
        return None
    return json.dumps({readable(name): base64.b64encode(xattrs[name]).decode("ascii") for name in sorted(xattrs)})
