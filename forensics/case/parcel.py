"""Rows on their way to a case file's database, some thousand at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any, Protocol

from forensics.case.database import Item, Statement

ROWS = 2_000  # that are handed over at a time; a container's has its configuration, some kilobytes


class Taker(Protocol):
    """Who writes what is handed over."""

    def write(self, items: Sequence[Item]) -> None:
        """Write some items, in their order."""
        ...


class Parcel:
    """What was not handed over yet. The order in which rows of several tables come is kept only where something else than an
    INSERT stands between them.
    """

    def __init__(self, taker: Taker) -> None:
        self.taker = taker
        self._items: list[Item] = []
        self._inserts: dict[str, list[Sequence[Any]]] = {}
        self._rows = 0

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Rows for a table, in the order of `columns`; they are handed over as they come."""
        sql, fields = _insert(table, tuple(columns))
        for part in _parts(rows):
            known = self._inserts.get(sql)
            if known is None:
                self._inserts[sql] = part
                self._items.append(Statement(sql, part, fields))
            else:
                known += part
            self._count(len(part))

    def insert_row(self, table: str, columns: Sequence[str], row: Sequence[Any]) -> None:
        """One row for a table, in the order of `columns`."""
        sql, fields = _insert(table, tuple(columns))
        known = self._inserts.get(sql)
        if known is None:
            known = self._inserts[sql] = []
            self._items.append(Statement(sql, known, fields))
        known.append(row)
        self._count(1)

    def execute(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Any other statement, for each row."""
        for part in _parts(rows):
            self._inserts = {}
            self._items.append(Statement(sql, part))
            self._count(len(part))

    def hand_over(self, *more: Item) -> None:
        """Hand over all there is, and more."""
        self._items += more
        if self._items:
            self.taker.write(self._items)
        self._items, self._inserts, self._rows = [], {}, 0

    def _count(self, rows: int) -> None:
        self._rows += rows
        if self._rows >= ROWS:
            self.hand_over()


@cache
def _insert(table: str, columns: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The INSERT into some columns of a table, and what each of its parameters is."""
    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(f"{table}.{name}" for name in columns)


def _parts(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    rest = iter(rows)
    while part := list(islice(rest, ROWS)):
        yield part
