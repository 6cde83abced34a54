"""Lines of logs as the case file has them: joined of the parts that engines write long lines in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from parsers.log_record import LogRecord

MAX_TEXT = 1 << 20  # characters of a joined line; what is longer becomes several
MAX_OPEN = 8 << 20  # characters of all lines that are being joined


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log's file, or what one file holds of one container. number: of its own; lines name it.

    path: None where only blocks of it are left. container: its number in the case. container_id, container_name: what the log
    says where no record of the case has them. confidence: how sure the times of its lines are; of what was recovered, also that
    they were in this file. how: it was found.
    """

    number: int
    format: str
    partition: int
    path: bytes | None
    inode: int | None
    offset: int | None
    container: int | None = None
    container_id: str | None = None
    container_name: str | None = None
    confidence: str = "certain"
    origin: str = "allocated"
    how: str = "allocated"


class LogLine(NamedTuple):
    """A line of a log; a NamedTuple, for there are millions. file: the number of its LogFile; container: in the case.

    source: the program, where others log to the same file. position: of its first byte in the file, unpacked where it is packed.
    pieces: a JSON array of [file, position, time_ns, bytes] of the parts that it was written in, None where it was one.
    unfinished: whether it has no line break.
    """

    file: int
    container: int | None
    time_ns: int | None
    stream: str | None
    source: str | None
    text: str
    text_raw: bytes | None
    position: int
    pieces: str | None
    unfinished: int


class Joiner:
    """Joins the records of one log, whose files are given one after another, the oldest first."""

    def __init__(self, container: int | None) -> None:
        self._container = container
        self._open: dict[str | None, list[tuple[int, LogRecord]]] = {}
        self._size = 0

    def lines(self, file: int, records: Iterable[LogRecord]) -> Iterator[LogLine]:
        """The lines that end in this file."""
        container, unfinished = self._container, self._open
        for record in records:
            position, time_ns, stream, text, raw, ended = record
            if ended and not unfinished:
                yield LogLine(file, container, time_ns, stream, None, text, raw, position, None, 0)
                continue
            parts = unfinished.setdefault(stream, [])
            parts.append((file, record))
            self._size += len(text)
            if ended or sum(len(part.text) for _, part in parts) > MAX_TEXT:
                yield self._line(stream)
            elif self._size > MAX_OPEN:
                yield from self.rest()

    def rest(self) -> Iterator[LogLine]:
        """What has not ended."""
        for stream in list(self._open):
            yield self._line(stream)

    def _line(self, stream: str | None) -> LogLine:
        parts = self._open.pop(stream)
        records = [record for _, record in parts]
        self._size -= sum(len(record.text) for record in records)
        told = [record.raw if record.raw is not None else record.text.encode() for record in records]
        raw = b"".join(told) if any(record.raw is not None for record in records) else None
        pieces = [(file, record.position, record.time_ns, len(data)) for (file, record), data in zip(parts, told, strict=True)]
        (file, first) = parts[0]
        return LogLine(
            file, self._container, first.time_ns, stream, None, "".join(record.text for record in records), raw, first.position,
            json.dumps(pieces) if len(pieces) > 1 else None, int(not records[-1].ended),
        )  # fmt: skip
