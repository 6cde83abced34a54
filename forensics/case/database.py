"""The SQLite database of a case under construction, and what it is given to write."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from operator import length_hint
from pathlib import Path
from typing import Any

from forensics.case.entries import EntrySlice, insert_statements
from forensics.case.schema import INDEXES, SCHEMA_VERSION, TABLES, VIEWS

_INT64 = range(-(1 << 63), 1 << 63)
# Until the file has its own name there is nothing to roll back to, and nothing that a crash could spoil.
_PRAGMAS = (
    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384; PRAGMA locking_mode = EXCLUSIVE;"
    "PRAGMA temp_store = MEMORY"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """An SQL statement with the parameters of every time that it is to be executed; fields: what each parameter is."""

    sql: str
    rows: Sequence[Sequence[Any]]
    fields: Sequence[str] = ()


Item = Statement | EntrySlice | str
"""What is written; a text is an SQL statement without parameters."""


def create_database(path: Path) -> None:
    """Make a database with the case file's tables, in the place of what is at `path`."""
    path.unlink(missing_ok=True)
    with_tables = sqlite3.connect(path, isolation_level=None)
    try:
        with_tables.executescript(f"PRAGMA page_size = 16384; {_PRAGMAS}; BEGIN; {TABLES}; COMMIT")
    finally:
        with_tables.close()


class CaseDatabase:
    """Writes what it is given, in one transaction. gaps: how many it added by itself. Errors are SQLite's own."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript(f"{_PRAGMAS}; BEGIN")
        self.gaps = 0

    def write(self, items: Sequence[Item]) -> None:
        """Write some items, in their order."""
        for item in items:
            if isinstance(item, str):
                self.db.execute(item)
            elif isinstance(item, Statement):
                self._execute(item)
            else:
                for sql, rows in insert_statements(item):
                    self.db.executemany(sql, rows)

    def _execute(self, statement: Statement) -> None:
        """Execute a statement for each row, whatever evidence put into it: what no column can hold is replaced."""
        rest = iter(statement.rows)
        while True:
            try:
                self.db.executemany(statement.sql, rest)
                return
            except (OverflowError, UnicodeEncodeError):
                failed = statement.rows[len(statement.rows) - length_hint(rest) - 1]
                self.db.execute(statement.sql, self._storable(failed, statement.fields))

    def _storable(self, row: Sequence[Any], fields: Sequence[str]) -> list[Any]:
        """A row without what SQLite cannot hold: a lone surrogate (JSON allows them) is spelled out, a number that is too large
        is NULL, and a gap.
        """
        found: list[Any] = []
        for value, field in zip_longest(row, fields[: len(row)], fillvalue="case file"):
            if isinstance(value, str):
                found.append(value.encode("utf-8", "backslashreplace").decode("utf-8"))
            elif isinstance(value, int) and value not in _INT64:
                self.gaps += 1
                gap = (field, f"the number {value} is too large to be kept")
                self.db.execute("INSERT INTO gap (artefact, error) VALUES (?, ?)", gap)
                found.append(None)
            else:
                found.append(value)
        return found

    def complete(self) -> None:
        """Add indexes and views. More can be written after that."""
        self.db.execute("COMMIT")
        self.db.executescript(INDEXES)
        self.db.executescript(VIEWS)
        self.db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self.db.execute("BEGIN")

    def close(self) -> None:
        """Write all that is left and let the file go."""
        self.db.execute("COMMIT")
        self.db.close()

    def abandon(self) -> None:
        """Let the file go as it is."""
        self.db.close()
