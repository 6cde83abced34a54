"""Tables for people, through rich."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from forensics.text import harmless

CHUNK = 1000  # rows whose column widths are found together, so that a long table needs little memory
NO_FOLD = 100_000  # columns of a table that goes into a file or a pipe: nothing is folded there
NEVER_FOLDED = ("id", "time")

Cell = str | int | float | bytes | None


def write_table(rows: Iterable[Sequence[Cell]], columns: Sequence[str], stream: BinaryIO, terminal: bool) -> None:
    """Write rows under their columns' names; no names, no head. On a terminal, wide cells are folded to its width."""
    pending = iter(rows)
    for number in itertools.count():
        chunk = list(itertools.islice(pending, CHUNK))
        if not chunk and (number or not columns):
            return
        text = io.StringIO()
        console = Console(file=text, width=None if terminal else NO_FOLD, force_terminal=terminal, highlight=False)
        console.print(_table(chunk, columns, with_head=bool(columns) and not number))
        lines = text.getvalue().removesuffix("\n").split("\n")
        stream.write("".join(f"{line.rstrip()}\n" for line in lines).encode("utf-8", "backslashreplace"))


def _table(rows: Sequence[Sequence[Cell]], columns: Sequence[str], with_head: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=with_head)
    for position in range(len(columns) or len(rows[0])):
        name = columns[position] if columns else ""
        numeric = bool(rows) and all(isinstance(row[position], int | float | None) for row in rows)
        table.add_column(
            Text(harmless(name)), overflow="fold", justify="right" if numeric else "left", no_wrap=name in NEVER_FOLDED
        )
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row))
    return table


def _shown(value: Cell) -> str:
    """A cell's text; bytes as SQL spells them."""
    if value is None:
        return ""
    return f"x'{value.hex()}'" if isinstance(value, bytes) else harmless(str(value))
