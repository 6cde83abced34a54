"""What could not be read, each thing once, with its place in the disk image."""

from __future__ import annotations

from forensics.filesystem import Problem
from forensics.source import Source

MOST = 10_000  # a filesystem of nothing but damage must not fill the memory with its description


class ProblemLog:
    """Collects problems; `list` is what the filesystem shows."""

    def __init__(self, source: Source) -> None:
        self.list: list[Problem] = []
        self._source = source
        self._seen: set[tuple[str, str, int | None]] = set()

    def add(self, what: str, where: str, error: str, offset: int | None = None) -> None:
        """Record a problem; `offset` is a byte offset in the source."""
        key = (where, error, offset)
        if key in self._seen or len(self.list) > MOST:
            return
        self._seen.add(key)
        if len(self.list) == MOST:
            self.list.append(Problem("filesystem", self._source.name, f"more than {MOST} problems; the others are not listed"))
            return
        self.list.append(Problem(what, where, error, None if offset is None else self._source.locate(offset)))
