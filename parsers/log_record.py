"""What the log formats have in common: the record, lines cut out of pieces of a file, and what was damaged in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

SECOND = 1_000_000_000
MAX_LINE = 4 << 20  # bytes of a record; engines write 16 KiB at a time, and an escape takes six bytes for one
_EPOCH = datetime(1970, 1, 1)
_ZONE = re.compile(rb"([+-])(\d\d):?(\d\d)")


class LogRecord(NamedTuple):
    """One record of a log; a NamedTuple, for there are millions.

    position: of its first byte in the (unpacked) file. raw: the text's bytes where they are no UTF-8. ended: False where the line
    goes on in the stream's next record.
    """

    position: int
    time_ns: int | None
    stream: str | None
    text: str
    raw: bytes | None
    ended: bool


@dataclass
class Damage:
    """What could not be read in one file: how often, and what and where it was at first."""

    times: int = 0
    what: str = ""
    position: int = 0

    def at(self, position: int, what: str) -> None:
        """One more thing that is wrong."""
        if not self.times:
            self.what, self.position = what, position
        self.times += 1


Piece = tuple[int, bytes]
"""Some bytes of a file and their position; pieces come in order, and where one is missing the file could not be read."""


def split_lines(pieces: Iterable[Piece], damage: Damage) -> Iterator[Piece]:
    """Lines without their line breaks, each with its position; one that is too long or has a hole in it is damage."""
    at, rest, skipping = 0, b"", False
    for start, piece in pieces:
        if start != at + len(rest):
            if rest:
                damage.at(at, "a line that cannot be read to its end")
            at, rest, skipping = start, b"", start > 0
        lines = (rest + piece).split(b"\n")
        rest = lines.pop()
        for line in lines:
            if not skipping:
                yield at, line
            skipping = False
            at += len(line) + 1
        if len(rest) > MAX_LINE:
            if not skipping:
                damage.at(at, f"a line of more than {MAX_LINE} bytes")
            at, rest, skipping = at + len(rest), b"", True
    if rest and not skipping:
        yield at, rest


def as_text(raw: bytes) -> tuple[str, bytes | None]:
    r"""UTF-8, each byte that is not as \xNN; and the bytes themselves where there are such."""
    try:
        return raw.decode("utf-8"), None
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace"), raw


def instant(second: bytes, fraction: bytes | None, zone: bytes) -> int | None:
    """Nanoseconds since 1970 of the parts of an RFC 3339 time: `2026-11-21T01:48:59`, up to nine digits, `Z` or `+01:00`.

    None for Go's zero time and for what is none.
    """
    whole = _seconds(second, zone)
    if whole is None:
        return None
    return whole + int(fraction.ljust(9, b"0")) if fraction else whole


@lru_cache(maxsize=1024)
def _seconds(second: bytes, zone: bytes) -> int | None:
    try:
        moment = datetime.fromisoformat(second.decode("ascii"))
        if zone != b"Z":
            found = _ZONE.fullmatch(zone)
            if found is None:
                return None
            ahead = timedelta(hours=int(found[2]), minutes=int(found[3]))
            moment += ahead if found[1] == b"-" else -ahead
    except (ValueError, OverflowError):
        return None
    since = moment - _EPOCH
    return None if moment == datetime.min else (since.days * 86_400 + since.seconds) * SECOND
