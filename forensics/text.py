"""Bytes of the evidence as text for people, and back."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta

_EPOCH = datetime(1970, 1, 1)  # in UTC, like everything here
# control characters, separators of lines, what has no width, direction marks, tags, surrogates
_UNSEEN = (
    r"\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff"
)
_CONTROL = re.compile(rf"[\x00-\x1f{_UNSEEN}]")
_IN_JSON = re.compile(rf"[{_UNSEEN}]")


def readable(raw: bytes) -> str:
    r"""UTF-8 where it is UTF-8; each byte that is not stands as \xNN."""
    return raw.decode("utf-8", "backslashreplace")


def raw_if_unequal(raw: bytes, text: str) -> bytes | None:
    """The raw bytes where the text does not give them back, else None."""
    return None if text.encode("utf-8", "surrogatepass") == raw else raw


def harmless(text: str) -> str:
    """Text for people: control characters, escape codes, direction marks and what has no width are shown, not obeyed."""
    return _CONTROL.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


def json_harmless(text: str) -> str:
    """JSON text that means the same, in which such characters are escapes."""
    return _IN_JSON.sub(lambda m: json.dumps(m[0])[1:-1], text)


def counted(count: int, thing: str, things: str | None = None) -> str:
    """So many things, with thousands apart; things: the plural where it is not `thing` with an s."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def utc(ns: int) -> str:
    """Nanoseconds since 1970 as ISO 8601 in UTC with all nine digits; `@SECONDS.NANOSECONDS` beyond the years 1 to 9999."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return f"@{seconds}.{fraction:09d}"
    return f"{moment.isoformat()}.{fraction:09d}Z"
