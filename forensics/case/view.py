"""A filesystem as a case file holds it: a container's merged view, or one layer's own directory.

Paths are bytes from the view's root, `/etc/passwd`. Symlinks are followed where asked, inside the view only.
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from forensics.case.lookup import Case, FoundContainer, FoundLayer
from forensics.text import harmless, readable
from parsers.errors import CaseError, UsageError

KINDS = {"d": "a directory", "l": "a symlink", "c": "a character device", "b": "a block device", "p": "a fifo", "s": "a socket",
         "?": "something of no known type"}  # fmt: skip
"""What the types of entries are called."""
MAX_SYMLINKS = 40  # as the kernel's, fs/namei.c MAXSYMLINKS
_CHILDREN = "AND path > ? AND path < ? AND instr(substr(path, ?), '/') = 0"
_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")
COLUMNS = (
    "path", "path_raw", "type", "mode", "uid", "gid", "size", "nlink", "mtime_ns", "atime_ns", "ctime_ns", "crtime_ns", "target",
    "target_raw", "rdev", "xattrs", "private_xattrs", "inode", "partition", "layer", "metacopy", "entry_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a view and what it stands for. Times beyond SQLite's integers are there all the same."""

    path: bytes
    type: str
    mode: int
    uid: int
    gid: int
    size: int | None
    nlink: int
    mtime_ns: int | None
    atime_ns: int | None
    ctime_ns: int | None
    crtime_ns: int | None
    target: bytes | None
    rdev: tuple[int, int] | None
    xattrs: dict[bytes, bytes]
    inode: int
    partition: int
    layer: str
    metacopy: bool
    number: int

    @property
    def name(self) -> bytes:
        """The last part of the path; empty for the root."""
        return self.path.rpartition(b"/")[2]

    @property
    def is_plain(self) -> bool:
        """Whether every part of the path is a name that a directory can hold."""
        return self.path == b"/" or (not {b"", b".", b".."} & set(self.path.split(b"/")[1:]) and b"\0" not in self.path)


@dataclass(frozen=True, slots=True)
class Data:
    """The file that holds an entry's bytes."""

    partition: int
    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class View:
    """A filesystem in a case. relation: the SQL view that has it; top: the layer whose chain decides on metacopy data."""

    db: sqlite3.Connection
    relation: str
    key: str
    number: int
    top: int
    title: str
    far_times: bool

    def at(self, path: bytes) -> Entry | None:
        """The entry at exactly this path."""
        return next((e for e in self._select("AND path = ?", (readable(path),)) if e.path == path), None)

    def children(self, directory: bytes) -> list[Entry]:
        """The entries right in a directory, by name."""
        start = directory.rstrip(b"/") + b"/"
        below = self._select(_CHILDREN, _range(start, with_length=True))
        return sorted((e for e in below if e.path.startswith(start)), key=lambda e: e.path)

    def below(self, directory: bytes) -> Iterator[Entry]:
        """A directory and everything below it, each directory before what is in it."""
        top = self.at(directory)
        if top is not None:
            yield top
        start = directory.rstrip(b"/") + b"/"
        for entry in self._select("AND path > ? AND path < ? ORDER BY path, path_raw", _range(start)):
            if entry.path.startswith(start):
                yield entry

    def rows(self, top: Entry, recursive: bool) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """What `children` or `below` give, or `top` itself if it is no directory, as whole rows of the SQL view."""
        start = top.path.rstrip(b"/") + b"/"
        condition, values = "AND path = ?", (readable(top.path),)
        if top.type == "d" and recursive:
            condition, values = "AND (path = ? OR path > ? AND path < ?)", (readable(top.path), *_range(start))
        elif top.type == "d":
            condition, values = _CHILDREN, _range(start, with_length=True)
        found = self.db.execute(
            f"SELECT * FROM {self.relation} WHERE {self.key} = ? {condition} ORDER BY path, path_raw", (self.number, *values)
        )
        columns = [column[0] for column in found.description]
        path, raw = columns.index("path"), columns.index("path_raw")
        own = ((row, row[path].encode() if row[raw] is None else row[raw]) for row in found)
        return columns, (row for row, at in own if at == top.path or at.startswith(start))

    def data(self, entry: Entry) -> Data | None:
        """The file with an entry's bytes: its own, or the one that a metacopy file stands for; None where no layer has it."""
        if not entry.metacopy:
            return Data(entry.partition, entry.inode, entry.size or 0)
        found = self.db.execute(
            "SELECT l.partition, d.inode, d.size FROM metacopy_data m"
            " JOIN chain c ON c.top = ? AND c.layer_id = m.layer_id"
            " LEFT JOIN entry d ON d.id = m.data_entry LEFT JOIN layer l ON l.id = d.layer_id"
            " WHERE m.entry_id = ? ORDER BY c.depth LIMIT 1",
            (self.top, entry.number),
        ).fetchone()
        return Data(*found) if found is not None and found[1] is not None else None

    def follow(self, path: bytes, last: bool = True) -> Entry:
        """The entry at a path, symlinks on the way followed as with the view as `/`; `last`: the last part's too.

        Raises UsageError where there is none.
        """
        pending = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
        trail = [self._root()]
        links = 0
        while pending:
            part = pending.pop()
            if part == b"..":
                trail = trail[:-1] or trail
                continue
            if trail[-1].type != "d":
                raise UsageError(f"{self.title}: {readable(trail[-1].path)} is no directory, so {readable(path)} is not there")
            found = self.at(trail[-1].path.rstrip(b"/") + b"/" + part)
            if found is None:
                raise UsageError(f"{self.title} has no {readable(path)}; ctrforensics ls shows what there is")
            if found.type != "l" or (not pending and not last):
                trail.append(found)
                continue
            links += 1
            if links > MAX_SYMLINKS:
                raise UsageError(f"{self.title}: too many symlinks on the way to {readable(path)}")
            target = found.target or b""
            if target.startswith(b"/"):
                trail = trail[:1]
            pending.extend(part for part in reversed(target.split(b"/")) if part not in (b"", b"."))
        return trail[-1]

    def typed(self, text: str) -> bytes:
        r"""The path that a person typed or copied from our output, where \xNN and the like stand for what cannot be typed."""
        raw = b"/" + text.encode("utf-8", "surrogateescape").strip(b"/")
        if "\\" not in text or self.at(raw) is not None:
            return raw
        wanted = harmless(readable(raw))
        matches = {e.path for e in self._select("", ()) if harmless(readable(e.path)) == wanted}
        return matches.pop() if len(matches) == 1 else raw

    def _root(self) -> Entry:
        root = self.at(b"/")
        if root is None:
            raise UsageError(f"{self.title} has no root directory in the case file: its layers are gone from the disk")
        return root

    def _select(self, condition: str, values: tuple[Any, ...]) -> Iterator[Entry]:
        query = f"SELECT {', '.join(COLUMNS)} FROM {self.relation} WHERE {self.key} = ? {condition}"
        for row in self.db.execute(query, (self.number, *values)):
            try:
                entry = self._entry(row)
            except (TypeError, ValueError, AttributeError) as error:
                raise CaseError(f"the case file is damaged ({error}); copy it again, or carve the disk image again") from error
            yield entry

    def _entry(self, row: tuple[Any, ...]) -> Entry:
        path, path_raw, kind, mode, uid, gid, size, nlink, mtime, atime, ctime, crtime, *others, layer, metacopy, number = row
        target, target_raw, rdev, xattrs, private, inode, partition = others
        if self.far_times and None in (mtime, atime, ctime, crtime):
            far = {
                field: int(ns) for field, ns in self.db.execute("SELECT field, ns FROM far_time WHERE entry_id = ?", (number,))
            }
            mtime, atime = far.get("mtime_ns", mtime), far.get("atime_ns", atime)
            ctime, crtime = far.get("ctime_ns", ctime), far.get("crtime_ns", crtime)
        return Entry(
            path.encode() if path_raw is None else path_raw, kind, mode, uid, gid, size, nlink, mtime, atime, ctime, crtime,
            _bytes(target, target_raw), _device(rdev), self._xattrs(xattrs, private), inode, partition, layer, bool(metacopy),
            number,
        )  # fmt: skip

    def _xattrs(self, shown: str | None, private: str | None) -> dict[bytes, bytes]:
        """A merged view does not show what overlayfs keeps for itself; a layer's own directory does."""
        if shown is None and private is None:
            return {}
        found: dict[str, str] = json.loads(shown) if shown else {}
        if private and self.relation == "layer_files":
            found |= json.loads(private)
        return {_raw_name(name): base64.b64decode(found[name]) for name in sorted(found)}


def merged_view(case: Case, container: FoundContainer) -> View:
    """What the container's processes saw as `/`, mounts apart."""
    title = f"container {container.name or container.container_id[:12]}"
    if container.layer is None:
        raise UsageError(f"{title} has no root filesystem in the case file: its layer is gone from the disk")
    return View(case.db, "files", "container_number", container.number, container.layer, title, _has_far_times(case))


def layer_view(case: Case, layer: FoundLayer) -> View:
    """One layer's own directory, with what it hides below still in its marks."""
    return View(case.db, "layer_files", "layer_number", layer.number, layer.number, f"layer {layer.name}", _has_far_times(case))


def _has_far_times(case: Case) -> bool:
    return bool(case.db.execute("SELECT EXISTS (SELECT 1 FROM far_time)").fetchone()[0])


def _range(start: bytes, with_length: bool = False) -> tuple[Any, ...]:
    """Bounds of the texts that begin with `start`, which ends in a slash: `0` is the character after it."""
    text = readable(start)
    return (text, text[:-1] + "0", len(text) + 1) if with_length else (text, text[:-1] + "0")


def _bytes(text: str | None, raw: bytes | None) -> bytes | None:
    return raw if raw is not None else None if text is None else text.encode()


def _raw_name(text: str) -> bytes:
    r"""An xattr's name: its `\xNN` are bytes that are not UTF-8, unless somebody gave it a name that spells them so."""
    return _BYTE.sub(lambda match: bytes([int(match[1], 16)]), text.encode())


def _device(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    major, minor = text.split(":")
    return int(major), int(minor)
