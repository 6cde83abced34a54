"""All directories of a filesystem, or all below one, read once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forensics.filesystems.bulk.listing import Fault, Listing
from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.bulk.scan import DIRECTORY, MAX_LEVELS, Scan, scan_of, unread
from forensics.filesystems.xfs.columns import types
from forensics.filesystems.xfs.directories import Batch, DirectoryReader
from forensics.filesystems.xfs.inode_trees import inodes_in_use
from forensics.filesystems.xfs.inodes import InodeTables

MOST_LEVELS = 4096  # that are read at all, once the inode trees are known to be damaged
STEP = 1 << 13


def scan_all(tables: InodeTables, reader: DirectoryReader, problems: ProblemLog, root: int) -> Scan:
    """Read every directory that the inode trees know, and those that only names lead to."""
    first, faults = reader.read(_sweep(tables, problems))
    parts = [first]
    known = first.directories
    wanted = np.union1d(unread(first, known), np.setdiff1d([root], known))
    for _ in range(MOST_LEVELS):
        if not len(wanted):
            break
        part, found = reader.read(_chosen(tables, wanted))
        parts.append(part)
        faults += found
        known = np.union1d(known, part.directories)
        wanted = unread(part, known) if len(part.directories) else wanted[:0]
    return scan_of(parts, faults)


def scan_below(tables: InodeTables, reader: DirectoryReader, number: int, most: int) -> Scan | None:
    """Read a directory and those below it, level by level; None where these are too many, too deep or not all to be read."""
    parts: list[Listing] = []
    faults: list[Fault] = []
    known = np.zeros(0, np.int64)
    wanted = np.array([number])
    for _ in range(MAX_LEVELS):
        part, found = reader.read(_chosen(tables, wanted))
        parts.append(part)
        faults += found
        known = np.union1d(known, part.directories)
        wanted = unread(part, known)
        if not len(wanted):
            named = np.unique(np.concatenate([listing.inode[listing.type == DIRECTORY] for listing in parts]))
            # A directory whose inode is lost: those in it are found among all directories only.
            return scan_of(parts, faults) if np.isin(named, known).all() else None
        if len(known) + len(wanted) > most:
            break
    return None


def _sweep(tables: InodeTables, problems: ProblemLog) -> Iterator[Batch]:
    """The directories among the inodes in use."""
    for numbers in inodes_in_use(tables.source, tables.geometry, problems):
        yield from _chosen(tables, numbers)


def _chosen(tables: InodeTables, numbers: Numbers) -> Iterator[Batch]:
    """Those of the inodes that are directories."""
    for first in range(0, len(numbers), STEP):
        part = numbers[first : first + STEP]
        rows = tables.rows(part)
        at = np.flatnonzero(types(tables.records(rows), part) == DIRECTORY)
        if len(at):
            yield Batch(part[at], rows[at])
