"""Btrfs: what space is allocated, to which trees and files, and where checksums of contents stand.

Source: Linux 6.12, include/uapi/linux/btrfs_tree.h; fs/btrfs/{extent-tree.c,backref.c,file-item.c}.
"""

from __future__ import annotations

from typing import NamedTuple

from construct import Int8ul, Int32ul, Int64ul, Struct

from parsers.errors import FormatError
from parsers.layout import Layout

EXTENT_CSUMS, EXTENT_CSUM = (1 << 64) - 10, 128
EXTENT_ITEM, METADATA_ITEM, TREE_BLOCK_REF, EXTENT_DATA_REF = 168, 169, 176, 178
SHARED_BLOCK_REF, SHARED_DATA_REF, EXTENT_OWNER_REF = 182, 184, 172
DATA, TREE_BLOCK = 1, 2

extent_item = Layout(Struct("refs" / Int64ul, "generation" / Int64ul, "flags" / Int64ul))
extent_data_ref = Layout(Struct("root" / Int64ul, "objectid" / Int64ul, "offset" / Int64ul, "count" / Int32ul))
inline_ref = Layout(Struct("type" / Int8ul, "offset" / Int64ul))
_MORE = {TREE_BLOCK_REF: 0, SHARED_BLOCK_REF: 0, EXTENT_OWNER_REF: 0, SHARED_DATA_REF: 4}
"""Bytes behind an inline reference of each type."""


class DataRef(NamedTuple):
    """A file that has an extent: by its inode and where in it the extent's first byte would be; or by the leaf that names it."""

    root: int
    objectid: int
    offset: int
    leaf: int | None = None


def data_refs(item: bytes) -> list[DataRef]:
    """The files that an EXTENT_ITEM names."""
    if len(item) < extent_item.size:
        raise FormatError("an extent item is cut short")
    found: list[DataRef] = []
    at = extent_item.size
    if not extent_item.unpack(item)[2] & DATA:
        return found
    while at + inline_ref.size <= len(item):
        kind, offset = inline_ref.unpack(item, at)
        if kind == EXTENT_DATA_REF:
            found += data_ref(item[at + 1 :])
            at += 1 + extent_data_ref.size
        elif kind in _MORE:
            if kind == SHARED_DATA_REF:
                found.append(DataRef(0, 0, 0, offset))
            at += inline_ref.size + _MORE[kind]
        else:
            raise FormatError(f"an extent with a reference of type {kind}")
    return found


def data_ref(item: bytes) -> list[DataRef]:
    """The file that an EXTENT_DATA_REF names."""
    return [DataRef(*extent_data_ref.unpack(item)[:3])] if len(item) >= extent_data_ref.size else []
