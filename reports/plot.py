"""The timeline as a picture: which shapes stand where, for the template that draws them as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass

from forensics.text import utc
from reports.sections.timeline import BINS, Timeline

WIDTH, LEFT, RIGHT, TOP = 1000, 128, 12, 8
LIFE, LANE, GAP, AXIS = 20, 40, 8, 28
SECOND = 1_000_000_000
MOST_TICKS = 8
LEAST = 1.6  # a bar is never narrower
_STEPS = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000,
    7776000, 31536000, 157680000, 1576800000,
)  # fmt: skip
_NAMES = {"engine": "Engines", "files": "Files", "deletions": "Deletions", "logs": "Log lines"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle. t, w: seconds since the plot's start, and its length in seconds; x, width, y, height: where it is drawn."""

    t: float
    w: float
    x: float
    width: float
    y: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text to the left of a row."""

    y: float
    text: str
    note: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A time on the axis."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """span: seconds that the plot covers. axis: y of the axis. rows: y of the lines between rows."""

    start_ns: int
    span: float
    height: float
    axis: float
    rows: tuple[float, ...]
    labels: tuple[Label, ...]
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


def draw(timeline: Timeline) -> Plot | None:
    """The plot; None where there is no event to show."""
    span = (timeline.end_ns - timeline.start_ns) / SECOND
    if not timeline.total or span <= 0:
        return None
    labels: list[Label] = []
    bars: list[Bar] = []
    rows: list[float] = []
    y: float = TOP
    for life in timeline.lives:
        labels.append(Label(y + LIFE / 2, life.title, ""))
        created = (life.created_ns - timeline.start_ns) / SECOND
        started = None if life.started_ns is None else (life.started_ns - timeline.start_ns) / SECOND
        ended = span if life.end_ns is None and life.running else None
        ended = (life.end_ns - timeline.start_ns) / SECOND if life.end_ns is not None else ended
        bars.append(_bar(span, created, 0, y + 3, LIFE - 6, "made", f"{life.title} made {_time(life.created_ns)}"))
        if started is not None and ended is not None and ended >= started:
            says = "running when the host stopped" if life.running else f"ended {_time(life.end_ns)}"
            title = f"{life.title}: last started {_time(life.started_ns)}, {says}"
            bars.append(_bar(span, started, ended - started, y + 5, LIFE - 10, "on" if life.running else "ran", title))
        y += LIFE
    if timeline.lives:
        y += GAP
    part = ((timeline.end_ns - timeline.start_ns) // BINS + 1) / SECOND
    for lane, counts in timeline.bins:
        if not counts:
            continue
        rows.append(y + LANE)
        most = max(count for _part, count in counts)
        labels.append(Label(y + LANE / 2, _NAMES[lane], f"most at once: {most:,}"))
        for number, count in counts:
            height = (LANE - 4) * math.log1p(count) / math.log1p(most)
            when = _time(timeline.start_ns + int(number * part * SECOND))
            bars.append(_bar(span, number * part, part, y + LANE - height, height, lane, f"{count:,} from {when}"))
        y += LANE + GAP
    return Plot(
        timeline.start_ns, span, y + AXIS, y, tuple(rows), tuple(labels), tuple(bars), _ticks(timeline.start_ns, span)
    )  # fmt: skip


def _bar(span: float, t: float, w: float, y: float, height: float, kind: str, title: str) -> Bar:
    scale = (WIDTH - LEFT - RIGHT) / span
    return Bar(
        round(t, 3), round(w, 3), round(LEFT + t * scale, 2), round(max(w * scale, LEAST), 2), round(y, 2), round(height, 2),
        kind, title,
    )  # fmt: skip


def _ticks(start_ns: int, span: float) -> tuple[Tick, ...]:
    step = next((each for each in _STEPS if span / each <= MOST_TICKS), _STEPS[-1])
    scale = (WIDTH - LEFT - RIGHT) / span
    start = start_ns / SECOND
    first = math.ceil(start / step) * step
    seconds = [first + n * step for n in range(int((start + span - first) // step) + 1)]
    return tuple(Tick(round(LEFT + (at - start) * scale, 2), _tick(at, step)) for at in seconds)


def _tick(at: int, step: int) -> str:
    text = utc(at * SECOND)
    day, clock = text[:10], text[11:19]
    if step >= 86400 or clock == "00:00:00":
        return day
    return clock if step < 60 else clock[:5]


def _time(ns: int | None) -> str:
    return "" if ns is None else utc(ns)[:19].replace("T", " ")
