"""Tree nodes that no tree has any more: what earlier transactions left in the space of metadata.

A node is never changed where it stands: each transaction writes what it changes to other places, and what was there before lies
in free space until that is given out again. Each such node has its checksum, its place, its tree and its transaction in its head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from forensics.filesystems.btrfs.chunks import NodeReader
from forensics.filesystems.btrfs.forest import is_subvolume
from forensics.filesystems.btrfs.subvolumes import Leaf, Root
from parsers import btrfs
from parsers.btrfs_names import ROOT_TREE
from parsers.errors import EvidenceError, FormatError

STEP = 4 << 20
MAX_NODES = 1 << 22


class StaleNode(NamedTuple):
    """A node of an earlier transaction, by its logical address."""

    address: int
    generation: int
    tree: int
    level: int


def nodes_in_use(reader: NodeReader, roots: Iterable[Root]) -> set[int]:
    """The addresses of all nodes of some trees, as far as those above them can be read."""
    found: set[int] = set()
    pending = list(roots)
    while pending and len(found) <= MAX_NODES:
        at = pending.pop()
        if at.address in found:
            continue
        found.add(at.address)
        if 0 < at.level < btrfs.MAX_LEVEL:
            try:
                data = reader.node(at.address, at.level, at.generation)
            except (FormatError, EvidenceError):
                continue
            pending += [Root(address, at.level - 1, generation) for *_, address, generation in Leaf(at.address, data).pointers()]
    return found


def stale_nodes(reader: NodeReader, in_use: set[int]) -> Iterator[StaleNode]:
    """The whole nodes of subvolumes, root tree and checksum tree that stand in the space of metadata and are not in use."""
    size = reader.superblock.node
    left = 2 * sum(device.size for device in reader.logical.devices.values())  # chunks may claim any length
    for chunk in reader.logical.chunks:
        if not chunk.type & btrfs.METADATA:
            continue
        grain = reader.superblock.sector if chunk.type & btrfs.DATA else size
        end = min(chunk.logical + chunk.length, reader.logical.size)
        for start in range(chunk.logical, end, STEP):
            left -= STEP
            if left < 0:
                break
            try:
                data = reader.logical.read(start, min(STEP, end - start))
            except (FormatError, EvidenceError):
                continue
            for address in _heads(data, start, grain, reader.superblock.fsid):
                node = None if address in in_use else _node(reader, address)
                if node is not None:
                    yield node


def _heads(data: bytes, start: int, grain: int, fsid: bytes) -> list[int]:
    """The addresses at which a node's head says that it stands there."""
    count = len(data) // grain
    rows = np.frombuffer(data, np.uint8, count * grain).reshape(count, grain)[:, :64]
    owner = np.all(rows[:, 32:48] == np.frombuffer(fsid, np.uint8), axis=1)
    places = np.ascontiguousarray(rows[:, 48:56]).view("<u8").reshape(-1)
    expected = np.arange(start, start + count * grain, grain, dtype=np.uint64)
    return [int(each) for each in expected[owner & (places == expected)]]


def _node(reader: NodeReader, address: int) -> StaleNode | None:
    try:
        head = btrfs.node_header.fields(reader.logical.read(address, btrfs.node_header.size))
        if not (is_subvolume(head["owner"]) or head["owner"] in (ROOT_TREE, btrfs.CSUM_TREE)):
            return None
        reader.node(address, head["level"], head["generation"])
    except (FormatError, EvidenceError):
        return None
    if head["level"] >= btrfs.MAX_LEVEL or head["generation"] > reader.superblock.generation + 1:
        return None
    return StaleNode(address, head["generation"], head["owner"], head["level"])
