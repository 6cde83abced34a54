"""Whether a content that a file had in an earlier transaction still stands, by the checksums of that time.

A sector of an extent is not written again as long as the extent is allocated (but for nodatacow): every checksum of it that was
written after the extent was made, and before the file was last seen, is the content's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from forensics.filesystems.btrfs.chunks import NodeReader
from forensics.filesystems.btrfs.items import LAST, ItemTree
from forensics.filesystems.btrfs.stale import StaleNode
from forensics.filesystems.btrfs.subvolumes import Leaf, Root
from parsers import btrfs
from parsers.btrfs_extents import EXTENT_CSUM, EXTENT_CSUMS, EXTENT_ITEM, METADATA_ITEM, extent_item
from parsers.errors import EvidenceError, FormatError

STANDS, LOST, UNKNOWN = 0, 1, 2
"""Of a sector: its content is what it was; it is not; nothing tells."""

MAX_EXTENT = 1 << 30  # bytes; the kernel makes none of more than 256 MiB
STEP = 256  # sectors that are read at once


class Run(NamedTuple):
    """Sectors of which the same is known: the first one, the one behind the last, and what is known."""

    first: int
    end: int
    known: int


class Table(NamedTuple):
    """Checksums of one item of the checksum tree: where in a leaf they stand."""

    start: int
    end: int
    generation: int
    leaf: int
    place: int


@dataclass
class PastContents:
    """Holds sectors against earlier checksums. left: bytes that are read for that; hostile evidence may claim any number."""

    reader: NodeReader
    extents: ItemTree | None
    tables: list[Table]
    left: int

    def __post_init__(self) -> None:
        self._starts = np.array([table.start for table in self.tables], np.uint64)
        self._longest = max((table.end - table.start for table in self.tables), default=0)

    def judge(self, start: int, length: int, made: int, seen: int) -> list[Run]:
        """What is known of the sectors of a run.

        made: the transaction that made the extent; seen: one in which the file still had it.
        """
        sector = self.reader.superblock.sector
        count = -(-length // sector)
        if length > MAX_EXTENT:
            return [Run(0, count, UNKNOWN)]
        try:
            owner = self._allocated(start, start + length)
        except (FormatError, EvidenceError):
            return [Run(0, count, UNKNOWN)]
        if owner is not None and owner <= seen:  # what had it then has it still
            return [Run(0, count, STANDS)]
        found: list[int] = []
        for first in range(0, count, STEP):
            found += self._compared(start + first * sector, min(STEP, count - first), made, seen)
        if owner is not None:
            found = [LOST if each == UNKNOWN else each for each in found]
        return _runs(found)

    def _allocated(self, start: int, end: int) -> int | None:
        """The transaction in which what has any of these bytes now was allocated, None where nobody has them."""
        if self.extents is None:
            raise FormatError("there is no extent tree")
        size = self.reader.superblock.node
        generations = []
        before = self.extents.before((start, LAST, 0))
        rows = [] if before is None else self.extents.between((before[0][0], EXTENT_ITEM, 0), (before[0][0], METADATA_ITEM, LAST))
        rows += self.extents.between((start + 1, EXTENT_ITEM, 0), (end - 1, METADATA_ITEM, LAST))
        for (address, kind, offset), item in rows:
            reach = address + (offset if kind == EXTENT_ITEM else size)
            if kind in (EXTENT_ITEM, METADATA_ITEM) and reach > start and len(item.data) >= extent_item.size:
                generations.append(extent_item.unpack(item.data)[1])
        return max(generations, default=None)

    def _compared(self, start: int, count: int, made: int, seen: int) -> list[int]:
        sector, kind = self.reader.superblock.sector, self.reader.superblock.checksum
        size = btrfs.CHECKSUM_SIZES[kind]
        self.left -= count * sector
        if self.left < 0:
            return [UNKNOWN] * count
        found = [UNKNOWN] * count
        data: bytes | None = None
        for table in self._covering(start, start + count * sector, made, seen):
            first = max(0, -(-(table.start - start) // sector))
            last = min(count, (table.end - start) // sector)
            if UNKNOWN not in found[first:last]:
                continue
            try:
                data = self.reader.logical.read(start, count * sector) if data is None else data
                told = self._checksums(table, start + first * sector, last - first)
            except (FormatError, EvidenceError):
                continue
            real = btrfs.checksums(kind, data[first * sector : last * sector], sector)
            for n in range(first, last):
                at = (n - first) * size
                if found[n] == UNKNOWN:
                    found[n] = STANDS if told[at : at + size] == real[at : at + size] else LOST
        return found

    def _covering(self, start: int, end: int, made: int, seen: int) -> Iterator[Table]:
        """The tables of that time that have a checksum of the run, those that have most of it first."""
        first = int(np.searchsorted(self._starts, max(0, start - self._longest)))
        last = int(np.searchsorted(self._starts, end))
        fit = [t for t in self.tables[first:last] if t.end > start and made <= t.generation <= seen]
        yield from sorted(fit, key=lambda t: (max(t.start, start) - min(t.end, end), t.generation, t.leaf))

    def _checksums(self, table: Table, start: int, count: int) -> bytes:
        size, sector = btrfs.CHECKSUM_SIZES[self.reader.superblock.checksum], self.reader.superblock.sector
        leaf = self.reader.node(table.leaf, 0, table.generation)
        at = table.place + (start - table.start) // sector * size
        return leaf[at : at + count * size]


def past_contents(reader: NodeReader, extents: Root | None, checksums: Iterable[StaleNode]) -> PastContents:
    """checksums: the leaves of the checksum tree of all transactions, the present one's too."""
    sector, size = reader.superblock.sector, btrfs.CHECKSUM_SIZES[reader.superblock.checksum]
    tables = []
    for node in checksums:
        try:
            leaf = Leaf(node.address, reader.node(node.address, 0, node.generation))
        except (FormatError, EvidenceError):
            continue
        tables += [
            Table(offset, offset + length // size * sector, node.generation, node.address, at)
            for objectid, kind, offset, at, length in leaf.items()
            if (objectid, kind) == (EXTENT_CSUMS, EXTENT_CSUM) and offset % sector == 0
        ]
    left = 2 * sum(device.size for device in reader.logical.devices.values())
    return PastContents(reader, None if extents is None else ItemTree(reader, extents), sorted(set(tables)), left)


def _runs(states: list[int]) -> list[Run]:
    cuts = [0, *(n for n in range(1, len(states)) if states[n] != states[n - 1]), len(states)]
    return [Run(first, end, states[first]) for first, end in pairwise(cuts) if end > first]
