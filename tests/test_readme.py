"""The README knows every command and every view, with its columns."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from forensics import cli
from forensics.case import schema
from forensics.findings.all import texts
from reports.datasette import VIEWS as DESCRIBED

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def section(title):
    """The text below a heading, up to the next one of its depth."""
    return re.split(r"^## ", README.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text, cells):
    """The rows of the tables in a text that have so many cells, as lists of them."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines if len(line) == cells]


def views():
    """Each view of a case file with its columns."""
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.executescript(schema.TABLES)
        memory.executescript(schema.VIEWS)
        names = [name for (name,) in memory.execute("SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name")]
        return {name: [column[1] for column in memory.execute(f"PRAGMA table_info({name})")] for name in names}


VIEWS = views()
DOCUMENTED = {cell.strip("`"): columns for cell, _what, columns in rows(section("The case file").partition("\n### ")[0], 3)[2:]}
COMMANDS = {name for cell, _what in rows(section("Commands"), 2) for name in re.findall(r"`([a-z]+)", cell)}


@pytest.mark.parametrize("command", [command.__name__ for command in cli.COMMANDS])
def test_every_command_is_in_the_readme(command):
    assert command in COMMANDS


def test_the_readme_names_no_command_that_is_not_there():
    assert {command.__name__ for command in cli.COMMANDS} >= COMMANDS


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_in_the_readme_with_its_columns(view):
    assert view in DOCUMENTED, f"the README's table of views has no {view}"
    told = DOCUMENTED[view]
    if told.startswith("as `files`"):
        told = f"{told} {DOCUMENTED['files']}"
    missing = [column for column in VIEWS[view] if not re.search(rf"\b{column}\b", told)]
    assert missing == []


def test_datasette_is_told_what_each_view_is():
    assert {name for name, _description in DESCRIBED} == set(VIEWS)


def test_the_readme_names_no_view_that_is_not_there():
    assert set(DOCUMENTED) <= set(VIEWS)


def test_the_paths_on_the_map_exist():
    root = Path(__file__).resolve().parent.parent
    named = re.findall(r"`((?:forensics|parsers|reports|samples|tests)/[\w./*-]*)`", section("Where is ...?"))
    assert len(named) > 10
    assert [path for path in named if not list(root.glob(path.rstrip("/")))] == []


def test_every_rule_is_in_the_readme_as_it_is():
    told = {cells[0].strip("`"): (cells[1], cells[3]) for cells in rows(section("Findings"), 4)[2:]}
    told.pop("yara")
    assert told == {text.name: (text.severity, ", ".join(text.attack)) for text in texts()}
