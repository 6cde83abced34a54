"""A case file in datasette: its views with titles, descriptions and what their columns mean, and the named queries.

Source: Datasette 0.65, docs/metadata.rst (titles, columns, hidden tables), docs/sql_queries.rst (canned queries).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from reports.queries import QUERIES

VIEWS = (
    ("containers", "Every container: what it was, how it was started, in which state it was when the host stopped."),
    ("images", "Container images in the engines' stores, with their names and history."),
    ("layers", "Layers of every kind: of images, of containers, and orphans."),
    ("layer_faults", "How the content of altered layers differs from what their container image holds."),
    ("files", "Every path that a container's processes saw: the merged view, as the kernel's overlayfs shows it."),
    ("hidden_files", "Entries of lower layers that a container's upper layers deleted or replaced."),
    ("layer_files", "Every entry of every layer, whether any container sees it or not."),
    ("changes", "What each container added (A), changed (C) and deleted (D), as docker diff says."),
    ("mounts", "What was mounted into each container."),
    ("engine_mounts", "Files that engines mount by themselves, such as /etc/hosts."),
    ("container_volumes", "Volumes, and who used them."),
    ("build_records", "What was built on the host, and the steps that the build cache keeps."),
    ("networks", "Container networks with their subnets and endpoints."),
    ("artefacts", "Other records of engines: namespaces, leases, runtime specs, pods."),
    ("bolt_keys", "Keys of the engines' bbolt databases, those in old pages too."),
    ("deleted_files", "Deleted files of which something is left on the disk."),
    ("recovery", "How much of what was removed came back, and why the rest did not."),
    ("logs", "Log lines of containers, and of engines on the host."),
    ("timeline", "What happened when, of every source, with how sure that is."),
    ("timeline_files", "Files with their four times, as a body file has them."),
    ("findings", "What is suspicious: where, why, how to check it by hand, what harmless things look the same."),
    ("rules", "What was looked for, whether it was found or not."),
    ("disk_images", "The evidence: disks, with format, size and hashes."),
    ("partitions", "Volumes of the disk images."),
    ("host", "Installed systems."),
    ("stores", "The engines' directories."),
    ("layer_faults", "Entries of image layers that are not as the layer's archive has them."),
    ("anomalies", "Oddities that the merge of layers met."),
    ("gaps", "What could not be read, where, and why."),
)

_COLUMNS = {
    "time_ns": "nanoseconds since 1970 UTC",
    "time": "UTC, ISO 8601",
    "created_ns": "nanoseconds since 1970 UTC",
    "started_ns": "of the last run; nanoseconds since 1970 UTC",
    "finished_ns": "of the last run; nanoseconds since 1970 UTC",
    "deleted_ns": "nanoseconds since 1970 UTC; empty where the filesystem wrote none",
    "mtime_ns": "content last changed; a program can set it",
    "atime_ns": "last recorded reading",
    "ctime_ns": "content, owner, mode, links or name last changed; no program can set it",
    "crtime_ns": "birth of the inode",
    "offset": "byte in the disk image",
    "content_offset": "byte in the disk image of the first byte of the content",
    "path_raw": "the path's bytes, where the text does not give them back",
    "origin": "allocated, or how it was recovered",
    "source": "where it was read",
    "integrity": "verified, altered, unverifiable; empty where nobody compared",
    "rootfs": "complete, partial or missing",
    "kind": "what kind it is",
    "confidence": "certain, probable or possible",
    "attack": "techniques of MITRE ATT&CK",
    "sha256": "SHA-256 of the content",
    "mode": "permission bits, as a decimal number",
    "layer_kind": "image, init, container or orphan",
}


def metadata(db: sqlite3.Connection, case: Path) -> dict[str, Any]:
    """What datasette's --metadata takes for the case file `case`, open as `db`; a database is called by its file's name there."""
    tables = db.execute("SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name").fetchall()
    described = dict(VIEWS)
    shown: dict[str, Any] = {}
    for name, kind in tables:
        if kind == "table":
            shown[name] = {"hidden": True}
            continue
        columns = [row[1] for row in db.execute(f'PRAGMA table_info("{name}")')]
        shown[name] = {
            "title": name.replace("_", " ").capitalize(),
            "description": described.get(name, ""),
            "columns": {column: _COLUMNS[column] for column in columns if column in _COLUMNS},
        }
    queries = {query.name: {"title": query.title, "description": query.description, "sql": query.sql} for query in QUERIES}
    return {
        "title": f"Container forensics: {case.name}",
        "description": "A case file of ctrforensics. The views are described; what stands behind them is hidden.",
        "databases": {case.stem: {"tables": shown, "queries": queries}},
    }
