"""Where the parts of an XFS filesystem stand: from allocation groups to bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.ext4.problems import ProblemLog
from forensics.filesystems.ext4.reading import Numbers, read_exactly
from forensics.source import Source
from parsers.errors import FormatError
from parsers.xfs import SUPERBLOCK_SIZE, Incompat, Superblock, parse_superblock

LARGEST_SECTOR = 32768


@dataclass(frozen=True, slots=True)
class Geometry:
    """Turns XFS's block and inode numbers, which hold an allocation group in their high bits, into places in the source."""

    superblock: Superblock
    size: int

    @property
    def present_blocks(self) -> int:
        """How many of the filesystem's blocks the source has."""
        return min(self.superblock.blocks, self.size // self.superblock.block_size)

    @property
    def shift(self) -> int:
        """The bits of an inode number below its allocation group."""
        return self.superblock.agblklog + self.superblock.inopblog

    def block(self, number: int) -> int | None:
        """A filesystem block counted from the start, None where there is none of this number."""
        s = self.superblock
        group, inside = number >> s.agblklog, number & (1 << s.agblklog) - 1
        place = group * s.ag_blocks + inside
        return place if number >= 0 and inside < s.ag_blocks and place < s.blocks else None

    def group_block(self, group: int, block: int) -> int | None:
        """A block of an allocation group counted from the start, None where there is none of this number."""
        s = self.superblock
        place = group * s.ag_blocks + block
        return place if block < s.ag_blocks and place < s.blocks else None

    def blocks(self, numbers: Numbers, counts: Numbers) -> Numbers:
        """As block, of runs of blocks; -1 where one leaves its allocation group or the filesystem."""
        s = self.superblock
        group, inside = numbers >> s.agblklog, numbers & (1 << s.agblklog) - 1
        valid = (numbers >= 0) & (group < s.ag_count) & (inside + counts <= s.ag_blocks)
        place = np.where(valid, group, 0) * s.ag_blocks + inside
        return np.where(valid & (place + counts <= s.blocks), place, -1)

    def inode_offset(self, number: int) -> int | None:
        """The byte at which an inode stands, None where none of this number can."""
        s = self.superblock
        block = self.block(number >> s.inopblog) if number > 0 else None
        return None if block is None else block * s.block_size + (number & (1 << s.inopblog) - 1) * s.inode_size

    def inode_offsets(self, numbers: Numbers) -> Numbers:
        """As inode_offset, of many; -1 where none of this number can be."""
        s = self.superblock
        index = numbers & (1 << s.inopblog) - 1
        place = self.blocks(numbers >> s.inopblog, np.ones(1, np.int64))
        return np.where((place >= 0) & (numbers > 0), place * s.block_size + index * s.inode_size, -1)

    def inode_numbers(self, group: int, starts: NDArray[np.int64]) -> Numbers:
        """Inode numbers of an allocation group's own ones."""
        numbers: Numbers = starts | group << self.shift
        return numbers


def read_geometry(source: Source, problems: ProblemLog) -> Geometry:
    """The filesystem's geometry. Raises FormatError where there is none, UnsupportedFormat naming features."""
    try:
        read_exactly(source, 0, SUPERBLOCK_SIZE)
        superblock = parse_superblock(source.read(0, LARGEST_SECTOR))
    except FormatError as error:
        if not error.source:
            raise type(error)(error.what, source.name, error.offset) from error
        raise
    if not superblock.crc_holds:
        problems.add("superblock", "superblock", "the checksum is wrong", 0)
    if superblock.blocks * superblock.block_size > source.size:
        missing = superblock.blocks * superblock.block_size - source.size
        problems.add(
            "filesystem", source.name, f"the filesystem goes on for {missing} bytes behind the end of the volume", source.size
        )
    if superblock.incompat & Incompat.NEEDSREPAIR:
        problems.add("superblock", "superblock", "the filesystem is marked as in need of repair", 0)
    if superblock.realtime_blocks:
        problems.add("filesystem", source.name, "files on the realtime device cannot be read: it is another volume")
    return Geometry(superblock, source.size)
