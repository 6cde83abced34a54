"""The case file's writer, in this process and in one of its own: the same content, no half case, nobody left behind."""

import contextlib
import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from forensics import pipeline
from forensics.case.parcel import ROWS
from forensics.case.schema import SCHEMA_VERSION
from forensics.case.writer import CaseWriter
from forensics.pipeline import CarveOptions
from forensics.progress import Silent
from forensics.records import Gap
from parsers.errors import CaseError

either = pytest.mark.parametrize("own_process", [False, True])
EVENT = ("time_ns", "event", "source", "message", "confidence")


def content(path):
    """All rows of all tables that two runs must have alike."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        rows = {name: db.execute(f'SELECT * FROM "{name}" ORDER BY 1, 2').fetchall() for name in tables if name != "run"}
        shape = db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
        return rows, shape, db.execute("PRAGMA user_version").fetchone()


def test_a_process_of_its_own_writes_the_same(sample, tmp_path, monkeypatch):
    pipeline.carve([sample("webshop")], tmp_path / "here.db", CarveOptions(), Silent())
    monkeypatch.setattr(pipeline, "LARGE", 0)
    pipeline.carve([sample("webshop")], tmp_path / "there.db", CarveOptions(), Silent())
    here, there = content(tmp_path / "here.db"), content(tmp_path / "there.db")
    assert here == there
    assert len(here[0]["entry"]) > 400
    assert here[2] == (SCHEMA_VERSION,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.db", "there.db"]


@either
def test_many_rows_go_in_as_they_come(own_process, tmp_path):
    rows = ((n, "created", "test", f"event {n}", "certain") for n in range(3 * ROWS + 7))
    with CaseWriter(tmp_path / "case.db", own_process) as case:
        case.insert_rows("event", EVENT, rows)
    with contextlib.closing(sqlite3.connect(tmp_path / "case.db")) as db:
        found = db.execute("SELECT time_ns, message FROM event ORDER BY id").fetchall()
    assert found == [(n, f"event {n}") for n in range(3 * ROWS + 7)]


@either
def test_rows_that_are_numbered_can_be_referred_to_at_once(own_process, tmp_path):
    with CaseWriter(tmp_path / "case.db", own_process) as case:
        numbers = [
            case.insert("log_file", {"format": "json-file", "partition": 1, "path": f"/{n}", "origin": "x"}) for n in "abc"
        ]
    with contextlib.closing(sqlite3.connect(tmp_path / "case.db")) as db:
        assert db.execute("SELECT id, path FROM log_file ORDER BY id").fetchall() == list(
            zip(numbers, ("/a", "/b", "/c"), strict=True)
        )


@either
def test_what_no_column_can_hold_is_replaced_and_numbers_are_gaps(own_process, tmp_path):
    columns = ("id", "format", "partition", "path", "inode", "origin")
    rows = [
        (1, "a", 1, "/1", 7, "x"),
        (2, "b\ud800", 1, "/2", 1 << 64, "x"),
        (3, "c", 1, "/3", None, "x"),
        (4, "\udfff", 1, "/", 1, "x"),
    ]
    with CaseWriter(tmp_path / "case.db", own_process) as case:
        case.insert_rows("log_file", columns, rows)
        with case.analysis():
            assert case.gap_count == 1
    with contextlib.closing(sqlite3.connect(tmp_path / "case.db")) as db:
        found = db.execute("SELECT id, format, inode FROM log_file ORDER BY id").fetchall()
        gaps = db.execute("SELECT artefact, error FROM gaps").fetchall()
    assert found == [(1, "a", 7), (2, "b\\ud800", None), (3, "c", None), (4, "\\udfff", 1)]
    assert gaps == [("log_file.inode", f"the number {1 << 64} is too large to be kept")]


@either
def test_analysis_reads_what_was_written_and_adds_to_it(own_process, tmp_path):
    with CaseWriter(tmp_path / "case.db", own_process) as case:
        case.insert_rows("event", EVENT, [(5, "created", "test", "first", "certain")])
        case.gaps([Gap("one", "early")])
        with case.analysis() as db:
            found = db.execute("SELECT time_ns, time, message FROM timeline").fetchall()
            assert found == [(5, "1970-01-01T00:00:00.000000005Z", "first")]
            assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'entry_path'").fetchone() == (1,)
            case.insert_rows(
                "event", EVENT, [(time_ns + 1, "seen", "test", message, "inferred") for time_ns, _, message in found]
            )
        with case.analysis() as db:
            assert db.execute("SELECT count(*) FROM timeline").fetchone() == (2,)
        case.gaps([Gap("another", "late")])
        assert case.gap_count == 2
    with contextlib.closing(sqlite3.connect(tmp_path / "case.db")) as db:
        assert db.execute("SELECT event FROM timeline ORDER BY time_ns").fetchall() == [("created",), ("seen",)]
        assert db.execute("SELECT artefact FROM gaps").fetchall() == [("one",), ("another",)]


@either
def test_what_goes_wrong_leaves_no_file_and_no_process(own_process, tmp_path):
    with pytest.raises(RuntimeError, match="boo"), CaseWriter(tmp_path / "case.db", own_process) as case:
        case.insert_rows("event", EVENT, [(5, "created", "test", "first", "certain")] * 5 * ROWS)
        raise RuntimeError("boo")
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []


@either
def test_a_case_file_that_cannot_be_made_says_so_at_once(own_process, tmp_path):
    with pytest.raises(CaseError, match="choose another place with -o"), CaseWriter(tmp_path / "no" / "case.db", own_process):
        pass
    assert multiprocessing.active_children() == []


@either
def test_rows_that_the_tables_refuse_are_an_error(own_process, tmp_path):
    with (
        pytest.raises(CaseError, match=r"NOT NULL constraint failed: event\.message"),
        CaseWriter(tmp_path / "case.db", own_process) as case,
    ):
        for _ in range(40):  # more than are ever on the way: the writer waits for nobody who has failed
            case.insert_rows("event", EVENT, [(5, "created", "test", None, "certain")] * ROWS)
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []


def test_a_killed_process_is_one_line_and_not_waited_for(tmp_path):
    with pytest.raises(CaseError, match="ended before its time"), CaseWriter(tmp_path / "case.db", own_process=True) as case:
        case.insert_rows("event", EVENT, [(5, "created", "test", "first", "certain")] * ROWS)
        (child,) = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGKILL)
        for _ in range(40):
            case.insert_rows("event", EVENT, [(5, "created", "test", "first", "certain")] * ROWS)
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []


CARVE = """
import resource, sys
from forensics import pipeline
from forensics.cli import main
if __name__ == "__main__":
    pipeline.LARGE = 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    main()
"""


def test_a_full_disk_is_one_line_whoever_writes(sample, tmp_path):
    program = tmp_path / "carve.py"
    program.write_text(CARVE)
    case = tmp_path / "out" / "case.db"
    case.parent.mkdir()
    done = subprocess.run(
        [sys.executable, program, "carve", sample("webshop"), "-o", case],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert re.fullmatch(rf"ctrforensics: {case}: the case file cannot be (written|completed) \(.*\).*\n", done.stderr), (
        done.stderr
    )
    assert list(case.parent.iterdir()) == []


WAIT = """
import multiprocessing, sys, time
from pathlib import Path
from forensics.case.writer import CaseWriter
if __name__ == "__main__":
    with CaseWriter(Path(sys.argv[1]), own_process=True) as case:
        case.insert_rows("event", ("time_ns",), [(1,)])
        print(multiprocessing.active_children()[0].pid, flush=True)
        time.sleep(100)
"""


def test_nothing_outlives_a_carve_that_is_killed(tmp_path):
    program = tmp_path / "wait.py"
    program.write_text(WAIT)
    case = tmp_path / "out" / "case.db"
    case.parent.mkdir()
    with subprocess.Popen([sys.executable, program, case], stdout=subprocess.PIPE, text=True) as started:
        child = int(started.stdout.readline())
        assert [path.suffix for path in case.parent.iterdir()] == [".partial"]
        started.kill()
    end = time.monotonic() + 30
    while (list(case.parent.iterdir()) or is_running(child)) and time.monotonic() < end:
        time.sleep(0.02)
    assert list(case.parent.iterdir()) == []
    assert not is_running(child)


def is_running(number):
    try:
        with open(f"/proc/{number}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
