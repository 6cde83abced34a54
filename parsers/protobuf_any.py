"""google.protobuf.Any, in which containerd keeps specs, runtime options and extensions, and protobuf's wire format below it.

Sources: protobuf's encoding (wire types 0, 1, 2 and 5), google/protobuf/any.proto (1 type_url, 2 value), containerd's typeurl
v2.1: Go structs registered under a URL are JSON in `value`, protobuf messages are protobuf.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from parsers.errors import FormatError

MAX_VARINT = 10  # bytes of a 64-bit number
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}


@dataclass(frozen=True, slots=True)
class ProtobufAny:
    """A message with the name of its type."""

    type_url: str
    value: bytes


def parse_any(data: bytes) -> ProtobufAny:
    """Raises FormatError where the bytes are no Any with a type_url. Unknown fields are passed over, the last of each counts."""
    type_url, value = None, b""
    for number, content in parse_message(data):
        if number == 1 and isinstance(content, bytes):
            type_url = content
        elif number == 2 and isinstance(content, bytes):
            value = content
    if not type_url:
        raise FormatError("a google.protobuf.Any without type_url", offset=0)
    return ProtobufAny(type_url.decode("utf-8", "replace"), value)


def parse_message(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in order, by number. Raises FormatError where the bytes are no protobuf."""
    at = 0
    while at < len(data):
        start = at
        tag, at = parse_uvarint(data, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise FormatError("protobuf field number 0", offset=start)
        if kind == VARINT:
            content, at = parse_uvarint(data, at)
            yield number, content
            continue
        if kind == BYTES:
            size, at = parse_uvarint(data, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise FormatError(f"protobuf wire type {kind}", offset=start)
        if size > len(data) - at:
            raise FormatError(f"a protobuf field of {size} bytes where {len(data) - at} are left", offset=start)
        yield number, data[at : at + size]
        at += size


def parse_uvarint(data: bytes, at: int = 0) -> tuple[int, int]:
    """An unsigned number and where it ends; seven bits a byte, the lowest first. Raises FormatError."""
    value = 0
    for i, byte in enumerate(data[at : at + MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if value >> 64:
                break
            return value, at + i + 1
    raise FormatError("no varint of 64 bits", offset=at)


def parse_varint(data: bytes, at: int = 0) -> tuple[int, int]:
    """As parse_uvarint, of a signed number in zig-zag form, as Go's encoding/binary.PutVarint writes it."""
    value, end = parse_uvarint(data, at)
    return (value >> 1) ^ -(value & 1), end
