"""Opening the evidence: a raw disk image in one file or in split segments, or a block device. It is only ever read.

The bytes come from pread, which threads may call at once, tells where a device fails, and leaves the file's times alone where
the system lets us. Whatever The Sleuth Kit reads, it reads through `tsk_image`, from any source.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import stat
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pytsk3

from forensics.source import Source
from parsers import image_formats
from parsers.errors import EvidenceError, UsageError

SECTOR = 512
HASH_CHUNK = 8 << 20
_LETTERS = re.compile(r"[a-z]{2,3}")
_FAR = 26
_IMAGE_SUFFIXES = frozenset({"dd", "img", "raw", "bin", "iso", "dsk"})


@dataclass(frozen=True, slots=True)
class _Segment:
    path: Path
    descriptor: int
    start: int
    size: int


class DiskImage:
    """A disk image, open for reading. Any number of threads may read it at once."""

    def __init__(self, segments: tuple[_Segment, ...]) -> None:
        self._segments = segments
        self._starts = [segment.start for segment in segments]
        self.paths = tuple(segment.path for segment in segments)
        self.sizes = tuple(segment.size for segment in segments)
        self.name = self.paths[0].name
        self.size = segments[-1].start + segments[-1].size

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; fewer than `size` only at the image's end. EvidenceError names a sector that cannot be read."""
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        size = min(size, self.size - offset)
        first = self._segments[bisect_right(self._starts, offset) - 1]
        inside = offset - first.start
        if inside + size <= first.size:
            return self._read_segment(first, inside, size)
        parts = []
        while size:
            segment = self._segments[bisect_right(self._starts, offset) - 1]
            length = min(size, segment.start + segment.size - offset)
            parts.append(self._read_segment(segment, offset - segment.start, length))
            offset, size = offset + length, size - length
        return b"".join(parts)

    def locate(self, offset: int) -> int | None:
        """The offset itself."""
        return offset if 0 <= offset < self.size else None

    def close(self) -> None:
        """Close the files; nothing can be read any more."""
        for segment in self._segments:
            os.close(segment.descriptor)
        self._segments = ()

    def __enter__(self) -> DiskImage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read_segment(self, segment: _Segment, offset: int, size: int) -> bytes:
        try:
            data = os.pread(segment.descriptor, size, offset)
            while len(data) < size:
                more = os.pread(segment.descriptor, size - len(data), offset + len(data))
                if not more:
                    raise EvidenceError(f"{segment.path}: became shorter while it was read, at byte {offset + len(data)}")
                data += more
        except OSError as error:
            bad = _first_bad_sector(segment.descriptor, offset, size)
            raise EvidenceError(
                f"{segment.path}: cannot be read at byte {bad} (byte {segment.start + bad} of the disk image): {error.strerror}"
            ) from error
        return data


def _first_bad_sector(descriptor: int, offset: int, size: int) -> int:
    """Where in a failing read the first sector stands that cannot be read alone, found by halving."""
    start, end = offset // SECTOR * SECTOR, offset + size
    while end - start > SECTOR:
        middle = start + (end - start) // 2 // SECTOR * SECTOR or start + SECTOR
        try:
            short = len(os.pread(descriptor, middle - start, start)) < middle - start
        except OSError:
            short = True
        start, end = (start, middle) if short else (middle, end)
    return start


def open_disk_image(path: Path) -> DiskImage:
    """Open a raw disk image or block device; of a split one, any of its segments may be given."""
    _check_kind(path)
    segments: list[_Segment] = []
    try:
        start = 0
        for part in find_segments(path):
            _check_kind(part)
            descriptor = _open(part)
            segments.append(_Segment(part, descriptor, start, os.lseek(descriptor, 0, os.SEEK_END)))
            start += segments[-1].size
        _check_sizes(segments)
        image = DiskImage(tuple(segments))
        _check_format(image)
    except BaseException:
        for segment in segments:
            os.close(segment.descriptor)
        raise
    return image


def _check_kind(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UsageError(f"{path}: no such disk image; check the path") from error
    except PermissionError as error:
        raise EvidenceError(f"{path}: permission denied; its directory must be readable for this user") from error
    except OSError as error:
        raise EvidenceError(f"{path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path}: is a directory; give the disk image in it")
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise UsageError(f"{path}: is neither a file nor a block device; give a raw disk image")


def _open(path: Path) -> int:
    # Without O_NOATIME a first look would change the evidence's access time. Only the file's owner may ask for it.
    for flags in (os.O_RDONLY | getattr(os, "O_NOATIME", 0), os.O_RDONLY):
        try:
            return os.open(path, flags | os.O_CLOEXEC)
        except PermissionError:
            continue
        except OSError as error:
            hint = "; allow more with `ulimit -n`" if error.errno == errno.EMFILE else ""
            raise EvidenceError(f"{path}: {error.strerror}{hint}") from error
    hint = "reading a device takes root or the group `disk`" if path.is_block_device() else "this user needs the right to read it"
    raise EvidenceError(f"{path}: permission denied; {hint}")


def _check_sizes(segments: list[_Segment]) -> None:
    for segment in segments:
        if segment.size == 0:
            raise EvidenceError(f"{segment.path}: is empty; it holds no disk image")
    for segment in segments[1:-1]:
        if segment.size != segments[0].size:
            raise EvidenceError(
                f"{segment.path}: is {segment.size} bytes long, but {segments[0].path.name} {segments[0].size}; "
                "a segment in the middle must not be shorter or longer, copy it again"
            )
    if segments[-1].start + segments[-1].size < SECTOR:
        raise EvidenceError(f"{segments[0].path}: is {segments[-1].size} bytes long, too short for a disk image")


def _check_format(image: DiskImage) -> None:
    tail = image.read(max(0, image.size - image_formats.TAIL_SIZE), image_formats.TAIL_SIZE)
    named = image_formats.name_format(image.read(0, image_formats.HEAD_SIZE), tail)
    if named is not None:
        raise EvidenceError(f"{image.paths[0]}: is in the format {named[0]}, which is not read yet; {named[1]}")


def find_segments(path: Path) -> tuple[Path, ...]:
    """All segments of a split disk image, in order, given any of them: `.000` or `.001` on, `.aa` or `.aaa` on.

    The path alone where it is no segment. EvidenceError names a segment that is missing.
    """
    suffix = path.suffix[1:]
    if suffix.isascii() and suffix.isdigit() and len(suffix) >= 2:
        return _numbered_segments(path)
    if _LETTERS.fullmatch(suffix) and suffix not in _IMAGE_SUFFIXES:
        return _lettered_segments(path)
    return (path,)


def _numbered_segments(path: Path) -> tuple[Path, ...]:
    stem = path.name[: path.name.rindex(".") + 1]
    names = {name[len(stem) :] for name in _siblings(path) if name.startswith(stem)}
    width = min(len(name) for name in names | {path.suffix[1:]} if name.isascii() and name.isdigit() and len(name) >= 2)
    # FTK Imager goes on from .999 with .1000, so a longer number belongs to the set only where it needs its length.
    present = {int(name) for name in names if name.isascii() and name.isdigit() and name == f"{int(name):0{width}d}"}
    own = int(path.suffix[1:])
    if own not in present or (len(present) == 1 and width != 3):
        return (path,)
    start = 0 if 0 in present else 1
    for number in range(start, max(present)):
        if number not in present:
            raise EvidenceError(f"{path.with_name(f'{stem}{number:0{width}d}')}: this segment of the split disk image is missing")
    return tuple(path.with_name(f"{stem}{number:0{width}d}") for number in range(start, max(present) + 1))


def _lettered_segments(path: Path) -> tuple[Path, ...]:
    stem, width = path.name[: path.name.rindex(".") + 1], len(path.suffix) - 1

    def number(letters: str) -> int:
        return sum((ord(letter) - ord("a")) * 26**place for place, letter in enumerate(reversed(letters)))

    def letters(number: int) -> str:
        return "".join(chr(ord("a") + number // 26**place % 26) for place in reversed(range(width)))

    suffixes = {name[len(stem) :] for name in _siblings(path) if name.startswith(stem)} | {path.suffix[1:]}
    present = {number(s) for s in suffixes if len(s) == width and _LETTERS.fullmatch(s) and s not in _IMAGE_SUFFIXES}
    own, count = number(path.suffix[1:]), next(n for n in itertools.count() if n not in present)
    members = {n for n in present if n < count + _FAR}  # what is farther off, as `.log` is, is a file of another kind
    if own not in members or members == {own} != {0}:
        return (path,)
    if len(members) > count:
        raise EvidenceError(f"{path.with_name(stem + letters(count))}: this segment of the split disk image is missing")
    return tuple(path.with_name(stem + letters(found)) for found in range(count))


def _siblings(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError as error:
        if error.errno == errno.EACCES:
            return [path.name]  # a directory may let through without listing
        raise EvidenceError(f"{path.parent}: {error.strerror}") from error


def hash_disk_image(image: DiskImage, advance: Callable[[int], object]) -> str:
    """SHA-256 over the whole disk image, all segments as one. advance hears of each number of bytes that was done."""
    digest = hashlib.sha256()
    with ThreadPoolExecutor(max_workers=1) as reader:  # the next chunk is read while this one is hashed
        pending = reader.submit(image.read, 0, HASH_CHUNK)
        for offset in range(0, image.size, HASH_CHUNK):
            chunk = pending.result()
            pending = reader.submit(image.read, offset + HASH_CHUNK, HASH_CHUNK)
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


class _TskImage(pytsk3.Img_Info):  # type: ignore[misc] # pytsk3 has no type information
    def __init__(self, source: Source) -> None:
        self._source = source
        super().__init__(url="", type=pytsk3.TSK_IMG_TYPE_EXTERNAL)

    def close(self) -> None:
        """Nothing to close: the source is its opener's."""

    def read(self, offset: int, size: int) -> bytes:
        return self._source.read(offset, size)

    def get_size(self) -> int:
        return self._source.size


def tsk_image(source: Source) -> pytsk3.Img_Info:
    """Any source as a disk image of The Sleuth Kit's; must outlive what is opened on it."""
    return _TskImage(source)
