"""Removals of containers that nothing records, as the directory that held them tells."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping

from forensics.filesystem import Filesystem, lookup
from forensics.records import Event
from forensics.text import readable
from parsers.errors import EvidenceError, FormatError

SLACK = 2_000_000_000  # nanoseconds between Docker's making of a container's directory and what it says of its creation
_STORES = """SELECT s.root, s.partition, coalesce(p.mount_point, '/'),
    coalesce((SELECT max(h.path) FROM host_facts h WHERE h.partition = s.partition), '/'),
    (SELECT max(c.created_ns) FROM container c WHERE c.store_id = s.id AND c.origin = 'allocated')
    FROM store s LEFT JOIN partition p ON p.number = s.partition WHERE s.engine = 'docker' ORDER BY s.id"""


def removal_events(db: sqlite3.Connection, filesystems: Mapping[int, Filesystem]) -> Iterator[Event]:
    """The last removal of a container from each of Docker's data-roots.

    A name was made or removed in `containers/` at its mtime (moby 29.0, daemon/create.go and delete.go; what is written in a
    container's own directory does not touch it): later than the creation of all that are left, it was a removal.
    """
    for root, partition, mount_point, top, created in db.execute(_STORES).fetchall():
        fs = filesystems.get(partition)
        if fs is None:
            continue
        for base in dict.fromkeys((f"{top.rstrip('/')}{root}", _below(root, mount_point), root)):
            path = base.rstrip("/").encode() + b"/containers"
            try:
                number = lookup(fs, path)
                inode = fs.inode(number) if number is not None else None
            except (FormatError, EvidenceError):
                continue
            if inode is None or inode.type != "d" or inode.mtime_ns is None:
                continue
            since = inode.crtime_ns if created is None else created
            if since is not None and inode.mtime_ns > since + SLACK:
                message = f"the last removal: {readable(path)} changed when no container that is left was made"
                source = "directory mtime"
                yield Event(
                    inode.mtime_ns, "container removed", source, message, None, None, "probable", partition, inode.offset
                )  # fmt: skip
            break


def _below(path: str, mount_point: str) -> str:
    """A host's path, from the root of the partition that is mounted there."""
    point = mount_point.rstrip("/")
    return path[len(point) :] or "/" if path == point or path.startswith(f"{point}/") else path
