"""Removed containers in libpod's databases: bolt_state.db as Podman 4.3 left it, and db.sql with what SQLite itself leaves."""

import contextlib
import json
import lzma
import random
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.recovery.containers.libpod_bolt import bolt_clues
from forensics.recovery.containers.libpod_rows import database_clues
from forensics.recovery.join import join_containers
from forensics.stores.reading import Place
from parsers.sqlite_pages import freed_rows
from support.memory_filesystem import MemoryFilesystem

DATA = Path(__file__).parent.parent / "data" / "podman43"
ID, OTHER = "a1" * 32, "b2" * 32
SCHEMA = (
    "CREATE TABLE ContainerConfig (ID TEXT PRIMARY KEY NOT NULL, Name TEXT UNIQUE NOT NULL, PodID TEXT, JSON TEXT NOT NULL);"
    "CREATE TABLE ContainerState (ID TEXT PRIMARY KEY NOT NULL, State INTEGER NOT NULL, ExitCode INTEGER, JSON TEXT NOT NULL);"
    "CREATE TABLE ContainerExitCode (ID TEXT PRIMARY KEY NOT NULL, Timestamp INTEGER NOT NULL, ExitCode INTEGER NOT NULL);"
)


@pytest.fixture(scope="module")
def bolt_state():
    return lzma.decompress((DATA / "bolt_state.db.xz").read_bytes())


def place_of(**files):
    fs = MemoryFilesystem({name.replace("__", "-").replace("_", "."): content for name, content in files.items()})
    return Place(1, fs, fs.root, b"/")


def bolt_found(data):
    fs = MemoryFilesystem({"libpod": {"bolt_state.db": data}})
    return [record for record, _ in join_containers(bolt_clues(Place(1, fs, fs.root, b"/"), "podman:p1:/g"))]


def test_bolt_state_knows_what_was_removed_last_and_the_exit_codes_of_others(bolt_state):
    live = {each["Id"] for each in json.loads((DATA / "inspect.json").read_text())["containers"]}
    found = {each.container_id: each for each in bolt_found(bolt_state) if each.container_id not in live}
    names = {each.name: each for each in found.values()}
    assert len(found) == 2
    gone, ended = names["gone"], names[None]
    assert (gone.confidence, gone.state, gone.exit_code) == ("certain", "removing", 0)
    assert gone.command
    assert gone.created_ns < gone.started_ns < gone.finished_ns
    assert (ended.confidence, ended.exit_code, ended.command) == ("certain", 0, None)
    assert ended.finished_ns < gone.finished_ns
    hows = {source.where.how for source in gone.sources}
    assert {"previous tree, configuration of it", "previous tree, state of it", "allocated, exit code of it"} <= hows
    assert all(bolt_state[source.where.offset or 0 :] for source in gone.sources)


def test_what_is_live_in_bolt_state_is_told_by_exit_codes_at_most(bolt_state):
    live = {each["Id"] for each in json.loads((DATA / "inspect.json").read_text())["containers"]}
    fs = MemoryFilesystem({"libpod": {"bolt_state.db": bolt_state}})
    for clue in bolt_clues(Place(1, fs, fs.root, b"/"), "k"):
        if clue.record.container_id in live:
            assert clue.record.source.how in ("allocated, exit code of it", "allocated, time of exit of it")


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2**17), st.integers(0, 255)), max_size=8), st.integers(0, 2**17))
def test_a_damaged_bolt_state_ends(changes, cut):
    data = bytearray(lzma.decompress((DATA / "bolt_state.db.xz").read_bytes()))
    for at, value in changes:
        data[at % len(data)] = value
    for damaged in (bytes(data), bytes(data[:cut])):
        for record in bolt_found(damaged):
            assert len(record.container_id) == 64


def config(own, name, filler=0):
    return json.dumps({"spec": {"process": {"args": ["sh"], "env": ["A=1"]}}, "id": own, "name": name, "x": "y" * filler})


def opened(path, secure=False):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA secure_delete={'ON' if secure else 'OFF'}")
    connection.executescript(SCHEMA)
    return connection


def filled(path, filler, secure=False):
    """Three containers, of which the second is deleted: the page that it stood in is in use still."""
    with contextlib.closing(opened(path, secure)) as db:
        for number, own in enumerate((OTHER, ID, "c3" * 32)):
            db.execute(
                "INSERT INTO ContainerConfig VALUES (?, ?, NULL, ?)", (own, f"n{number}", config(own, f"n{number}", filler))
            )
            db.execute("INSERT INTO ContainerState VALUES (?, 6, 0, ?)", (own, json.dumps({"state": 6, "x": "y" * filler})))
        db.execute("INSERT INTO ContainerExitCode VALUES (?, 1700000000, 7)", (ID,))
        for table in ("ContainerConfig", "ContainerState"):
            db.execute(f"DELETE FROM {table} WHERE ID = ?", (ID,))
    return path.read_bytes()


def sql_found(**files):
    """The container that is not there any more."""
    clues = [clue for clue in database_clues(place_of(**files), "k") if clue.record.container_id == ID]
    return join_containers(clues)[0][0] if clues else None


@pytest.mark.parametrize("filler", [0, 300, 3000, 20_000])
def test_a_row_deleted_from_a_page_in_use_is_read_and_no_other(tmp_path, filler):
    found = sql_found(db_sql=filled(tmp_path / "db.sql", filler))
    assert (found.exit_code, found.finished_ns) == (7, 1_700_000_000_000_000_000)
    # where a row had a page for itself, SQLite put another one in its place
    assert (found.name, found.command) == (("n1", ("sh",)) if filler < 3000 else (None, None))
    assert found.state == ("exited" if filler == 300 else None)  # of the shortest cell, no type is left either
    assert found.confidence == "certain"


def test_where_sqlite_wiped_the_row_the_exit_code_is_left(tmp_path):
    found = sql_found(db_sql=filled(tmp_path / "db.sql", 0, secure=True))
    assert (found.name, found.command, found.exit_code, len(found.sources)) == (None, None, 7, 1)


@pytest.mark.parametrize("mode", ["PERSIST", "WAL"])
def test_what_lies_beside_the_database_is_read(tmp_path, mode):
    path = tmp_path / "db.sql"
    with contextlib.closing(opened(path, secure=True)) as db:
        db.execute(f"PRAGMA journal_mode={mode}")
        for own, name in ((OTHER, "other"), (ID, "gone")):
            db.execute("INSERT INTO ContainerConfig VALUES (?, ?, NULL, ?)", (own, name, config(own, name)))
        db.execute("BEGIN")
        db.execute("DELETE FROM ContainerConfig WHERE ID = ?", (ID,))
        if mode == "WAL":
            db.execute("COMMIT")
        else:  # the power goes before the journal is over
            db.execute("PRAGMA cache_spill=1")
            db.execute("PRAGMA cache_size=1")
            db.execute("CREATE TABLE x (y)")
            db.executemany("INSERT INTO x VALUES (?)", [("z" * 3000,)] * 50)
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path, copy, ignore=shutil.ignore_patterns("copy"))
    suffix = "wal" if mode == "WAL" else "journal"
    beside = (copy / f"db.sql-{suffix}").read_bytes()
    fs = MemoryFilesystem({"db.sql": (copy / "db.sql").read_bytes(), f"db.sql-{suffix}": beside})
    clues = [clue for clue in database_clues(Place(1, fs, fs.root, b"/"), "k") if clue.record.container_id == ID]
    assert any(clue.record.name == "gone" and suffix[:3] in clue.record.source.path for clue in clues)
    assert {clue.confidence for clue in clues} == {"certain"}


def test_a_row_that_is_there_is_not_told_twice(tmp_path):
    data = filled(tmp_path / "db.sql", 0)
    ids = [clue.record.container_id for clue in database_clues(place_of(db_sql=data), "k") if clue.record.name is not None]
    assert sorted(ids) == sorted(set(ids))


@given(st.binary(min_size=512, max_size=512), st.integers(0, 500), st.sampled_from([3, 4]))
def test_freed_rows_take_any_page(data, at, columns):
    page = bytes([13]) + data[1:at] + b"\x81\x0d\x17\x00\x17" + data[at + 5 :]
    for row in freed_rows(page, 2, lambda number: page, columns):
        assert len(row.values) == columns


def test_pages_of_noise_are_survived(tmp_path):
    data = bytearray(filled(tmp_path / "db.sql", 3000))
    rng = random.Random(4)
    for _ in range(60):
        at = rng.randrange(100, len(data) - 64)
        data[at : at + 16] = rng.randbytes(16)
        for clue in database_clues(place_of(db_sql=bytes(data)), "k"):
            assert len(clue.record.container_id) == 64


def test_what_a_moved_database_has(bolt_state):
    """Podman 5.8 moves to db.sql and keeps bolt_state.db-old, with the containers of that time, as podman inspect told them."""
    fs = MemoryFilesystem({"libpod": {"bolt_state.db-old": bolt_state}})
    found = [record for record, _ in join_containers(bolt_clues(Place(1, fs, fs.root, b"/"), "podman:p1:/g"))]
    moved = {each.container_id: each for each in found}
    for told in json.loads((DATA / "inspect.json").read_text())["containers"]:
        record = moved[told["Id"]]
        assert (record.name, record.image, record.confidence) == (told["Name"], told["ImageName"] or None, "certain")
        assert (record.state, record.exit_code) == (told["Status"], told["ExitCode"])


def test_an_old_database_that_is_damaged_tells_less_and_ends_nothing(bolt_state):
    for seed in range(150):
        rng, data = random.Random(seed), bytearray(bolt_state)
        if seed % 5 == 0:
            del data[rng.randrange(len(data)) :]
        for _ in range(rng.choice((1, 5, 50, 1000)) if data else 0):
            data[rng.randrange(len(data))] = rng.choice((0, 255, rng.randrange(256)))
        fs = MemoryFilesystem({"libpod": {"bolt_state.db-old": bytes(data)}})
        start = time.monotonic()
        for clue in bolt_clues(Place(1, fs, fs.root, b"/"), "store"):
            assert clue.record.container_id is None or len(clue.record.container_id) <= 64
        assert time.monotonic() - start < 5
