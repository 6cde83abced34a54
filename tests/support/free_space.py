"""Unallocated space in memory."""

import numpy as np

from forensics.recovery.carving.space import Space
from support.disks import Disk

BLOCK = 1024


def space(data, runs=None, journal=False):
    """All of some bytes as free blocks, or the runs of (first block, blocks)."""
    runs = runs if runs is not None else [(0, -(-len(data) // BLOCK))]
    starts = np.array([first * BLOCK for first, _ in runs], np.int64)
    ends = np.array([(first + count) * BLOCK for first, count in runs], np.int64)
    return Space(1, Disk("disk", bytes(data)), 0, BLOCK, starts, ends, np.full(len(runs), int(journal)))


def blocks(*documents):
    """Each document in blocks of its own, filled up with zeros."""
    return b"".join(document.ljust(-(-len(document) // BLOCK) * BLOCK, b"\0") for document in documents)
