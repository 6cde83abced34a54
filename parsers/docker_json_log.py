r"""Docker's and nerdctl's json-file: one JSON object a line, `{"log":"text\n","stream":"stdout","attrs":{},"time":"..."}`.

Source: moby 26.1, daemon/logger/jsonfilelog/jsonlog. A line of more than 16 KiB is written in parts, of which only the last ends
in a line break; so is what a process printed last where it ended without one. Other bytes than UTF-8 were replaced when written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from parsers.log_record import Damage, LogRecord, Piece, as_text, instant, split_lines

_BEGIN = b'{"log":'
_TIME = rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)"
# What most lines are: no escape but the line break at the end. All others go through json.
_PLAIN = re.compile(rb'\{"log":"([^"\\\x00-\x1f]*)(\\n)?","stream":"(stdout|stderr)","time":"' + _TIME + rb'"\}')
_WHEN = re.compile(_TIME)
_STREAMS = {b"stdout": "stdout", b"stderr": "stderr"}


def parse_json_log(pieces: Iterable[Piece], damage: Damage) -> Iterator[LogRecord]:
    """The records of a json-file. A line that is none is damage; of one that was cut off by a crash, what follows it is read."""
    plain = _PLAIN.fullmatch
    for position, line in split_lines(pieces, damage):
        found = plain(line)
        if found is not None:
            raw, ended, stream, second, fraction, zone = found.groups()
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError:
                text = raw.decode("utf-8", "backslashreplace")
            else:
                raw = None
            yield LogRecord(position, instant(second, fraction, zone), _STREAMS[stream], text, raw, ended is not None)
        elif line:
            yield from _other(position, line, damage)


def _other(position: int, line: bytes, damage: Damage) -> Iterator[LogRecord]:
    """A line with escapes or more fields; of a damaged one, the last whole object."""
    record = _record(position, line)
    if record is None:
        damage.at(position, "no record of a json-file")
        again = line.rfind(_BEGIN, 1)
        record = _record(position + again, line[again:]) if again > 0 else None
    if record is not None:
        yield record


def _record(position: int, line: bytes) -> LogRecord | None:
    raw = None
    try:
        told = json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or not isinstance(text := told.get("log"), str):
        return None
    if ended := text.endswith("\n"):
        text = text[:-1]
    if not text.isascii():
        text, raw = _storable(text)
    stream = told.get("stream")
    return LogRecord(
        position, _time(told.get("time")), _storable(stream)[0] if isinstance(stream, str) else None, text, raw, ended
    )


def _time(text: Any) -> int | None:
    found = _WHEN.fullmatch(text.encode("utf-8", "replace")) if isinstance(text, str) else None
    return None if found is None else instant(*found.groups())


def _storable(text: str) -> tuple[str, bytes | None]:
    """The text, and its bytes where they are no UTF-8. Half of a surrogate pair, which JSON allows, is U+FFFD, as Go reads it."""
    try:
        return as_text(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), None
