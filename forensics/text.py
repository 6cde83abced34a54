"""Bytes of the evidence as text for people, and back."""

from __future__ import annotations

import re

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
