"""Docker's `local` log: length (4 bytes, big-endian), protobuf LogEntry, the same length again.

Sources: moby 26.1, daemon/logger/local/local.go and read.go, api/types/plugins/logdriver/entry.proto: 1 source, 2 time_nano,
3 line (without line break), 4 partial, 5 partial_log_metadata (1 last, 2 id, 3 ordinal), 6 attrs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from construct import Int32ub
from construct import Struct as Declaration

from parsers.errors import FormatError
from parsers.layout import Layout
from parsers.log_record import Damage, LogRecord, Piece, as_text
from parsers.protobuf_any import parse_message

FRAME = Declaration("length" / Int32ub)
MAX_RECORD = 1_000_000  # bytes, upstream's own limit
_LENGTH = Layout(FRAME)
_EDGE = _LENGTH.size
# source, time_nano and a line of less than 16 KiB, as every message begins that is no part of a longer line
_PLAIN = re.compile(
    rb"\x0a\x06(stdout|stderr)\x10([\x80-\xff]{8}[\x00-\x7f])\x1a(?:([\x00-\x7f])|([\x80-\xff])([\x00-\x7f]))", re.DOTALL
)
_STREAMS = {b"stdout": "stdout", b"stderr": "stderr"}
# where a record can begin: a length below the limit, and a `source` that is not long
_BEGIN = re.compile(rb"\x00[\x00-\x0f][\x00-\xff]{2}\x0a[\x00-\x40]", re.DOTALL)
_INT64 = 1 << 63


@dataclass(slots=True)
class _Window:
    """The part of a file that is in memory. lost: nothing has been readable since the last record."""

    position: int = 0
    data: bytes = b""
    lost: bool = False


def parse_local_log(pieces: Iterable[Piece], damage: Damage) -> Iterator[LogRecord]:
    """The records of a `local` log. What is damaged is passed over, up to where a record begins and ends with one length."""
    window = _Window()
    for start, piece in pieces:
        if start != window.position + len(window.data):
            yield from _records(window, damage, last=True)
            window.position, window.data, window.lost = start, b"", False
        window.data += piece
        yield from _records(window, damage, last=False)
    yield from _records(window, damage, last=True)


def _records(window: _Window, damage: Damage, last: bool) -> Iterator[LogRecord]:
    """The records that are whole in the window; what is left in it then may be the beginning of one, unless it is the last."""
    data, base, at = window.data, window.position, 0
    while at < len(data):
        record, end = _framed(data, base, at)
        if record is not None:
            yield record
            at, window.lost = end, False
            continue
        if end > len(data) and not last:
            break
        if not window.lost:
            damage.at(base + at, "cut off" if end > len(data) else "no record of a local log")
            window.lost = True
        found = _BEGIN.search(data, at + 1)
        at = found.start() if found is not None else max(at + 1, len(data) if last else len(data) - _EDGE - 1)
        if found is None and not last:
            break
    window.data, window.position = data[at:], base + at


def _framed(data: bytes, base: int, at: int) -> tuple[LogRecord | None, int]:
    """The record at `at` and its end; None where there is none, with an end beyond `data` where more bytes may show one."""
    if at + _EDGE > len(data):
        return None, at + _EDGE
    (length,) = _LENGTH.unpack(data, at)
    end = at + length + 2 * _EDGE
    if not 0 < length <= MAX_RECORD:
        return None, at
    if end > len(data):
        return None, end
    if data[end - _EDGE : end] != data[at : at + _EDGE]:
        return None, at
    try:
        return _entry(base + at, data[at + _EDGE : end - _EDGE]), end
    except FormatError:
        return None, at


def _entry(position: int, message: bytes) -> LogRecord:
    found = _PLAIN.match(message)
    if found is not None:
        source, time, short, low, high = found.groups()
        size = short[0] if short is not None else low[0] & 0x7F | high[0] << 7
        if found.end() + size == len(message):
            text, raw = as_text(message[found.end() :])
            return LogRecord(position, _nanoseconds(time), _STREAMS[source], text, raw, True)
    return _any_entry(position, message)


def _nanoseconds(varint: bytes) -> int | None:
    """A varint of nine bytes."""
    value = 0
    for byte in reversed(varint):
        value = value << 7 | byte & 0x7F
    return value


def _any_entry(position: int, message: bytes) -> LogRecord:
    source: bytes = b""
    line: bytes = b""
    time_ns: int | None = None
    partial = last = False
    for number, content in parse_message(message):
        if number == 1 and isinstance(content, bytes):
            source = content
        elif number == 2 and isinstance(content, int):
            time_ns = content - (1 << 64) if content >= _INT64 else content
        elif number == 3 and isinstance(content, bytes):
            line = content
        elif number == 4 and isinstance(content, int):
            partial = bool(content)
        elif number == 5 and isinstance(content, bytes):
            last = any(field == 1 and value == 1 for field, value in parse_message(content))
    text, raw = as_text(line)
    stream = _STREAMS.get(source) or source.decode("utf-8", "backslashreplace") or None
    return LogRecord(position, time_ns, stream, text, raw, not partial or last)
