"""What was done inside containers, as files in their own layers tell: shells' histories, package managers' logs.

A time in them was written by a program in the container, and can have been edited by one.
"""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from forensics.filesystem import Filesystem
from forensics.records import Event, Gap
from forensics.text import readable
from forensics.timeline.record import short
from parsers.errors import EvidenceError, FormatError
from parsers.package_log import MAX_ACTIONS, parse_package_log
from parsers.shell_history import MAX_COMMANDS, parse_history

MAX_FILE = 16 << 20  # bytes of one file that are read: its last ones
MAX_FILES = 5000
MAX_TOTAL = 512 << 20  # bytes of all files together
MAX_EVENTS = 1_000_000
MAX_UNPACKED = 64 << 20
SECOND = 1_000_000_000
_HISTORIES = {
    ".bash_history": "bash", ".sh_history": "bash", ".ash_history": "bash", ".history": "bash", ".ksh_history": "bash",
    ".zsh_history": "zsh", ".zhistory": "zsh", ".histfile": "zsh", "fish_history": "fish",
    ".python_history": "bash", ".mysql_history": "bash", ".psql_history": "bash", ".sqlite_history": "bash",
    ".rediscli_history": "bash", ".node_repl_history": "bash",
}  # fmt: skip
"""Names of histories, and the shell whose form they have: those of other programs have a command a line, as bash's."""
_LOGS = (
    (re.compile(r"/var/log/dpkg\.log(\.\d+)?(\.gz)?"), "dpkg"),
    (re.compile(r"/var/log/apt/history\.log(\.\d+)?(\.gz)?"), "apt"),
    (re.compile(r"/var/log/yum\.log(-\d{8}|\.\d+)?(\.gz)?"), "yum"),
    (re.compile(r"/var/log/dnf\.rpm\.log(-\d{8}|\.\d+)?(\.gz)?"), "dnf"),
    (re.compile(r"/var/log/zypp/history(-\d{8})?(\.gz)?"), "zypp"),
    (re.compile(r"/var/log/pacman\.log(\.\d+)?(\.gz)?"), "pacman"),
)
_FILES = """SELECT c.id, c.created_ns, c.env, l.partition, e.path, e.path_raw, e.inode, e.size, e.mtime_ns, e.offset
    FROM layer l CROSS JOIN entry e ON e.id >= l.first_entry AND e.id < l.first_entry + l.entries
    LEFT JOIN container c ON c.layer_id = l.id
    WHERE l.kind IN ('container', 'orphan') AND +e.type = 'f' AND e.mark IS NULL AND e.metacopy IS NULL AND e.size > 0
    AND (e.path GLOB '*history*' OR e.path GLOB '*/.histfile' OR e.path GLOB '/var/log/*.log*') ORDER BY e.id, c.id"""
_ZONE = """SELECT target FROM files WHERE container_number = ? AND path = '/etc/localtime' AND type = 'l' LIMIT 1"""


@dataclass(frozen=True, slots=True)
class _File:
    container: int | None
    created_ns: int | None
    env: str | None
    partition: int
    path: str
    path_raw: bytes | None
    inode: int
    size: int
    mtime_ns: int | None
    offset: int | None

    def gap(self, error: str, artefact: str = "history or package log") -> Gap:
        """What of this file is not told."""
        return Gap(artefact, error, self.partition, self.path, self.offset)

    def event(self, time_ns: int, event: str, source: str, message: str, confidence: str) -> Event:
        """An event that this file tells."""
        if self.created_ns is not None and time_ns < self.created_ns:
            message += " (before this container was created: in its container image)"
        path = self.path.encode() if self.path_raw is None else self.path_raw
        return Event(time_ns, event, source, message, self.container, path, confidence, self.partition, self.offset)


def guest_events(db: sqlite3.Connection, filesystems: Mapping[int, Filesystem], gaps: list[Gap]) -> Iterator[Event]:
    """The commands and packages that files in containers' layers tell of. gaps: what could not be read is added to them."""
    wanted = [file for row in db.execute(_FILES) if _kind((file := _File(*row)).path) is not None]
    if len(wanted) > MAX_FILES:
        gaps.append(Gap("timeline", f"{len(wanted)} histories and package logs; only {MAX_FILES} were read"))
    budget, events = MAX_TOTAL, MAX_EVENTS
    for file in wanted[:MAX_FILES]:
        fs = filesystems.get(file.partition)
        if fs is None:
            continue
        if budget <= 0 or events <= 0:
            gaps.append(file.gap("more histories and package logs than are read", "timeline"))
            return
        try:
            start = max(0, file.size - MAX_FILE)
            if start:
                error = f"{file.size:,} bytes long; only its last {MAX_FILE:,} were read"
                gaps.append(file.gap(error))
            data = fs.read(file.inode, start, file.size - start)
            data = _unpacked(data) if file.path.endswith(".gz") else data
        except (FormatError, EvidenceError) as error:
            gaps.append(file.gap(str(error)))
            continue
        if len(data) == MAX_UNPACKED:
            gaps.append(file.gap(f"only its first {MAX_UNPACKED:,} bytes, unpacked, were read"))
        budget -= len(data)
        is_log, kind = _kind(file.path) or (False, "")
        told = tuple(_packages(db, file, kind, data) if is_log else _commands(file, kind, data))
        for event in told:
            if events <= 0:
                gaps.append(file.gap(f"more than {MAX_EVENTS:,} commands and packages", "timeline"))
                return
            events -= 1
            yield event
        if len(told) == (MAX_ACTIONS if is_log else MAX_COMMANDS):
            gaps.append(file.gap(f"only its first {len(told):,} entries were read"))


def _kind(path: str) -> tuple[bool, str] | None:
    """Whether it is a package manager's log, and its form; None where it is neither that nor a history."""
    for pattern, kind in _LOGS:
        if pattern.fullmatch(path):
            return True, kind
    shell = _HISTORIES.get(path.rpartition("/")[2])
    return None if shell is None else (False, shell)


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(data, MAX_UNPACKED)
    except zlib.error as error:
        raise FormatError(f"gzip: {error}") from error


def _commands(file: _File, shell: str, data: bytes) -> Iterator[Event]:
    name = file.path.rpartition("/")[2]
    for command in parse_history(data, shell):
        text = short(readable(command.text))
        if command.time_ns is not None:
            yield file.event(command.time_ns, "shell command", name, text, "probable")
        elif file.mtime_ns is not None:
            message = f"{text} (typed at an unknown time, at the latest when the history was last written)"
            yield file.event(file.mtime_ns, "shell command (latest)", name, message, "possible")


def _packages(db: sqlite3.Connection, file: _File, kind: str, data: bytes) -> Iterator[Event]:
    moment = datetime.fromtimestamp((file.mtime_ns or 0) // SECOND, UTC) if _has_year(file.mtime_ns) else datetime(1970, 1, 1)
    name = _zone(db, file)
    zone = _rules(name) if name else None
    for action in parse_package_log(data, kind, moment.year):
        time_ns, confidence, note = action.time_ns, "probable", ""
        if action.local:
            time_ns -= _offset(zone, action.time_ns)
            note = f" (the log's local time taken as {zone.key if zone else 'UTC'})"
        event = "package manager run" if action.what == "run" else f"package {action.what}"
        yield file.event(time_ns, event, file.path.rpartition("/")[2], short(action.text) + note, confidence)


def _has_year(ns: int | None) -> bool:
    return ns is not None and 0 <= ns < 253_402_300_800 * SECOND


def _zone(db: sqlite3.Connection, file: _File) -> str | None:
    """The container's time zone by name, None for UTC: its environment's TZ, else where /etc/localtime leads."""
    for item in json.loads(file.env or "[]"):
        name, _, value = item.partition("=")
        if name == "TZ" and value:
            return str(value).removeprefix(":")
    row = db.execute(_ZONE, (file.container,)).fetchone() if file.container is not None else None
    found = row[0].partition("zoneinfo/")[2] if row is not None and row[0] else ""
    return None if found in ("", "UTC", "Etc/UTC", "Universal", "Zulu") else found


def _offset(zone: ZoneInfo | None, time_ns: int) -> int:
    """Nanoseconds that a zone is ahead of UTC at a local time; 0 where the zone is not known."""
    if zone is None or not _has_year(time_ns):
        return 0
    moment = datetime.fromtimestamp(time_ns // SECOND, UTC).replace(tzinfo=zone)
    offset = moment.utcoffset()
    return 0 if offset is None else int(offset.total_seconds()) * SECOND


@lru_cache(maxsize=64)
def _rules(zone: str) -> ZoneInfo | None:
    """A zone of this machine's own database; a name from evidence is looked up there, never opened as a path."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z][A-Za-z0-9_+-]*){0,2}", zone):
        return None
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return None
