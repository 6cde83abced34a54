"""VHDX: the two headers, and the log of changes to metadata that must be replayed where a file was not closed.

Source: Microsoft, [MS-VHDX] 20231102, 2.2.2 Headers, 2.3 Log; little-endian.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from construct import Bytes, Int16ul, Int32ul, Int64ul, Struct

from parsers.crc32c import crc32c
from parsers.errors import FormatError
from parsers.layout import Layout

SIGNATURE = b"vhdxfile"
HEADERS_SIZE = 192 << 10
SECTOR = 4096
"""The unit of the log, and of what it writes."""
MAX_LOG = 64 << 20
_OVERLAP = 4  # how often each byte may be looked at: true entries do not lie in each other
_PLACES = (64 << 10, 128 << 10)

header = Layout(
    Struct(
        "Signature" / Bytes(4),
        "Checksum" / Int32ul,
        "SequenceNumber" / Int64ul,
        "FileWriteGuid" / Bytes(16),
        "DataWriteGuid" / Bytes(16),
        "LogGuid" / Bytes(16),
        "LogVersion" / Int16ul,
        "Version" / Int16ul,
        "LogLength" / Int32ul,
        "LogOffset" / Int64ul,
    )
)
entry_header = Layout(
    Struct(
        "Signature" / Bytes(4),
        "Checksum" / Int32ul,
        "EntryLength" / Int32ul,
        "Tail" / Int32ul,
        "SequenceNumber" / Int64ul,
        "DescriptorCount" / Int32ul,
        "Reserved" / Int32ul,
        "LogGuid" / Bytes(16),
        "FlushedFileOffset" / Int64ul,
        "LastFileOffset" / Int64ul,
    )
)
zero_descriptor = Layout(
    Struct(
        "Signature" / Bytes(4),
        "Reserved" / Int32ul,
        "ZeroLength" / Int64ul,
        "FileOffset" / Int64ul,
        "SequenceNumber" / Int64ul,
    )
)
data_descriptor = Layout(
    Struct(
        "Signature" / Bytes(4),
        "TrailingBytes" / Bytes(4),
        "LeadingBytes" / Bytes(8),
        "FileOffset" / Int64ul,
        "SequenceNumber" / Int64ul,
    )
)
data_sector = Layout(
    Struct("Signature" / Bytes(4), "SequenceHigh" / Int32ul, "Data" / Bytes(SECTOR - 12), "SequenceLow" / Int32ul)
)


@dataclass(frozen=True, slots=True)
class Log:
    """Where the log stands in the file that a header names, and the id that its entries have."""

    guid: bytes
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Write:
    """A sector to be written at `offset` of the file, or, where `data` is None, `length` bytes of zeros."""

    offset: int
    length: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the log. tail: where in the log the oldest entry stands that is needed with it."""

    sequence: int
    length: int
    tail: int
    flushed_size: int
    writes: tuple[Write, ...]


def open_log(data: bytes) -> Log | None:
    """The log that has yet to be replayed, None where there is none; data: the file's first HEADERS_SIZE bytes."""
    found = [header.fields(data, place) for place in _PLACES if _is_header(data[place : place + SECTOR])]
    newest = max(found, key=lambda fields: fields["SequenceNumber"], default=None)
    if newest is None or not any(newest["LogGuid"]):
        return None
    length, offset = newest["LogLength"], newest["LogOffset"]
    if not 0 < length <= MAX_LOG or length % SECTOR or newest["LogVersion"]:
        raise FormatError(f"a log of {length} bytes in version {newest['LogVersion']}", offset=offset)
    return Log(newest["LogGuid"], offset, length)


def _is_header(sector: bytes) -> bool:
    checksum = int.from_bytes(sector[4:8], "little")
    return len(sector) == SECTOR and sector[:4] == b"head" and _crc(sector) == checksum


def _crc(raw: bytes) -> int:
    """The checksum of a header or an entry, its own field taken as zero."""
    return crc32c(raw[:4] + bytes(4) + raw[8:]) ^ 0xFFFFFFFF


def replayable(log: Log, data: bytes) -> tuple[Entry, ...]:
    """The entries to replay, oldest first: the newest sequence without a gap; empty where none is whole. data: all of the log."""
    entries: dict[int, Entry] = {}
    budget = _OVERLAP * log.length
    for place in range(0, len(data) - entry_header.size, SECTOR):
        fields = entry_header.fields(data, place) if data[place : place + 4] == b"loge" else None
        if fields is None or not _is_of(log, fields):
            continue
        budget -= fields["EntryLength"]
        if budget < 0:
            raise FormatError("entries that lie in each other", offset=log.offset)
        entry = _parse_entry(log, data, place, fields)
        if entry is not None:
            entries[place] = entry
    for place in sorted(entries, key=lambda each: -entries[each].sequence):
        chain = list(_chain(log, entries, place))
        if chain and chain[-1] is entries[place]:
            return tuple(chain)
    return ()


def _chain(log: Log, entries: dict[int, Entry], last: int) -> Iterator[Entry]:
    """The entries from the tail of the one at `last` up to it, as long as they follow each other."""
    place, before = entries[last].tail, None
    for _ in range(len(entries)):
        entry = entries.get(place)
        if entry is None or (before is not None and entry.sequence != before + 1):
            return
        yield entry
        if place == last:
            return
        place, before = (place + entry.length) % log.length, entry.sequence


def _is_of(log: Log, fields: Mapping[str, Any]) -> bool:
    length = fields["EntryLength"]
    fits = 0 < length <= log.length and not length % SECTOR and entry_header.size + 32 * fields["DescriptorCount"] <= length
    return fits and fields["LogGuid"] == log.guid and fields["SequenceNumber"] > 0


def _parse_entry(log: Log, data: bytes, place: int, fields: Mapping[str, Any]) -> Entry | None:
    """The entry at byte `place` of the log, which may go on at the log's start; None where it is not whole."""
    end = place + fields["EntryLength"]
    raw = data[place:end] + data[: max(end - log.length, 0)]
    if len(raw) < end - place or _crc(raw) != fields["Checksum"]:
        return None
    writes = _parse_writes(raw, fields["DescriptorCount"], fields["SequenceNumber"])
    if writes is None:
        return None
    return Entry(fields["SequenceNumber"], end - place, fields["Tail"], fields["FlushedFileOffset"], writes)


def _parse_writes(raw: bytes, count: int, sequence: int) -> tuple[Write, ...] | None:
    """What an entry writes, None where a part is of another entry."""
    writes = []
    at = -(-(entry_header.size + 32 * count) // SECTOR) * SECTOR
    for number in range(count):
        start = entry_header.size + 32 * number
        if raw[start : start + 4] == b"zero":
            zeros = zero_descriptor.fields(raw, start)
            write = Write(zeros["FileOffset"], zeros["ZeroLength"], None)
            told = zeros["SequenceNumber"]
        elif raw[start : start + 4] == b"desc" and at + SECTOR <= len(raw) and raw[at : at + 4] == b"data":
            one, stored = data_descriptor.fields(raw, start), data_sector.fields(raw, at)
            write = Write(one["FileOffset"], SECTOR, one["LeadingBytes"] + stored["Data"] + one["TrailingBytes"])
            told = one["SequenceNumber"]
            if stored["SequenceHigh"] << 32 | stored["SequenceLow"] != sequence:
                return None
            at += SECTOR
        else:
            return None
        if told != sequence or write.offset % SECTOR or write.length % SECTOR:
            return None
        writes.append(write)
    return tuple(writes)
