"""Which blocks of an XFS filesystem belong to nothing, by the B+trees of free space, allocation group by allocation group."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers, read_exactly
from forensics.filesystems.xfs.geometry import Geometry
from forensics.filesystems.xfs.inode_trees import MOST_BAD_GROUPS
from forensics.source import Source
from parsers.errors import FormatError
from parsers.xfs_free import AGF_SECTOR, parse_agf, parse_free_tree_block


def free_runs(source: Source, geometry: Geometry, problems: ProblemLog) -> tuple[Numbers, Numbers]:
    """The free blocks as runs, ascending, counted from the filesystem's start: first blocks, and those behind the last ones.

    What is damaged has no free blocks, and becomes a problem. The few blocks that an allocation group keeps for its own trees
    (AGFL) are not free.
    """
    s = geometry.superblock
    found: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    bad = 0
    for group in range(s.ag_count):
        place = group * s.ag_blocks * s.block_size + AGF_SECTOR * s.sector_size
        try:
            root, levels = parse_agf(read_exactly(source, place, s.sector_size), group)
        except FormatError as error:
            problems.add("free space", f"allocation group {group}", error.what, place)
            bad += 1
            if bad > MOST_BAD_GROUPS:
                break
            continue
        inside = s.ag_blocks if group < s.ag_count - 1 else s.blocks - group * s.ag_blocks
        for runs in _leaves(source, geometry, problems, group, root, levels):
            good = (runs[:, 1] > 0) & (runs.sum(axis=1) <= inside)
            found.append(runs[good] + [group * s.ag_blocks, 0])
    runs = np.concatenate(found)
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    starts, ends = runs[:, 0], runs.sum(axis=1)
    # Runs that overlap are damage, and count once.
    reach = np.maximum.accumulate(ends) if len(ends) else ends
    first = np.append(True, starts[1:] > reach[:-1])[: len(starts)]
    return starts[first], reach[np.append(first[1:], True)[: len(ends)]]


def _leaves(
    source: Source, geometry: Geometry, problems: ProblemLog, group: int, root: int, levels: int
) -> Iterator[NDArray[np.int64]]:
    s = geometry.superblock
    pending = [(root, levels - 1)]
    seen: set[int] = set()
    while pending:
        number, level = pending.pop()
        block = geometry.group_block(group, number)
        if block is None or number in seen:
            problems.add("free space", f"allocation group {group}", f"block {number} is out of place", None)
            continue
        seen.add(number)
        try:
            node = parse_free_tree_block(read_exactly(source, block * s.block_size, s.block_size), level, s.has_crc)
        except FormatError as error:
            problems.add("free space", f"allocation group {group}", error.what, block * s.block_size)
            continue
        yield node.runs
        pending += [(child, level - 1) for child in reversed(node.children)]
