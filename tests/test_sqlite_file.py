"""A database with a journal or a log beside it, as SQLite itself would open it; and one that nobody should open."""

import shutil
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.stores.reading import Place, StoreReader
from forensics.stores.sqlite import open_sqlite, read_rows
from parsers.errors import FormatError
from parsers.sqlite_file import database_image
from support.memory_filesystem import MemoryFilesystem


def rows_in(image):
    connection = sqlite3.connect(":memory:")
    connection.deserialize(image)
    try:
        return connection.execute("SELECT id, text FROM t ORDER BY id").fetchall()
    finally:
        connection.close()


def filled(path, *pragmas, page_size=4096):
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in (f"page_size={page_size}", *pragmas):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO t VALUES (?, ?)", [(i, f"row {i} " * 40) for i in range(400)])
    connection.execute("COMMIT")
    return connection


def power_cut(path, to):
    """The files as they are on the disk now."""
    for suffix in ("", "-journal", "-wal"):
        if path.with_name(path.name + suffix).exists():
            shutil.copy(path.with_name(path.name + suffix), to / f"db{suffix}")
    return [(to / f"db{suffix}").read_bytes() if (to / f"db{suffix}").exists() else b"" for suffix in ("", "-journal", "-wal")]


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
@pytest.mark.parametrize("sync", ["full", "off"])
def test_an_open_transaction_is_rolled_back(tmp_path, page_size, sync):
    """The transaction is larger than the cache, so that a part of it stands in the file already."""
    connection = filled(tmp_path / "x.db", f"synchronous={sync}", "cache_size=5", page_size=page_size)
    before = connection.execute("SELECT id, text FROM t ORDER BY id").fetchall()
    connection.execute("BEGIN")
    connection.execute("UPDATE t SET text = 'changed ' || text || text WHERE id % 2")
    connection.executemany("INSERT INTO t VALUES (?, ?)", [(i, "new " * 200) for i in range(1000, 1400)])
    (tmp_path / "cut").mkdir()
    data, journal, _ = power_cut(tmp_path / "x.db", tmp_path / "cut")
    connection.close()
    assert journal
    problems = []
    assert rows_in(database_image(data, journal, b"", problems)) == before
    assert problems == []


def test_a_journal_that_is_over_changes_nothing(tmp_path):
    connection = filled(tmp_path / "x.db", "journal_mode=persist")
    expected = connection.execute("SELECT id, text FROM t ORDER BY id").fetchall()
    data, journal, _ = power_cut(tmp_path / "x.db", tmp_path)
    connection.close()
    assert journal
    assert rows_in(database_image(data, journal, b"", [])) == expected


@pytest.mark.parametrize("page_size", [512, 4096])
def test_a_log_that_was_not_checkpointed_is_applied(tmp_path, page_size):
    connection = filled(tmp_path / "x.db", "journal_mode=wal", "wal_autocheckpoint=0", page_size=page_size)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.execute("DELETE FROM t WHERE id % 3 = 0")
    connection.executemany("INSERT INTO t VALUES (?, ?)", [(i, "later " * 100) for i in range(1000, 1100)])
    expected = connection.execute("SELECT id, text FROM t ORDER BY id").fetchall()
    connection.execute("PRAGMA cache_size=5").fetchall()
    connection.execute("BEGIN")
    connection.execute("UPDATE t SET text = 'never committed ' || text")
    data, _, log = power_cut(tmp_path / "x.db", tmp_path)
    connection.close()
    problems = []
    assert rows_in(database_image(data, b"", log, problems)) == expected
    assert problems == []
    assert rows_in(database_image(data, b"", b"", [])) != expected


def test_what_is_no_database():
    for data in (b"", b"SQLite format 3\0", bytes(4096), b"SQLite format 3\0" + b"\3\3" + bytes(90)):
        with pytest.raises(FormatError):
            database_image(data, b"", b"", [])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_a_damaged_database_ends(data):
    """Whatever is in the file, it gives rows or gaps, and no more than fit in it."""
    image = bytearray(small_database())
    for _ in range(data.draw(st.integers(1, 30))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    del image[data.draw(st.integers(100, len(image))) :]
    rows, gaps = read(bytes(image), data.draw(st.binary(max_size=200)))
    assert len(rows) <= len(image) // 4
    assert rows or gaps


def test_what_stands_behind_a_damaged_page_is_read():
    image = bytearray(small_database())
    page = len(image) // 4096 // 2
    image[page * 4096 : page * 4096 + 4096] = b"\xff" * 4096
    rows, gaps = read(bytes(image))
    assert {0, 299} <= set(rows)
    assert 200 < len(rows) < 300
    assert gaps


def test_a_schema_that_runs_things_is_not_obeyed():
    """A view in place of the table is no table; a query in it would be the forger's."""
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE VIEW t AS WITH RECURSIVE r(id) AS (SELECT 1 UNION ALL SELECT id FROM r) SELECT id, '' AS text FROM r"
    )
    rows, gaps = read(connection.serialize())
    connection.close()
    assert rows == []
    assert [gap.error for gap in gaps] == ["has no table t"]


def small_database():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (id INTEGER, text TEXT)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", [(i, f"row {i} " * 40) for i in range(300)])
    image = connection.serialize()
    connection.close()
    return image


def read(image, journal=b""):
    fs = MemoryFilesystem({"x.db": image, "x.db-journal": journal})
    reader, directory = StoreReader(), Place(1, fs, fs.root, b"/")
    database = reader.child(directory, b"x.db")
    connection = open_sqlite(reader, database, directory, "database")
    if connection is None:
        return [], reader.gaps
    rows = [row[0] for row in read_rows(reader, connection, database, "database", "t", ("id", "text"))]
    connection.close()
    return rows, reader.gaps
