"""What is left of a deleted file's content: its bytes, how many of them, and their hash where all are there."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from forensics.filesystem import Filesystem
from forensics.recovery.files.deleted_file import DeletedFile
from parsers.errors import EvidenceError, FormatError

CHUNK = 1 << 20
MOST_ZEROS = 16 << 30  # bytes of holes in one file that are hashed: a size costs nothing to forge
_ZEROS = bytes(CHUNK)


@dataclass(frozen=True, slots=True)
class Content:
    """recovered: how many bytes of the size are known, holes among them. sha256: of the whole content, None where a part is lost.

    blank: a part of it reads as zeros where content was. It may have been zeros; a drive that was told to forget the blocks
    (fstrim, discard) reads so too. Such a part counts as lost.
    """

    recovered: int
    sha256: str | None
    blank: bool


def examine(fs: Filesystem, file: DeletedFile, hashed: bool = True) -> Content:
    """Read what is left of a regular file; hashed: its SHA-256 too."""
    if file.size is None:
        return Content(0, None, False)
    if file.inline is not None:
        whole = len(file.inline) == file.size
        return Content(len(file.inline), hashlib.sha256(file.inline).hexdigest() if whole and hashed else None, False)
    if file.extents is None:
        return Content(0, None, False)
    stored = sum(extent.length for extent in file.extents)
    digest = hashlib.sha256() if hashed and not file.lost and file.size - stored <= MOST_ZEROS else None
    missing = sum(min(length, file.size - first) for first, length in file.lost if first < file.size)
    blank, position = False, 0
    for extent in file.extents:
        length = min(extent.length, file.size - extent.logical)
        if length <= 0:
            break
        if digest is not None:
            _zeros(digest, extent.logical - position)
        anything = extent.offset is None
        for piece in _pieces(fs, extent.offset, length):
            if piece is None:
                missing, digest, anything = missing + length, None, True
                break
            anything = anything or piece.count(0) != len(piece)
            if digest is not None:
                digest.update(piece)
            elif anything:
                break  # no hash is wanted, and it is no blank
        if not anything:
            missing, blank, digest = missing + length, True, None
        position = extent.logical + length
    if digest is not None:
        _zeros(digest, file.size - position)
    return Content(max(0, file.size - missing), digest.hexdigest() if digest is not None else None, blank)


def read_deleted(fs: Filesystem, file: DeletedFile, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
    """A file's bytes from `offset` on in pieces; zeros for holes and what is lost. EvidenceError where the device fails."""
    end = (file.size or 0) if size is None else min(file.size or 0, offset + size)
    if file.inline is not None:
        yield file.inline[offset:end]
        return
    position, extents = offset, file.extents or ()
    for number in range(max(0, extent_at(file, offset)), len(extents)):
        extent = extents[number]
        start, stop = max(extent.logical, position), min(extent.logical + extent.length, end)
        if extent.logical >= end:
            break
        if start >= stop:
            continue
        yield from _blank(start - position)
        for at in range(start, stop, CHUNK):
            wanted = min(CHUNK, stop - at)
            data = b"" if extent.offset is None else fs.source.read(extent.offset + at - extent.logical, wanted)
            yield data.ljust(wanted, b"\0")
        position = stop
    yield from _blank(end - position)


def extent_at(file: DeletedFile, offset: int) -> int:
    """Which of a file's extents is the last that begins at a byte or before it; -1 where none does."""
    return bisect_right(file.extents or (), offset, key=attrgetter("logical")) - 1


def _blank(count: int) -> Iterator[bytes]:
    for done in range(0, count, CHUNK):
        yield _ZEROS[: min(CHUNK, count - done)]


def _pieces(fs: Filesystem, offset: int | None, length: int) -> Iterator[bytes | None]:
    """An extent's bytes; None where they cannot be read."""
    for done in range(0, length, CHUNK):
        wanted = min(CHUNK, length - done)
        if offset is None:
            yield _ZEROS[:wanted]
            continue
        try:
            data = fs.source.read(offset + done, wanted)
        except (FormatError, EvidenceError):
            yield None
            return
        yield data if len(data) == wanted else None


def _zeros(digest: hashlib._Hash, count: int) -> None:
    for piece in _blank(count):
        digest.update(piece)
