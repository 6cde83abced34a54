"""All directories of a filesystem, or all below one, read once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forensics.filesystems.bulk.listing import Fault, Listing
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.bulk.scan import DIRECTORY, MAX_LEVELS, Scan, scan_of, unread
from forensics.filesystems.ext4.columns import types
from forensics.filesystems.ext4.directories import Batch, DirectoryReader
from forensics.filesystems.ext4.inodes import InodeTables, records

STEP = 1 << 16


def scan_all(tables: InodeTables, reader: DirectoryReader) -> Scan:
    """Read every directory of the filesystem: the inode tables once through, then the blocks."""
    large = reader.large
    first, faults = reader.read(_sweep(tables, large, used=True))
    if not any(True for _ in _chosen(tables, unread(first, first.directories), large)):
        return scan_of([first], faults)
    # The descriptors tell too few inodes in use: the host was not shut down, or they are damaged.
    second, more = reader.read(_sweep(tables, large, used=False))
    return scan_of([first, second], faults + more)


def scan_below(tables: InodeTables, reader: DirectoryReader, number: int, most: int) -> Scan | None:
    """Read a directory and those below it, level by level; None where they are more than `most`, too deep, or one is lost."""
    parts: list[Listing] = []
    faults: list[Fault] = []
    known = np.zeros(0, np.int64)
    wanted = named = np.array([number])
    for _ in range(MAX_LEVELS):
        part, found = reader.read(_chosen(tables, wanted, reader.large))
        parts.append(part)
        faults += found
        known = np.union1d(known, part.directories)
        if not np.isin(named, known).all():
            break
        named = part.inode[part.type == DIRECTORY].astype(np.int64)
        wanted = unread(part, known)
        if not len(wanted):
            return scan_of(parts, faults)
        if len(known) + len(wanted) > most:
            break
    return None


def _sweep(tables: InodeTables, large: bool, used: bool) -> Iterator[Batch]:
    """The directories in the part of the inode tables that is in use, or that is not."""
    for numbers, rows in tables.sweep(used):
        at = np.flatnonzero(types(records(rows), large) == DIRECTORY)
        if len(at):
            yield Batch(numbers[at], rows[at])


def _chosen(tables: InodeTables, numbers: Numbers, large: bool) -> Iterator[Batch]:
    """Those of the inodes that are directories."""
    for first in range(0, len(numbers), STEP):
        part = numbers[first : first + STEP]
        rows = tables.rows(part)
        at = np.flatnonzero(types(records(rows), large) == DIRECTORY)
        if len(at):
            yield Batch(part[at], rows[at])
