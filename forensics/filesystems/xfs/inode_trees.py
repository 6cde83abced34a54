"""The inode B+trees: which inodes there are, allocation group by allocation group."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers, read_exactly
from forensics.filesystems.xfs.geometry import Geometry
from forensics.source import Source
from parsers.errors import FormatError
from parsers.xfs import (
    AGI,
    AGI_SECTOR,
    INODES_PER_CHUNK,
    SHORT_CRC_AT,
    Incompat,
    InodeChunk,
    crc_holds,
    parse_agi,
    parse_inode_tree_block,
)

MOST_BAD_GROUPS = 64  # whose damage is told one by one; behind that many the volume has ended


def inodes_in_use(source: Source, geometry: Geometry, problems: ProblemLog) -> Iterator[Numbers]:
    """The numbers of the inodes in use, ascending, an allocation group at a time. What is damaged becomes a problem."""
    s = geometry.superblock
    bad = 0
    for group in range(s.ag_count):
        place = group * s.ag_blocks * s.block_size + AGI_SECTOR * s.sector_size
        try:
            sector = read_exactly(source, place, s.sector_size)
            root, levels = parse_agi(sector, group)
        except FormatError as error:
            problems.add("inode tree", f"allocation group {group}", error.what, place)
            bad += 1
            if bad > MOST_BAD_GROUPS:
                return
            continue
        if s.has_crc and not crc_holds(sector, AGI.offset_of("agi_crc")):
            problems.add("inode tree", f"allocation group {group}", "the checksum of the inode header is wrong", place)
        chunks = [*_chunks(source, geometry, problems, group, root, levels)]
        if chunks:
            yield _numbers(geometry, group, chunks)


def _chunks(source: Source, geometry: Geometry, problems: ProblemLog, group: int, root: int, levels: int) -> Iterator[InodeChunk]:
    s = geometry.superblock
    sparse = bool(s.incompat & Incompat.SPINODES)
    pending = [(root, levels - 1)]
    seen: set[int] = set()
    while pending:
        number, level = pending.pop()
        block = geometry.group_block(group, number)
        if block is None or number in seen:
            problems.add("inode tree", f"allocation group {group}", f"block {number} is out of place", None)
            continue
        seen.add(number)
        place = block * s.block_size
        try:
            data = read_exactly(source, place, s.block_size)
            node = parse_inode_tree_block(data, level, s.has_crc, sparse)
        except FormatError as error:
            problems.add("inode tree", f"allocation group {group}", error.what, place)
            continue
        if s.has_crc and not crc_holds(data, SHORT_CRC_AT):
            problems.add("inode tree", f"allocation group {group}", "the checksum of a block is wrong", place)
        yield from node.chunks
        pending += [(child, level - 1) for child in reversed(node.children)]


def _numbers(geometry: Geometry, group: int, chunks: list[InodeChunk]) -> Numbers:
    starts = np.array([chunk.start for chunk in chunks], np.int64)
    unused = np.array([chunk.absent | chunk.free for chunk in chunks], np.uint64)
    bits = np.arange(INODES_PER_CHUNK, dtype=np.uint64)
    used = (unused[:, None] >> bits & np.uint64(1)) == 0
    numbers = (starts[:, None] + np.arange(INODES_PER_CHUNK))[used]
    numbers = geometry.inode_numbers(group, numbers[numbers < 1 << geometry.shift])
    return numbers if (np.diff(numbers) > 0).all() else np.unique(numbers)
