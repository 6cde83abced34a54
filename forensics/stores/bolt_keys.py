"""All keys of a store's bbolt file as records: the live ones, and what old pages still hold of others."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.file_source import FileSource
from forensics.records import BoltKey
from forensics.stores.bolt import open_database
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.bbolt_tree import Key
from parsers.errors import FormatError

ARTEFACT = "bbolt file"
MAX_VALUE = 64 << 10  # bytes of a value that are kept
MAX_KEPT = 16 << 20  # bytes of a file's live values, and as much again of its old ones; what comes then is listed without
MAX_LISTED = 32 << 20  # bytes of a file whose keys are listed: what a larger one tells, live and old, stands in records


def bolt_keys(reader: StoreReader, database: Place) -> Iterator[BoltKey]:
    """Every key with a value, live ones first; the bucket path of a stale key may lack its beginning.

    state: live, or as in parsers.bbolt_free. Problems of the live tree are not told again: whoever read the store told them.
    """
    bolt = open_database(reader, database, ARTEFACT)
    if bolt is None:
        return
    source = FileSource(database.fs, database.inode, readable(database.path))
    kept = {True: 0, False: 0}

    def record(key: Key, value: bytes, state: str, txid: int | None) -> BoltKey:
        live = state == "live"
        room = kept[live] < MAX_KEPT
        kept[live] += min(len(value), MAX_VALUE)
        stored = value[:MAX_VALUE] if room else None
        offset = source.locate(key.offset)
        return BoltKey(source.name, key.bucket, key.key, stored, len(value), key.page, offset, state, txid, database.partition)

    try:
        if source.size > MAX_LISTED:
            error = f"{source.size} bytes: its keys are not listed in bolt_keys; ctrforensics bolt --deleted lists them"
            reader.gap(ARTEFACT, error, database)
            return
        for key in bolt.walk():
            if key.value is not None:
                yield record(key, key.value, "live", bolt.txid)
        for gone in bolt.deleted():
            if gone.key.value is not None:
                yield record(gone.key, gone.key.value, gone.state, gone.txid)
    except FormatError as error:
        reader.gap(ARTEFACT, error.what, database, error.offset)
