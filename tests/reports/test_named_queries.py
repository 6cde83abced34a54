"""Queries that have names, and what datasette is told about a case file."""

import json
import sqlite3
from contextlib import closing

import pytest

from forensics import cli
from reports.datasette import VIEWS, metadata
from reports.queries import QUERIES
from support.cli import ask


@pytest.fixture(scope="module")
def shop(carved):
    return carved("webshop")


def run(capfd, *words, expect=0):
    code = cli.run([str(word) for word in words])
    printed = capfd.readouterr()
    assert code == expect, printed.err
    return printed.out if expect == 0 else printed.err


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_every_query_runs_and_says_what_it_is_for(query, shop, capfd):
    rows = json.loads(run(capfd, "query", shop, query.name, "-f", "json"))
    assert isinstance(rows, list)
    assert query.title
    assert query.description.endswith(".")
    assert set(query.parameters) <= {"container", "time", "minutes", "text", "sha", "path"}


def test_names_of_queries_are_no_sql_and_come_once():
    assert len({query.name for query in QUERIES}) == len(QUERIES) >= 20
    assert not [query.name for query in QUERIES if not query.name.replace("-", "").isalpha()]


def test_queries_are_listed_without_a_case(capfd):
    listed = run(capfd, "query", "--list").splitlines()
    assert [line.split()[0] for line in listed[1:]] == [query.name for query in QUERIES]
    rows = [json.loads(line) for line in run(capfd, "query", "--list", "-f", "jsonl").splitlines()]
    assert rows[0]["sql"] == QUERIES[0].sql


def test_a_parameter_chooses(shop, capfd):
    everywhere = json.loads(run(capfd, "query", shop, "new-programs", "-f", "json"))
    some = json.loads(run(capfd, "query", shop, "new-programs", "container=debug", "-f", "json"))
    assert some
    assert some == [row for row in everywhere if row["container"] == "debug"] != everywhere
    begin = ask(shop, "SELECT container_id FROM containers WHERE name = 'debug'")[0]["container_id"][:8]
    assert json.loads(run(capfd, "query", shop, "new-programs", f"container={begin}", "-f", "json")) == some
    (row, *_more) = some
    assert row["path"] in run(capfd, "query", shop, "hash", f"sha={row['sha256'][:16].upper()}")


def test_queries_find_what_is_there(shop, capfd):
    assert {row["name"] for row in json.loads(run(capfd, "query", shop, "running", "-f", "json"))} == {
        row["name"] for row in ask(shop, "SELECT name FROM containers WHERE state IN ('running', 'paused')")
    }
    assert "debug" in run(capfd, "query", shop, "privileged")
    assert "/run/docker.sock" in run(capfd, "query", shop, "host-mounts")
    assert "/usr/bin/.su" in run(capfd, "query", shop, "setuid", "container=debug")
    assert "10.20.30.2" in run(capfd, "query", shop, "addresses")


def test_a_parameter_is_no_sql(shop, capfd):
    assert json.loads(run(capfd, "query", shop, "setuid", "container=' OR 1=1 --", "-f", "json")) == []


def test_parameters_of_ones_own(shop, capfd):
    assert "debug" in run(capfd, "query", shop, "SELECT name FROM containers WHERE name = :who", "who=debug")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["setuid", "owner=1"], "it has container"),
        (["running", "container=x"], "it has none"),
        (["setuid", "debug"], "NAME=VALUE"),
        (["setuids"], "--list"),
        (["SELECT :a"], "a"),
        ([], "--list"),
    ],
)
def test_wrong_parameters_end_in_one_line(words, hint, shop, capfd):
    said = run(capfd, "query", shop, *words, expect=2)
    assert said.count("\n") == 1
    assert hint in said


def test_datasette_is_told_of_every_view(shop, tmp_path, capfd):
    there = {name for name, _description in VIEWS}
    run(capfd, "datasette", shop, "-o", tmp_path / "metadata.json")
    told = json.loads((tmp_path / "metadata.json").read_text())
    with closing(sqlite3.connect(shop)) as db:
        assert told == metadata(db, shop)
    (database,) = told["databases"].values()
    assert list(told["databases"]) == [shop.stem]
    assert all(table.get("hidden") or table["description"] for table in database["tables"].values())
    assert {name for name, table in database["tables"].items() if not table.get("hidden")} == there
    assert set(database["queries"]) == {query.name for query in QUERIES}


def test_views_and_queries_need_no_function_of_ours(shop):
    """Datasette and other programs open a case file with SQLite alone."""
    with closing(sqlite3.connect(shop)) as db:
        for name, _description in VIEWS:
            db.execute(f"SELECT * FROM {name}").fetchall()
        for query in QUERIES:
            db.execute(query.sql, dict.fromkeys(query.parameters, "")).fetchall()
