"""Times of records that containerd removed, in old pages of its bbolt files.

Each record is a bucket with `createdat` and `updatedat` in Go's binary form (containerd 2.1, core/metadata/boltutil/helpers.go):
v1/NAMESPACE/containers/ID, .../images/NAME, .../snapshots/SNAPSHOTTER/KEY, .../content/blob/DIGEST, .../leases/ID in meta.db,
v1/snapshots/NAME in a snapshotter's metadata.db.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from forensics.records import Event, Gap
from forensics.timeline.record import short
from parsers.errors import FormatError
from parsers.go_time import parse_binary

MAX_KEYS = 200_000
_CREATED: Mapping[str, str] = {
    "containers": "container created", "images": "image registered", "snapshots": "snapshot created",
    "content": "content ingested", "leases": "lease created", "sandboxes": "pod sandbox created",
}  # fmt: skip
_KEYS = """SELECT bucket, key, value, file, partition, offset, state FROM bolt_key
    WHERE state <> 'live' AND key IN ('createdat', 'updatedat') AND value_bytes BETWEEN 15 AND 16
        AND value IS NOT NULL ORDER BY id LIMIT ?"""
_TOLD = """SELECT container_id, created_ns FROM container UNION SELECT name, time_ns FROM artefact"""


def old_key_events(db: sqlite3.Connection, gaps: list[Gap]) -> Iterator[Event]:
    """The creation, and the last change, of each record that is not live any more, and that nothing else tells of."""
    keys = db.execute(_KEYS, (MAX_KEYS + 1,)).fetchall()
    if not keys:
        return
    numbers = dict(db.execute("SELECT container_id, id FROM container ORDER BY id DESC"))
    told: set[tuple[object, ...]] = set(db.execute(_TOLD))
    if len(keys) > MAX_KEYS:
        error = (
            f"more than {MAX_KEYS:,} times in old pages of bbolt files; those of the others are no events (they are in bolt_keys)"
        )
        gaps.append(Gap("timeline", error))
    for bucket, key, value, file, partition, offset, state in keys[:MAX_KEYS]:
        names = json.loads(bucket)
        try:
            time_ns = parse_binary(value)
        except FormatError:
            continue  # whatever the page holds, it is no time
        name = names[-1] if names else None
        if time_ns is None or (name, time_ns) in told:
            continue
        told.add((name, time_ns))
        kind = _kind(names)
        event = _CREATED.get(kind or "", "record created") if key == "createdat" else "record updated"
        called = "/".join(names) if names else "a record whose name is lost"
        source = f"{state} key of {file.rpartition('/')[2] if file else 'a bbolt file'}"
        confidence = "probable" if kind else "possible"
        yield Event(
            time_ns, event, source, f"{short(called)}: removed since, or changed", numbers.get(name), None, confidence, partition,
            offset,
        )  # fmt: skip


def _kind(names: Sequence[str]) -> str | None:
    """What a record is, by its bucket's path; None where that is cut off or another."""
    if names[:2] == ["v1", "snapshots"]:
        return "snapshots"
    return names[2] if len(names) > 3 and names[0] == "v1" and names[2] in _CREATED else None
