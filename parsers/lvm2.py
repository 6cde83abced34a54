"""LVM2 on the disk: a physical volume's label and the header of its metadata area. The text itself is lvm2_text's.

Source: LVM2 2.03, lib/format_text/layout.h (struct pv_header, mda_header, raw_locn), lib/label/label.h (struct label_header),
lib/misc/crc.c (calc_crc).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from construct import Bytes, ConstructError, Int32ul, Int64ul, Struct

from parsers.errors import FormatError

SECTOR = 512
LABEL_SECTORS = 4
INITIAL_CRC = 0xF597A6CF
MDA_MAGIC = b" LVM2 x[5A%r0N*>"
MDA_HEADER_SIZE = 512
MAX_TEXT = 16 << 20
MAX_AREAS = 16
RAW_LOCN_IGNORED = 1

label_header = Struct(
    "id" / Bytes(8),
    "sector_xl" / Int64ul,
    "crc_xl" / Int32ul,
    "offset_xl" / Int32ul,
    "type" / Bytes(8),
)
disk_locn = Struct("offset" / Int64ul, "size" / Int64ul)
raw_locn = Struct("offset" / Int64ul, "size" / Int64ul, "checksum" / Int32ul, "flags" / Int32ul)
mda_header = Struct(
    "checksum_xl" / Int32ul,
    "magic" / Bytes(16),
    "version" / Int32ul,
    "start" / Int64ul,
    "size" / Int64ul,
    "raw_locns" / raw_locn[4],
)


def calc_crc(data: bytes) -> int:
    """LVM2's CRC-32: the usual polynomial from INITIAL_CRC, without the final inversion."""
    return zlib.crc32(data, INITIAL_CRC ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Area:
    """Bytes `offset` to `offset + size` of a physical volume; a size of 0 means to its end."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Label:
    """A physical volume's label: its id without dashes, its size in bytes, and its data and metadata areas."""

    pv_uuid: str
    device_size: int
    data_areas: tuple[Area, ...]
    metadata_areas: tuple[Area, ...]


@dataclass(frozen=True, slots=True)
class MetadataHeader:
    """A metadata area's header: where in the physical volume the area is, and the text in force, None where there is none.

    ignored: there is none because other physical volumes of the group keep it.
    """

    start: int
    size: int
    text: Area | None
    text_crc: int
    ignored: bool = False


def read_label(head: bytes) -> Label | None:
    """The label in the first four sectors of a device, None where there is none. FormatError where it is damaged."""
    for sector in range(LABEL_SECTORS):
        start = sector * SECTOR
        raw = head[start : start + SECTOR]
        if raw[:8] == b"LABELONE" and raw[24:32] == b"LVM2 001":
            return _parse_label(raw, start)
    return None


def _parse_label(raw: bytes, start: int) -> Label:
    if len(raw) < SECTOR:
        raise FormatError("the LVM2 label is cut off", offset=start)
    header = label_header.parse(raw)
    if calc_crc(raw[20:]) != header.crc_xl:
        raise FormatError("the LVM2 label's checksum is wrong", offset=start + 16)
    position = header.offset_xl
    if not label_header.sizeof() <= position <= SECTOR - 40:
        raise FormatError(f"the LVM2 label puts its header at {position}", offset=start + 20)
    pv_uuid = raw[position : position + 32].decode("ascii", "replace")
    device_size = int.from_bytes(raw[position + 32 : position + 40], "little")
    position += 40
    lists: list[tuple[Area, ...]] = []
    for _ in range(2):
        areas: list[Area] = []
        while True:
            if position + disk_locn.sizeof() > SECTOR or len(areas) > MAX_AREAS:
                raise FormatError("the LVM2 label's list of areas has no end", offset=start + position)
            area = disk_locn.parse(raw[position:])
            position += disk_locn.sizeof()
            if area.offset == 0:
                break
            areas.append(Area(area.offset, area.size))
        lists.append(tuple(areas))
    return Label(pv_uuid, device_size, lists[0], lists[1])


def read_metadata_header(raw: bytes) -> MetadataHeader:
    """The 512 bytes at the start of a metadata area."""
    try:
        header = mda_header.parse(raw)
    except ConstructError as error:
        raise FormatError("the LVM2 metadata area's header is cut off") from error
    if header.magic != MDA_MAGIC:
        raise FormatError("no LVM2 metadata area", offset=4)
    if len(raw) < MDA_HEADER_SIZE or calc_crc(raw[4:MDA_HEADER_SIZE]) != header.checksum_xl:
        raise FormatError("the LVM2 metadata area's checksum is wrong", offset=0)
    locn = header.raw_locns[0]
    if locn.offset == 0 or locn.flags & RAW_LOCN_IGNORED:
        return MetadataHeader(header.start, header.size, None, 0, bool(locn.flags & RAW_LOCN_IGNORED))
    if not MDA_HEADER_SIZE <= locn.offset < header.size or locn.size > min(MAX_TEXT, header.size - MDA_HEADER_SIZE):
        raise FormatError(f"the LVM2 metadata text is said to be {locn.size} bytes at {locn.offset}", offset=40)
    return MetadataHeader(header.start, header.size, Area(locn.offset, locn.size), locn.checksum)


def text_ranges(header: MetadataHeader) -> tuple[Area, ...]:
    """Where the text stands in its physical volume: one run of bytes, or two where it wraps around the area's end."""
    if header.text is None:
        return ()
    start, size = header.text.offset, header.text.size
    before_wrap = min(size, header.size - start)
    first = Area(header.start + start, before_wrap)
    if before_wrap == size:
        return (first,)
    return (first, Area(header.start + MDA_HEADER_SIZE, size - before_wrap))


def check_text(header: MetadataHeader, text: bytes) -> None:
    """FormatError unless `text` is whole and has the checksum that the header gives."""
    if header.text is None or len(text) != header.text.size or calc_crc(text) != header.text_crc:
        raise FormatError("the LVM2 metadata text's checksum is wrong", offset=header.text.offset if header.text else None)
