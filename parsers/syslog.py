"""Lines of syslog daemons' files: RFC 3164's without a year and zone, and rsyslog's with RFC 3339's time.

Source: RFC 3164, 4.1; rsyslog 8.23, RSYSLOG_TraditionalFileFormat and RSYSLOG_FileFormat.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from parsers.log_record import instant

_TAIL = rb" (\S+) ([^\s:\[\]]{1,64})(?:\[(\d+)\])?: ?(.*)"
_NEW = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)" + _TAIL, re.DOTALL)
_OLD = re.compile(rb"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([ 0-9]\d) (\d\d):(\d\d):(\d\d)" + _TAIL, re.DOTALL)
_MONTHS = {name: number for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
_DAY = timedelta(days=1)
_YEAR_9999 = 253_370_764_800 * 10**9


@dataclass(frozen=True, slots=True)
class SyslogLine:
    """A line. time_ns: None where the line has no year; then `clock` has month, day, hour, minute and second."""

    position: int
    time_ns: int | None
    clock: tuple[int, int, int, int, int] | None
    program: bytes
    text: bytes


def parse_syslog(position: int, line: bytes) -> SyslogLine | None:
    """A line that says which program wrote it; None for any other."""
    found = _NEW.fullmatch(line)
    if found is not None:
        return SyslogLine(position, instant(found[1], found[2], found[3]), None, found[5], found[7])
    found = _OLD.fullmatch(line)
    if found is None:
        return None
    clock = (_MONTHS[found[1]], int(found[2]), int(found[3]), int(found[4]), int(found[5]))
    return SyslogLine(position, None, clock, found[7], found[9])


def with_years(clocks: list[tuple[int, int, int, int, int]], last_ns: int, zone: tzinfo) -> list[int | None]:
    """The times of lines that follow each other and have no year, the last of them written at last_ns or before."""
    if not 0 <= last_ns < _YEAR_9999:
        return [None] * len(clocks)
    limit = datetime.fromtimestamp(last_ns // 10**9, UTC).astimezone(zone) + _DAY
    found: list[int | None] = []
    for clock in reversed(clocks):
        moment = _latest(clock, limit, zone)
        found.append(None if moment is None else int(moment.timestamp()) * 10**9)
        limit = limit if moment is None else moment + _DAY  # lines may be a little out of order
    return found[::-1]


def _latest(clock: tuple[int, int, int, int, int], limit: datetime, zone: tzinfo) -> datetime | None:
    """The last moment of that clock that is not behind the limit."""
    for year in range(limit.year, limit.year - 9, -1):  # 29 February may be eight years away
        try:
            moment = datetime(year, *clock, tzinfo=zone)
        except ValueError:
            continue
        if moment <= limit:
            return moment
    return None
