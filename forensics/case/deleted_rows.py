"""Deleted files as rows of their table, and back."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forensics.filesystem import Extent
from forensics.recovery.carving.executables import Executable
from forensics.recovery.files.content import Content
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.deleted_file import POSSIBLE, PROBABLE, DeletedFile
from forensics.recovery.files.fragments import Fragment
from forensics.text import raw_if_unequal, readable
from parsers.errors import UsageError

_READ = (
    "partition", "recovered_bytes", "path", "path_raw", "inode", "type", "mode", "uid", "gid", "size", "method", "confidence",
    "mtime_ns", "atime_ns", "reused", "inline", "extents", "lost",
)  # fmt: skip
AT, BEFORE = "at", "before"
"""What deleted_ns means: the moment, or one before which it was."""


def deleted_row(
    each: Numbered, content: Content | None, path: bytes | None, layer: int | None, container: int | None
) -> dict[str, Any]:
    """A deleted file as a row of the table. content: what is left of a regular file's. path: in its layer, where it has one."""
    file = each.file
    text = None if path is None else readable(path)
    target = None if file.target is None else readable(file.target)
    doubtful = content is not None and content.blank and file.confidence == "certain"
    return {
        "id": each.number, "container": container, "layer_id": layer, "partition": each.partition, "path": text,
        "path_raw": None if path is None or text is None else raw_if_unequal(path, text), "type": file.type, "mode": file.mode,
        "uid": file.uid, "gid": file.gid, "size": file.size, "mtime_ns": file.mtime_ns, "atime_ns": file.atime_ns,
        "ctime_ns": file.ctime_ns, "crtime_ns": file.crtime_ns, "deleted_ns": file.deleted_ns,
        "deleted_means": None if file.deleted_ns is None else BEFORE if file.no_later else AT, "inode": file.inode,
        "generation": file.generation, "recovered_bytes": None if content is None else content.recovered,
        "sha256": None if content is None else content.sha256, "method": file.method,
        "confidence": PROBABLE if doubtful else file.confidence, "reused": file.reuse, "target": target,
        "target_raw": None if file.target is None or target is None else raw_if_unequal(file.target, target),
        "rdev": None if file.rdev is None else f"{file.rdev[0]}:{file.rdev[1]}", "xattrs": _xattrs(file.xattrs),
        "extents": None if file.extents is None else json.dumps([[e.logical, e.offset, e.length] for e in file.extents]),
        "lost": json.dumps(file.lost) if file.lost else None, "inline": file.inline,
        "host_path": None if file.path is None or layer is None else readable(file.path), "offset": file.offset,
    }  # fmt: skip


def fragment_row(number: int, partition: int, fragment: Fragment, offset: int | None) -> dict[str, Any]:
    """A content without a name as a row of the table; offset: where it begins in the disk image."""
    return {
        "id": number, "partition": partition, "type": "f", "size": fragment.size, "recovered_bytes": fragment.size,
        "sha256": fragment.sha256, "method": "blocks", "confidence": POSSIBLE,
        "extents": json.dumps([[0, fragment.start, fragment.size]]), "offset": offset,
    }  # fmt: skip


def executable_row(number: int, partition: int, found: Executable, offset: int | None) -> dict[str, Any]:
    """A carved program as a row of the table: without content where nothing shows that it lies in one piece."""
    whole = found.sha256 is not None
    return {
        "id": number, "partition": partition, "type": "f", "size": found.size, "recovered_bytes": found.size if whole else None,
        "sha256": found.sha256, "method": "carved", "confidence": POSSIBLE,
        "extents": json.dumps([[0, found.start, found.size]]) if whole else None, "offset": offset,
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoundDeleted:
    """A deleted file of a case. file: what its content and its times need; recovered: bytes, None where it is no regular file."""

    number: int
    partition: int
    recovered: int | None
    file: DeletedFile


def find_deleted_file(db: sqlite3.Connection, number: int) -> FoundDeleted:
    """The deleted file with this number. Raises UsageError where there is none."""
    found = db.execute(f"SELECT {', '.join(_READ)} FROM deleted_file WHERE id = ?", (number,)).fetchone()
    if found is None:
        raise UsageError(f"there is no deleted file {number}; ctrforensics deleted lists them with their numbers")
    row = dict(zip(_READ, found, strict=True))
    file = DeletedFile(
        path=None if row["path"] is None else row["path_raw"] or row["path"].encode(), inode=row["inode"] or 0, type=row["type"],
        mode=row["mode"] or 0, uid=row["uid"] or 0, gid=row["gid"] or 0, size=row["size"],
        method=row["method"], confidence=row["confidence"],
        mtime_ns=row["mtime_ns"], atime_ns=row["atime_ns"], reuse=row["reused"], inline=row["inline"],
        extents=None if row["extents"] is None else tuple(Extent(*each) for each in json.loads(row["extents"])),
        lost=tuple((first, length) for first, length in json.loads(row["lost"] or "[]")),
    )  # fmt: skip
    return FoundDeleted(number, row["partition"], row["recovered_bytes"], file)


def _xattrs(xattrs: Mapping[bytes, bytes]) -> str | None:
    if not xattrs:
        return None
    return json.dumps({readable(name): base64.b64encode(xattrs[name]).decode("ascii") for name in sorted(xattrs)})
