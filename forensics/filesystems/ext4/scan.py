"""All directories of a filesystem, or all below one, read once and kept in a compact form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from forensics.filesystems.ext4.columns import types
from forensics.filesystems.ext4.directories import Batch, DirectoryReader
from forensics.filesystems.ext4.inodes import InodeTables, Numbers
from forensics.filesystems.ext4.listing import Fault, Listing, merge
from forensics.filesystems.ext4.problems import ProblemLog
from forensics.filesystems.ext4.tree import SubDirectories, Walk

DIRECTORY = ord("d")


@dataclass(frozen=True)
class Scan:
    """What was read: the listing, the ways through it, and what is wrong with which directory."""

    listing: Listing
    subdirectories_of: SubDirectories
    faults: dict[int, list[Fault]]

    def walk(self, at: int) -> Walk:
        """The entries below the directory at a place of the listing."""
        return self.subdirectories_of.walk(at)

    def report(self, way: Walk, problems: ProblemLog) -> None:
        """Record what is wrong with the directories of a walk."""
        if self.faults:
            for number in self.listing.directories[np.array(way.visited)].tolist():
                for fault in self.faults.get(number, ()):
                    problems.add("directory", f"inode {number}", fault.error, fault.offset)
        for row in way.again:
            number = int(self.listing.inode[way.entries[row - 1]])
            problems.add("directory", f"inode {number}", "the directory has more than one name; it is entered once", None)

    def subdirectories(self, way: Walk) -> Iterator[tuple[int, Sequence[tuple[bytes, int]]]]:
        """The directories of a walk: number and subdirectories (name, number)."""
        listing = self.listing
        again = {int(way.entries[row - 1]) for row in way.again}
        for at in way.visited:
            rows, _ = self.subdirectories_of.children(at)
            names = listing.name_list(rows)
            found = zip(names, listing.inode[rows].tolist(), rows.tolist(), strict=True)
            yield int(listing.directories[at]), [(name, number) for name, number, row in found if row not in again]


def scan_all(tables: InodeTables, reader: DirectoryReader, large: bool) -> Scan:
    """Read every directory of the filesystem: the inode tables once through, then the blocks."""
    return _complete(tables, reader, _sweep(tables, large), large)


def scan_below(tables: InodeTables, reader: DirectoryReader, number: int, large: bool) -> Scan:
    """Read a directory and those below it, level by level."""
    return _complete(tables, reader, _chosen(tables, np.array([number]), large), large)


def _sweep(tables: InodeTables, large: bool) -> Iterator[Batch]:
    seen: list[Numbers] = []
    for numbers, rows in tables.sweep():
        at = np.flatnonzero(types(rows, large) == DIRECTORY)
        if len(at):
            seen.append(numbers[at])
            yield Batch(numbers[at], rows[at])
    if tables.overrides:
        new = np.setdiff1d(np.fromiter(tables.overrides, np.int64), np.concatenate([*seen, np.zeros(0, np.int64)]))
        yield from _chosen(tables, new, large)


def _chosen(tables: InodeTables, numbers: Numbers, large: bool) -> Iterator[Batch]:
    """Those of the inodes that are directories."""
    step = 1 << 16
    for first in range(0, len(numbers), step):
        part = numbers[first : first + step]
        rows = tables.rows(part)
        at = np.flatnonzero(types(rows, large) == DIRECTORY)
        if len(at):
            yield Batch(part[at], rows[at])


def _complete(tables: InodeTables, reader: DirectoryReader, batches: Iterator[Batch], large: bool) -> Scan:
    """Read directories, then those that these name and that were not read yet, until there are no more."""
    parts: list[Listing] = []
    faults: dict[int, list[Fault]] = {}
    known = np.zeros(0, np.int64)
    while True:
        part, found = reader.read(batches)
        for fault in found:
            faults.setdefault(fault.directory, []).append(fault)
        if not len(part.directories):
            break
        parts.append(part)
        known = np.union1d(known, part.directories)
        named = part.inode[(part.type == DIRECTORY) | (part.type == 0)].astype(np.int64)
        new = np.setdiff1d(named, known)
        if not len(new):
            break
        batches = _chosen(tables, new, large)
    listing = merge(parts)
    return Scan(listing, SubDirectories.of(listing), faults)
