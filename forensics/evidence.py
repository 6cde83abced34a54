"""Opening the evidence: a disk image in any of the formats that are read, or a block device. It is only ever read.

A format is told by its signature, never by a file's name; names only lead from one file of a set to the others. Whatever The
Sleuth Kit reads, it reads through `tsk_image`, from any source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import pytsk3

from forensics.images.ewf import open_ewf
from forensics.images.files import EvidenceFile, Media
from forensics.images.libyal import open_ex01, open_vhd, open_vmdk
from forensics.images.qcow2 import open_qcow2
from forensics.images.raw import RawMedia
from forensics.images.segments import find_segments
from forensics.images.vdi import open_vdi
from forensics.source import Source
from parsers import image_formats
from parsers.errors import EvidenceError, UsageError

HASH_CHUNK = 8 << 20
MAX_CHAIN = 64


class DiskImage:
    """A disk image, open for reading. Any number of threads may read it at once."""

    def __init__(self, media: Media) -> None:
        self._media = media
        self.paths = tuple(file.path for file in media.files)
        self.sizes = tuple(file.size for file in media.files)
        self.name, self.format, self.size = self.paths[0].name, media.format, media.size
        self.details, self.problems = media.details, media.problems

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; fewer than `size` only at the image's end. EvidenceError names what cannot be read."""
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        return self._media.read(offset, min(size, self.size - offset))

    def locate(self, offset: int) -> int | None:
        """The offset itself."""
        return offset if 0 <= offset < self.size else None

    def close(self) -> None:
        """Close the files; nothing can be read any more."""
        self._media.close()

    def __enter__(self) -> DiskImage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_disk_image(path: Path, snapshot: str | None = None) -> DiskImage:
    """Open a disk image or block device; of one in several files, any of them may be given.

    snapshot: the name or id of an internal snapshot (QCOW2) to read instead of the disk's last state.
    """
    file = EvidenceFile(path)
    try:
        media = _open_media(file, snapshot, ())
        if snapshot is not None and media.format != "QCOW2":
            media.close()
            raise UsageError(f"{path} is in the format {media.format}, which has no internal snapshots; leave --snapshot away")
    except BaseException:
        file.close()
        raise
    return DiskImage(media)


def _open_media(file: EvidenceFile, snapshot: str | None, above: tuple[Path, ...]) -> Media:
    """The disk that a file stands for. above: the files of a chain whose backing file this is."""
    if file.path in above or len(above) >= MAX_CHAIN:
        raise EvidenceError(f"{file.path}: backing files lead in a circle")
    tail = file.read(max(0, file.size - image_formats.TAIL_SIZE), image_formats.TAIL_SIZE)
    kind, remedy = image_formats.name_format(file.read(0, image_formats.HEAD_SIZE), tail) or ("raw", None)
    if remedy is not None:
        raise EvidenceError(f"{file.path}: is in the format {kind}, which is not read as it is; {remedy}")

    def open_backing(backing: EvidenceFile, raw: bool) -> Media:
        return RawMedia((backing,)) if raw else _open_media(backing, None, (*above, file.path))

    if kind == "E01":
        return open_ewf(file)
    if kind == "Ex01":
        return open_ex01(file)
    if kind == "QCOW2":
        return open_qcow2(file, open_backing, snapshot)
    if kind == "VMDK":
        return open_vmdk(file)
    if kind == "VHD":
        return open_vhd(file)
    if kind == "VDI":
        return open_vdi(file)
    return _open_raw(file)


def _open_raw(file: EvidenceFile) -> RawMedia:
    files: list[EvidenceFile] = []
    try:
        for path in find_segments(file.path):
            files.append(file if path == file.path else EvidenceFile(path))
        return RawMedia(files)
    except BaseException:
        for each in files:
            if each is not file:
                each.close()
        raise


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
