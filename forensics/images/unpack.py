"""Unpacking a compressed raw disk image, when the examiner asks for it: blocks of zeros become holes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from forensics.images.files import EvidenceFile, check_kind
from parsers import image_formats
from parsers.errors import EvidenceError, UsageError

BLOCK = 1 << 20
SIP = 1 << 10  # bytes of a zstd file taken at a time: four of them can stand for 128 KiB
PACKED = ("gzip", "zstd", "xz", "bzip2")
PACKED_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError)


def packed_format(path: Path) -> str | None:
    """The compression of a file, by its signature; None where it has none that can be undone."""
    with closing(EvidenceFile(path)) as file:
        named = image_formats.name_format(file.read(0, image_formats.HEAD_SIZE), b"")
    return named[0] if named is not None and named[0] in PACKED else None


def unpack(path: Path, directory: Path, force: bool, advance: Callable[[int], object]) -> Path:
    """Unpack a compressed file into `directory` and answer the new file's path. advance hears of bytes that were written."""
    check_kind(path)
    kind = packed_format(path)
    if not directory.is_dir():
        raise UsageError(f"{directory} is no directory; --unpack takes one that is there")
    target = directory / (path.stem or path.name)
    if target.absolute() == path.absolute() or (target.exists() and not force):
        raise UsageError(f"{target} is there already; carve that one, name another directory, or replace it with --force")
    partial = target.with_name(f".{target.name}.partial")
    try:
        with path.open("rb") as packed, partial.open("wb") as out:
            size = 0
            for block in blocks(kind, packed):
                if block.count(0) == len(block):
                    out.seek(len(block), 1)
                else:
                    out.write(block)
                size += len(block)
                advance(len(block))
            out.truncate(size)
        partial.replace(target)
    except PACKED_ERRORS as error:
        raise EvidenceError(f"{path}: cannot be unpacked: {error}; copy it again") from error
    except OSError as error:
        raise EvidenceError(f"{partial}: {error.strerror or error}; is there room for the unpacked disk image?") from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def blocks(kind: str | None, packed: BinaryIO) -> Iterator[bytes]:
    """What a compressed file unpacks to, piece by piece. Raises PACKED_ERRORS where it is damaged."""
    if kind == "zstd":
        yield from _zstd_blocks(packed)
        return
    stream = _open(kind, packed)
    while block := stream.read1(BLOCK):  # read would lose what stands before damage
        yield block


def _zstd_blocks(packed: BinaryIO) -> Iterator[bytes]:
    """The frames of a zstd file one after another; a frame that is cut short is an error, as in the other formats."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    begun = False
    while data := packed.read(SIP):
        while data:
            begun = True
            unpacked = frame.decompress(data)
            for start in range(0, len(unpacked), BLOCK):
                yield unpacked[start : start + BLOCK]
            data = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
    if begun:
        raise EOFError("the file ends within a zstd frame")


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def _open(kind: str | None, packed: BinaryIO) -> _Readable:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=packed)
    if kind == "xz":
        return lzma.LZMAFile(packed)
    if kind == "bzip2":
        return bz2.BZ2File(packed)
    raise UsageError(f"{getattr(packed, 'name', 'the file')} is not compressed in a way that can be undone; leave --unpack away")
