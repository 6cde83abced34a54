"""A bucket of a bbolt file in a store: its live keys, each with its place on the disk."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.file_source import FileSource
from forensics.records import Provenance
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.bbolt import open_bolt
from parsers.errors import FormatError

MAX_VALUE = 4 << 20


def live_keys(
    reader: StoreReader, database: Place | None, artefact: str, bucket: tuple[bytes, ...]
) -> Iterator[tuple[bytes, bytes, Provenance]]:
    """The keys and values right in a bucket, in key order; what is damaged, and what is larger than any record, becomes a gap."""
    if database is None:
        return
    source = FileSource(database.fs, database.inode, readable(database.path))
    try:
        if (kind := database.fs.inode(database.inode).type) != "f":
            raise FormatError(f"no regular file but of type {kind}")
        bolt = open_bolt(source)
    except FormatError as error:
        reader.gap(artefact, error.what, database, error.offset)
        return
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
