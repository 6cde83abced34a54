"""Times as an analyst writes them on a command line."""

from __future__ import annotations

import re
from datetime import date

from parsers.errors import UsageError

SECOND = 1_000_000_000
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?\s*(?:[Zz]|([+-])(\d\d):?(\d\d))?", re.ASCII
)
_EPOCH = re.compile(r"@?(-?)(\d{1,11})(?:\.(\d{1,9}))?", re.ASCII)
_DAY_0 = date(1970, 1, 1).toordinal()


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 UTC of an ISO 8601 date or time (UTC where it names no zone) or of seconds since 1970.

    Raises UsageError; there is no `2h ago`, for evidence has no now.
    """
    if found := _EPOCH.fullmatch(text):
        ns = int(found[2]) * SECOND + int((found[3] or "").ljust(9, "0"))
        return -ns if found[1] else ns
    found = _ISO.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} is no time; write 2026-11-21, 2026-11-21T01:48:58Z, 2026-11-21T01:48:58.5+01:00 or 1795225738"
        )
    hour, minute, second = (int(part or 0) for part in found.group(4, 5, 6))
    offset_hours, offset_minutes = int(found[9] or 0), int(found[10] or 0)
    try:
        days = date(int(found[1]), int(found[2]), int(found[3])).toordinal() - _DAY_0
    except ValueError as error:
        raise UsageError(f"{text!r} is no time: {error}") from error
    if hour > 23 or minute > 59 or second > 59 or offset_hours > 23 or offset_minutes > 59:
        raise UsageError(f"{text!r} is no time: there is no such time of day")
    offset = (offset_hours * 60 + offset_minutes) * (-60 if found[8] == "-" else 60)
    seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset
    return seconds * SECOND + int((found[7] or "").ljust(9, "0"))
