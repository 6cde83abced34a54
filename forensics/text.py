"""Bytes of the evidence as text for people, and back."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_EPOCH = datetime(1970, 1, 1)  # in UTC, like everything here
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def readable(raw: bytes) -> str:
    r"""UTF-8 where it is UTF-8; each byte that is not stands as \xNN."""
    return raw.decode("utf-8", "backslashreplace")


def raw_if_unequal(raw: bytes, text: str) -> bytes | None:
    """The raw bytes where the text does not give them back, else None."""
    return None if text.encode("utf-8", "surrogatepass") == raw else raw


def harmless(text: str) -> str:
    """Text for a terminal: control characters, escape codes and direction marks are shown, not obeyed."""
    return _CONTROL.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


def utc(ns: int) -> str:
    """Nanoseconds since 1970 as ISO 8601 in UTC with all nine digits; `@SECONDS.NANOSECONDS` beyond the years 1 to 9999."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return f"@{seconds}.{fraction:09d}"
    return f"{moment.isoformat()}.{fraction:09d}Z"
