"""How every command gives its rows: as a table, JSON, JSON lines or CSV, on stdout or into a file.

Tables, and all text on a terminal, are harmless: what would steer a terminal is shown, not obeyed. JSON and JSON lines are exact.
CSV is exact but for text cells that a spreadsheet would take for a formula; these get a leading apostrophe.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from forensics.text import harmless, json_harmless
from parsers.errors import UsageError

Value = str | int | float | bytes | None

JSON_COLUMNS = frozenset({
    "attack", "bucket", "change_counts", "command", "config", "endpoints", "env", "extents", "gaps", "history", "host",
    "hostconfig", "labels", "layer_chain", "layers", "lost", "mounts", "networks", "options", "private_xattrs", "refs", "stores",
    "subnets", "used_by", "xattrs", "findings", "sources", "details",
})  # fmt: skip
GAPS = 3  # the exit code of a command that is finished, but for what could not be read
BUFFER = 1 << 20  # bytes of an output file that are written at once
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_ENCODER = json.JSONEncoder(ensure_ascii=False)
MAX_REMEMBERED = 2000  # characters of JSON that are not decoded anew in the next row
_LINE_BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r"})


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How the rows are written.")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write into this file; - is stdout.", show_default=False)
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the output file if it is there.")]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the output goes. keep: files that must never be written over, whatever --force says: the case, the evidence."""

    path: Path | None = None
    force: bool = False
    keep: tuple[Path, ...] = ()

    @property
    def is_stdout(self) -> bool:
        """Whether the output goes to stdout."""
        return self.path is None or str(self.path) == "-"

    @property
    def is_terminal(self) -> bool:
        """Whether a person will see the output as it comes."""
        return self.is_stdout and sys.stdout.isatty()


@contextmanager
def open_output(to: Destination) -> Iterator[BinaryIO]:
    """The stream to write to. A file is written under a temporary name and renamed when it is complete."""
    if to.is_stdout:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    assert to.path is not None
    refuse_to_overwrite(to.path, to.force, to.keep)
    if to.path.exists() and not to.path.is_file():
        with to.path.open("wb") as stream:  # a pipe or /dev/null: nothing to keep, nothing to rename
            yield stream
        return
    partial = to.path.with_name(f".{to.path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb", buffering=BUFFER) as stream:
            yield stream
        partial.replace(to.path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def refuse_to_overwrite(path: Path, force: bool, keep: Iterable[Path]) -> None:
    """Raise UsageError unless `path` may be written: a new name, or a file that --force lets go and that is none of `keep`."""
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no directory {path.parent} to write it into; make it first")
    if not os.path.lexists(path):
        return
    for kept in keep:
        if kept.exists() and path.exists() and path.samefile(kept):
            raise UsageError(f"{path} is the evidence or the case file itself; choose another name with -o")
    if path.is_dir():
        raise UsageError(f"{path} is a directory; name a file in it with -o")
    if path.exists() and stat.S_ISBLK(path.stat().st_mode):
        raise UsageError(f"{path} is a device; name a file with -o")
    if not force and (path.is_file() or not path.exists()):
        raise UsageError(f"{path} is there already; --force replaces it, -o names another")


def write_rows(rows: Iterable[Sequence[Value]], columns: Sequence[str], form: Format, to: Destination) -> None:
    """Write rows of the named columns in one of the four formats."""
    with open_output(to) as stream:
        if form is Format.TABLE:
            from forensics.commands.table import write_table

            write_table(rows, columns, stream, to.is_terminal)
        elif form is Format.CSV:
            _write_csv(rows, columns, stream, to.is_terminal)
        else:
            _write_json(rows, columns, stream, lines=form is Format.JSONL)


def write_lines(lines: Iterable[str], to: Destination) -> None:
    """Write text, one line for each item, whatever an item holds."""
    with open_output(to) as stream:
        for line in lines:
            text = harmless(line) if to.is_terminal else line.translate(_LINE_BREAKS)
            stream.write(text.encode("utf-8", "backslashreplace") + b"\n")


def say(message: str) -> None:
    """One line on stderr."""
    print(harmless(message), file=sys.stderr)


def _write_csv(rows: Iterable[Sequence[Value]], columns: Sequence[str], stream: BinaryIO, terminal: bool) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
    try:
        writer = csv.writer(text)
        writer.writerow([_no_formula(column) for column in columns])
        for row in rows:
            cells = [_no_formula(value) for value in row]
            writer.writerow([harmless(c) if terminal and isinstance(c, str) else c for c in cells])
    finally:
        text.detach()


def _no_formula(value: Value) -> str | int | float | None:
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def _write_json(rows: Iterable[Sequence[Value]], columns: Sequence[str], stream: BinaryIO, *, lines: bool) -> None:
    """One object per row; `lines`: one per line, else all in one array."""
    separator = b"" if lines else b"[\n"
    empty = True
    for row in rows:
        record = {
            name: value if value is None or type(value) is int else _json_value(name, value)
            for name, value in zip(columns, row, strict=True)
        }
        text = _ENCODER.encode(record)
        stream.write(separator + json_harmless(text).encode("utf-8"))
        separator = b"\n" if lines else b",\n"
        empty = False
    stream.write((b"" if empty else b"\n") if lines else (b"[]\n" if empty else b"\n]\n"))


def _json_value(column: str, value: Value) -> object:
    """The value as JSON has it: JSON columns as what they are, bytes as sqlite-utils writes them."""
    if isinstance(value, bytes):
        return {"$base64": True, "encoded": base64.b64encode(value).decode("ascii")}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str) and column in JSON_COLUMNS and value[:1] in ("[", "{"):
        return _decoded_again(value) if len(value) < MAX_REMEMBERED else decoded(value)
    return value


def decoded(text: str) -> object:
    """JSON that came from evidence; the text itself where it is none, or is nested too deep, or has numbers that JSON lacks."""
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        return text


_decoded_again = lru_cache(maxsize=64)(decoded)  # neighbouring rows often have the same bucket, options or refs


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
