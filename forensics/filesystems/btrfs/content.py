"""A file's bytes: inline, in extents as they are, or in compressed ones."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import dataclass, field

import lzallright
import zstandard

from forensics.filesystem import Extent
from forensics.source import Source
from parsers import btrfs
from parsers.errors import FormatError

MAX_PACKED = 1 << 20
"""Bytes of a compressed extent, on the disk and unpacked; the kernel makes none of more than 128 KiB."""
KEPT = 64  # unpacked extents that are kept


@dataclass(frozen=True, slots=True)
class FileExtent:
    """A run of a file. data: inline bytes, else None. address: logical, 0 for a hole; length: of the run in the file.

    packed: bytes of the whole extent on the disk; unpacked: of the whole extent; skip: where in it the run begins.
    """

    start: int
    length: int
    data: bytes | None
    address: int
    packed: int
    unpacked: int
    skip: int
    compression: int
    written: bool

    @property
    def plain(self) -> bool:
        """Whether the bytes stand on the disk as they are."""
        return self.data is None and self.compression == btrfs.NONE


def parse_extent(start: int, item: bytes) -> FileExtent:
    """An EXTENT_DATA item; start: where in the file it begins."""
    head = btrfs.file_extent.size
    if len(item) < head:
        raise FormatError("a file extent is cut short")
    _, ram_bytes, compression, encryption, other, kind = btrfs.file_extent.unpack(item)
    if encryption or other or compression > btrfs.ZSTD or kind > btrfs.PREALLOC:
        raise FormatError(f"a file extent of type {kind} with compression {compression} and encryption {encryption}")
    if compression and ram_bytes > MAX_PACKED:
        raise FormatError(f"a compressed extent of {ram_bytes} bytes")
    if kind == btrfs.INLINE:
        length = ram_bytes if compression else min(ram_bytes, len(item) - head)
        return FileExtent(start, length, item[head:], 0, 0, ram_bytes, 0, compression, True)
    if len(item) < head + btrfs.file_extent_place.size:
        raise FormatError("a file extent is cut short")
    address, packed, skip, length = btrfs.file_extent_place.unpack(item, head)
    if start + length >= 1 << 63 or (compression and packed > MAX_PACKED):
        raise FormatError(f"a file extent of {length} bytes, {packed} on the disk")
    return FileExtent(start, length, None, address, packed, ram_bytes, skip, compression, kind == btrfs.REGULAR)


def disk_extents(extents: list[FileExtent]) -> list[Extent] | None:
    """The extents by logical address; None where one of them is inline or compressed."""
    found = []
    for each in extents:
        if each.data is None and each.address == 0:
            continue
        if not each.plain:
            return None
        found.append(Extent(each.start, each.address + each.skip if each.written else None, each.length))
    return found


@dataclass
class ContentReader:
    """Reads and unpacks extents; the ones last unpacked are kept."""

    source: Source
    sector: int
    _kept: OrderedDict[tuple[int, int, int, int], bytes] = field(default_factory=OrderedDict)

    def read(self, extents: list[FileExtent], offset: int, size: int) -> bytes:
        """A file's bytes, holes as zeros."""
        out = bytearray(size)
        for each in extents:
            start, end = max(each.start, offset), min(each.start + each.length, offset + size)
            if start < end:
                part = self._part(each, start - each.start, end - start)
                out[start - offset : start - offset + len(part)] = part
        return bytes(out)

    def _part(self, extent: FileExtent, inside: int, length: int) -> bytes:
        if extent.data is not None:
            whole = extent.data if not extent.compression else self._unpack(extent.compression, extent.data, extent.unpacked)
            return whole[inside : inside + length]
        if extent.address == 0 or not extent.written:
            return b""
        if not extent.compression:
            return self.source.read(extent.address + extent.skip + inside, length)
        key = extent.address, extent.packed, extent.unpacked, extent.compression
        whole = self._kept.get(key, b"")
        if not whole:
            whole = self._unpack(extent.compression, self.source.read(extent.address, extent.packed), extent.unpacked)
            self._kept[key] = whole
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return whole[extent.skip + inside : extent.skip + inside + length]

    def _unpack(self, compression: int, data: bytes, size: int) -> bytes:
        try:
            if compression == btrfs.ZLIB:
                unpacked = zlib.decompressobj().decompress(data, size) if size else b""
            elif compression == btrfs.ZSTD:
                unpacked = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data).read(size)
            else:
                unpacked = _unpack_lzo(data, size, self.sector)
        except (zlib.error, zstandard.ZstdError, lzallright.LZOError) as error:
            raise FormatError(f"a compressed extent cannot be unpacked ({error})", self.source.name) from error
        if len(unpacked) < size:
            # the kernel packs whole sectors, and what is missing at the end of the last one is zeros
            unpacked = unpacked.ljust(size, b"\0")
        return unpacked


def _unpack_lzo(data: bytes, size: int, sector: int) -> bytes:
    """Segments of LZO1X, each with its length before it, which never crosses a sector (Linux 6.6, fs/btrfs/lzo.c)."""
    end = min(int.from_bytes(data[:4], "little"), len(data))
    at, parts, total = 4, [], 0
    packer = lzallright.LZOCompressor()
    while at + 4 <= end and total < size:
        if sector - at % sector < 4:
            at += sector - at % sector
        length = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if length == 0 or at + length > len(data):
            raise FormatError(f"an LZO segment of {length} bytes")
        part = bytes(packer.decompress(data[at : at + length], sector))
        parts.append(part)
        total += len(part)
        at += length
    return b"".join(parts)[:size]
