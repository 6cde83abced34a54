"""When a container's layer was mounted: what overlayfs leaves in the layer's work directory.

Linux 6.12, fs/overlayfs/super.c: `work/work` is removed and made anew at each read-write mount (ovl_workdir_create), `work/index`
at the first one with `index=on`; a shared whiteout `work/work/#...` is linked to every name that is deleted (dir.c ovl_whiteout).
The first mount of a fresh layer gives its root a UUID (super.c ovl_init_uuid_xattr, 6.6 and newer), at its ctime at the latest.
Docker mounts a layer when it makes the container, at each start, and for `docker cp`, `diff` and the like.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forensics.filesystem import Filesystem, Inode, lookup
from forensics.records import Event, Gap
from forensics.text import readable
from parsers.errors import EvidenceError, FormatError

MAX_NAMES = 1000  # names in a work directory: the kernel leaves a handful
_LAYERS = """SELECT l.path, l.partition, l.directory,
    (SELECT min(e.crtime_ns) FROM entry e WHERE e.id > l.first_entry AND e.id < l.first_entry + l.entries),
    (SELECT r.ctime_ns FROM entry r WHERE r.id = l.first_entry AND r.private_xattrs LIKE '%.overlay.uuid"%'),
    (SELECT c.id FROM container c WHERE c.layer_id = l.id ORDER BY c.id LIMIT 1)
    FROM layer l WHERE l.kind IN ('container', 'orphan') AND l.stacked AND l.directory IS NOT NULL ORDER BY l.id"""


@dataclass(frozen=True, slots=True)
class _Work:
    """A layer's work directory and the filesystem that it is on."""

    fs: Filesystem
    partition: int
    path: bytes
    directory: int
    container: int | None

    def inode(self, *names: bytes) -> Inode | None:
        """What stands in it under these names."""
        number = lookup(self.fs, b"/".join(names), self.directory)
        return self.fs.inode(number) if number is not None else None

    def event(self, time_ns: int, event: str, message: str, inode: Inode, *names: bytes, confidence: str = "certain") -> Event:
        """An event that the inode under these names tells."""
        told = f"{message}; {readable(b'/'.join((self.path, *names)))}"
        return Event(
            time_ns, event, "work directory", told, self.container, None, confidence, self.partition, inode.offset
        )  # fmt: skip


def mount_events(db: sqlite3.Connection, filesystems: Mapping[int, Filesystem], gaps: list[Gap]) -> Iterator[Event]:
    """The first and last mounts of each container's layer, as far as its work directory tells."""
    for path, partition, directory, first_birth, marked, container in db.execute(_LAYERS).fetchall():
        fs = filesystems.get(partition)
        if fs is None:
            continue
        try:
            base = path.encode().rpartition(b"/")[0]
            work = lookup(fs, base + b"/work")
            if work is not None and lookup(fs, path.encode()) == directory:
                yield from _mounts(_Work(fs, partition, base + b"/work", work, container), first_birth, marked, gaps)
        except (FormatError, EvidenceError):
            continue  # the work directory belongs to no layer's content; what is damaged there tells no time


def _mounts(work: _Work, first_birth: int | None, marked: int | None, gaps: list[Gap]) -> Iterator[Event]:
    """marked: the ctime of the layer's root, where the first mount left its UUID there."""
    made, index, last = work.inode(), work.inode(b"index"), work.inode(b"work")
    if made is not None and last is not None:
        if made.crtime_ns is not None:
            message = "not before: the engine made the work directory"
            yield work.event(made.crtime_ns, "layer first mounted (earliest)", message, made)
        bounds = (
            (last.crtime_ns, "certain", "the last mount"),
            (marked, "certain", "the layer's root, which has the UUID of its first mount, was last changed"),
            (first_birth, "probable", "the first entry was made in the layer"),
        )
        known = sorted((time_ns, confidence, why) for time_ns, confidence, why in bounds if time_ns is not None)
        for time_ns, confidence, why in known[:1]:
            yield work.event(time_ns, "layer first mounted (latest)", f"not after: {why}", made, confidence=confidence)
    if index is not None and index.crtime_ns is not None:
        yield work.event(index.crtime_ns, "layer first mounted", "the first mount with index=on", index, b"index")
    if last is not None and last.crtime_ns is not None:
        message = "the last mount that could write: a start of the container, or docker cp, diff, commit and the like"
        yield work.event(last.crtime_ns, "layer last mounted", message, last, b"work")
        yield from _shared_whiteouts(work, gaps)


def _shared_whiteouts(work: _Work, gaps: list[Gap]) -> Iterator[Event]:
    directory = lookup(work.fs, b"work", work.directory)
    entries = work.fs.entries(directory) if directory is not None else ()
    if len(entries) > MAX_NAMES:
        error = f"{len(entries):,} names in a work directory; only {MAX_NAMES:,} were looked at for times of deletions"
        gaps.append(Gap("timeline", error, work.partition, readable(work.path + b"/work")))
    for entry in entries[:MAX_NAMES]:
        inode = work.inode(b"work", entry.name) if entry.name.startswith(b"#") else None
        if inode is None or inode.type != "c" or inode.rdev != (0, 0):
            continue
        where = (b"work", entry.name)
        if inode.crtime_ns is not None:
            message = "the first file or directory that was deleted since the layer's last mount"
            yield work.event(inode.crtime_ns, "first deletion", message, inode, *where)
        if inode.ctime_ns is not None:
            message = "the last deletion since the layer's last mount, or the last time that a deleted name was made anew"
            yield work.event(inode.ctime_ns, "last deletion (latest)", message, inode, *where)
