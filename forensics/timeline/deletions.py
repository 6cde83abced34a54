"""When the names that a container deleted were deleted: between which two times, from the whiteout and its directory.

The kernel makes one whiteout inode each time that a layer is mounted and links it to every name that is deleted (6.12,
fs/overlayfs/dir.c ovl_whiteout): its birth is the first deletion, its ctime the last one or the next mount. So a name was deleted
no earlier than both that birth and the birth of its directory in this layer; and no later than both that ctime and the time of
modification of the directory, if no program set the latter. Where the two bounds meet, they are the very time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from forensics.records import Event

SECOND = 1_000_000_000
_LAYERS = """SELECT l.id, l.marks, l.partition, l.first_entry, l.first_entry + l.entries,
    (SELECT c.id FROM container c WHERE c.layer_id = l.id ORDER BY c.id LIMIT 1)
    FROM layer l WHERE l.kind IN ('container', 'orphan') AND l.stacked AND l.first_entry IS NOT NULL ORDER BY l.id"""
_NAMES = """SELECT id, coalesce(path_raw, CAST(path AS BLOB)), crtime_ns, ctime_ns, mtime_ns, offset, mark FROM entry
    WHERE id >= ? AND id < ? AND {condition} ORDER BY id"""
# What is below a name that goes, goes with it; only whiteouts of fuse-overlayfs and aufs have another name than what they hide.
# CROSS JOIN keeps the order: few entries stand for one, a layer may have a million.
_HIDDEN = """SELECT h.by_entry, coalesce(o.path_raw, CAST(o.path AS BLOB)), o.type,
    (SELECT e.path FROM lower_entry u CROSS JOIN entry e ON e.id = u.entry_id AND e.layer_id = h.layer_id AND e.path <> o.path
    WHERE u.lower = o.id AND u.copied IS NOT NULL ORDER BY e.id LIMIT 1)
    FROM hidden h JOIN entry o ON o.id = h.entry_id JOIN entry b ON b.id = h.by_entry
    WHERE h.layer_id = ? AND h.reason IN ('whiteout', 'opaque') AND (o.path = b.path OR ? AND h.reason = 'whiteout')"""
_KINDS = {"d": "directory", "l": "symlink"}
_OPAQUE = b".wh..opq"  # which fuse-overlayfs 1.10 leaves beside `.wh..wh..opq`
_WH, _WH_MARKS = b".wh.", ("fuse", "aufs")


@dataclass(frozen=True, slots=True)
class _Layer:
    number: int
    marks: str
    partition: int
    first: int
    end: int
    container: int | None


@dataclass(frozen=True, slots=True)
class _Name:
    entry: int
    path: bytes
    crtime_ns: int | None
    ctime_ns: int | None
    mtime_ns: int | None
    offset: int | None
    mark: str | None


@dataclass(frozen=True, slots=True)
class _Hidden:
    """What a name showed before. moved: where its copy is now, None where it is gone."""

    type: str
    moved: str | None


@dataclass(frozen=True, slots=True)
class _Bound:
    """A time that a deletion cannot be before, or after, and why."""

    time_ns: int | None
    confidence: str
    why: str


def deletion_events(db: sqlite3.Connection) -> Iterator[Event]:
    """For each whiteout and each directory made anew, when what it hides was deleted, or the two bounds of that time."""
    for layer in [_Layer(*row) for row in db.execute(_LAYERS)]:
        rows = db.execute(_HIDDEN, (layer.number, layer.marks in _WH_MARKS))
        hidden = {(by, path): _Hidden(kind, moved) for by, path, kind, moved in rows}
        if hidden:
            whiteouts = list(_names(db, layer, "mark = 'whiteout'"))
            wanted = {_above(name.path) for name in whiteouts} | {each for _, path in hidden for each in (path, _above(path))}
            directories = {name.path: name for name in _names(db, layer, "type = 'd'", wanted)}
            for whiteout in whiteouts:
                yield from _deleted(layer, whiteout, directories, hidden)
            for name in directories.values():
                if (name.entry, name.path) in hidden:
                    yield from _replaced(layer, name, directories)


def _names(db: sqlite3.Connection, layer: _Layer, condition: str, paths: Container[bytes] | None = None) -> Iterator[_Name]:
    """Entries of a layer; only those at `paths`, where given."""
    rows = db.execute(_NAMES.format(condition=condition), (layer.first, layer.end))
    return (_Name(*row) for row in rows if paths is None or row[1] in paths)


def _above(path: bytes) -> bytes:
    return path.rpartition(b"/")[0] or b"/"


def _parent(name: _Name, directories: Mapping[bytes, _Name]) -> _Name | None:
    return directories.get(_above(name.path))


def _deleted(
    layer: _Layer, whiteout: _Name, directories: Mapping[bytes, _Name], hidden: Mapping[tuple[int, bytes], _Hidden]
) -> Iterator[Event]:
    path = whiteout.path
    if layer.marks in _WH_MARKS:
        above, _, last = path.rpartition(b"/")
        if last.startswith(_WH * 2) or last == _OPAQUE:
            return  # a mark of the directory itself
        path = above + b"/" + last.removeprefix(_WH)
    was = hidden.get((whiteout.entry, path), _Hidden("f", None))
    event = f"{_KINDS.get(was.type, 'file')} {'deleted' if was.moved is None else 'renamed'}"
    parent = _parent(whiteout, directories)
    earliest = max((t for t in (whiteout.crtime_ns, parent.crtime_ns if parent else None) if t is not None), default=None)
    latest = _Bound(whiteout.ctime_ns, "certain", "the whiteout's inode was last changed")
    by_directory = _by_directory(parent, earliest)
    if by_directory is not None and (latest.time_ns is None or by_directory < latest.time_ns):
        latest = _Bound(by_directory, "probable", "the last change of its directory's entries")
    why = "the first deletion during that mount of the layer, or the copy-up of its directory"
    told = "" if was.moved is None else f"; is {was.moved} since"
    yield from _between(layer, whiteout, path, event, _Bound(earliest, "certain", why), latest, told)


def _by_directory(parent: _Name | None, earliest: int | None) -> int | None:
    """The directory's time of modification, where it can be the kernel's own: none that a program set back."""
    if parent is None or parent.mtime_ns is None or parent.mtime_ns % SECOND == 0:
        return None
    return parent.mtime_ns if earliest is None or parent.mtime_ns >= earliest else None


def _replaced(layer: _Layer, name: _Name, directories: Mapping[bytes, _Name]) -> Iterator[Event]:
    """A directory that hides all that was there: the old one was deleted before it was made."""
    parent = _parent(name, directories)
    earliest = _Bound(parent.crtime_ns if parent else None, "certain", "the copy-up of the directory that held it")
    latest = _Bound(name.crtime_ns, "certain", "a new directory was made in its place")
    return _between(layer, name, name.path, "directory deleted", earliest, latest)


def _between(
    layer: _Layer, name: _Name, path: bytes, what: str, earliest: _Bound, latest: _Bound, told: str = ""
) -> Iterator[Event]:
    """What happened to the name `path`: two events, or one where the bounds meet. told: what else is known of it."""
    source = "whiteout" if name.mark else "opaque directory"

    def event(bound: _Bound, which: str, message: str) -> Iterator[Event]:
        if bound.time_ns is not None:
            yield Event(
                bound.time_ns, what + which, source, message + told, layer.container, path, bound.confidence, layer.partition,
                name.offset,
            )  # fmt: skip

    if earliest.time_ns == latest.time_ns:
        yield from event(latest, "", f"neither before nor after: {earliest.why}; {latest.why}")
    else:
        yield from event(earliest, " (earliest)", f"not before: {earliest.why}")
        yield from event(latest, " (latest)", f"not after: {latest.why}")
