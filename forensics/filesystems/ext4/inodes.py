"""Inodes, one at a time and by the hundred thousand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.reading import LONGEST_READ, Numbers, read_or_nothing, read_rows
from forensics.filesystems.ext4.geometry import Geometry
from forensics.source import Source
from parsers.errors import FormatError
from parsers.ext4 import GOOD_OLD_INODE_SIZE, Incompat
from parsers.ext4_inode import INODE, INODE_EXTRA, InodeRecord, parse_inode

Rows = NDArray[np.uint8]
"""Raw inodes, one to a row."""
LOST_DIRECTORY = (0x4000).to_bytes(2, "little") + bytes(24) + (2).to_bytes(2, "little")
WINDOW = 16 << 10  # bytes of an inode table that one read of a single inode brings along
WINDOWS = 256


@cache
def _record_type(size: int) -> np.dtype[np.void]:
    return INODE.dtype(size, INODE_EXTRA if size > GOOD_OLD_INODE_SIZE else None)


def records(rows: Rows) -> NDArray[np.void]:
    """Raw inodes with the fields of INODE, and of INODE_EXTRA where they are long enough."""
    inodes: NDArray[np.void] = rows.view(_record_type(rows.shape[1]))[:, 0]
    return inodes


class InodeTables:
    """The inodes of a filesystem as raw bytes.

    `overrides` (number to raw inode) go before what the tables hold; `places` has the bytes in the source where those were found.
    """

    def __init__(
        self, source: Source, geometry: Geometry, overrides: Mapping[int, bytes], places: Mapping[int, int] | None = None
    ) -> None:
        self.source = source
        self.geometry = geometry
        self.overrides = dict(overrides)
        self._places = places or {}
        superblock = geometry.superblock
        self.size = superblock.inode_size
        self.count = superblock.inodes_count
        self._per_group = superblock.inodes_per_group
        self._large = bool(superblock.incompat & Incompat.LARGEDIR)
        self._span = max(WINDOW, self.size)
        self._window = lru_cache(WINDOWS)(self._read_window)
        self._last: tuple[int, InodeRecord | None] = (0, None)

    def offset(self, number: int) -> int:
        """The byte in the source where an inode stands. Raises FormatError where there can be none of this number."""
        if not 1 <= number <= self.count:
            raise FormatError(f"there is no inode {number}: the filesystem has {self.count}", self.source.name)
        group, index = divmod(number - 1, self._per_group)
        table = int(self.geometry.tables[group])
        if table < 0:
            raise FormatError(f"inode {number} is lost with the descriptor of block group {group}", self.source.name)
        return table + index * self.size

    def locate(self, number: int) -> int | None:
        """The byte in the disk image where an inode stands, None where it stands nowhere."""
        place = self._places.get(number) if number in self.overrides else self.offset(number)
        return None if place is None else self.source.locate(place)

    def raw(self, number: int) -> bytes:
        """The inode's bytes."""
        override = self.overrides.get(number)
        if override is not None:
            return override
        offset = self.offset(number)
        start = offset // self._span * self._span
        raw = self._window(start)[offset - start : offset - start + self.size]
        if len(raw) < self.size:
            raise FormatError(f"inode {number} lies beyond the end", self.source.name, offset)
        return raw

    def stand_in(self, numbers: Iterable[int]) -> None:
        """Let lost inodes be directories of which nothing is known: no permissions, two links, times of 1970."""
        self.overrides.update(dict.fromkeys(numbers, LOST_DIRECTORY.ljust(self.size, b"\0")))
        self._last = (0, None)

    def _read_window(self, start: int) -> bytes:
        return read_or_nothing(self.source, start, self._span)

    def record(self, number: int) -> InodeRecord:
        """The inode, parsed. Raises FormatError where it is not to be believed."""
        last, known = self._last
        if known is not None and number == last:
            return known  # a large file is read piece by piece
        try:
            record = parse_inode(self.raw(number), self._large)
            if not record.mode:
                raise FormatError("not in use", offset=0)
            self._last = (number, record)
            return record
        except FormatError as error:
            if error.source:
                raise
            raise FormatError(f"inode {number}: {error.what}", self.source.name, self.offset(number)) from error

    def offsets(self, numbers: Numbers) -> Numbers:
        """The bytes in the source where inodes stand, -1 where there is none of this number."""
        valid = (numbers >= 1) & (numbers <= self.count)
        group, index = np.divmod(np.where(valid, numbers, 1) - 1, self._per_group)
        table = self.geometry.tables[group]
        return np.where(valid & (table >= 0), table + index * self.size, -1)

    def rows(self, numbers: Numbers) -> Rows:
        """The raw inodes of these numbers, one row each; zeros where an inode cannot be read."""
        rows = read_rows(self.source, self.offsets(numbers), self.size)
        self._override(numbers, rows)
        return rows

    def _override(self, numbers: Numbers, rows: Rows) -> None:
        if self.overrides:
            for at in np.flatnonzero(np.isin(numbers, np.fromiter(self.overrides, np.int64))).tolist():
                rows[at] = np.frombuffer(self.overrides[int(numbers[at])], np.uint8, self.size)

    def sweep(self, used: bool = True) -> Iterator[tuple[Numbers, Rows]]:
        """Every inode that was ever in use (or that never was), in physical order: numbers and rows, a megabyte at a time."""
        tables = self.geometry.tables
        firsts = np.zeros_like(tables) if used else self.geometry.used
        ends = self.geometry.used if used else np.full_like(tables, self._per_group)
        step = max(1, LONGEST_READ // self.size)
        for group in np.argsort(tables, kind="stable").tolist():
            if tables[group] < 0:
                continue
            for first in range(int(firsts[group]), int(ends[group]), step):
                count = min(step, int(ends[group]) - first)
                data = read_or_nothing(self.source, int(tables[group]) + first * self.size, count * self.size)
                count = len(data) // self.size
                numbers = np.arange(count, dtype=np.int64) + (group * self._per_group + first + 1)
                rows = np.frombuffer(data, np.uint8, count * self.size).reshape(count, self.size)
                if self.overrides:
                    rows = rows.copy()
                    self._override(numbers, rows)
                yield numbers, rows
