"""What a report is about, and how its sections read their rows from the case file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

_Record = TypeVar("_Record")
SHORT_ID = 12  # characters of an id that are enough for people


@dataclass(frozen=True, slots=True)
class Scope:
    """A whole case, or one container of it. container: its `container_number`; case: the case file's name."""

    db: sqlite3.Connection
    case: str
    container: int | None = None

    def only(self, column: str = "container_number") -> str:
        """SQL that holds for rows of the report's container, and for every row where it is about the whole case."""
        return "TRUE" if self.container is None else f"{column} = {int(self.container)}"

    def count(self, view: str, condition: str = "TRUE") -> int:
        """How many rows of a view there are."""
        (number,) = self.db.execute(f"SELECT count(*) FROM {view} WHERE {condition}").fetchone()
        return int(number)


def read(
    scope: Scope, record: type[_Record], tail: str, values: Sequence[Any] = (), spelled: Mapping[str, str] | None = None
) -> tuple[_Record, ...]:
    """Rows as dataclasses. tail: what follows SELECT's columns; these are the record's fields, or as `spelled` has them."""
    names = [each.name for each in fields(record)]  # type: ignore[arg-type] # any dataclass
    columns = ", ".join(f"{spelled[name]} AS {name}" if spelled and name in spelled else name for name in names)
    return tuple(record(*row) for row in scope.db.execute(f"SELECT {columns} {tail}", values))


def words(text: str | None) -> tuple[str, ...]:
    """A JSON array of texts out of evidence; empty where it is none."""
    value = _decoded(text)
    return tuple(each if isinstance(each, str) else json.dumps(each) for each in value) if isinstance(value, list) else ()


def pairs(text: str | None) -> tuple[tuple[str, str], ...]:
    """A JSON object of texts out of evidence, by key; empty where it is none."""
    value = _decoded(text)
    if not isinstance(value, dict):
        return ()
    return tuple((key, value[key] if isinstance(value[key], str) else json.dumps(value[key])) for key in sorted(value))


def objects(text: str | None) -> tuple[dict[str, Any], ...]:
    """A JSON array of objects out of evidence; empty where it is none."""
    value = _decoded(text)
    return tuple(each for each in value if isinstance(each, dict)) if isinstance(value, list) else ()


def _decoded(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
