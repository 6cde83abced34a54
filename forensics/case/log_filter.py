"""Which log lines are asked for, as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LogFilter:
    """container: its number in the case; since, until: nanoseconds since 1970, both inclusive, as docker logs has them.

    stream: stdout or stderr. pattern: a regular expression that the text matches somewhere, by the SQL function `regexp`.
    origin: allocated or recovered.
    """

    container: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    stream: str | None = None
    pattern: str | None = None
    origin: str | None = None

    def select(self, columns: str) -> tuple[str, list[Any]]:
        """The lines of a container as they were written; of all, in the order of their times."""
        wanted = [
            ("container_number = ?", self.container), ("time_ns >= ?", self.since_ns), ("time_ns <= ?", self.until_ns),
            ("stream = ?", self.stream), ("text REGEXP ?", self.pattern), ("origin = ?", self.origin),
        ]  # fmt: skip
        given = [(condition, value) for condition, value in wanted if value is not None]
        where = " AND ".join(condition for condition, _ in given) or "1"
        order = "time_ns, line_number" if self.container is None else "file_number, position"
        return f"SELECT {columns} FROM logs WHERE {where} ORDER BY {order}", [value for _, value in given]
