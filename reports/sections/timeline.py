"""What happened when: how many events there are over time, the life of each container, and the events that matter most."""

from __future__ import annotations

from dataclasses import dataclass

from reports.scope import Scope, read
from reports.sections.inventory import Container

MAX_EVENTS = 400  # of engines and deletions
MAX_BURSTS = 300  # of what containers did to files within a minute
BINS = 1_200  # parts of the plotted time whose events are counted
MAX_LIVES = 16  # containers in the plot
MINUTE = 60_000_000_000
LANES = ("engine", "files", "deletions", "logs")
_LANE = """CASE WHEN event LIKE '%log line' THEN 'logs'
    WHEN event LIKE 'deleted %' OR event LIKE '% deleted%' OR event LIKE '%deletion' OR event LIKE 'whiteout %' THEN 'deletions'
    WHEN source IN ('crtime', 'mtime', 'ctime', 'atime') THEN 'files' ELSE 'engine' END"""
# An engine rewrites its own files all the time: what it deleted of them says less than its records
_ENGINES_OWN = "EXISTS (SELECT 1 FROM stores WHERE root <> '' AND instr(timeline.path, root || '/') = 1)"
# What the list tells one by one: not what stands behind it (the whiteouts, times that a deleted inode still has) ...
_TOLD = (
    f"{_LANE} IN ('engine', 'deletions') AND event NOT LIKE 'whiteout %'"
    " AND (event NOT LIKE 'deleted %' OR event = 'deleted file changed')"
    f" AND ({_LANE} = 'engine' OR container_number IS NOT NULL OR NOT {_ENGINES_OWN})"
)
# ... and of files what says that a container made or wrote them: a directory's time of modification tells nothing more
_TOLD_FILES = (
    f"{_LANE} = 'files' AND (source = 'crtime' OR source = 'mtime' AND event LIKE 'file %' AND event NOT LIKE '%before copy-up')"
    " AND NOT (path = '/' AND event = 'directory created')"
)
_EDGE = 0.02  # of the plotted time is left free at both ends


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. count: how many events of the kind it stands for: the first one and those of the same minute."""

    time_ns: int
    lane: str
    event: str
    count: int
    source: str
    container: str | None
    container_number: int | None
    path: str | None
    message: str
    confidence: str
    offset: int | None


@dataclass(frozen=True, slots=True)
class Life:
    """A container's bar in the plot. end_ns: None for one that ran when the host stopped."""

    title: str
    created_ns: int
    started_ns: int | None
    end_ns: int | None
    running: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """start_ns, end_ns: the time that is plotted; before, after: events outside of it.

    bins: for each lane, the number of events in each part of that time that has any: (part, number).
    """

    total: int
    first_ns: int | None
    last_ns: int | None
    start_ns: int
    end_ns: int
    before: int
    after: int
    bins: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]
    lives: tuple[Life, ...]
    lives_left_out: int
    events: tuple[Event, ...]
    left_out: int


def read_timeline(scope: Scope, containers: tuple[Container, ...]) -> Timeline:
    """The events about what the report is about; those that belong to no container only where it is about the whole case."""
    total, first, last = scope.db.execute(
        f"SELECT count(*), min(time_ns), max(time_ns) FROM timeline WHERE {scope.only()}"
    ).fetchone()
    if not total:
        return Timeline(0, None, None, 0, 0, 0, 0, (), (), 0, (), 0)
    start, end = _plotted(scope, first, last)
    (before, after) = (
        scope.count("timeline", f"{scope.only()} AND time_ns {condition}") for condition in (f"< {start}", f"> {end}")
    )
    lives = tuple(_lives(containers))
    events = (*_events(scope), *_bursts(scope, start, end))
    shown = tuple(sorted(events, key=lambda event: (event.time_ns, event.container_number or 0, event.event, event.path or "")))
    return Timeline(
        total, first, last, start, end, before, after, _bins(scope, start, end), lives[:MAX_LIVES],
        max(0, len(lives) - MAX_LIVES), shown, total - sum(event.count for event in shown),
    )  # fmt: skip


def _plotted(scope: Scope, first: int, last: int) -> tuple[int, int]:
    """From the first container's creation to the last event that no program could date: births, ctimes, the engine's own."""
    (start,) = scope.db.execute(f"SELECT min(created_ns) FROM containers WHERE {scope.only()}").fetchone()
    (end,) = scope.db.execute(
        f"SELECT max(time_ns) FROM timeline WHERE {scope.only()} AND source NOT IN ('mtime', 'atime')"
    ).fetchone()
    start = first if start is None else start
    end = last if end is None or end <= start else end
    edge = max(1_000_000_000, int((end - start) * _EDGE))
    return max(start - edge, -(1 << 62)), min(end + edge, 1 << 62)


def _bins(scope: Scope, start: int, end: int) -> tuple[tuple[str, tuple[tuple[int, int], ...]], ...]:
    width = max(1, (end - start) // BINS + 1)
    rows = scope.db.execute(
        f"SELECT {_LANE} AS lane, (time_ns - ?) / ? AS part, count(*) FROM timeline"
        f" WHERE {scope.only()} AND time_ns BETWEEN ? AND ? GROUP BY lane, part ORDER BY part",
        (start, width, start, end),
    ).fetchall()
    return tuple((lane, tuple((part, count) for name, part, count in rows if name == lane)) for lane in LANES)


def _lives(containers: tuple[Container, ...]) -> list[Life]:
    lives = []
    for container in containers:
        if container.created_ns is not None:
            running = container.origin == "allocated" and container.state in ("running", "paused", "restarting")
            end = None if running else container.finished_ns
            lives.append(Life(container.title, container.created_ns, container.started_ns, end, running))
    return lives


def _events(scope: Scope) -> tuple[Event, ...]:
    """What engines did and what was deleted; where there is too much of it, containers' lives first."""
    return read(
        scope,
        Event,
        f"FROM timeline WHERE {scope.only()} AND {_TOLD}"
        f" ORDER BY event LIKE 'container %' DESC, {_LANE} = 'engine' DESC, confidence = 'certain' DESC, time_ns, path"
        f" LIMIT {MAX_EVENTS}",
        spelled={"lane": _LANE, "count": "1", "container": "coalesce(container, substr(container_id, 1, 12))"},
    )


def _bursts(scope: Scope, start: int, end: int) -> tuple[Event, ...]:
    """What containers did to their files, minute by minute: the birth of each, and each change of its content."""
    inner = (
        "SELECT min(time_ns) AS time_ns, 'files' AS lane, event, count(*) AS count, source,"
        " coalesce(container, substr(container_id, 1, 12)) AS container, container_number, min(path) AS path,"
        " CASE count(*) WHEN 1 THEN max(message) WHEN 2 THEN max(path) ELSE 'and others, up to ' || max(path) END AS message,"
        " CASE WHEN min(confidence) = max(confidence) THEN min(confidence) ELSE 'possible' END AS confidence,"
        " CASE count(*) WHEN 1 THEN max(offset) END AS offset FROM timeline"
        f" WHERE {scope.only()} AND container_number IS NOT NULL AND time_ns BETWEEN ? AND ? AND {_TOLD_FILES}"
        f" GROUP BY time_ns / {MINUTE}, container_number, event"
    )
    return read(scope, Event, f"FROM ({inner}) ORDER BY count DESC, time_ns, container_number LIMIT {MAX_BURSTS}", (start, end))
