"""What could not be read, each thing once, with its place in the disk image."""

from __future__ import annotations

from collections.abc import Callable

from forensics.filesystem import Problem
from forensics.source import Source

MOST = 10_000  # a filesystem of nothing but damage must not fill the memory with its description
WITH_PATHS = 1000  # of them that tell a path: to find a file's takes a look at all names


class ProblemLog:
    """Collects problems; `list` is what the filesystem shows. `path_of` tells an inode's path, once the names are known."""

    def __init__(self, source: Source) -> None:
        self.list: list[Problem] = []
        self.path_of: Callable[[int], bytes | None] | None = None
        self._source = source
        self._seen: set[tuple[int | str, str, int | None]] = set()

    def add(self, what: str, where: int | str, error: str, offset: int | None = None) -> None:
        """Record a problem; `where` is an inode's number or a text, `offset` a byte offset in the source."""
        key = (where, error, offset)
        if key in self._seen or len(self.list) > MOST:
            return
        self._seen.add(key)
        if len(self.list) == MOST:
            self.list.append(Problem("filesystem", self._source.name, f"more than {MOST} problems; the others are not listed"))
            return
        place = where if isinstance(where, str) else self._name(where)
        self.list.append(Problem(what, place, error, None if offset is None else self._source.locate(offset)))

    def _name(self, number: int) -> str:
        path = self.path_of(number) if self.path_of is not None and len(self.list) < WITH_PATHS else None
        return f"inode {number}" if path is None else path.decode("utf-8", "backslashreplace")
