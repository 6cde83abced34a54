"""Whose bytes stand at a logical address, by the back references of the extent tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from forensics.filesystems.btrfs.chunks import NodeReader
from forensics.filesystems.btrfs.items import LAST, ItemTree
from forensics.filesystems.btrfs.subvolumes import Leaf, Root
from parsers import btrfs
from parsers.btrfs_extents import EXTENT_DATA_REF, EXTENT_ITEM, SHARED_DATA_REF, DataRef, data_ref, data_refs
from parsers.errors import EvidenceError, FormatError

_PLACE = btrfs.file_extent.size


class Owner(NamedTuple):
    """A file, by the tree that it is in or was in when its leaf was written, and its byte that stands at the address."""

    tree: int
    objectid: int
    offset: int


def owners(reader: NodeReader, root: Root | None, address: int) -> list[Owner]:
    """The files that have a logical address, sorted; none where the extent tree does not tell. root: of the extent tree."""
    if root is None:
        return []
    try:
        return sorted(set(_owners(reader, ItemTree(reader, root), address)))
    except (FormatError, EvidenceError):
        return []


def _owners(reader: NodeReader, tree: ItemTree, address: int) -> Iterator[Owner]:
    last = tree.before((address, LAST, 0))
    start = last[0][0] if last is not None else 0
    for (_, kind, offset), item in tree.between((start, EXTENT_ITEM, 0), (start, SHARED_DATA_REF, LAST)):
        refs: list[DataRef] = []
        if kind == EXTENT_ITEM and address < start + offset:
            refs = data_refs(item.data)
        elif kind == EXTENT_DATA_REF:
            refs = data_ref(item.data)
        elif kind == SHARED_DATA_REF:
            refs = [DataRef(0, 0, 0, offset)]
        for ref in refs:
            if ref.leaf is None:
                yield Owner(ref.root, ref.objectid, (ref.offset + address - start) & LAST)
            else:
                yield from _in_leaf(reader, ref.leaf, start, address)


def _in_leaf(reader: NodeReader, at: int, start: int, address: int) -> Iterator[Owner]:
    """The files in a leaf that have the extent which begins at an address."""
    leaf = Leaf(at, reader.node(at, 0))
    tree = btrfs.node_header.fields(leaf.data)["owner"]
    for objectid, kind, offset, place, length in leaf.items():
        if kind != btrfs.EXTENT_DATA or length < _PLACE + btrfs.file_extent_place.size:
            continue
        disk, _, skip, _ = btrfs.file_extent_place.unpack(leaf.data, place + _PLACE)
        if disk == start:
            yield Owner(tree, objectid, (offset - skip + address - start) & LAST)
