"""A bbolt file in a store: its live keys, each with its place on the disk."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.file_source import FileSource
from forensics.records import Provenance
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.bbolt import Bolt, open_bolt
from parsers.bbolt_tree import Key
from parsers.errors import FormatError

MAX_VALUE = 4 << 20


def live_keys(
    reader: StoreReader, database: Place | None, artefact: str, bucket: tuple[bytes, ...]
) -> Iterator[tuple[bytes, bytes, Provenance]]:
    """The keys and values right in a bucket, in key order; what is damaged, and what is larger than any record, becomes a gap."""
    if database is None:
        return
    bolt = open_database(reader, database, artefact)
    if bolt is None:
        return
    source = FileSource(database.fs, database.inode, readable(database.path))
    try:
        for key in bolt.walk(start=bucket, deep=False):
            if key.value is None:
                continue
            if len(key.value) > MAX_VALUE:
                reader.gap(artefact, f"{readable(key.key[:80])}: a value of {len(key.value)} bytes", database, key.offset)
                continue
            where = Provenance(database.partition, source.name, database.inode, source.locate(key.offset))
            yield key.key, key.value, where
    except FormatError as error:
        reader.gap(artefact, error.what, database, error.offset)
    for problem in bolt.problems:
        reader.gap(artefact, problem.what, database, problem.offset)


def open_database(reader: StoreReader, database: Place, artefact: str) -> Bolt | None:
    """A bbolt file, open; None, and a gap, where it is none or has no valid meta page."""
    try:
        if (kind := database.fs.inode(database.inode).type) != "f":
            raise FormatError(f"no regular file but of type {kind}")
        return open_bolt(FileSource(database.fs, database.inode, readable(database.path)))
    except FormatError as error:
        reader.gap(artefact, error.what, database, error.offset)
        return None


def walk_database(
    reader: StoreReader, database: Place, artefact: str, bolt: Bolt, bucket: tuple[bytes, ...] = ()
) -> Iterator[Key]:
    """Every live key in a bucket and below it, a bucket before its content; what is damaged becomes a gap."""
    yield from _with_gaps(reader, database, artefact, bolt, bolt.walk(start=bucket))


def walk_once(reader: StoreReader, database: Place, artefact: str, bolt: Bolt) -> Iterator[Key]:
    """As walk_database, of a whole file whose deleted keys are looked for afterwards."""
    yield from _with_gaps(reader, database, artefact, bolt, bolt.walk_once())


def _with_gaps(reader: StoreReader, database: Place, artefact: str, bolt: Bolt, keys: Iterator[Key]) -> Iterator[Key]:
    try:
        yield from keys
    except FormatError as error:
        reader.gap(artefact, error.what, database, error.offset)
    for problem in bolt.problems:
        reader.gap(artefact, problem.what, database, problem.offset)


def key_provenance(database: FileSource, partition: int, offset: int, how: str = "allocated") -> Provenance:
    """Where a key was read. offset: of the key in the file; its place on the disk is unknown where the file's map is damaged."""
    try:
        place = database.locate(offset)
    except FormatError:
        place = None  # told by the filesystem's problems
    return Provenance(partition, database.name, database.inode, place, how)
