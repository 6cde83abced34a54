"""A SQLite file inside the evidence, read as what it is: somebody else's bytes.

The bytes go into memory, with what a journal or a write-ahead log beside the file holds applied to them first. SQLite itself
never sees a file, for a forged journal could name one of the analyst's to it, and have it deleted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from forensics.filesystem import read_file
from forensics.stores.reading import Place, StoreReader
from forensics.text import counted
from parsers.errors import FormatError
from parsers.sqlite_file import database_image

MAX_DATABASE = 256 << 20
MAX_JOURNAL = 64 << 20
MAX_VALUE = 32 << 20
MAX_STEPS = 500  # of 100,000 virtual machine instructions each, for one query

ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""The second: names and messages that Python's module cannot decode."""

Row = tuple[object, ...]


def open_sqlite(reader: StoreReader, database: Place, directory: Place, artefact: str) -> sqlite3.Connection | None:
    """A database in memory, read-only in effect; None, and a gap, where it cannot be opened. directory: where it lies."""
    journal = _beside(reader, database, directory, b"-journal", artefact)
    log = _beside(reader, database, directory, b"-wal", artefact)
    problems: list[str] = []
    try:
        if (kind := database.fs.inode(database.inode).type) != "f":
            raise FormatError(f"no regular file but of type {kind}")
        image = database_image(read_file(database.fs, database.inode, MAX_DATABASE), journal, log, problems)
    except FormatError as error:
        reader.gap(artefact, str(error), database, error.offset)
        return None
    reader.tell(artefact, problems, database)
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(image)
        connection.text_factory = bytes
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        for pragma in (
            "trusted_schema=off",
            "writable_schema=on",
            "cell_size_check=on",
            "query_only=on",
            "mmap_size=0",
            "temp_store=memory",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except ERRORS as error:
        reader.gap(artefact, str(error), database)
        connection.close()
        return None
    return connection


def read_rows(
    reader: StoreReader, connection: sqlite3.Connection, place: Place, artefact: str, table: str, columns: Sequence[str]
) -> Iterator[Row]:
    """The rows of one table, by rowid. Text comes as bytes. Where the table is damaged, it is read from its other end, too."""
    try:
        kinds = connection.execute("SELECT sql FROM sqlite_master WHERE type='table' AND name=?", (table,)).fetchall()
    except ERRORS as error:
        reader.gap(artefact, f"{table}: {error}", place)
        return
    if not kinds or not isinstance(kinds[0][0], bytes) or kinds[0][0].upper().startswith(b"CREATE VIRTUAL"):
        reader.gap(artefact, f"has no table {table}", place)
        return
    seen: set[object] = set()
    names = ", ".join(f'"{column}" AS c{i}' for i, column in enumerate(columns))
    for order in ("ASC", "DESC"):
        budget = [MAX_STEPS]

        def tick(left: list[int] = budget) -> bool:
            left[0] -= 1
            return left[0] < 0

        connection.set_progress_handler(tick, 100_000)
        try:
            for row in connection.execute(f'SELECT rowid, {names} FROM "{table}" NOT INDEXED ORDER BY rowid {order}'):
                if row[0] not in seen:
                    seen.add(row[0])
                    yield row[1:]
            return
        except ERRORS as error:
            reader.gap(artefact, f"{table}: {error}; {counted(len(seen), 'row')} read", place)
        finally:
            connection.set_progress_handler(None, 0)


def _beside(reader: StoreReader, database: Place, directory: Place, suffix: bytes, artefact: str) -> bytes:
    place = reader.child(directory, database.name + suffix)
    return reader.load(place, f"{artefact}{suffix.decode()}", bytes, MAX_JOURNAL) or b""
