"""Go's time.Time as text (RFC 3339 with 0 to 9 digits of fraction) and as bytes (Time.MarshalBinary).

Source: Go 1.22, src/time/format_rfc3339.go and src/time/time.go (appendBinary, UnmarshalBinary). Go's zero time, year 1, stands
for `never` and is None here.
"""

from __future__ import annotations

import re
from datetime import date

from construct import Int8sb, Int8ub, Int16sb, Int32sb, Int64sb, Struct

from parsers.errors import FormatError
from parsers.layout import Layout

SECOND = 1_000_000_000
YEAR_ONE = -62_135_596_800  # seconds from 1970 to 0001-01-01T00:00:00Z, where Go begins to count

BINARY = Struct("version" / Int8ub, "sec" / Int64sb, "nsec" / Int32sb, "offset_minutes" / Int16sb)
BINARY_V2 = Struct("v1" / BINARY, "offset_seconds" / Int8sb)
_LAYOUT = Layout(BINARY)
_SIZES = {1: BINARY.sizeof(), 2: BINARY_V2.sizeof()}

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_EPOCH = date(1970, 1, 1).toordinal()


def parse_rfc3339(text: str) -> int | None:
    """Nanoseconds since 1970 UTC; digits beyond the ninth are cut, as Go does. Raises FormatError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise FormatError(f"{text[:40]!r} is no RFC 3339 time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError as error:
        raise FormatError(f"{text[:40]!r} is no RFC 3339 time: {error}") from error
    sign, offset_hours, offset_minutes = match[8], int(match[9] or 0), int(match[10] or 0)
    if hour > 23 or minute > 59 or second > 59 or offset_hours > 23 or offset_minutes > 59:
        raise FormatError(f"{text[:40]!r} is no RFC 3339 time: out of range")
    offset = (offset_hours * 60 + offset_minutes) * (-60 if sign == "-" else 60)
    return _instant(days * 86_400 + hour * 3_600 + minute * 60 + second - offset, int((match[7] or "")[:9].ljust(9, "0")))


def parse_binary(data: bytes) -> int | None:
    """Nanoseconds since 1970 UTC; the zone is dropped, for the seconds are UTC already. Raises FormatError."""
    if not data or _SIZES.get(data[0]) != len(data):
        raise FormatError(f"{data[:16].hex()} is no Go time of {_SIZES[1]} or {_SIZES[2]} bytes")
    _, sec, nsec, _ = _LAYOUT.unpack(data)
    if not 0 <= nsec < SECOND:
        raise FormatError(f"a Go time with {nsec} nanoseconds")
    return _instant(YEAR_ONE + sec, nsec)


def _instant(seconds: int, nanoseconds: int) -> int | None:
    return None if (seconds, nanoseconds) == (YEAR_ONE, 0) else seconds * SECOND + nanoseconds
