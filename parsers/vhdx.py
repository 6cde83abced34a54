"""What of a VHDX file tells whether it was closed: its two headers.

Source: Microsoft, [MS-VHDX] 20231102, 2.2.2 Headers; little-endian.
"""

from __future__ import annotations

from construct import Bytes, Int32ul, Int64ul, Struct

from parsers.layout import Layout

SIGNATURE = b"vhdxfile"
HEADERS_SIZE = 192 << 10
_PLACES = (64 << 10, 128 << 10)

header = Layout(
    Struct(
        "Signature" / Bytes(4),
        "Checksum" / Int32ul,
        "SequenceNumber" / Int64ul,
        "FileWriteGuid" / Bytes(16),
        "DataWriteGuid" / Bytes(16),
        "LogGuid" / Bytes(16),
    )
)


def has_log(data: bytes) -> bool:
    """Whether the header in force names a log that has yet to be replayed; data: the file's first HEADERS_SIZE bytes."""
    found = [header.fields(data, place) for place in _PLACES if data[place : place + 4] == b"head"]
    newest = max(found, key=lambda fields: fields["SequenceNumber"], default=None)
    return newest is not None and any(newest["LogGuid"])
