"""The archive that a layer was unpacked from, as a stream: rebuilt from tar-split and the layer's files, or out of a blob."""

from __future__ import annotations

import bz2
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import zstandard

from forensics.file_source import FileSource
from forensics.filesystem import Filesystem, lookup
from parsers.crc64 import Crc64
from parsers.errors import EvidenceError, FormatError
from parsers.tar_split import Content, Segment, parse_tar_split

CHUNK = 1 << 20
MAX_FILLED = 64 << 20  # bytes of a file that is gone, for which zeros may stand
MAX_HEADER = 16 << 20  # bytes that tarfile may read at once: no real header is longer
MAX_RATIO = (
    200  # bytes that one of a blob may stand for, beyond twice what the layer has: a whole layer seldom shrinks to a tenth
)
SPARE = 256 << 20  # bytes that a layer may have lost, whatever its blob's size
SIP = 1 << 10  # bytes of a zstd stream taken at a time: four of them can stand for 128 KiB
GZIP, ZSTD, BZIP2 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh"


@dataclass
class Archive:
    """A stream of bytes that hashes itself. size: bytes so far; wrong: files whose content is not what it was, and why."""

    pieces: Iterator[bytes]
    wrong: dict[bytes, str] = field(default_factory=dict)
    size: int = 0

    def __post_init__(self) -> None:
        self._pending = b""
        self._digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """The next bytes, as tarfile asks for them."""
        if size > MAX_HEADER:
            raise FormatError(f"a header of {size} bytes")
        parts, missing = [], size
        while missing:
            if not self._pending:
                piece = next(self.pieces, b"")
                if not piece:
                    break
                self._digest.update(piece)
                self.size += len(piece)
                self._pending = piece
            parts.append(self._pending[:missing])
            self._pending = self._pending[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)

    def tell(self) -> int:
        """How many bytes were given away."""
        return self.size - len(self._pending)

    def seek(self, offset: int) -> None:
        """Forward only: a member whose size leads back would never end."""
        if offset < self.tell():
            raise FormatError("a member leads back")
        while self.tell() < offset and self.read(min(CHUNK, offset - self.tell())):
            pass

    def diff_id(self) -> str:
        """The digest of the whole archive; what was not read yet is read for it."""
        while self.read(CHUNK):
            pass
        return f"sha256:{self._digest.hexdigest()}"


def rebuilt(split: FileSource, fs: Filesystem, directory: int, *, check: bool) -> Archive:
    """The archive as tar-split tells it. check: hold each file's content against its CRC, which takes long."""
    wrong: dict[bytes, str] = {}
    # no layer holds much more than its filesystem, whatever its sizes say
    return Archive(_limited(_rebuild(split, fs, directory, wrong, check), 2 * fs.source.size), wrong)


def _rebuild(split: FileSource, fs: Filesystem, directory: int, wrong: dict[bytes, str], check: bool) -> Iterator[bytes]:
    for part in parse_tar_split(split.read):
        if isinstance(part, Segment):
            yield part.data
        elif part.size:
            yield from _content(fs, directory, part, wrong, check)


def _content(fs: Filesystem, directory: int, part: Content, wrong: dict[bytes, str], check: bool) -> Iterator[bytes]:
    """A file's bytes. Where there are not as many as there were, zeros follow: the archive's shape stays."""
    path = b"/".join(name for name in part.name.split(b"/") if name not in (b"", b"."))
    done, crc = 0, Crc64()
    try:
        number = None if b".." in path.split(b"/") else lookup(fs, path, directory)
        size = fs.inode(number).size if number is not None and fs.inode(number).type == "f" else None
        if number is None or size is None:
            wrong[path] = "missing"
        elif size != part.size:
            wrong[path] = f"has {size} bytes, not {part.size}"
        while number is not None and size is not None and done < min(size, part.size):
            piece = fs.read(number, done, min(CHUNK, part.size - done))
            if not piece:
                break
            if check:
                crc.update(piece)
            done += len(piece)
            yield piece
    except (FormatError, EvidenceError) as error:
        wrong[path] = f"cannot be read: {error}"
    if check and part.crc is not None and path not in wrong and crc.digest() != part.crc:
        wrong[path] = "has other content"
    if part.size - done > MAX_FILLED:
        raise FormatError(f"{part.size - done} bytes of {part.name.decode('utf-8', 'backslashreplace')} are not there")
    for start in range(done, part.size, CHUNK):
        yield bytes(min(CHUNK, part.size - start))


def unpacked(blob: FileSource, limit: int) -> Archive:
    """A blob's archive, unpacked as its first bytes say; FormatError beyond `limit` bytes."""
    return Archive(_limited(_unpack(blob), limit))


def _limited(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    for piece in pieces:
        limit -= len(piece)
        if limit < 0:
            raise FormatError("the archive is longer than its layer can be")
        if piece:  # an empty one would be taken for the end
            yield piece


def _unpack(blob: FileSource) -> Iterator[bytes]:
    head = blob.read(0, 4)
    try:
        if head.startswith(GZIP):
            yield from _gunzip(blob)
        elif head.startswith(ZSTD):
            yield from _unzstd(blob)
        elif head.startswith(BZIP2):
            yield from _bunzip2(blob)
        else:
            yield from _packed(blob, CHUNK)
    except (zlib.error, zstandard.ZstdError, OSError) as error:
        raise FormatError(f"cannot be unpacked: {error}", blob.name) from error


def _packed(blob: FileSource, step: int) -> Iterator[bytes]:
    for offset in range(0, blob.size, step):
        yield blob.read(offset, step)


def _gunzip(blob: FileSource) -> Iterator[bytes]:
    """All members of a gzip file: pigz and pgzip write several."""
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    begun = False
    for packed in _packed(blob, CHUNK):
        rest = packed
        while rest:
            begun = True
            yield stream.decompress(rest, CHUNK)
            rest = stream.unconsumed_tail
            if stream.eof:
                rest, begun = stream.unused_data, False
                stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    if begun:
        raise FormatError("the gzip stream is cut off", blob.name, blob.size)


def _bunzip2(blob: FileSource) -> Iterator[bytes]:
    """All streams of a bzip2 file: pbzip2 and lbzip2 write several."""
    stream = bz2.BZ2Decompressor()
    begun = False
    for packed in _packed(blob, CHUNK):
        rest = packed
        while rest or not stream.needs_input:
            begun = True
            yield stream.decompress(rest, CHUNK)
            rest = b""
            if stream.eof:
                rest, begun = stream.unused_data, False
                stream = bz2.BZ2Decompressor()
    if begun:
        raise FormatError("the bzip2 stream is cut off", blob.name, blob.size)


def _unzstd(blob: FileSource) -> Iterator[bytes]:
    frame = zstandard.ZstdDecompressor().decompressobj()
    begun = False
    for packed in _packed(blob, SIP):
        rest = packed
        while rest:
            begun = True
            yield frame.decompress(rest)
            rest = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
    if begun:
        raise FormatError("the zstd stream is cut off", blob.name, blob.size)
