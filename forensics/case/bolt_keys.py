"""Keys of stores' bbolt files on their way into the table `bolt_key`."""

from __future__ import annotations

import json
from typing import Any

from forensics.records import BoltKey
from forensics.text import raw_if_unequal, readable

COLUMNS = (
    "file", "bucket", "key", "key_raw", "value", "value_bytes", "page", "offset", "state", "txid", "partition",
)  # fmt: skip


def bolt_row(key: BoltKey) -> tuple[Any, ...]:
    """A row of the columns."""
    text, bucket = readable(key.key), json.dumps([readable(name) for name in key.bucket], ensure_ascii=False)
    raw = raw_if_unequal(key.key, text)
    return (
        key.file, bucket, text, raw, key.value, key.value_bytes, key.page, key.offset, key.state, key.txid, key.partition,
    )  # fmt: skip
