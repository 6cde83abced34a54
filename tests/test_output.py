"""The four formats, and where they go."""

import base64
import csv
import io
import json
import math
import re
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.commands import output
from forensics.commands.output import Destination, Format, open_output, write_lines, write_rows
from forensics.commands.table import write_table
from forensics.text import harmless
from parsers.errors import UsageError

HOSTILE = (
    "=cmd|' /C calc'!A0",
    "+1",
    "-1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "\x1b[31mred",
    "\u202egnp.exe",
    "a\nb",
    "\x00",
    "é",
)

storable = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
values = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), storable, st.binary(max_size=20))


def written(rows, columns, form):
    """What write_rows gives, as it stands in a file."""
    stream = io.BytesIO()
    if form is Format.CSV:
        output._write_csv(rows, columns, stream, False)
    else:
        output._write_json(rows, columns, stream, lines=form is Format.JSONL)
    return stream.getvalue().decode("utf-8")


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.tuples(values, values), max_size=5))
def test_json_is_exact_and_one_row_a_line(rows):
    columns = ("a", "b")
    as_array = json.loads(written(rows, columns, Format.JSON))
    lines = written(rows, columns, Format.JSONL)
    assert lines.count("\n") == len(rows)
    assert [json.loads(line) for line in lines.split("\n")[:-1]] == as_array
    assert [tuple(row[name] for name in columns) for row in as_array] == [tuple(map(as_json, row)) for row in rows]
    assert not set("\x1b\u202e\x9b") & set(lines)


def as_json(value):
    if isinstance(value, bytes):
        return {"$base64": True, "encoded": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.tuples(values, values), min_size=1, max_size=5))
def test_csv_is_whole_and_has_no_formula(rows):
    read = list(csv.reader(io.StringIO(written(rows, ("a", "b"), Format.CSV), newline=""), strict=True))
    assert read[0] == ["a", "b"]
    for row, cells in zip(rows, read[1:], strict=True):
        for value, cell in zip(row, cells, strict=True):
            assert not (isinstance(value, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"))
            if isinstance(value, str):
                assert cell.removeprefix("'") == value or cell == value


@pytest.mark.parametrize("text", HOSTILE)
def test_a_table_is_harmless_and_keeps_its_rows(text, tmp_path):
    to = tmp_path / "table"
    write_rows([(text, 1), ("next", 2)], ("name", "number"), Format.TABLE, Destination(to))
    lines = to.read_text().split("\n")
    assert len(lines) == 4
    assert lines[2].startswith("next")
    assert harmless(text) in lines[1] + " "


def test_a_table_in_a_file_is_not_folded(tmp_path):
    to = tmp_path / "table"
    write_rows([("x" * 5000, b"\x00\xff", None)], ("name", "raw", "nothing"), Format.TABLE, Destination(to))
    assert to.read_text() == f"{'name'.ljust(5000)}  raw      nothing\n{'x' * 5000}  x'00ff'\n"


def test_a_long_table_is_written_piece_by_piece(tmp_path):
    to = tmp_path / "table"
    write_rows(((n,) for n in range(2500)), ("n",), Format.TABLE, Destination(to))
    assert to.read_text().split() == ["n", *map(str, range(2500))]


def test_markup_and_emoji_codes_are_text(tmp_path):
    to = tmp_path / "table"
    write_rows([("[bold]x[/bold] :smile: [link=http://x]y[/link]",)], ("name",), Format.TABLE, Destination(to))
    assert "[bold]x[/bold] :smile: [link=http://x]y[/link]" in to.read_text()


@pytest.mark.parametrize("form", list(Format))
def test_no_rows_are_no_error(form, tmp_path):
    to = tmp_path / "out"
    write_rows([], ("a", "b"), form, Destination(to))
    assert to.read_text() == {"table": "a  b\n", "csv": "a,b\n", "json": "[]\n", "jsonl": ""}[form.value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('["a", {"b": 1}]', ["a", {"b": 1}]),
        ('{"a": 1.5}', {"a": 1.5}),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": 1e999}', '{"a": 1e999}'),
        ('["cut', '["cut'),
        ("[" * 100_000, "[" * 100_000),
        ('{"a": ' + "9" * 5000 + "}", '{"a": ' + "9" * 5000 + "}"),
        ("plain", "plain"),
        ('["\\ud800"]', ["\ud800"]),
    ],
)
def test_json_columns_come_out_as_json_where_they_are(text, value):
    row = json.loads(written([(text, text)], ("env", "name"), Format.JSONL))
    assert row == {"env": value, "name": text}


def test_json_nested_as_deep_as_can_be_read_can_be_written():
    for depth in range(800, 1100, 3):
        text = "[" * depth + "]" * depth
        assert written([(text,)], ("env",), Format.JSONL).endswith("}\n")


def test_lines_stay_lines(tmp_path):
    to = tmp_path / "lines"
    write_lines(["A /a\nD /etc/passwd", "\x1b[31m", "\udcff"], Destination(to))
    assert to.read_bytes() == b"A /a\\nD /etc/passwd\n\x1b[31m\n\\udcff\n"


def test_an_output_file_is_not_replaced_without_force(tmp_path):
    to = tmp_path / "out"
    to.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        write_lines(["theirs"], Destination(to))
    assert to.read_text() == "mine"
    write_lines(["theirs"], Destination(to, force=True))
    assert to.read_text() == "theirs\n"


def test_the_evidence_is_never_replaced_whatever_its_name(tmp_path):
    evidence = tmp_path / "disk.img"
    evidence.write_text("evidence")
    (tmp_path / "soft").symlink_to(evidence)
    (tmp_path / "hard").hardlink_to(evidence)
    for name in ("disk.img", "soft", "hard"):
        with pytest.raises(UsageError, match="evidence"):
            write_lines(["x"], Destination(tmp_path / name, force=True, keep=(evidence,)))
    assert evidence.read_text() == "evidence"


def test_a_broken_off_output_leaves_nothing(tmp_path):
    def rows():
        yield ("one",)
        raise sqlite3.DatabaseError("broken")

    to = tmp_path / "out"
    to.write_text("before")
    with pytest.raises(sqlite3.DatabaseError):
        write_rows(rows(), ("a",), Format.CSV, Destination(to, force=True))
    assert to.read_text() == "before"
    assert list(tmp_path.iterdir()) == [to]


def test_a_dangling_symlink_is_not_written_through(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="--force"):
        write_lines(["x"], Destination(tmp_path / "link"))
    write_lines(["x"], Destination(tmp_path / "link", force=True))
    assert not (tmp_path / "elsewhere").exists()
    assert (tmp_path / "link").read_text() == "x\n"


def test_dash_is_stdout(capfdbinary):
    with open_output(Destination(output.Path("-"))) as stream:
        stream.write(b"\x00\xff")
    assert capfdbinary.readouterr().out == b"\x00\xff"


WIDTHS = st.integers(20, 120)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(WIDTHS, st.lists(st.tuples(words, st.integers(), words), min_size=1, max_size=4))
def test_on_a_terminal_no_cell_is_lost_whatever_its_width(width, rows):
    stream = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        patch.setenv("LINES", "25")
        patch.setenv("TERM", "dumb")
        write_table(rows, ("name", "number", "text"), stream, terminal=True)
    shown = re.sub(r"\s|\x1b\[[0-9;]*m", "", stream.getvalue().decode())
    for row in rows:
        for cell in row:
            letters = re.sub(r"\s", "", harmless(str(cell)))
            assert all(letter in shown for letter in letters)
    assert len(shown) >= sum(len(re.sub(r"\s", "", harmless(str(cell)))) for row in rows for cell in row)
