"""Which events of the view `timeline` somebody wants to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ORDER = "time_ns, container_number, path, path_raw, rank, event, message, offset"
"""The order of a timeline: by time; what happened to one file at one time, birth first."""
_FILE_TIMES = ("crtime_ns", "mtime_ns", "ctime_ns", "atime_ns")


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What an event must be: each None or empty for anything. container: its number in the case. since, until: both included.

    events, path: GLOB patterns; an event must match one of `events`.
    """

    container: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    events: tuple[str, ...] = ()
    path: str | None = None

    def select(self, columns: str) -> tuple[str, list[Any]]:
        """The SELECT on `timeline`, in order, and its values."""
        conditions = [("time_ns >= ?", self.since_ns), ("time_ns <= ?", self.until_ns), *self._common()]
        wanted = [(text, value) for text, value in conditions if value is not None]
        where = [text for text, _ in wanted]
        values = [value for _, value in wanted]
        if self.events:
            where.append(f"({' OR '.join(['event GLOB ?'] * len(self.events))})")
            values.extend(self.events)
        return f"SELECT {columns} FROM timeline WHERE {' AND '.join(where) or '1'} ORDER BY {ORDER}", values

    def select_files(self, columns: str) -> tuple[str, list[Any]]:
        """The same for files whole, on `timeline_files`: those with one time at least, and that is wanted."""
        conditions = [(text, value) for text, value in self._common() if value is not None]
        where, values = [text for text, _ in conditions], [value for _, value in conditions]
        where.append(f"coalesce({', '.join(_FILE_TIMES)}) IS NOT NULL")
        bounds = [(f"{sign} ?", ns) for sign, ns in ((">=", self.since_ns), ("<=", self.until_ns)) if ns is not None]
        if bounds:
            within = " AND ".join(f"{{time}} {text}" for text, _ in bounds)
            where.append(f"({' OR '.join(within.format(time=time) for time in _FILE_TIMES)})")
            values.extend([ns for _, ns in bounds] * len(_FILE_TIMES))
        return (
            f"SELECT {columns} FROM timeline_files WHERE {' AND '.join(where)} ORDER BY place, path, path_raw, state",
            values,
        )

    def _common(self) -> list[tuple[str, Any]]:
        return [("container_number = ?", self.container), ("path GLOB ?", self.path)]
