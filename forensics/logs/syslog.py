"""What the engines wrote to syslog: /var/log/syslog, messages and daemon.log, rotated ones too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from forensics.host import Host
from forensics.logs.journal import PROGRAMS
from forensics.logs.lines import LogFile, LogLine
from forensics.logs.reading import Budget, read_pieces
from forensics.logs.rotation import group_rotated
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.log_record import Damage, as_text, split_lines
from parsers.syslog import SyslogLine, parse_syslog, with_years

NAMES = (b"syslog", b"messages", b"daemon.log", b"user.log")
MAX_LINES = 500_000  # of the engines, in one file


def syslog_lines(
    reader: StoreReader, trees: Sequence[HostTree], hosts: Sequence[Host], numbers: Iterator[int], budget: Budget
) -> Iterator[LogFile | LogLine]:
    """The files in which an engine wrote anything, and those lines."""
    zones = {host.timezone for host in hosts if host.timezone}
    zone = _zone(zones.pop()) if len(zones) == 1 else None
    for tree in trees:
        files = reader.children(resolve_or_none(tree, b"/var/log"), "f")
        for parts in group_rotated(files, list(NAMES)).values():
            for place in parts:
                yield from _lines(reader, place, zone, numbers, budget)


def _lines(
    reader: StoreReader, place: Place, zone: tzinfo | None, numbers: Iterator[int], budget: Budget
) -> Iterator[LogFile | LogLine]:
    damage = Damage()
    found: list[SyslogLine] = []
    for position, line in split_lines(read_pieces(place, budget, damage), damage):
        parsed = parse_syslog(position, line) if any(program in line for program in PROGRAMS) else None
        if parsed is not None and parsed.program in PROGRAMS:
            found.append(parsed)
            if len(found) == MAX_LINES:
                damage.at(position, f"more than {MAX_LINES} lines of engines; the others are left out")
                break
    if found:
        number, inode = next(numbers), reader.inode(place)
        undated = [each.clock for each in found if each.clock is not None]
        last = inode.mtime_ns if inode is not None else None
        years = iter(with_years(undated, last, zone or UTC) if last is not None else [None] * len(undated))
        confidence = "certain" if not undated else "probable" if zone is not None else "possible"
        yield LogFile(
            number, "syslog", place.partition, place.path, place.inode, reader.provenance(place).offset, confidence=confidence
        )
        for each in found:
            text, raw = as_text(each.text)
            time_ns = each.time_ns if each.clock is None else next(years)
            yield LogLine(number, None, time_ns, None, readable(each.program), text, raw, each.position, None, 0)
    if damage.times:
        reader.gap("syslog", f"{damage.what} at byte {damage.position}", place, damage.position)


def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None
