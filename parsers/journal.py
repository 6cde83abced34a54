"""systemd's journal files: their objects in the order in which they were appended, and the entries among them.

A file is written by appending objects, each 8-byte aligned, so reading them one after another finds every entry, also in a file
that was never closed, was cut off, or was set aside as damaged (`.journal~`); hash tables and entry arrays only make searching
fast. An entry names its fields' data objects, which stand before it.

Source: systemd 252 to 257, src/libsystemd/sd-journal/journal-def.h, docs/JOURNAL_FILE_FORMAT.md; lz4_Block_format.md of LZ4 1.9.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import zstandard
from construct import Bytes, Int8ul, Int32ul, Int64ul, Padding, Struct

from parsers.errors import FormatError, UnsupportedFormat
from parsers.layout import Layout
from parsers.log_record import Damage

SIGNATURE = b"LPKSHHRH"
DATA, ENTRY = 1, 3
_LAST_TYPE = 7
_XZ, _LZ4, _ZSTD = 1, 2, 4
_COMPACT = 16
_KNOWN = 31
MAX_OBJECT = 768 << 20
MAX_FIELD = 16 << 20
"""Bytes of a field that are unpacked; what is longer is cut."""
MAX_ITEMS = 4096
MAX_SEARCH = 16 << 20  # bytes of one file that are looked through for where the next object begins
MAX_UNPACKED = 1 << 30  # bytes that one file's fields may give
BLOCK = 1 << 16
BLOCKS = 256  # that are kept: an entry's fields stand anywhere before it

header = Layout(
    Struct(
        "signature" / Bytes(8),
        "compatible_flags" / Int32ul,
        "incompatible_flags" / Int32ul,
        "state" / Int8ul,
        Padding(7),
        "file_id" / Bytes(16),
        "machine_id" / Bytes(16),
        "tail_entry_boot_id" / Bytes(16),
        "seqnum_id" / Bytes(16),
        "header_size" / Int64ul,
        "arena_size" / Int64ul,
        Padding(32),
        "tail_object_offset" / Int64ul,
        Padding(40),
        "head_entry_realtime" / Int64ul,
    )
)
object_header = Layout(Struct("type" / Int8ul, "flags" / Int8ul, "reserved" / Bytes(6), "size" / Int64ul))
entry_object = Layout(
    Struct(
        Padding(16),
        "seqnum" / Int64ul,
        "realtime" / Int64ul,
        "monotonic" / Int64ul,
        "boot_id" / Bytes(16),
        "xor_hash" / Int64ul,
    )
)
DATA_HEAD, DATA_HEAD_COMPACT = 64, 72


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An entry. offset: in the file. fields: by name, the first value of each. wanted: for what, as flags."""

    offset: int
    realtime_ns: int
    boot_id: str
    fields: dict[bytes, bytes]
    wanted: int


@dataclass
class JournalFile:
    """A journal file. read: its bytes by offset and size; damage: what of it cannot be read."""

    read: Callable[[int, int], bytes]
    size: int
    damage: Damage
    compact: bool = False
    start: int = 0
    end: int = 0
    tail: int = 0
    _search_left: int = MAX_SEARCH
    _unpack_left: int = MAX_UNPACKED

    def __post_init__(self) -> None:
        raw = self.read(0, header.size)
        if len(raw) < header.size or not raw.startswith(SIGNATURE):
            raise FormatError("no journal file", offset=0)
        fields = header.fields(raw)
        if fields["incompatible_flags"] & ~_KNOWN:
            raise UnsupportedFormat(f"a journal with unknown features {fields['incompatible_flags']:#x}", offset=12)
        self.compact = bool(fields["incompatible_flags"] & _COMPACT)
        self.start = fields["header_size"]
        if not header.size <= self.start <= self.size or self.start % 8:
            raise FormatError(f"a header of {self.start} bytes", offset=88)
        # a file that was not closed may have grown beyond what its header says
        self.end = self.size
        self.tail = fields["tail_object_offset"]
        self._block = lru_cache(maxsize=BLOCKS)(lambda number: self.read(number * BLOCK, BLOCK))

    def entries(self, wanted: Callable[[bytes], int]) -> Iterator[JournalEntry]:
        """The entries with a field that is wanted, as they were written.

        wanted: told of `NAME=value`, of short values only; answers what it is wanted for, as flags, 0 for nothing.
        """
        marked: dict[int, int] = {}
        for offset, kind, flags, size in self._objects():
            if kind == DATA and not flags and size <= DATA_HEAD_COMPACT + 512:
                if mark := wanted(self._payload(offset, size)):
                    marked[offset] = mark
            elif kind == ENTRY:
                items = self._items(offset, size)
                if not marked.keys().isdisjoint(items):
                    flagged = 0
                    for item in items:
                        flagged |= marked.get(item, 0)
                    yield self._entry(offset, items, flagged)

    def entries_at(self, offsets: Iterable[int]) -> Iterator[JournalEntry]:
        """The entries that stand where `entries` found some."""
        for offset in offsets:
            found = self._object(offset)
            if found is not None:
                yield self._entry(offset, self._items(offset, found[2]), 0)

    def _objects(self) -> Iterator[tuple[int, int, int, int]]:
        """Offset, type, flags and size of each object."""
        at = self.start
        while at + object_header.size <= self.end:
            found = self._object(at)
            if found is None:
                if at > self.tail and not any(self._bytes(at, 4096)):
                    return  # what was allocated and not yet written
                self.damage.at(at, "no journal object stands here")
                at = self._next(at)
                continue
            yield at, *found
            at += -(-found[2] // 8) * 8

    def _object(self, at: int) -> tuple[int, int, int] | None:
        raw = self._bytes(at, object_header.size)
        if len(raw) < object_header.size:
            return None
        kind, flags, reserved, size = object_header.unpack(raw)
        fine = 0 < kind <= _LAST_TYPE and flags in (0, _XZ, _LZ4, _ZSTD) and not any(reserved)
        return (kind, flags, size) if fine and object_header.size < size <= min(MAX_OBJECT, self.end - at) else None

    def _next(self, at: int) -> int:
        """Where the next object stands behind damage: one that another one follows."""
        for place in range(at + 8, min(at + self._search_left, self.end), 8):
            self._search_left -= 8
            found = self._object(place)
            if found is not None and found[0] in (DATA, ENTRY):
                behind = place + -(-found[2] // 8) * 8
                if behind >= self.end or self._object(behind) is not None:
                    return place
        return self.end

    def _items(self, offset: int, size: int) -> list[int]:
        """The data objects that an entry names."""
        width = 4 if self.compact else 16
        count = min((size - entry_object.size) // width, MAX_ITEMS)
        raw = self._bytes(offset + entry_object.size, max(count, 0) * width)
        step = 4 if self.compact else 8
        return [int.from_bytes(raw[at : at + step], "little") for at in range(0, len(raw) - width + 1, width)]

    def _entry(self, offset: int, items: list[int], wanted: int) -> JournalEntry:
        fields = entry_object.fields(self._bytes(offset, entry_object.size))
        found: dict[bytes, bytes] = {}
        for item in dict.fromkeys(items):
            data = self._object(item) if self.start <= item < offset and item % 8 == 0 else None
            if data is None or data[0] != DATA:
                self.damage.at(offset, "an entry whose field cannot be read")
                continue
            try:
                payload = self._unpacked(self._payload(item, data[2]), data[1])
            except FormatError as error:
                self.damage.at(item, error.what)
                continue
            name, mark, value = payload.partition(b"=")
            if mark:
                found.setdefault(name, value)
        return JournalEntry(offset, fields["realtime"] * 1000, fields["boot_id"].hex(), found, wanted)

    def _payload(self, offset: int, size: int) -> bytes:
        head = DATA_HEAD_COMPACT if self.compact else DATA_HEAD
        return self._bytes(offset + head, min(size - head, MAX_FIELD)) if size > head else b""

    def _unpacked(self, payload: bytes, flags: int) -> bytes:
        if flags and self._unpack_left < 0:
            raise FormatError("its fields unpack to more than is read of one journal")
        unpacked = _unpack(payload, flags)
        self._unpack_left -= len(unpacked) if flags else 0
        return unpacked

    def _bytes(self, at: int, size: int) -> bytes:
        """Bytes of the file, by way of the blocks that were read last."""
        number, inside = divmod(at, BLOCK)
        if inside + size <= BLOCK:
            return self._block(number)[inside : inside + size]
        return self._block(number)[inside:] + self.read((number + 1) * BLOCK, size - (BLOCK - inside))


def _unpack(payload: bytes, flags: int) -> bytes:
    try:
        if flags == _XZ:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=128 << 20).decompress(payload, MAX_FIELD)
        if flags == _ZSTD:
            return zstandard.ZstdDecompressor().stream_reader(payload).read(MAX_FIELD)
    except (lzma.LZMAError, zstandard.ZstdError) as error:
        raise FormatError(f"a field that cannot be unpacked ({error})") from error
    if flags == _LZ4:
        return unpack_lz4(payload[8:], min(int.from_bytes(payload[:8], "little"), MAX_FIELD))
    return payload


def unpack_lz4(data: bytes, size: int) -> bytes:
    """An LZ4 block: sequences of literals and of matches in what was unpacked before. FormatError where it is damaged."""
    out = bytearray()
    at = 0
    while at < len(data) and len(out) < size:
        token = data[at]
        literals, at = _length(data, at + 1, token >> 4)
        if at + literals > len(data):
            raise FormatError("an LZ4 block is cut short")
        out += data[at : at + literals]
        at += literals
        if at >= len(data):
            break
        distance = int.from_bytes(data[at : at + 2], "little")
        match, at = _length(data, at + 2, token & 15)
        match += 4
        if not 0 < distance <= len(out) or match > size - len(out) + 64:
            raise FormatError("an LZ4 block refers to what is not there")
        repeated = bytes(out[len(out) - distance :])
        out += (repeated * (match // distance + 1))[:match]
    return bytes(out[:size])


def _length(data: bytes, at: int, length: int) -> tuple[int, int]:
    if length == 15:
        while at < len(data):
            more = data[at]
            at += 1
            length += more
            if more != 255:
                break
    return length, at
