"""Where the parts of an XFS filesystem stand: from allocation groups to bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers, read_exactly
from forensics.filesystems.xfs.backups import LARGEST_SECTOR, backup_superblock
from forensics.source import Source
from parsers.errors import FormatError, UnsupportedFormat
from parsers.xfs import CRC_AT, SUPERBLOCK, SUPERBLOCK_SIZE, Incompat, Superblock, crc_holds, parse_superblock


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
    superblock = _superblock(source, problems)
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


def _superblock(source: Source, problems: ProblemLog) -> Superblock:
    """The superblock, or a copy where it is damaged and there is a sound one."""
    first, error = _first_superblock(source)
    if first is not None and first.crc_holds:
        return first
    backup = backup_superblock(source)
    if backup is not None and (first is None or backup[0].uuid == first.uuid):
        error_text = "the checksum is wrong" if error is None else error.what
        problems.add("superblock", "superblock", f"{error_text}; the copy at byte {backup[1]} is used", 0)
        return backup[0]
    if first is None:
        raise error or FormatError("no XFS superblock", source.name, 0)
    problems.add("superblock", "superblock", "the checksum is wrong", 0)
    return first


def _first_superblock(source: Source) -> tuple[Superblock | None, FormatError | None]:
    """The superblock at the start, or what is wrong with it. UnsupportedFormat where it is sound and tells what is not read."""
    head = read_exactly(source, 0, SUPERBLOCK_SIZE)
    try:
        head = source.read(0, LARGEST_SECTOR)
        return parse_superblock(head), None
    except FormatError as error:
        told = type(error)(error.what, source.name, error.offset)
        sector = SUPERBLOCK.fields(head)["sb_sectsize"]
        if isinstance(error, UnsupportedFormat) and len(head) >= sector >= SUPERBLOCK_SIZE and crc_holds(head[:sector], CRC_AT):
            raise told from error
        return None, told
