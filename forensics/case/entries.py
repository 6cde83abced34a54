"""A layer's tree on its way into the table `entry`, a slice of rows at a time.

A slice is made where the tree is and turned into rows where they are written, which may be another process: until then it is
columns and bytes, which cost little to hand over.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import NO_SIZE, NO_TIME, Tree
from forensics.text import raw_if_unequal, readable
from parsers.overlay_marks import private_prefixes, visible_xattrs

SLICE = 20_000  # rows at a time, so that a large layer does not double in memory
AT_ONCE = 16  # rows that one INSERT takes: a fifth faster than one by one, and more are no faster
# SQLite makes NULL of NaN (vdbemem.c sqlite3VdbeMemSetDouble); None takes ten times as long: sqlite3 looks for an adapter of it.
_NULL = float("nan")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LayerEntries:
    """A layer's tree with what is known of its rows besides.

    paths: of the rows, empty for the layer's root. namespace: whose overlay xattrs are private here, as Layer.marks. marks: why
    a row is never visible itself, by row. metacopy: rows whose bytes another entry has. merged: directories that show lower
    layers' names too, and the link count 1.
    """

    layer_id: int
    first_entry: int
    tree: Tree
    paths: Sequence[bytes]
    namespace: str
    marks: Mapping[int, str] = field(default_factory=dict)
    metacopy: frozenset[int] = frozenset()
    merged: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class EntrySlice:
    """Some rows of a layer's tree; first: the entry id of the first of them.

    paths: all paths with a NUL between each two. columns: those of the table that every row has. The others go by row of the
    slice, as in LayerEntries.
    """

    layer_id: int
    first: int
    count: int
    namespace: str
    paths: bytes
    columns: Mapping[str, NDArray[Any]]
    devices: Mapping[int, tuple[int, int]]
    targets: Mapping[int, bytes]
    xattrs: Mapping[int, Mapping[bytes, bytes]]
    marks: Mapping[int, str]
    metacopy: Sequence[int]
    merged: Sequence[int]


def entry_slices(entries: LayerEntries) -> Iterator[EntrySlice]:
    """The layer's rows, some at a time."""
    tree, paths = entries.tree, [b"/", *entries.paths[1:]]
    for start in range(0, len(paths), SLICE):
        rows = range(start, min(start + SLICE, len(paths)))
        part = slice(rows.start, rows.stop)
        kinds = tree.type[part]
        devices = np.flatnonzero((kinds == ord("c")) | (kinds == ord("b"))).tolist()
        yield EntrySlice(
            layer_id=entries.layer_id,
            first=entries.first_entry + start,
            count=len(rows),
            namespace=entries.namespace,
            paths=b"\0".join(paths[part]),
            columns={
                "type": kinds, "mode": tree.mode[part], "uid": tree.uid[part], "gid": tree.gid[part], "size": tree.size[part],
                "nlink": tree.nlink[part], "inode": tree.inode[part], "mtime_ns": tree.mtime_ns[part],
                "atime_ns": tree.atime_ns[part], "ctime_ns": tree.ctime_ns[part], "crtime_ns": tree.crtime_ns[part],
                "offset": tree.offset[part],
            },
            devices={at: (int(tree.rdev_major[start + at]), int(tree.rdev_minor[start + at])) for at in devices},
            targets=_of(rows, tree.targets),
            xattrs=_of(rows, tree.xattrs),
            marks=_of(rows, entries.marks),
            metacopy=sorted(row - start for row in entries.metacopy.intersection(rows)),
            merged=sorted(row - start for row in entries.merged.intersection(rows)),
        )  # fmt: skip


def far_time_rows(entries: LayerEntries) -> list[tuple[int, str, str]]:
    """Times that SQLite's integers cannot hold, as (entry, column, decimal text)."""
    return [(entries.first_entry + row, column, str(ns)) for (row, column), ns in sorted(entries.tree.far_times.items())]


def insert_statements(part: EntrySlice) -> Iterator[tuple[str, Iterable[Sequence[Any]]]]:
    """The INSERTs that write a slice, each with the parameters of every time that it is to be executed.

    Only columns that have a value in any row are bound, and where not all have one, NaN stands for NULL.
    """
    columns = _columns(part)
    values = columns.values()
    marks = "(" + ", ".join("?" * len(columns)) + ")"
    insert = f"INSERT INTO entry ({', '.join(columns)}) VALUES "
    whole = part.count - part.count % AT_ONCE
    yield (
        insert + ", ".join([marks] * AT_ONCE),
        zip(*(column[at:whole:AT_ONCE] for at in range(AT_ONCE) for column in values), strict=True),
    )
    yield insert + marks, zip(*(column[whole:] for column in values), strict=True)


def _columns(part: EntrySlice) -> dict[str, Sequence[Any]]:
    """The columns that any row has a value in."""
    count = part.count
    paths, path_raw = _texts(part.paths)
    target, target_raw = _targets(part)
    xattrs, private_xattrs = _xattrs(part)
    columns: dict[str, Sequence[Any] | None] = {
        "id": range(part.first, part.first + count),
        "layer_id": [part.layer_id] * count,
        "path": paths,
        "path_raw": path_raw,
        "mark": _filled(count, part.marks),
        "target": target,
        "target_raw": target_raw,
        "rdev": _filled(count, {row: f"{major}:{minor}" for row, (major, minor) in part.devices.items()}),
        "xattrs": xattrs,
        "private_xattrs": private_xattrs,
        "metacopy": _filled(count, dict.fromkeys(part.metacopy, 1)),
        "merged": _filled(count, dict.fromkeys(part.merged, 1)),
    }
    for name, column in part.columns.items():
        unknown = _UNKNOWN.get(name)
        if name == "type":
            columns[name] = column.tobytes().decode("ascii")
        elif unknown is not None and (column == unknown).any():
            columns[name] = [_NULL if value == unknown else value for value in column.tolist()]
        else:
            columns[name] = column.tolist()
    return {name: values for name, values in columns.items() if values is not None}


_UNKNOWN = {"mtime_ns": NO_TIME, "atime_ns": NO_TIME, "ctime_ns": NO_TIME, "crtime_ns": NO_TIME, "offset": -1, "size": NO_SIZE}


def _of(rows: range, values: Mapping[int, _T]) -> dict[int, _T]:
    """The values of these rows, by place in them."""
    found = [row for row in values if row in rows] if len(values) < len(rows) else [row for row in rows if row in values]
    return {row - rows.start: values[row] for row in found}


def _texts(raw: bytes) -> tuple[list[str], list[Any] | None]:
    """Texts, and the raw bytes where a text does not give them back; in one go where all are UTF-8."""
    try:
        return raw.decode("utf-8").split("\0"), None
    except UnicodeDecodeError:
        each = raw.split(b"\0")
        texts = [readable(r) for r in each]
        raws = [raw_if_unequal(r, t) for r, t in zip(each, texts, strict=True)]
        return texts, [_NULL if r is None else r for r in raws]


def _filled(count: int, values: Mapping[int, Any]) -> list[Any] | None:
    """A column with these values, None where there are none."""
    if not values:
        return None
    column: list[Any] = [_NULL] * count
    for row, value in values.items():
        column[row] = value
    return column


def _targets(part: EntrySlice) -> tuple[list[Any] | None, list[Any] | None]:
    texts = {row: readable(target) for row, target in part.targets.items()}
    raws = {row: raw for row, text in texts.items() if (raw := raw_if_unequal(part.targets[row], text)) is not None}
    return _filled(part.count, texts), _filled(part.count, raws)


def _xattrs(part: EntrySlice) -> tuple[list[Any] | None, list[Any] | None]:
    prefixes = private_prefixes(part.namespace)
    shown: dict[int, str] = {}
    private: dict[int, str] = {}
    for row, xattrs in part.xattrs.items():
        visible = visible_xattrs(xattrs, part.namespace)
        hidden = {name: value for name, value in xattrs.items() if name.startswith(prefixes)}
        if visible:
            shown[row] = _xattr_json(visible)
        if hidden:
            private[row] = _xattr_json(hidden)
    return _filled(part.count, shown), _filled(part.count, private)


def _xattr_json(xattrs: Mapping[bytes, bytes]) -> str:
    """A JSON object of xattr names to base64 of their values."""
    return json.dumps({readable(name): base64.b64encode(xattrs[name]).decode("ascii") for name in sorted(xattrs)})
