"""The contents behind a case's entries: the evidence opened once more, as the carve opened it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from forensics.case.deleted_rows import FoundDeleted, find_deleted_file
from forensics.case.lookup import Case, evidence_places
from forensics.case.view import Entry, View
from forensics.evidence import Evidence, open_evidence
from forensics.filesystem import Extent, Filesystem
from forensics.filesystems.open import open_volume
from forensics.recovery.files.content import read_deleted
from forensics.recovery.files.deleted_file import DeletedFile
from forensics.recovery.files.restored import restored
from forensics.text import readable
from forensics.volume import Volume
from forensics.volumes import find_volumes
from parsers.errors import EvidenceError, FormatError, UsageError

CHUNK = 1 << 20
ZEROS_LIMIT = 16 << 30  # bytes of holes in one file that are written out: a size costs nothing to forge
_ZEROS = bytes(CHUNK)


@dataclass(frozen=True, slots=True)
class Note:
    """What was not written as it stands in the evidence, and why. unread: because its content cannot be read."""

    path: bytes
    text: str
    unread: bool = False


@dataclass(slots=True)
class Contents:
    """The disk images of a case, with the filesystems that were asked for so far."""

    disk: Evidence
    volumes: dict[int, Volume]
    replay_journal: bool
    deleted_file: Callable[[int], DeletedFile]
    _opened: dict[int, Filesystem] = field(default_factory=dict)

    def chunks(self, view: View, entry: Entry) -> Iterator[bytes]:
        """A regular file's bytes in pieces, holes as zeros. Raises FormatError or EvidenceError where they cannot be read."""
        data = view.data(entry)
        if data is None:
            raise FormatError("its data is in no layer below it", readable(entry.path))
        return _read(self._filesystem(data.partition), data.inode, data.size)

    def deleted(self, found: FoundDeleted) -> Iterator[bytes]:
        """What is left of a deleted file in pieces; zeros for the rest."""
        file = found.file
        stored = sum(extent.length for extent in file.extents or ())
        if (file.size or 0) - stored > ZEROS_LIMIT:
            raise FormatError(f"{file.size} bytes long, of which {stored} are left", f"deleted file {found.number}")
        return read_deleted(self._filesystem(found.partition), file)

    def size(self, view: View, entry: Entry) -> int:
        """How many bytes `chunks` gives: for a metacopy file, those of the file that it stands for."""
        data = view.data(entry) if entry.metacopy else None
        return data.size if data is not None else entry.size or 0

    def _filesystem(self, partition: int) -> Filesystem:
        if partition not in self._opened:
            if partition not in self.volumes:
                raise EvidenceError(f"{self.disk.name} has no volume {partition}; is it the disk image that was carved?")
            fs = open_volume(self.volumes[partition], self.replay_journal)
            if fs is None:
                raise EvidenceError(
                    f"volume {partition} of {self.disk.name} has no filesystem; is it the disk image that was carved?"
                )
            self._opened[partition] = restored(fs, self.deleted_file, {})
        return self._opened[partition]


@contextmanager
def open_contents(case: Case, images: Sequence[Path] = (), secrets: Sequence[bytes] = ()) -> Iterator[Contents]:
    """The case's evidence, open until the block ends.

    images: where the disk images are now, if not where they were. secrets: as when they were carved.
    """
    paths = images or _find_evidence(case)
    facts = dict(case.db.execute("SELECT key, value FROM run WHERE key IN ('journal', 'snapshot')"))
    with open_evidence(paths, facts.get("snapshot")) as evidence:
        _check_sizes(case, evidence)
        volumes, _gaps = find_volumes(evidence, secrets)
        _check_volumes(case, evidence.name, volumes)
        yield Contents(
            evidence, {v.number: v for v in volumes}, facts.get("journal") != "not replayed",
            lambda number: find_deleted_file(case.db, number).file,
        )  # fmt: skip


def _find_evidence(case: Case) -> tuple[Path, ...]:
    """The first file of each disk image: where it was, or now beside the case file."""
    found = []
    for places in evidence_places(case):
        place = next((each for each in places if os.path.lexists(each)), None)
        if place is None:
            raise UsageError(f"the disk image {places[0]} is not there any more; say with --image where it is")
        found.append(place)
    if not found:
        raise UsageError(f"{case.path} names no disk image; name it with --image")
    return tuple(found)


def _check_sizes(case: Case, evidence: Evidence) -> None:
    expected = [size for (size,) in case.db.execute("SELECT size FROM disk_image ORDER BY number")]
    if len(evidence.disks) != len(expected):
        raise UsageError(f"{len(expected)} disk images were carved; name each of them, in the same order, with --image")
    for disk, size in zip(evidence.disks, expected, strict=True):
        if disk.size != size:
            raise UsageError(
                f"{disk.paths[0]} has {disk.size} bytes, but the carved disk image had {size}; "
                "name the right one with --image, or carve this one"
            )


def _check_volumes(case: Case, name: str, volumes: Sequence[Volume]) -> None:
    found = {(v.number, v.offset, v.length) for v in volumes}
    missing = [row for row in case.db.execute("SELECT number, offset, length FROM partitions") if row not in found]
    if missing:
        number, offset, _length = missing[0]
        if any(scheme == "luks" for (scheme,) in case.db.execute("SELECT scheme FROM partitions WHERE number = ?", (number,))):
            raise UsageError(f"volume {number} of {name} is encrypted; give its --passphrase-file or --key-file again")
        raise UsageError(
            f"{name} has no volume {number} at byte {offset} as the carved disk image had; "
            "name the right one with --image, or carve this one"
        )


def _read(fs: Filesystem, inode: int, size: int) -> Iterator[bytes]:
    extents = fs.extents(inode)
    if extents is None:
        return _read_whole(fs, inode, size)
    stored = sum(e.length for e in extents if e.offset is not None)
    if size - stored > ZEROS_LIMIT:
        raise FormatError(f"{size} bytes long, of which the disk holds no more than {stored}", f"inode {inode}")
    return _read_extents(fs, inode, extents, size)


def _read_whole(fs: Filesystem, inode: int, size: int) -> Iterator[bytes]:
    """Content that has no extents of its own."""
    for position in range(0, size, CHUNK):
        piece = fs.read(inode, position, min(CHUNK, size - position))
        if len(piece) < min(CHUNK, size - position):
            raise FormatError(f"only {position + len(piece)} of {size} bytes can be read", f"inode {inode}")
        yield piece


def _read_extents(fs: Filesystem, inode: int, extents: Sequence[Extent], size: int) -> Iterator[bytes]:
    position = 0
    for extent in extents:
        if extent.logical >= size:
            break
        if extent.logical < position:
            raise FormatError("its extents overlap", f"inode {inode}", extent.logical)
        yield from _zeros(extent.logical - position)
        length = min(extent.length, size - extent.logical)
        if extent.offset is None:
            yield from _zeros(length)
        else:
            for done in range(0, length, CHUNK):
                wanted = min(CHUNK, length - done)
                piece = fs.source.read(extent.offset + done, wanted)
                if len(piece) < wanted:
                    raise FormatError("the disk image ends before the file's content", f"inode {inode}", extent.logical + done)
                yield piece
        position = extent.logical + length
    yield from _zeros(size - position)


def _zeros(count: int) -> Iterator[bytes]:
    for done in range(0, count, CHUNK):
        yield _ZEROS[: min(CHUNK, count - done)]
