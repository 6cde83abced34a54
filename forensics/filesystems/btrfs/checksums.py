"""The checksums of contents: of each sector of data its own, in the checksum tree, and of what was synced last in the tree logs.

Source: Linux 6.12, fs/btrfs/file-item.c (btrfs_lookup_bio_sums). A sector without one was written without (nodatasum, nodatacow).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from threading import Lock

from forensics.filesystem import Problem
from forensics.filesystems.btrfs.chunks import NodeReader
from forensics.filesystems.btrfs.items import LAST, ItemTree
from forensics.filesystems.btrfs.subvolumes import Root
from parsers import btrfs
from parsers.btrfs_extents import EXTENT_CSUM, EXTENT_CSUMS
from parsers.errors import EvidenceError, FormatError

MAX_PROBLEMS = 64
Table = tuple[int, bytes]
"""Checksums of neighbouring sectors, and the logical address of the first one."""


class Checksums:
    """Finds the checksums of logical addresses, for several threads at once.

    root: of the checksum tree, None where there is none. logged: what tree logs say, by address; it goes before the tree.
    """

    def __init__(self, reader: NodeReader, root: Root | None, logged: Mapping[int, bytes]) -> None:
        self.sector, self.kind = reader.superblock.sector, reader.superblock.checksum
        self._size = btrfs.CHECKSUM_SIZES[self.kind]
        self._reader = reader
        self._tree = None if root is None else ItemTree(reader, root)
        self._logged, self._starts = logged, sorted(logged)
        self._lock = Lock()
        self._problems: dict[str, Problem] = {}

    def between(self, start: int, end: int) -> list[Table]:
        """The checksums of all sectors from one address to another that have one, both on sectors' bounds; each sector once."""
        with self._lock:
            tables, logged = self._in_tree(start, end), self._in_logs(start, end)
        if not logged:
            return [each for table in tables for each in self._cut(table, start, end)]
        found: dict[int, bytes] = {}
        for address, table in (*tables, *logged):
            for at, own in self._cut((address, table), start, end):
                found |= {at + n * self.sector: own[n * self._size : (n + 1) * self._size] for n in range(len(own) // self._size)}
        return sorted(found.items())

    def wrong(self, data: bytes, start: int, tables: list[Table]) -> list[int]:
        """The sectors whose bytes have another checksum. start: the address of the first byte."""
        found = []
        for address, table in tables:
            end = address + len(table) // self._size * self.sector
            told = btrfs.checksums(self.kind, data[address - start : end - start], self.sector)
            if told != table:
                places = range(0, len(table), self._size)
                found += [
                    address + at // self._size * self.sector
                    for at in places
                    if told[at : at + self._size] != table[at : at + self._size]
                ]
        return found

    def _cut(self, table: Table, start: int, end: int) -> list[Table]:
        """What of a table lies between two addresses, whole sectors only: a table that begins elsewhere says nothing."""
        address, rows = table
        first = max(0, (start - address) // self.sector)
        last = min(len(rows) // self._size, (end - address) // self.sector)
        if first >= last or (start - address) % self.sector:
            return []
        return [(address + first * self.sector, rows[first * self._size : last * self._size])]

    def problems(self) -> list[Problem]:
        """What of the checksum tree could not be read so far."""
        with self._lock:
            return [self._problems[error] for error in sorted(self._problems)]

    def _in_tree(self, start: int, end: int) -> list[Table]:
        if self._tree is None:
            self._tell("there is no checksum tree", None)
            return []
        try:
            before = self._tree.before((EXTENT_CSUMS, EXTENT_CSUM, start))
            rows = self._tree.between((EXTENT_CSUMS, EXTENT_CSUM, start), (EXTENT_CSUMS, EXTENT_CSUM, end - 1))
        except (FormatError, EvidenceError) as error:
            self._tell(str(error), self._reader.logical.locate(start))
            return []
        if before is not None and before[0][:2] == (EXTENT_CSUMS, EXTENT_CSUM):
            rows.insert(0, before)
        return [(key[2], item.data) for key, item in rows]

    def _in_logs(self, start: int, end: int) -> list[Table]:
        first = max(bisect_right(self._starts, start) - 1, 0)
        return [(at, self._logged[at]) for at in self._starts[first : bisect_right(self._starts, end - 1)]]

    def _tell(self, error: str, offset: int | None) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            text = f"{error}: contents whose checksums it has are not held against them"
            self._problems.setdefault(error, Problem("checksum tree", "/", text, offset))


def logged_checksums(log: ItemTree) -> dict[int, bytes]:
    """What a subvolume's tree log has of checksums, by address."""
    rows = log.between((EXTENT_CSUMS, EXTENT_CSUM, 0), (EXTENT_CSUMS, EXTENT_CSUM, LAST))
    return {key[2]: item.data for key, item in rows}
