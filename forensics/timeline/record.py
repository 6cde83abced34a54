"""Where a record of the case was read, as an event tells it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

SHORT = 200  # characters of a command or a label in a message
SOURCE = "origin, source_partition, source_path, source_offset"
"""The columns of a table that `Told` is made of, in its order."""


class Told(NamedTuple):
    """A record's provenance. path: the file's, in its partition."""

    origin: str
    partition: int | None
    path: str | None
    offset: int | None

    def source(self, engine: str) -> str:
        """What tells it, in few words: `docker config.v2.json`."""
        return f"{engine} {self.path.rpartition('/')[2]}" if self.path else f"{engine} record"

    def confidence(self, otherwise: str = "certain") -> str:
        """How sure an event is; a recovered record's never more than probable."""
        return otherwise if self.origin == "allocated" or otherwise != "certain" else "probable"

    @property
    def note(self) -> str:
        """What a message ends with where the record was not simply there."""
        return "" if self.origin == "allocated" else f" ({self.origin} record)"


def rows(db: sqlite3.Connection, table: str, columns: str, condition: str = "1") -> Iterator[tuple[Told, tuple[Any, ...]]]:
    """A table's rows in the order of their numbers: who tells each, and the columns; a container's are kilobytes."""
    for row in db.execute(f"SELECT {SOURCE}, {columns} FROM {table} WHERE {condition} ORDER BY id"):
        yield Told(*row[:4]), row[4:]


def short(text: str | None) -> str:
    """One line of a text, cut where it is long."""
    line = " ".join((text or "").split())
    return line if len(line) <= SHORT else f"{line[:SHORT]}..."
