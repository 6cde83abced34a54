"""Tables for people, through rich: as wide as they need to be in a file or a pipe, folded to fit on a terminal."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forensics.text import harmless

CHUNK = 1000  # rows whose column widths are found together, so that a long table needs little memory
NO_FOLD = 100_000  # columns of a table that goes into a file or a pipe: nothing is folded there
LEAST = 16  # columns that a cell is not folded below, unless it is shorter
GAP = 2  # columns between two columns

Cell = str | int | float | bytes | None


def write_table(rows: Iterable[Sequence[Cell]], columns: Sequence[str], stream: BinaryIO, terminal: bool) -> None:
    """Write rows under their columns' names; no names, no head.

    On a terminal, wide cells are folded; where even that does not fit, each row becomes a block of lines, a cell in each.
    """
    pending = iter(rows)
    for number in itertools.count():
        chunk = [[_shown(value) for value in row] for row in itertools.islice(pending, CHUNK)]
        if not chunk and (number or not columns):
            return
        widths = [max(map(_width, column)) for column in zip(*([columns] if columns else []), *chunk, strict=True)]
        if not terminal and sum(widths) + GAP * (len(widths) - 1) <= NO_FOLD:
            stream.write(_plain(chunk, columns, widths, with_head=bool(columns) and not number))
            continue
        text = io.StringIO()
        console = Console(file=text, width=None if terminal else NO_FOLD, force_terminal=terminal, highlight=False)
        least = _least_widths(chunk, columns)
        if columns and sum(least) + GAP * (len(least) - 1) > console.width:
            _print_blocks(console, chunk, columns)
        else:
            console.print(_table(chunk, columns, least, with_head=bool(columns) and not number))
        lines = text.getvalue().removesuffix("\n").split("\n")
        stream.write("".join(f"{line.rstrip()}\n" for line in lines).encode("utf-8", "backslashreplace"))


def _plain(rows: Sequence[Sequence[str]], columns: Sequence[str], widths: Sequence[int], with_head: bool) -> bytes:
    """What rich would print of rows that need no folding, many times as fast."""
    right = [bool(columns and rows) and all(not row[n] or _is_number(row[n]) for row in rows) for n in range(len(widths))]
    lines = []
    for row in [columns, *rows] if with_head else rows:
        cells = []
        for text, width, to_right in zip(row, widths, right, strict=True):
            space = " " * (width - _width(text))
            cells.append(space + text if to_right else text + space)
        lines.append((" " * GAP).join(cells).rstrip() + "\n")
    return "".join(lines).encode("utf-8", "backslashreplace")


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def _least_widths(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> list[int]:
    """How narrow each column may become: its longest word, or LEAST."""
    cells = ([columns] if columns else []) + list(rows)
    return [max(min(LEAST, max(map(cell_len, row[n].split()), default=0)) for row in cells) for n in range(len(cells[0]))]


def _table(rows: Sequence[Sequence[str]], columns: Sequence[str], least: Sequence[int], with_head: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=with_head)
    for position, width in enumerate(least):
        numeric = bool(columns and rows) and all(not row[position] or _is_number(row[position]) for row in rows)
        name = columns[position] if columns else ""
        table.add_column(Text(name), overflow="fold", justify="right" if numeric else "left", min_width=width)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _print_blocks(console: Console, rows: Sequence[Sequence[str]], columns: Sequence[str]) -> None:
    label = max(map(len, columns))
    for row in rows:
        block = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=False)
        block.add_column(no_wrap=True, style="bold", min_width=label)
        block.add_column(overflow="fold")
        for name, value in zip(columns, row, strict=True):
            if value:
                block.add_row(Text(name), Text(value))
        console.print(block)
        console.print()


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdecimal()


def _shown(value: Cell) -> str:
    """A cell's text; bytes as SQL spells them."""
    if value is None:
        return ""
    return f"x'{value.hex()}'" if isinstance(value, bytes) else harmless(str(value))
