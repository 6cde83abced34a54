"""All directories of a filesystem, or all below one, read once and kept in a compact form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from forensics.filesystems.ext4.columns import types
from forensics.filesystems.ext4.directories import Batch, DirectoryReader
from forensics.filesystems.ext4.inodes import InodeTables, records
from forensics.filesystems.ext4.listing import Fault, Listing, changed, merge
from forensics.filesystems.ext4.problems import ProblemLog
from forensics.filesystems.ext4.reading import Numbers
from forensics.filesystems.ext4.walk import SubDirectories, Walk

DIRECTORY = ord("d")
MAX_LEVELS = 64  # of directories that are read without reading all
STEP = 1 << 16


@dataclass(frozen=True)
class Scan:
    """What was read: the listing, its subdirectories, and what is wrong with which directory."""

    listing: Listing
    subdirectories: SubDirectories
    faults: dict[int, list[Fault]]

    def with_lost(self, names: dict[int, dict[bytes, int | None]], greatest: int) -> Scan:
        """The same with names for directories that have lost theirs."""
        listing = changed(self.listing, names, greatest)
        faults = {number: list(found) for number, found in self.faults.items()}
        for directory, found in names.items():
            for name in found:
                error = f"a directory's name is lost; it is shown as {name.decode()}"
                faults.setdefault(directory, []).append(Fault(directory, error, None))
        return Scan(listing, SubDirectories(listing), faults)

    def with_directories(self, numbers: Sequence[int], offsets: Sequence[int]) -> Scan:
        """The same with directories whose inodes, which stand at `offsets` or (-1) nowhere, are lost; empty."""
        none = np.zeros(len(numbers), np.int64)
        empty = Listing(
            directories=np.array(sorted(numbers), np.int64), first=none, count=none, inode=np.zeros(0, np.uint32),
            type=np.zeros(0, np.uint8), start=none[:0], length=np.zeros(0, np.uint8), names=b"",
        )  # fmt: skip
        listing = merge([self.listing, empty])
        faults = dict(self.faults)
        for number, offset in zip(numbers, offsets, strict=True):
            error = "the directory's inode is lost; of what stood in it only directories are found, without their names"
            faults[number] = [*faults.get(number, ()), Fault(number, error, offset if offset >= 0 else None)]
        return Scan(listing, SubDirectories(listing), faults)

    def is_damaged(self) -> bool:
        """Whether names may be lost."""
        return any(fault.lost for found in self.faults.values() for fault in found)

    def path(self, number: int, root: int) -> bytes | None:
        """The path of a directory or file from `root` down, its first where it has several; None where none leads there."""
        listing = self.listing
        parts: list[bytes] = []
        at = listing.index(number)
        if at is None:
            rows = np.flatnonzero(listing.inode == number)[:1]
            if not len(rows):
                return None
            parts += listing.name_list(rows)
            at = listing.owner(int(rows[0]))
        start = listing.index(root)
        while at != start:
            row = self.subdirectories.named_by(at)
            if row is None or len(parts) > len(listing.directories):
                return None
            parts += listing.name_list(slice(row, row + 1))
            at = listing.owner(row)
        return b"/" + b"/".join(reversed(parts))

    def report(self, way: Walk, problems: ProblemLog) -> None:
        """Record what is wrong with the directories of a walk."""
        if self.faults:
            for number in self.listing.directories[np.array(way.visited)].tolist():
                for fault in self.faults.get(number, ()):
                    problems.add("directory", number, fault.error, fault.offset)
        for row in way.again:
            number = int(self.listing.inode[way.entries[row - 1]])
            problems.add("directory", number, "the directory has more than one name; it is entered once", None)


def scan_all(tables: InodeTables, reader: DirectoryReader) -> Scan:
    """Read every directory of the filesystem: the inode tables once through, then the blocks."""
    large = reader.large
    first, faults = reader.read(_sweep(tables, large, used=True))
    if not any(True for _ in _chosen(tables, _unread(first, first.directories), large)):
        return _scan([first], faults)
    # The descriptors tell too few inodes in use: the host was not shut down, or they are damaged.
    second, more = reader.read(_sweep(tables, large, used=False))
    return _scan([first, second], faults + more)


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
        wanted = _unread(part, known)
        if not len(wanted):
            return _scan(parts, faults)
        if len(known) + len(wanted) > most:
            break
    return None


def _scan(parts: list[Listing], faults: list[Fault]) -> Scan:
    by_directory: dict[int, list[Fault]] = {}
    for fault in faults:
        by_directory.setdefault(fault.directory, []).append(fault)
    listing = merge(parts)
    return Scan(listing, SubDirectories(listing), by_directory)


def _unread(part: Listing, known: Numbers) -> Numbers:
    """The inodes that a listing's entries call directories, or do not tell, and that are not known."""
    named = part.inode[(part.type == DIRECTORY) | (part.type == 0)].astype(np.int64)
    return np.setdiff1d(named, known)


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
