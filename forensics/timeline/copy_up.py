"""Which entries of a container's layer stand for a lower one: copied up from it, or made anew under its name.

The kernel leaves `origin` on what it copies up: a handle of the lower inode, number and generation. Three things have none: names
of a file with several links (the link is broken), what cannot carry `user.*` attributes in a rootless mount, and what was made
anew under the old name.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from forensics.filesystem import Filesystem
from parsers.errors import EvidenceError, FormatError
from parsers.overlay_marks import PREFIXES, FileHandle, parse_file_handle

_ORIGIN = {**{marks: f"{prefix.decode()}origin" for marks, prefix in PREFIXES.items()}, "fuse": "user.fuseoverlayfs.origin"}
# most entries of a layer are new, without an attribute
_UPPER = """SELECT e.id, e.path, e.type, e.mtime_ns, e.inode, e.private_xattrs FROM entry e
    WHERE e.id >= :first AND e.id < :end AND e.mark IS NULL AND e.path <> '/'
    AND (e.private_xattrs IS NOT NULL OR e.id IN (SELECT by_entry FROM hidden WHERE layer_id = :layer)) ORDER BY e.id"""
# An opaque directory hides all that is below it, but stands only for what had its own name; CROSS JOIN keeps the order, which
# looks at no more than that.
_REPLACED = """SELECT h.by_entry, o.id, o.type, o.mtime_ns, o.inode, o.nlink, 0, l.partition
    FROM hidden h JOIN entry o ON o.id = h.entry_id JOIN layer l ON l.id = o.layer_id JOIN entry u ON u.id = h.by_entry
    WHERE h.layer_id = :layer AND h.reason IN ('replaced', 'merged')
    UNION ALL SELECT u.id, o.id, o.type, o.mtime_ns, o.inode, o.nlink, 1, l.partition
    FROM (SELECT DISTINCT by_entry FROM hidden WHERE layer_id = :layer AND reason = 'opaque') b
    CROSS JOIN entry u ON u.id = b.by_entry CROSS JOIN chain c ON c.top = :layer
    CROSS JOIN entry o ON o.layer_id = c.layer_id AND o.path = u.path AND o.path_raw IS u.path_raw
    CROSS JOIN hidden h ON h.layer_id = :layer AND h.entry_id = o.id AND h.by_entry = u.id AND h.reason = 'opaque'
    JOIN layer l ON l.id = o.layer_id ORDER BY 1, 2"""
_BY_INODE = """SELECT e.inode, e.type, e.id FROM chain c JOIN layer l ON l.id = c.layer_id
    JOIN entry e ON e.id >= l.first_entry AND e.id < l.first_entry + l.entries
    WHERE c.top = ? AND c.depth > 0 AND e.mark IS NULL ORDER BY c.depth DESC, e.id DESC"""


@dataclass(frozen=True, slots=True)
class LowerEntry:
    """What an entry stands for. lower: the entry below, None where it is not known.

    copied: how sure it is that the entry was copied up: certain, probable or possible; None where it was made anew.
    """

    entry: int
    lower: int | None
    copied: str | None


class _Upper(NamedTuple):
    entry: int
    path: str
    type: str
    mtime_ns: int | None
    inode: int
    private_xattrs: str | None


class _Lower(NamedTuple):
    """What the upper entry's name showed below. opaque: the upper entry is a directory that hides it whole."""

    by: int
    entry: int
    type: str
    mtime_ns: int | None
    inode: int
    nlink: int
    opaque: int
    partition: int


def lower_entries(db: sqlite3.Connection, filesystems: Mapping[int, Filesystem]) -> Iterator[LowerEntry]:
    """Every such entry of the containers' and orphaned layers. filesystems: by partition, to compare generations."""
    layers = db.execute(
        "SELECT id, first_entry, entries, partition, marks FROM layer"
        " WHERE kind IN ('container', 'orphan') AND stacked AND first_entry IS NOT NULL ORDER BY id"
    ).fetchall()
    for number, first, entries, partition, marks in layers:
        below = {row[0]: _Lower(*row) for row in db.execute(_REPLACED, {"layer": number})}
        elsewhere: list[tuple[_Upper, FileHandle]] = []
        for row in db.execute(_UPPER, {"layer": number, "first": first, "end": first + entries}):
            upper = _Upper(*row)
            lower = below.get(upper.entry)
            if lower is None and upper.private_xattrs is None:
                continue
            marked, origin = _origin(upper.private_xattrs, marks)
            if origin is not None and (lower is None or lower.inode != origin.inode):
                elsewhere.append((upper, origin))
            elif marked:
                same = lower is not None and origin is not None and _same_inode(filesystems.get(lower.partition), origin)
                yield LowerEntry(upper.entry, lower.entry if lower else None, "certain" if same else "probable")
            elif lower is not None:
                yield LowerEntry(upper.entry, lower.entry, _without_origin(upper, lower))
        yield from _moved(db, number, elsewhere, filesystems.get(partition))


def _without_origin(upper: _Upper, lower: _Lower) -> str | None:
    """How sure a copy-up is of which no origin tells; None where the name was made anew rather."""
    if upper.type != lower.type:
        return None
    if upper.type == "d":
        return None if lower.opaque else "probable"  # a directory that is made anew over a lower one is opaque
    if upper.mtime_ns == lower.mtime_ns:
        return "probable"
    return "possible" if upper.type == "f" and lower.nlink > 1 else None


def _moved(
    db: sqlite3.Connection, layer: int, uppers: Sequence[tuple[_Upper, FileHandle]], fs: Filesystem | None
) -> Iterator[LowerEntry]:
    """Entries whose origin is not what their name shows below: renamed since. Looks all lower layers through, once."""
    if not uppers:
        return
    wanted = {origin.inode for _, origin in uppers}
    found = {(inode, kind): entry for inode, kind, entry in db.execute(_BY_INODE, (layer,)) if inode in wanted}
    for upper, origin in uppers:
        lower = found.get((origin.inode, upper.type))
        same = lower is not None and _same_inode(fs, origin)
        yield LowerEntry(upper.entry, lower, "certain" if same else "probable")


def _same_inode(fs: Filesystem | None, origin: FileHandle) -> bool:
    """Whether the lower inode is still the one that was copied: its number may have been given to another file since."""
    if fs is None or origin.inode is None:
        return False
    try:
        return fs.inode(origin.inode).generation == origin.generation
    except (FormatError, EvidenceError):
        return False


def _origin(private_xattrs: str | None, marks: str) -> tuple[bool, FileHandle | None]:
    """Whether an entry bears a sign of copy-up, and the inode that it names, if it names one. marks: the layer's."""
    name = _ORIGIN.get(marks)
    if name is None or private_xattrs is None or "origin" not in private_xattrs:
        return False, None
    value = json.loads(private_xattrs).get(name)
    if value is None or marks == "fuse":
        return value is not None, None
    try:
        handle = parse_file_handle(base64.b64decode(value))
    except (FormatError, EvidenceError):
        return True, None
    return True, handle if handle is not None and handle.inode is not None else None
