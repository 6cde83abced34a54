"""Files whose time of modification cannot be the kernel's own: somebody set it.

A program can set mtime and atime (utimensat), but neither a file's birth nor its ctime, which is the moment of setting at the
latest. Archives and package managers set times too, of many files at once, to the second.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from forensics.records import Event
from forensics.text import utc

SECOND = 1_000_000_000
MANY = 20  # files of older times that are born one after the other: an archive was unpacked
FEW = 3  # of them in one directory: they may have come another way
_ODD_PLACE = re.compile(r"^/(?:tmp|var/tmp|dev/shm|run)/|/\.[^/]")
_LAYERS = """SELECT l.id, l.first_entry, l.entries, l.partition, r.crtime_ns,
    (SELECT c.id FROM container c WHERE c.layer_id = l.id ORDER BY c.id LIMIT 1)
    FROM layer l JOIN entry r ON r.id = l.first_entry
    WHERE l.kind IN ('container', 'orphan') AND l.stacked AND r.crtime_ns IS NOT NULL ORDER BY l.id"""
_FILES = """SELECT e.path, e.path_raw, e.mtime_ns, e.atime_ns, e.ctime_ns, e.crtime_ns, e.offset, o.mtime_ns, u.copied,
    e.size <> o.size OR k.sha256 <> ok.sha256
    FROM entry e LEFT JOIN lower_entry u ON u.entry_id = e.id AND u.copied IS NOT NULL LEFT JOIN entry o ON o.id = u.lower
    LEFT JOIN layer ol ON ol.id = o.layer_id
    LEFT JOIN content k ON k.partition = :partition AND k.inode = e.inode
    LEFT JOIN content ok ON ok.partition = ol.partition AND ok.inode = o.inode
    WHERE e.id > :first AND e.id < :end AND e.ctime_ns IS NOT NULL AND e.type = 'f' AND e.mark IS NULL AND e.metacopy IS NULL
    AND (e.mtime_ns > e.ctime_ns + 1000000000 OR e.mtime_ns + 1000000000 <= :born) ORDER BY e.crtime_ns, e.id"""


class _File(NamedTuple):
    """A file with a time that does not fit its layer. below_ns: the mtime of the file that it was copied up from, if it was."""

    path: str
    path_raw: bytes | None
    mtime_ns: int
    atime_ns: int | None
    ctime_ns: int
    crtime_ns: int | None
    offset: int | None
    below_ns: int | None
    copied: str | None
    content_differs: int | None

    @property
    def directory(self) -> str:
        """The directory that it is in."""
        return self.path.rpartition("/")[0]

    @property
    def told(self) -> str:
        """The contradiction, in words."""
        whole = ", in whole seconds" if self.mtime_ns % SECOND == 0 else ""
        both = ", and its atime with it" if self.atime_ns == self.mtime_ns else ""
        born = "at an unknown time" if self.crtime_ns is None else utc(self.crtime_ns)
        return f"mtime {utc(self.mtime_ns)}{whole}{both}; born {born}"


@dataclass(frozen=True, slots=True)
class _Layer:
    number: int
    first: int
    entries: int
    partition: int
    born_ns: int
    container: int | None

    def event(self, file: _File, event: str, message: str, confidence: str, path: bytes | None) -> Event:
        return Event(file.ctime_ns, event, "file times", message, self.container, path, confidence, self.partition, file.offset)


def set_time_events(db: sqlite3.Connection) -> Iterator[Event]:
    """Files of containers' layers whose mtime is older than the layer, or in the future; at the latest moment of setting it.

    Reads what `lower_entries` found.
    """
    for layer in [_Layer(*row) for row in db.execute(_LAYERS)]:
        values = {"partition": layer.partition, "first": layer.first, "end": layer.first + layer.entries, "born": layer.born_ns}
        older: list[_File] = []
        for file in (_File(*row) for row in db.execute(_FILES, values)):
            if file.mtime_ns > file.ctime_ns:
                yield _suspicion(layer, file, "its mtime is later than its ctime, so that it was set", "probable")
            elif file.below_ns == file.mtime_ns:
                if file.content_differs:
                    yield _suspicion(layer, file, "its mtime is that of the image's file, but its content is another", "probable")
            elif file.copied is None or file.below_ns is not None:
                older.append(file)  # of a copied file whose lower one is unknown, the time may be that one's
        yield from _older(layer, older)


def _older(layer: _Layer, files: Sequence[_File]) -> Iterator[Event]:
    """Files, in the order of their births, with times before the layer was there."""
    group: list[_File] = []
    for file in files:
        if group and (file.crtime_ns or 0) - (group[-1].crtime_ns or 0) > SECOND:
            yield from _group(layer, group)
            group = []
        group.append(file)
    if group:
        yield from _group(layer, group)


def _group(layer: _Layer, files: Sequence[_File]) -> Iterator[Event]:
    """Files that were born one after the other: each for itself, or many as one event, but for the odd ones among them."""
    beside = Counter(file.directory for file in files)
    many = len(files) >= MANY
    odd = [file for file in files if not many or (_ODD_PLACE.search(file.path) and beside[file.directory] < FEW)]
    for file in odd:
        yield _suspicion(layer, file, "its mtime is before the container's layer was made", "possible")
    if many:
        count = len(files) - len(odd)
        message = f"{count} files with times before the container's layer was made: an archive or a package was unpacked"
        yield layer.event(files[-1], "files unpacked", message, "probable", None)


def _suspicion(layer: _Layer, file: _File, why: str, confidence: str) -> Event:
    path = file.path.encode() if file.path_raw is None else file.path_raw
    return layer.event(file, "timestomp suspected", f"{why}; {file.told}", confidence, path)
