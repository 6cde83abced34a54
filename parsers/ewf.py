"""The Expert Witness Compression Format, version 1: .E01 and .s01 segment files.

A segment file is a chain of sections. The media's chunks stand in `sectors` (in the oldest files in the table's own section),
each one raw with its Adler-32 behind it or as a zlib stream, and `table` says where each begins; `table2` is a copy of it.

Source: libewf, documentation/Expert Witness Compression Format (EWF).asciidoc (2024); held against files of ewfacquire.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from construct import Bytes, Int8ul, Int16ul, Int32ul, Int64ul, Padding, Struct
from numpy.typing import NDArray

from parsers.errors import FormatError
from parsers.layout import Layout

SIGNATURE = b"EVF\x09\x0d\x0a\xff\x00"
COMPRESSED = 0x80000000
MAX_CHUNK = 64 << 20
MAX_TEXT = 1 << 20

file_header = Layout(Struct("signature" / Bytes(8), "fields_start" / Int8ul, "segment_number" / Int16ul, "fields_end" / Int16ul))
section_descriptor = Layout(
    Struct("type" / Bytes(16), "next_offset" / Int64ul, "size" / Int64ul, Padding(40), "checksum" / Int32ul)
)
volume_section = Layout(
    Struct(
        "media_type" / Int8ul,
        Padding(3),
        "number_of_chunks" / Int32ul,
        "sectors_per_chunk" / Int32ul,
        "bytes_per_sector" / Int32ul,
        "number_of_sectors" / Int64ul,
        Padding(40),
        "set_identifier" / Bytes(16),
    )
)
volume_section_smart = Layout(
    Struct(
        Padding(4),
        "number_of_chunks" / Int32ul,
        "sectors_per_chunk" / Int32ul,
        "bytes_per_sector" / Int32ul,
        "number_of_sectors" / Int32ul,
    )
)
table_header = Layout(
    Struct("number_of_entries" / Int32ul, Padding(4), "base_offset" / Int64ul, Padding(4), "checksum" / Int32ul)
)
SMART_SIZE = 94

HEADER_FIELDS = {
    "c": "case number",
    "n": "evidence number",
    "a": "description",
    "e": "examiner",
    "t": "notes",
    "av": "acquired with",
    "ov": "acquired on",
    "m": "acquired at",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A section. data: where its data begin in the segment file; size: of the data, in bytes."""

    type: str
    data: int
    size: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class Media:
    """The acquired media. chunk_size, size: in bytes. set_identifier: the same in all segment files, where the format has one."""

    chunk_size: int
    chunks: int
    size: int
    set_identifier: bytes


@dataclass(frozen=True, slots=True)
class ChunkTable:
    """Where chunks begin in the segment file, and whether each is a zlib stream."""

    offsets: NDArray[np.int64]
    compressed: NDArray[np.bool_]


def parse_file_header(data: bytes) -> int:
    """The segment's number, from 1. Raises FormatError where this is no segment file."""
    if len(data) < file_header.size or not data.startswith(SIGNATURE):
        raise FormatError("no EWF segment file")
    number: int = file_header.fields(data)["segment_number"]
    if number == 0:
        raise FormatError("segment number 0", offset=9)
    return number


def parse_section(data: bytes, offset: int) -> Section:
    """The section whose descriptor stands at `offset` of the segment file; data: the descriptor's bytes."""
    if len(data) < section_descriptor.size:
        raise FormatError("the file ends within a section descriptor", offset=offset)
    fields = section_descriptor.fields(data)
    if zlib.adler32(data[: section_descriptor.size - 4]) != fields["checksum"]:
        raise FormatError("a section descriptor has a wrong checksum", offset=offset)
    name = fields["type"].rstrip(b"\0").decode("ascii", "backslashreplace")
    size = max(fields["size"] - section_descriptor.size, 0)
    return Section(name, offset + section_descriptor.size, size, fields["next_offset"])


def parse_media(data: bytes) -> Media:
    """The `volume`, `disk` or `data` section: of EnCase's form, or of the shorter one of SMART."""
    if len(data) < SMART_SIZE:
        raise FormatError(f"{len(data)} bytes are too few for the media's description")
    if zlib.adler32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise FormatError("the media's description has a wrong checksum")
    smart = len(data) == SMART_SIZE
    fields = (volume_section_smart if smart else volume_section).fields(data)
    chunk_size = fields["sectors_per_chunk"] * fields["bytes_per_sector"]
    if not 512 <= chunk_size <= MAX_CHUNK:
        raise FormatError(f"chunks of {chunk_size} bytes")
    size = fields["number_of_sectors"] * fields["bytes_per_sector"]
    chunks = fields["number_of_chunks"]
    if not chunks * chunk_size - chunk_size < max(size, 1) <= chunks * chunk_size:
        raise FormatError(f"{size} bytes in {chunks} chunks of {chunk_size}")
    return Media(chunk_size, chunks, size, b"" if smart else fields["set_identifier"])


def parse_table(data: bytes, at: int, *, strict: bool = True) -> ChunkTable:
    """A `table` or `table2` section whose data stand at byte `at` of the segment file: offsets are made absolute.

    strict: entries with a wrong checksum or order are refused; SMART writes no checksum, but chunks in its place. Where a file is
    longer than 2 GiB, EnCase 6.7 lets offsets run into the bit that else says `compressed`; chunks behind that point are raw.
    """
    if len(data) < table_header.size:
        raise FormatError("a chunk table is too short")
    fields = table_header.fields(data)
    if zlib.adler32(data[: table_header.size - 4]) != fields["checksum"]:
        raise FormatError("a chunk table's header has a wrong checksum")
    count, end = fields["number_of_entries"], table_header.size + 4 * fields["number_of_entries"]
    if end > len(data):
        raise FormatError(f"a chunk table of {count} entries in {len(data)} bytes")
    entries = data[table_header.size : end]
    raw = np.frombuffer(entries, "<u4").astype(np.int64)
    chunks_follow = count > 0 and int(raw[0]) & (COMPRESSED - 1) == at + end - fields["base_offset"]
    checked = strict and not chunks_follow and len(data) >= end + 4
    if checked and zlib.adler32(entries) != struct.unpack_from("<I", data, end)[0]:
        raise FormatError("a chunk table has a wrong checksum")
    offsets, compressed = raw & (COMPRESSED - 1), raw >= COMPRESSED
    falls = np.flatnonzero(np.diff(offsets) < 0)
    beyond = int(falls[0]) + 1 if falls.size else 0
    if beyond and 0 <= raw[beyond] - offsets[beyond - 1] <= 2 * MAX_CHUNK:  # else an entry is damaged
        offsets[beyond:], compressed[beyond:] = raw[beyond:], False
    if strict and (np.diff(offsets) < 0).any():
        raise FormatError("a chunk table's offsets are in no order")
    return ChunkTable(offsets + fields["base_offset"], compressed)


def parse_chunk(stored: bytes | memoryview, compressed: bool, size: int) -> bytes:
    """A chunk's `size` bytes, its checksum verified."""
    if compressed:
        try:
            unpacking = zlib.decompressobj()
            chunk = unpacking.decompress(stored, size + 1)  # one more, so that zlib goes on to compare the stream's Adler-32
        except zlib.error as error:
            raise FormatError(f"a chunk cannot be unpacked ({error})") from error
        if len(chunk) != size or not unpacking.eof:
            raise FormatError("a chunk's stream is cut short or too long")
        return chunk
    chunk, checksum = bytes(stored[:size]), stored[size : size + 4]
    if len(checksum) < 4 or zlib.adler32(chunk) != struct.unpack("<I", checksum)[0]:
        raise FormatError("a chunk has a wrong checksum")
    return chunk


def parse_hashes(section: str, data: bytes) -> dict[str, str]:
    """The media's hashes as they were stored at acquisition, from a `hash` or a `digest` section."""
    hashes = {"md5": data[:16]} if len(data) >= 16 else {}
    if section == "digest" and len(data) >= 36:
        hashes["sha1"] = data[16:36]
    return {name: value.hex() for name, value in hashes.items() if any(value)}


def parse_header(section: str, data: bytes) -> dict[str, str]:
    """What the examiner noted, by plain names, from a `header` or a `header2` section."""
    try:
        text = zlib.decompressobj().decompress(data, MAX_TEXT)
    except zlib.error as error:
        raise FormatError(f"a header section cannot be unpacked ({error})") from error
    lines = text.decode("utf-16" if section == "header2" else "utf-8", "replace").lstrip("\ufeff").splitlines()
    if len(lines) < 4 or lines[1].strip() != "main":
        return {}
    values = dict(zip(lines[2].split("\t"), lines[3].split("\t"), strict=False))
    return {plain: values[key].strip() for key, plain in HEADER_FIELDS.items() if values.get(key, "").strip()}
