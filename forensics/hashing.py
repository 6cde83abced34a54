"""SHA-256 of many files at once: in the order of the disk, in large reads that neighbours share, on all cores.

Small files that lie close together are read by one read; reading and hashing both let other threads run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from forensics.filesystem import Extent, Filesystem
from forensics.progress import Progress
from parsers.errors import EvidenceError, FormatError

WINDOW = 4 << 20  # bytes that one read of neighbouring files may span
NEIGHBOUR = 64 << 10  # bytes between two files that are cheaper to read than to skip
MANY = 1 << 16  # files whose extents are asked for together
ZEROS_LIMIT = 16 << 30  # bytes of holes in one file beyond which hashing them is refused: a size costs nothing to forge
_ZEROS = bytes(1 << 20)
_EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file's SHA-256 (hex) and its first byte's offset in the disk image; or the reason why there is none.

    bad_offset: where in the disk image that stands which cannot be read, as far as one byte is to blame.
    """

    inode: int
    sha256: str | None
    content_offset: int | None = None
    error: str | None = None
    bad_offset: int | None = None


@dataclass(frozen=True, slots=True)
class _Whole:
    inode: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class _Pieces:
    inode: int
    extents: tuple[Extent, ...]
    size: int


def hash_files(fs: Filesystem, files: Iterable[tuple[int, int]], progress: Progress) -> Iterator[Hashed]:
    """Hash the content of (inode number, size) pairs of regular files; yields one Hashed each, in no promised order."""
    whole: list[_Whole] = []
    pieces: list[_Pieces] = []
    pending = iter(files)
    while batch := list(islice(pending, MANY)):
        known = fs.extents_of([inode for inode, size in batch if size])
        for inode, size in batch:
            if size == 0:
                yield Hashed(inode, _EMPTY)
                continue
            try:
                extents = known[inode] if inode in known else fs.extents(inode)
                if extents is None:
                    yield _hash_by_reading(fs, inode, size)
                    progress.advance(size)
                    continue
            except (FormatError, EvidenceError) as error:
                yield Hashed(inode, None, error=str(error))
                continue
            first = extents[0] if extents else None
            if first is not None and first.logical == 0 and first.offset is not None and first.length >= size:
                whole.append(_Whole(inode, first.offset, size))
            else:
                pieces.append(_Pieces(inode, tuple(extents), size))
    whole.sort(key=lambda job: job.offset)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        windows = list(_windows(whole))
        for window, done in zip(windows, pool.map(lambda w: _hash_window(fs, w), windows), strict=True):
            yield from done
            progress.advance(sum(job.size for job in window))
        for job, hashed in zip(pieces, pool.map(lambda p: _hash_pieces(fs, p), pieces), strict=True):
            yield hashed
            progress.advance(job.size)


def _windows(jobs: Sequence[_Whole]) -> Iterator[list[_Whole]]:
    """Neighbouring files that one read of at most WINDOW bytes covers; a larger file is a window of its own."""
    window: list[_Whole] = []
    end = 0
    for job in jobs:
        if window and (job.offset - end > NEIGHBOUR or job.offset + job.size - window[0].offset > WINDOW):
            yield window
            window = []
        window.append(job)
        end = max(end, job.offset + job.size)
    if window:
        yield window


def _hash_window(fs: Filesystem, window: list[_Whole]) -> list[Hashed]:
    start, end = window[0].offset, max(job.offset + job.size for job in window)
    if end - start > WINDOW:
        return [_hash_pieces(fs, _Pieces(job.inode, (Extent(0, job.offset, job.size),), job.size)) for job in window]
    try:
        data = memoryview(fs.source.read(start, end - start))
    except (FormatError, EvidenceError):
        # one bad sector costs the file that it lies in, not its neighbours
        return [_hash_pieces(fs, _Pieces(job.inode, (Extent(0, job.offset, job.size),), job.size)) for job in window]
    found = []
    for job in window:
        content = data[job.offset - start : job.offset - start + job.size]
        if len(content) < job.size:
            found.append(_missing(fs, job.inode, job.offset + len(content)))
        else:
            found.append(Hashed(job.inode, hashlib.sha256(content).hexdigest(), fs.source.locate(job.offset)))
    return found


def _hash_pieces(fs: Filesystem, job: _Pieces) -> Hashed:
    """Hash extents in the order of the file, holes and unwritten extents as zeros."""
    stored = sum(e.length for e in job.extents if e.offset is not None)
    if job.size - stored > ZEROS_LIMIT:
        return Hashed(job.inode, None, error=f"not hashed: {job.size} bytes, of which the disk holds no more than {stored}")
    digest = hashlib.sha256()
    position = 0
    for extent in job.extents:
        if extent.logical >= job.size:
            break
        _hash_zeros(digest, extent.logical - position)
        length = min(extent.length, job.size - extent.logical)
        if extent.offset is None:
            _hash_zeros(digest, length)
        else:
            for done in range(0, length, WINDOW):
                wanted = min(WINDOW, length - done)
                try:
                    content = fs.source.read(extent.offset + done, wanted)
                except (FormatError, EvidenceError) as error:
                    return _unreadable(fs, job.inode, error, extent, done)
                if len(content) < wanted:
                    return _missing(fs, job.inode, extent.offset + done + len(content))
                digest.update(content)
        position = extent.logical + length
    _hash_zeros(digest, job.size - position)
    first = next((e.offset for e in job.extents if e.offset is not None), None)
    return Hashed(job.inode, digest.hexdigest(), fs.source.locate(first) if first is not None else None)


def _hash_zeros(digest: hashlib._Hash, count: int) -> None:
    while count > 0:
        digest.update(_ZEROS[: min(count, len(_ZEROS))])
        count -= len(_ZEROS)


def _hash_by_reading(fs: Filesystem, inode: int, size: int) -> Hashed:
    """Hash content that has no extents of its own, as the filesystem gives it."""
    digest = hashlib.sha256()
    for position in range(0, size, WINDOW):
        wanted = min(WINDOW, size - position)
        content = fs.read(inode, position, wanted)
        if len(content) < wanted:
            return Hashed(inode, None, error=f"only {position + len(content)} of {size} bytes can be read")
        digest.update(content)
    return Hashed(inode, digest.hexdigest())


def _unreadable(fs: Filesystem, inode: int, error: FormatError | EvidenceError, extent: Extent, done: int) -> Hashed:
    """done: bytes of the extent that could be read."""
    if not isinstance(error, FormatError) or error.offset is None or extent.offset is None:
        return Hashed(inode, None, error=f"byte {extent.logical + done} or one of those behind it cannot be read: {error}")
    byte = max(extent.logical, extent.logical + error.offset - extent.offset)
    return Hashed(inode, None, error=f"byte {byte} cannot be read: {error}", bad_offset=fs.source.locate(error.offset))


def _missing(fs: Filesystem, inode: int, offset: int) -> Hashed:
    return Hashed(inode, None, error=f"the disk image ends before this file's content (byte {offset} of {fs.source.name})")
