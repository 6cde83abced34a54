"""timeline: what happened when, from every source, for people and for the tools of the trade."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import groupby
from typing import Annotated, Any

import typer

from forensics.case.lookup import Case, find_container, open_case
from forensics.case.timeline_filter import EventFilter
from forensics.commands.output import ForceOption, Format, OutputOption, open_output, write_lines, write_rows
from forensics.commands.tables import CaseArgument, destination
from forensics.commands.times import parse_time
from parsers.errors import UsageError
from reports.bodyfile import COLUMNS as FILE_COLUMNS
from reports.bodyfile import FileRow, bodyfile_lines
from reports.event_row import COLUMNS as EVENT_COLUMNS
from reports.event_row import EventRow
from reports.l2tcsv import HEADER, l2tcsv_rows
from reports.timesketch import timesketch_lines

_FILE_RANKS = range(1, 5)
_WHOLE = (
    "time_ns, time, event, source, container_id, container, path, message, confidence, partition, offset, path_raw,"
    " container_number"
)

_FOR_TIMESKETCH = ", time AS datetime, event AS timestamp_desc"  # what its importer demands of a CSV, beside `message`


class TimelineFormat(StrEnum):
    """How a timeline is written: for people, exactly, or as another tool reads it."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    TIMESKETCH = "timesketch"
    BODYFILE = "bodyfile"
    L2TCSV = "l2tcsv"


def timeline(
    case: CaseArgument,
    container: Annotated[
        str | None, typer.Option("--container", "-c", help="Only this container's: its name or the beginning of its id.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not before: an ISO 8601 date or time, UTC, or seconds since 1970.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Not after; a date alone is its midnight.")] = None,
    event: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Only such events: 'file deleted*'. May be given several times.")
    ] = None,
    path: Annotated[str | None, typer.Option(metavar="GLOB", help="Only at such paths: '/tmp/*'.")] = None,
    format: Annotated[
        TimelineFormat,
        typer.Option("--format", "-f", help="How it is written; bodyfile is for mactime, l2tcsv is log2timeline's."),
    ] = TimelineFormat.TABLE,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """List what happened, when, and how sure that is.

    Example: ctrforensics timeline disk.img.case.db --container web --since 2026-11-21 --format timesketch -o web.jsonl
    """
    since_ns, until_ns = (None if text is None else parse_time(text) for text in (since, until))
    if format is TimelineFormat.BODYFILE and event:
        raise UsageError("a body file has files and their times, no events; leave --event out, or choose another --format")
    with open_case(case) as opened:
        number = find_container(opened, container).number if container is not None else None
        wanted = EventFilter(number, since_ns, until_ns, tuple(event or ()), path)
        to = destination(opened, output, force)
        if format is TimelineFormat.TABLE:
            write_rows(_for_people(_events(opened, wanted)), ("time", "container", "event", "path", "what"), Format.TABLE, to)
        elif format is TimelineFormat.TIMESKETCH:
            write_lines(timesketch_lines(_events(opened, wanted)), to)
        elif format is TimelineFormat.L2TCSV:
            host = opened.db.execute("SELECT hostname FROM host ORDER BY partition LIMIT 1").fetchone()
            write_rows(l2tcsv_rows(_events(opened, wanted), host[0] if host else None), HEADER, Format.CSV, to)
        elif format is TimelineFormat.BODYFILE:
            files = (FileRow(*row) for row in opened.db.execute(*wanted.select_files(FILE_COLUMNS)))
            with open_output(to) as stream:
                for line in bodyfile_lines(files):
                    stream.write(line)
        else:
            columns = _WHOLE + _FOR_TIMESKETCH if format is TimelineFormat.CSV else _WHOLE
            cursor = opened.db.execute(*wanted.select(columns))
            write_rows(cursor, [column[0] for column in cursor.description], Format(format.value), to)


def _events(case: Case, wanted: EventFilter) -> Iterator[EventRow]:
    return (EventRow(*row) for row in case.db.execute(*wanted.select(EVENT_COLUMNS)))


def _for_people(rows: Iterable[EventRow]) -> Iterator[tuple[Any, ...]]:
    """The events, those of one file at one time in one row: `file created, modified, changed`."""

    def what(row: EventRow) -> tuple[object, ...]:
        is_time = row.rank in _FILE_RANKS
        return (row.time_ns, row.container_number, row.path, row.offset, is_time, None if is_time else row)

    for _, same in groupby(rows, key=what):
        first, *more = same
        verbs = [row.event.removeprefix("deleted ").partition(" ")[2] for row in more]
        doubt = "" if first.confidence == "certain" else f"[{first.confidence}] "
        yield (
            first.time or f"@{first.time_ns}ns",
            first.place,
            ", ".join([first.event, *verbs]),
            first.path,
            doubt + first.message,
        )
