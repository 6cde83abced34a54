"""Inodes, one at a time and by the hundred thousand."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.reading import Numbers, read_or_nothing, read_rows
from forensics.filesystems.xfs.geometry import Geometry
from forensics.source import Source
from parsers.errors import FormatError
from parsers.xfs_inode import DINODE, DINODE3, InodeRecord, lost_directory, parse_inode

Rows = NDArray[np.uint8]
"""Raw inodes, one to a row."""
WINDOW = 16 << 10  # bytes that one read of a single inode brings along
WINDOWS = 256


@cache
def _record_type(size: int, has_crc: bool) -> np.dtype[np.void]:
    return DINODE.dtype(size, DINODE3 if has_crc else None)


class InodeTables:
    """The inodes of a filesystem as raw bytes."""

    def __init__(self, source: Source, geometry: Geometry) -> None:
        self.source = source
        self.geometry = geometry
        self.size = geometry.superblock.inode_size
        self._span = max(WINDOW, self.size)
        self._window = lru_cache(WINDOWS)(self._read_window)
        self.stand_ins: dict[int, bytes] = {}
        self._last: tuple[int, InodeRecord | None] = (0, None)

    def offset(self, number: int) -> int:
        """The byte in the source where an inode stands. Raises FormatError where there can be none of this number."""
        offset = self.geometry.inode_offset(number)
        if offset is None:
            raise FormatError(f"there is no inode {number}", self.source.name)
        return offset

    def stand_in(self, numbers: Iterable[int]) -> None:
        """Let lost inodes be directories of which nothing is known: no permissions, two links, times of 1970."""
        has_crc = self.geometry.superblock.has_crc
        self.stand_ins.update({number: lost_directory(number, self.size, has_crc) for number in numbers})
        self._last = (0, None)

    def locate(self, number: int) -> int | None:
        """The byte in the disk image where an inode stands."""
        return self.source.locate(self.offset(number))

    def raw(self, number: int) -> bytes:
        """The inode's bytes."""
        if number in self.stand_ins:
            return self.stand_ins[number]
        offset = self.offset(number)
        start = offset // self._span * self._span
        raw = self._window(start)[offset - start : offset - start + self.size]
        if len(raw) < self.size:
            raise FormatError(f"inode {number} lies beyond the end", self.source.name, offset)
        return raw

    def _read_window(self, start: int) -> bytes:
        return read_or_nothing(self.source, start, self._span)

    def record(self, number: int) -> InodeRecord:
        """The inode, parsed. Raises FormatError where it is not to be believed."""
        last, known = self._last
        if known is not None and number == last:
            return known  # a large file is read piece by piece
        try:
            record = parse_inode(self.raw(number))
            if not record.mode:
                raise FormatError("not in use", offset=0)
            if record.number is not None and record.number != number:
                raise FormatError(f"says that it is inode {record.number}", offset=DINODE.size + DINODE3.offset_of("di_ino"))
            self._last = (number, record)
            return record
        except FormatError as error:
            if error.source:
                raise
            raise FormatError(f"inode {number}: {error.what}", self.source.name, self.offset(number)) from error

    def records(self, rows: Rows) -> NDArray[np.void]:
        """Raw inodes with the fields of DINODE, and of DINODE3 on filesystems with checksums."""
        inodes: NDArray[np.void] = rows.view(_record_type(rows.shape[1], self.geometry.superblock.has_crc))[:, 0]
        return inodes

    def rows(self, numbers: Numbers) -> Rows:
        """The raw inodes of these numbers, one row each; zeros where an inode cannot be read."""
        rows = read_rows(self.source, self.geometry.inode_offsets(numbers), self.size)
        if self.stand_ins:
            for row in np.flatnonzero(np.isin(numbers, np.fromiter(self.stand_ins, np.int64))).tolist():
                rows[row] = np.frombuffer(self.stand_ins[int(numbers[row])], np.uint8)
        return rows
