"""The Expert Witness Compression Format, version 2: .Ex01 segment files.

A segment file is a chain of sections that is read from its end: each section's descriptor stands behind its data. Chunks are zlib
or bzip2 streams, raw with their Adler-32 behind them, or a pattern; a sector table says where each one stands.

Source: libewf, documentation/Expert Witness Compression Format 2 (EWF2).asciidoc (2024); held against libewf's own reading.
"""

from __future__ import annotations

import bz2
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from construct import Bytes, Int8ul, Int16ul, Int32ul, Int64ul, Padding, Struct
from numpy.typing import NDArray

from parsers.errors import FormatError, UnsupportedFormat
from parsers.ewf import MAX_CHUNK, MAX_TEXT, Media, parse_chunk
from parsers.layout import Layout

SIGNATURE = b"EVF2\x0d\x0a\x81\x00"
DEVICE, CASE, TABLE, MD5, SHA1 = 1, 2, 4, 8, 9
ENCRYPTION_KEYS = 11
ENCRYPTED = 2
COMPRESSED, CHECKSUMMED, PATTERN = 1, 2, 4
MAX_TEXT_SECTION = 1 << 20
_NONE, _ZLIB, _BZIP2 = range(3)

file_header = Layout(
    Struct(
        "signature" / Bytes(8),
        "major_version" / Int8ul,
        "minor_version" / Int8ul,
        "compression_method" / Int16ul,
        "segment_number" / Int32ul,
        "set_identifier" / Bytes(16),
    )
)
section_descriptor = Layout(
    Struct(
        "type" / Int32ul,
        "data_flags" / Int32ul,
        "previous_offset" / Int64ul,
        "data_size" / Int64ul,
        "descriptor_size" / Int32ul,
        "padding_size" / Int32ul,
        "integrity_hash" / Bytes(16),
        Padding(12),
        "checksum" / Int32ul,
    )
)
table_header = Layout(Struct("first_chunk" / Int64ul, "number_of_entries" / Int32ul, Padding(4), "checksum" / Int32ul))
TABLE_DATA = 32
"""Where a table's entries begin, and how far they are followed by what is no entry."""
_ENTRY = np.dtype([("offset", "<u8"), ("size", "<u4"), ("flags", "<u4")])

FIELDS = {
    "cn": "case number",
    "en": "evidence number",
    "nm": "description",
    "ex": "examiner",
    "nt": "notes",
    "av": "acquired with",
    "os": "acquired on",
    "tt": "acquired at",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """What a segment file's header says. number: from 1."""

    number: int
    compression: int
    set_identifier: bytes


@dataclass(frozen=True, slots=True)
class Section:
    """A section. data, size: where its data stand in the segment file; previous: the descriptor before its own, 0 for none."""

    type: int
    data: int
    size: int
    previous: int


@dataclass(frozen=True, slots=True)
class ChunkTable:
    """Where chunks stand in the segment file, from chunk `first` on; the pattern in place of an offset where one is told."""

    first: int
    offsets: NDArray[np.uint64]
    sizes: NDArray[np.uint32]
    flags: NDArray[np.uint32]


def parse_file_header(data: bytes) -> Segment:
    """The header of a segment file. Raises FormatError where this is none."""
    if len(data) < file_header.size or not data.startswith(SIGNATURE):
        raise FormatError("no EWF segment file of version 2")
    fields = file_header.fields(data)
    if fields["compression_method"] not in (_NONE, _ZLIB, _BZIP2):
        raise UnsupportedFormat(f"compression method {fields['compression_method']}", offset=10)
    if not fields["segment_number"]:
        raise FormatError("segment number 0", offset=12)
    return Segment(fields["segment_number"], fields["compression_method"], fields["set_identifier"])


def parse_section(data: bytes, offset: int) -> Section:
    """The section whose descriptor stands at `offset` of the segment file; data: the descriptor's bytes."""
    if offset < file_header.size or len(data) < section_descriptor.size:
        raise FormatError("no section descriptor fits here", offset=max(offset, 0))
    fields = section_descriptor.fields(data)
    if zlib.adler32(data[: section_descriptor.size - 4]) != fields["checksum"]:
        raise FormatError("a section descriptor has a wrong checksum", offset=offset)
    if fields["data_flags"] & ENCRYPTED or fields["type"] == ENCRYPTION_KEYS:
        raise UnsupportedFormat("encrypted; decrypt it with the program that made it, and give that disk image", offset=offset)
    start = offset - fields["data_size"]
    if start < file_header.size or fields["previous_offset"] >= offset:
        raise FormatError(
            f"a section of {fields['data_size']} bytes behind the one at {fields['previous_offset']}", offset=offset
        )
    return Section(fields["type"], start, fields["data_size"], fields["previous_offset"])


def parse_text(data: bytes, compression: int) -> dict[str, str]:
    """The values by their tags, of device information or case data."""
    try:
        if compression == _BZIP2:
            text = bz2.BZ2Decompressor().decompress(data, MAX_TEXT)
        else:
            text = zlib.decompressobj().decompress(data, MAX_TEXT) if compression == _ZLIB else data
    except (zlib.error, OSError) as error:
        raise FormatError(f"a section cannot be unpacked ({error})") from error
    lines = text.decode("utf-16", "replace").lstrip("\ufeff").split("\n")
    if len(lines) < 4 or lines[1].strip() != "main":
        raise FormatError("a section without values")
    return dict(zip(lines[2].split("\t"), lines[3].split("\t"), strict=False))


def parse_media(device: Mapping[str, str], case: Mapping[str, str], set_identifier: bytes) -> Media:
    """The acquired media, from device information and case data."""
    sectors, sector, chunks, per_chunk = (_number(values, tag) for values, tag in (
        (device, "ts"), (device, "bp"), (case, "tb"), (case, "sb"),
    ))  # fmt: skip
    if not 512 <= sector * per_chunk <= MAX_CHUNK:
        raise FormatError(f"chunks of {sector * per_chunk} bytes")
    if not (chunks - 1) * per_chunk < max(sectors, 1) <= chunks * per_chunk:
        raise FormatError(f"{sectors} sectors in {chunks} chunks of {per_chunk}")
    return Media(sector * per_chunk, chunks, sectors * sector, set_identifier)


def _number(values: Mapping[str, str], tag: str) -> int:
    text = values.get(tag, "").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise FormatError(f"the media's {tag} is {text[:40]!r}")
    return int(text)


def parse_table(data: bytes, at: int) -> ChunkTable:
    """A sector table's data, which stand at byte `at` of the segment file."""
    if len(data) < TABLE_DATA:
        raise FormatError("a sector table is too short", offset=at)
    fields = table_header.fields(data)
    end = TABLE_DATA + _ENTRY.itemsize * fields["number_of_entries"]
    if zlib.adler32(data[: table_header.size - 4]) != fields["checksum"] or end + 4 > len(data):
        raise FormatError("a sector table's header is damaged", offset=at)
    entries = data[TABLE_DATA:end]
    if zlib.adler32(entries) != struct.unpack_from("<I", data, end)[0]:
        raise FormatError("a sector table has a wrong checksum", offset=at)
    table = np.frombuffer(entries, _ENTRY)
    return ChunkTable(fields["first_chunk"], table["offset"].copy(), table["size"].copy(), table["flags"].copy())


def parse_hash(kind: int, data: bytes) -> str | None:
    """The media's MD5 or SHA-1 in hex, as it was stored at acquisition; None where it is damaged."""
    size = 16 if kind == MD5 else 20
    if len(data) < size + 4 or zlib.adler32(data[:size]) != struct.unpack_from("<I", data, size)[0]:
        return None
    return data[:size].hex()


def unpack_chunk(stored: bytes, flags: int, compression: int, size: int) -> bytes:
    """A chunk's `size` bytes, verified by the checksum that it has. Of a pattern, `stored` is the 8 bytes that repeat."""
    if flags & COMPRESSED and flags & PATTERN:
        return (stored * -(-size // 8))[:size]
    if not flags & COMPRESSED:
        if flags & CHECKSUMMED:
            return parse_chunk(stored, False, size)
        if len(stored) < size:
            raise FormatError("a chunk is cut short")
        return stored[:size]
    if compression != _BZIP2:
        return parse_chunk(stored, True, size)
    unpacking = bz2.BZ2Decompressor()
    try:
        chunk = unpacking.decompress(stored, size + 1)
    except OSError as error:
        raise FormatError(f"a chunk cannot be unpacked ({error})") from error
    if len(chunk) != size or not unpacking.eof:
        raise FormatError("a chunk's stream is cut short or too long")
    return chunk
