"""Events in a case file: the tables, and the view `timeline`.

The table `event` holds what was read from records and contents. The times of files are not copied: the view reads them, as it
reads log lines and deleted files, from where they stand, and says of each what the kernel means by it (FORMATS.md is the
kernel's fs/overlayfs/copy_up.c, 6.12): a copy-up gives the copy the time of modification and of reading that the lower file has,
and its birth is the moment of the copy-up.
"""

from __future__ import annotations

from typing import Any

from forensics.records import Event
from forensics.text import raw_if_unequal, readable

TABLES = """
CREATE TABLE event (
    id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, event TEXT NOT NULL, source TEXT NOT NULL,
    container INTEGER REFERENCES container, path TEXT, path_raw BLOB, message TEXT NOT NULL, confidence TEXT NOT NULL,
    partition INTEGER, offset INTEGER) STRICT;
CREATE TABLE lower_entry (
    entry_id INTEGER PRIMARY KEY REFERENCES entry, lower INTEGER REFERENCES entry, copied TEXT) STRICT;
"""

INDEXES = """
CREATE INDEX event_time ON event (time_ns);
CREATE INDEX lower_entry_lower ON lower_entry (lower);
"""


def iso(ns: str) -> str:
    """SQL that writes a column of nanoseconds since 1970 as ISO 8601 in UTC, in any SQLite; NULL beyond the year 9999."""
    fraction = f"(({ns} % 1000000000 + 1000000000) % 1000000000)"
    return f"strftime('%Y-%m-%dT%H:%M:%S', ({ns} - {fraction}) / 1000000000, 'unixepoch') || printf('.%09dZ', {fraction})"


_KIND = (
    "CASE WHEN e.mark IS NOT NULL THEN 'whiteout' ELSE CASE e.type WHEN 'f' THEN 'file' WHEN 'd' THEN 'directory'"
    " WHEN 'l' THEN 'symlink' WHEN 'p' THEN 'fifo' WHEN 's' THEN 'socket' ELSE 'device' END END"
)
_ABOUT = (
    "CASE e.type WHEN 'l' THEN 'to ' || coalesce(e.target, '?') ELSE printf('mode %04o, owner %d:%d', e.mode, e.uid, e.gid)"
    " || CASE e.type WHEN 'f' THEN printf(', %d bytes', e.size) ELSE '' END END"
)
_COPY = "u.copied IS NOT NULL"
_ANEW = "u.entry_id IS NOT NULL AND u.copied IS NULL"
_FROM_BELOW = "u.copied IS NOT NULL AND (o.{time} = e.{time} OR o.id IS NULL AND e.{time} < e.crtime_ns)"
_MOUNT_POINT = "EXISTS (SELECT 1 FROM container_mount m WHERE m.container = c.id AND m.destination = e.path)"
_SET_BACK = "(e.mtime_ns < e.crtime_ns AND e.mark IS NULL)"

# (column, its rank among the times of one file, the event, its confidence, what its time means); the first CASE that holds
_TIMES = (
    (
        "crtime_ns", 1,
        f"{_KIND} || CASE WHEN {_COPY} THEN ' copied up' WHEN {_ANEW} THEN ' replaced' ELSE ' created' END",
        f"CASE WHEN {_COPY} THEN u.copied WHEN l.stacked THEN 'certain' ELSE 'possible' END",
        f"CASE WHEN e.mark IS NOT NULL AND l.marks IN ('fuse', 'aufs') THEN 'a name was deleted, or a directory made anew'"
        f" WHEN e.mark IS NOT NULL THEN 'the first deletion during one mount of the layer, of this name or another'"
        f" WHEN {_COPY} THEN 'first changed here; copied from ' || coalesce(ol.kind || ' layer #' || ol.id || ' ' || o.path,"
        f" 'a lower layer') || '; ' || {_ABOUT}"
        f" WHEN {_MOUNT_POINT} THEN 'a mount point, made by the engine'"
        f" WHEN {_ANEW} THEN 'made anew in place of the one below; ' || {_ABOUT}"
        f" WHEN l.stacked THEN {_ABOUT} ELSE 'copied by the engine with the container image, or made here; ' || {_ABOUT} END",
    ),
    (
        "mtime_ns", 2,
        f"CASE WHEN {_FROM_BELOW.format(time='mtime_ns')} THEN {_KIND} || ' modified before copy-up'"
        f" WHEN {_SET_BACK} THEN {_KIND} || iif(l.stacked, ' time set back', ' modified before copy-up')"
        f" ELSE {_KIND} || ' modified' END",
        f"CASE WHEN {_SET_BACK} AND NOT ({_FROM_BELOW.format(time='mtime_ns')}) THEN 'possible' ELSE 'certain' END",
        f"CASE WHEN e.mark IS NOT NULL THEN 'as its birth'"
        f" WHEN {_FROM_BELOW.format(time='mtime_ns')} THEN 'the lower layer''s time: nothing was written to it in this container'"
        f" WHEN {_SET_BACK} AND NOT l.stacked THEN 'earlier than its birth: the container image''s, of which it is a copy'"
        f" WHEN {_SET_BACK} THEN 'earlier than its birth: a program set it (cp -p, mv, tar, a package manager, touch)'"
        f" WHEN e.type = 'd' THEN 'an entry was last made, deleted or renamed in it' ELSE 'content last written' END",
    ),
    (
        "ctime_ns", 3, f"{_KIND} || ' changed'", "'certain'",
        "CASE WHEN e.mark IS NOT NULL THEN 'last link or unlink of the whiteout, at a deletion or at a later mount'"
        " ELSE 'owner, mode, links, name, attributes or content last changed' END",
    ),
    (
        "atime_ns", 4,
        f"CASE WHEN {_FROM_BELOW.format(time='atime_ns')} THEN {_KIND} || ' accessed before copy-up'"
        f" ELSE {_KIND} || ' accessed' END",
        "'certain'",
        f"CASE WHEN {_FROM_BELOW.format(time='atime_ns')} THEN 'the lower layer''s time'"
        f" ELSE 'last recorded reading; most hosts record one a day' END",
    ),
)  # fmt: skip

_EVENTS = f"""
SELECT e.time_ns, {iso("e.time_ns")} AS time, e.event, e.source, c.container_id, c.name AS container, e.path, e.message,
    e.confidence, e.partition, e.offset, e.path_raw, c.id AS container_number, 0 AS rank
FROM event e LEFT JOIN container c ON c.id = e.container"""

_FILES = "".join(
    f"""
UNION ALL SELECT e.{column}, {iso(f"e.{column}")}, {event}, '{column.removesuffix("_ns")}', c.container_id, c.name, e.path,
    {message}, {confidence}, l.partition, e.offset, e.path_raw, c.id, {rank}
FROM layer l JOIN entry e ON e.layer_id = l.id LEFT JOIN container c ON c.layer_id = l.id
    LEFT JOIN lower_entry u ON u.entry_id = e.id LEFT JOIN entry o ON o.id = u.lower LEFT JOIN layer ol ON ol.id = o.layer_id
WHERE l.kind IN ('container', 'orphan') AND e.{column} IS NOT NULL"""
    for column, rank, event, confidence, message in _TIMES
)

_LOGS = f"""
UNION ALL SELECT n.time_ns, {iso("n.time_ns")},
    iif(n.container IS NULL AND f.origin = 'allocated', 'host log line', 'log line'),
    f.format || coalesce(' ' || n.source, '') || coalesce(' ' || n.stream, '') || iif(f.how = 'allocated', '', ', ' || f.how),
    coalesce(c.container_id, f.container_id),
    coalesce(c.name, f.container_name), f.path, n.text, f.confidence,
    f.partition, f.offset, f.path_raw, c.id, 5
FROM log_line n JOIN log_file f ON f.id = n.file LEFT JOIN container c ON c.id = n.container WHERE n.time_ns IS NOT NULL"""

_DELETED_KIND = _KIND.replace("e.", "d.").replace("d.mark IS NOT NULL", "d.type IS NULL").replace("'whiteout'", "'inode'")
# Of a layer that is no container's own, the path in it would look like one of the host's
_DELETED_PATH = "iif(c.id IS NULL, coalesce(d.host_path, d.path), d.path)"
_DELETED_RAW = """iif(c.id IS NULL AND d.host_path IS NOT NULL, CAST(
    substr(d.host_path, 1, length(d.host_path) - length(d.path)) || CAST(d.path_raw AS TEXT) AS BLOB), d.path_raw)"""
_DELETED = "".join(
    f"""
UNION ALL SELECT d.{column}, {iso(f"d.{column}")}, {event}, 'deleted inode', c.container_id, c.name, {_DELETED_PATH},
    '{message}; ' || d.method || coalesce(printf(', %d bytes', d.size), ''), d.confidence, d.partition, d.offset,
    {_DELETED_RAW}, c.id, {rank}
FROM deleted_file d LEFT JOIN container c ON c.id = d.container WHERE d.{column} IS NOT NULL"""
    for column, rank, event, message in (
        ("crtime_ns", 1, f"'deleted ' || {_DELETED_KIND} || ' created'", "birth of an inode that is deleted now"),
        ("mtime_ns", 2, f"'deleted ' || {_DELETED_KIND} || ' modified'", "last written before it was deleted"),
        ("ctime_ns", 3, f"'deleted ' || {_DELETED_KIND} || ' changed'", "last changed, at the latest by its deletion"),
        ("atime_ns", 4, f"'deleted ' || {_DELETED_KIND} || ' accessed'", "last recorded reading before it was deleted"),
        (
            "deleted_ns", 6, f"{_DELETED_KIND} || ' deleted' || iif(d.deleted_means = 'before', ' (latest)', '')",
            "when the inode itself was deleted",
        ),
    )
)  # fmt: skip

# `place` tells files of one path apart: two containers may have one name, and an orphaned layer has no container
_PLACE = """CASE WHEN c.id IS NULL THEN 'layer-' || l.id WHEN c.name IS NULL THEN substr(c.container_id, 1, 12)
    WHEN (SELECT count(*) FROM container n WHERE n.name = c.name) > 1 THEN c.name || '-' || substr(c.container_id, 1, 12)
    ELSE c.name END"""
_WHOLE = f"""
CREATE VIEW timeline_files AS SELECT
    {_PLACE} AS place, e.path, e.type, e.mode, e.uid, e.gid, e.size, e.mtime_ns, e.atime_ns, e.ctime_ns, e.crtime_ns, e.target,
    e.inode, coalesce(e.mark, '') AS state, e.path_raw, e.target_raw, c.id AS container_number
FROM layer l JOIN entry e ON e.layer_id = l.id LEFT JOIN container c ON c.layer_id = l.id WHERE l.kind IN ('container', 'orphan')
    AND l.origin = 'allocated'
UNION ALL SELECT
    coalesce({_PLACE.replace("'layer-' || l.id", "NULL")}, 'disk-p' || d.partition),
    coalesce({_DELETED_PATH}, 'inode-' || d.inode, 'deleted-file-' || d.id), coalesce(d.type, '?'), coalesce(d.mode, 0),
    d.uid, d.gid, d.size, d.mtime_ns, d.atime_ns, d.ctime_ns, d.crtime_ns, NULL, d.inode,
    iif(d.reused IN ('some', 'all'), 'deleted-realloc', 'deleted'),
    {_DELETED_RAW}, NULL, c.id
FROM deleted_file d LEFT JOIN container c ON c.id = d.container;
"""

VIEWS = f"CREATE VIEW timeline AS{_EVENTS}{_FILES}{_LOGS}{_DELETED};\n{_WHOLE}"

EVENT_COLUMNS = (
    "time_ns", "event", "source", "container", "path", "path_raw", "message", "confidence", "partition", "offset"
)  # fmt: skip
"""The columns of the table `event` that `event_row` gives, in its order."""


def event_row(event: Event) -> tuple[Any, ...]:
    """An event as a row of its table."""
    path = None if event.path is None else readable(event.path)
    raw = None if event.path is None or path is None else raw_if_unequal(event.path, path)
    return (
        event.time_ns, event.event, event.source, event.container, path, raw, event.message, event.confidence, event.partition,
        event.offset,
    )  # fmt: skip
