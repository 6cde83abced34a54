"""All keys of a store's bbolt file as records: the live ones, and what old pages still hold of others."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.file_source import FileSource
from forensics.records import BoltKey
from forensics.stores.bolt import MAX_VALUE, open_database
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.bbolt_tree import Key


def bolt_keys(reader: StoreReader, database: Place, artefact: str) -> Iterator[BoltKey]:
    """Every key with a value, live ones first; the bucket path of a stale key may lack its beginning.

    state: live, or as in parsers.bbolt_free. Problems of the live tree are not told again: whoever read the store told them.
    """
    bolt = open_database(reader, database, artefact)
    if bolt is None:
        return
    source = FileSource(database.fs, database.inode, readable(database.path))

    def record(key: Key, value: bytes, state: str, txid: int) -> BoltKey:
        offset = source.locate(key.offset)
        return BoltKey(source.name, key.bucket, key.key, value[:MAX_VALUE], key.page, offset, state, txid)

    for key in bolt.walk():
        if key.value is not None:
            yield record(key, key.value, "live", bolt.txid)
    for gone in bolt.deleted():
        if gone.key.value is not None:
            yield record(gone.key, gone.key.value, gone.state, gone.txid)
