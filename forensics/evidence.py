"""Opening the evidence: disk images in any of the formats that are read, or block devices. They are only ever read.

A format is told by its signature, never by a file's name; names only lead from one file of a set to the others. Whatever The
Sleuth Kit reads, it reads through `tsk_image`, from any source.
"""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import pytsk3

from forensics.images.collections import DirectoryMedia, UnpackedMedia, packs_an_archive
from forensics.images.files import EvidenceFile, Media, Sparse
from forensics.images.raw import RawMedia
from forensics.images.segments import find_segments
from forensics.images.unpack import PACKED
from forensics.source import Slice, Source
from parsers import image_formats
from parsers.errors import EvidenceError, UsageError

HASH_CHUNK = 4 << 20
MAX_CHAIN = 64


class DiskImage:
    """A disk image, or a collection in its place, open for reading. Any number of threads may read it at once.

    directory: the collection, where it is one; it has no bytes.
    """

    def __init__(self, media: Media, directory: Path | None = None) -> None:
        self._media = media
        self.paths = (directory,) if directory is not None else tuple(file.path for file in media.files)
        self.sizes = (0,) if directory is not None else tuple(file.size for file in media.files)
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

    def data_from(self, offset: int) -> int:
        """The first byte from `offset` on that is not known to be zero, because of what the files store there."""
        return self._media.data_from(offset) if isinstance(self._media, Sparse) else offset

    def close(self) -> None:
        """Close the files; nothing can be read any more."""
        self._media.close()

    def __enter__(self) -> DiskImage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Evidence:
    """The disks of one host, one behind the other: an offset in the evidence counts from the start of the first one."""

    def __init__(self, disks: Sequence[DiskImage]) -> None:
        self.disks = tuple(disks)
        self.starts = tuple(itertools.accumulate((disk.size for disk in disks[:-1]), initial=0))
        self.paths = tuple(path for disk in disks for path in disk.paths)
        self.size = sum(disk.size for disk in disks)
        self.name = " and ".join(disk.name for disk in disks)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`; fewer than `size` only at the end of all disks."""
        if len(self.disks) == 1:
            return self.disks[0].read(offset, size)
        parts = []
        while 0 <= offset < self.size and size > 0:
            number = bisect_right(self.starts, offset) - 1
            part = self.disks[number].read(offset - self.starts[number], size)
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)

    def locate(self, offset: int) -> int | None:
        """The offset itself."""
        return offset if 0 <= offset < self.size else None

    def data_from(self, offset: int) -> int:
        """As of a disk image; never beyond the end of the disk that `offset` is in."""
        number = bisect_right(self.starts, offset) - 1
        return self.starts[number] + self.disks[number].data_from(offset - self.starts[number])

    def each(self) -> tuple[tuple[DiskImage, Source], ...]:
        """Every disk, with its bytes as a part of the evidence."""
        if len(self.disks) == 1:
            return ((self.disks[0], self),)
        parts = (Slice(self, start, disk.size, disk.name) for start, disk in zip(self.starts, self.disks, strict=True))
        return tuple(zip(self.disks, parts, strict=True))

    def close(self) -> None:
        """Close all files."""
        for disk in self.disks:
            disk.close()

    def __enter__(self) -> Evidence:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_evidence(paths: Sequence[Path], snapshot: str | None = None, directory: Path | None = None) -> Evidence:
    """Open the disks of one host; see `open_disk_image`. Files of one set name one disk, however many of them are given."""
    disks: list[DiskImage] = []
    try:
        for path in paths:
            if not any(path.absolute() == known.absolute() for disk in disks for known in disk.paths):
                disks.append(open_disk_image(path, snapshot, directory))
    except BaseException:
        for disk in disks:
            disk.close()
        raise
    return Evidence(disks)


def open_disk_image(path: Path, snapshot: str | None = None, directory: Path | None = None) -> DiskImage:
    """Open a disk image or block device; of one in several files, any of them may be given.

    A directory and a tar archive stand for the files that are in them. snapshot: the name or id of an internal snapshot (QCOW2)
    to read instead of the disk's last state. directory: where a compressed archive is unpacked to.
    """
    if path.is_dir():
        return DiskImage(DirectoryMedia(), path)
    file = EvidenceFile(path)
    try:
        media = _open_media(file, snapshot, directory, ())
        if snapshot is not None and media.format != "QCOW2":
            media.close()
            raise UsageError(f"{path} is in the format {media.format}, which has no internal snapshots; leave --snapshot away")
    except BaseException:
        file.close()
        raise
    return DiskImage(media)


def _open_media(file: EvidenceFile, snapshot: str | None, directory: Path | None, above: tuple[Path, ...]) -> Media:
    """The disk that a file stands for. above: the files of a chain whose backing file this is."""
    if file.path in above or len(above) >= MAX_CHAIN:
        raise EvidenceError(f"{file.path}: backing files lead in a circle")
    tail = file.read(max(0, file.size - image_formats.TAIL_SIZE), image_formats.TAIL_SIZE)
    kind, remedy = image_formats.name_format(file.read(0, image_formats.HEAD_SIZE), tail) or ("raw", None)
    if kind in PACKED and not above and packs_an_archive(file.path, kind):
        return UnpackedMedia(file, kind, directory)
    if remedy is not None:
        raise EvidenceError(f"{file.path}: is in the format {kind}, which is not read as it is; {remedy}")

    def open_backing(backing: EvidenceFile, raw: bool) -> Media:
        return RawMedia((backing,)) if raw else _open_media(backing, None, directory, (*above, file.path))

    if kind == "E01":
        from forensics.images.ewf import open_ewf

        return open_ewf(file)
    if kind == "Ex01":
        from forensics.images.ewf2 import open_ewf2

        return open_ewf2(file)
    if kind == "QCOW2":
        from forensics.images.qcow2 import open_qcow2

        return open_qcow2(file, open_backing, snapshot)
    if kind == "VMDK":
        from forensics.images.libyal import open_vmdk

        return open_vmdk(file)
    if kind == "VHD":
        from forensics.images.libyal import open_vhd

        return open_vhd(file)
    if kind == "VDI":
        from forensics.images.vdi import open_vdi

        return open_vdi(file)
    media = _open_raw(file)
    media.format = kind
    return media


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


def hash_disk_image(
    image: DiskImage, advance: Callable[[int], object], look: Callable[[int, bytes], object] | None = None
) -> dict[str, str]:
    """SHA-256 over a whole disk, and whatever else its image stores a hash of (`details`), in hex by name.

    advance hears of each number of bytes that was done; look is shown every piece, with its offset, in order, while it is hashed.
    What cannot be read makes hashing impossible: EvidenceError.
    """
    names = ("sha256", *(name for name in ("md5", "sha1") if f"stored {name}" in image.details))
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with ThreadPoolExecutor(max_workers=2) as others:  # the next chunk is read, and this one looked at, while it is hashed
        pending = others.submit(image.read, 0, HASH_CHUNK)
        for offset in range(0, image.size, HASH_CHUNK):
            chunk = pending.result()
            pending = others.submit(image.read, offset + HASH_CHUNK, HASH_CHUNK)
            looked = others.submit(look, offset, chunk) if look is not None else None
            for digest in digests.values():
                digest.update(chunk)
            if looked is not None:
                looked.result()
            advance(len(chunk))
    return {name: digest.hexdigest() for name, digest in digests.items()}


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
