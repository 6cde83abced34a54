"""logs: what containers and engines logged, as `docker logs --timestamps` prints it."""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from forensics.case.log_filter import LogFilter
from forensics.case.lookup import Case, find_container, open_case
from forensics.commands.log_place import why_no_lines
from forensics.commands.output import Destination, ForceOption, Format, FormatOption, OutputOption, open_output, say, write_rows
from forensics.commands.tables import CaseArgument, destination
from forensics.commands.times import parse_time
from forensics.text import harmless, utc
from parsers.errors import UsageError

_PRINTED = "file_number, position, time_ns, text, text_raw, pieces, unfinished, format"
_WHO = "coalesce(container, substr(container_id, 1, 12), source, format)"
_ALL = f"time_ns, {_WHO} || CASE origin WHEN 'recovered' THEN ' (recovered)' ELSE '' END, stream, text"
_STAMP_ONCE = ("cri", "k8s-file")  # crictl and podman print a line's time once, docker that of each part


class Stream(StrEnum):
    """What a process wrote to."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True, order=True)
class _Part:
    """A line, or what was written of one at a time. file, position: where, which is the order of printing."""

    file: int
    position: int
    time_ns: int | None
    data: bytes


def logs(
    case: CaseArgument,
    container: Annotated[
        str | None,
        typer.Argument(metavar="[CONTAINER]", help="Its name or the beginning of its id; default: all lines, the engines' too."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not before: an ISO 8601 date or time, UTC, or seconds since 1970.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Not after; a date alone is its midnight.")] = None,
    stream: Annotated[Stream | None, typer.Option(help="Only what was written to this one.")] = None,
    grep: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Only lines that match this regular expression (Python's) somewhere.")
    ] = None,
    timestamps: Annotated[
        bool, typer.Option(help="Print each line's time; without, the text alone, as `docker logs` does.")
    ] = True,
    recovered: Annotated[
        bool | None,
        typer.Option(
            "--recovered/--no-recovered",
            help="Lines of deleted logs, too; default: where the container is a removed one, or none is named.",
        ),
    ] = None,
    format: FormatOption = Format.TABLE,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Print what a container logged, as docker logs does.

    Byte for byte as `docker logs --timestamps`; both streams go to stdout.

    Example: ctrforensics logs disk.img.case.db web --since 2026-11-21 --grep 'POST /'
    """
    since_ns, until_ns = (None if text is None else parse_time(text) for text in (since, until))
    expression = _expression(grep)
    with open_case(case) as opened:
        if expression is not None:
            opened.db.create_function("regexp", 2, lambda _, text: expression.search(text) is not None, deterministic=True)
        own = find_container(opened, container) if container is not None else None
        number = own.number if own is not None else None
        if recovered is None:
            recovered = own is None or own.origin == "recovered"
        origin = None if recovered else "allocated"
        wanted = LogFilter(number, since_ns, until_ns, stream.value if stream else None, grep, origin)
        to = destination(opened, output, force)
        if format is not Format.TABLE:
            cursor = opened.db.execute(*wanted.select("*"))
            write_rows(cursor, [column[0] for column in cursor.description], format, to)
        elif own is not None:
            _write(_as_docker(opened.db.execute(*wanted.select(_PRINTED)), timestamps), to)
        else:
            _write(_of_all(opened, wanted, timestamps), to)
        if own is not None and (reason := why_no_lines(opened, own)) is not None:
            say(reason)


def _expression(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{pattern!r} is no regular expression: {error}") from error


def _write(parts: Iterable[bytes], to: Destination) -> None:
    """Bytes as they are; on a terminal, what would steer it is shown, not obeyed."""
    with open_output(to) as out:
        if not to.is_terminal:
            out.writelines(parts)
            return
        for part in parts:
            text = part.decode("utf-8", "backslashreplace")
            out.write("\n".join(harmless(line) for line in text.split("\n")).encode("utf-8", "backslashreplace"))


def _as_docker(rows: Iterable[tuple[Any, ...]], stamped: bool) -> Iterator[bytes]:
    """The lines as they were written; parts of a long line stand where docker prints them, between those of the other stream."""
    later: list[_Part] = []
    for file, position, time_ns, text, raw, pieces, unfinished, form in rows:
        while later and (later[0].file, later[0].position) < (file, position):
            yield _stamp(heapq.heappop(later), stamped)
        data = (raw if raw is not None else text.encode()) + (b"" if unfinished else b"\n")
        if pieces is None or form in _STAMP_ONCE:
            yield _stamp(_Part(file, position, time_ns, data), stamped)
            continue
        first, *more = _parts(data, pieces)
        yield _stamp(first, stamped)
        for part in more:
            heapq.heappush(later, part)
    while later:
        yield _stamp(heapq.heappop(later), stamped)


def _parts(data: bytes, pieces: str) -> Iterator[_Part]:
    """A line cut into the parts that it was written in."""
    at = 0
    *told, last = json.loads(pieces)
    for file, position, time_ns, size in told:
        yield _Part(file, position, time_ns, data[at : at + size])
        at += size
    file, position, time_ns, _ = last
    yield _Part(file, position, time_ns, data[at:])


def _stamp(part: _Part, stamped: bool) -> bytes:
    return part.data if not stamped or part.time_ns is None else f"{utc(part.time_ns)} ".encode() + part.data


def _of_all(case: Case, wanted: LogFilter, stamped: bool) -> Iterator[bytes]:
    """The lines of all containers and engines by time, each with who wrote it."""
    for time_ns, who, stream, text in case.db.execute(*wanted.select(_ALL)):
        stamp = (f"{utc(time_ns)} " if time_ns is not None else "- ") if stamped else ""
        place = f"{who} {stream}" if stream else who
        yield f"{stamp}{harmless(place)}: {text}\n".encode("utf-8", "backslashreplace")
