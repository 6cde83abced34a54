"""A row of the view `timeline`, as the exports to other tools need it."""

from __future__ import annotations

from dataclasses import dataclass

COLUMNS = (
    "time_ns, time, event, source, container_id, container, path, message, confidence, partition, offset, container_number, rank"
)
"""The columns of `timeline` that an EventRow is made of, in its order."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event. time: None beyond the year 9999. rank: 1 to 4 for a file's birth, mtime, ctime, atime."""

    time_ns: int
    time: str | None
    event: str
    source: str
    container_id: str | None
    container: str | None
    path: str | None
    message: str
    confidence: str
    partition: int | None
    offset: int | None
    container_number: int | None
    rank: int

    @property
    def place(self) -> str | None:
        """The container's name, or the beginning of its id."""
        return self.container or (self.container_id[:12] if self.container_id else None)

    @property
    def sentence(self) -> str:
        """What happened, in one line for people."""
        where = f" in {self.place}" if self.place else ""
        path = f" {self.path}" if self.path is not None else ""
        doubt = "" if self.confidence == "certain" else f" [{self.confidence}]"
        return f"{self.event}{where}:{path} {self.message}{doubt}"
