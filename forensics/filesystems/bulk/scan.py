"""All directories of a filesystem, or all below one, as they were read: what stands in them, and what is wrong with which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forensics.filesystems.bulk.listing import Fault, Listing, changed, merge
from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.bulk.walk import SubDirectories, Walk

DIRECTORY = ord("d")
MAX_LEVELS = 64  # of directories that are read without reading all


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


def scan_of(parts: list[Listing], faults: list[Fault]) -> Scan:
    """The scan that these parts, which have no directory in common, are together."""
    by_directory: dict[int, list[Fault]] = {}
    for fault in faults:
        by_directory.setdefault(fault.directory, []).append(fault)
    listing = merge(parts)
    return Scan(listing, SubDirectories(listing), by_directory)


def unread(part: Listing, known: Numbers) -> Numbers:
    """The inodes that a listing's entries call directories, or do not tell, and that are not known."""
    named = part.inode[(part.type == DIRECTORY) | (part.type == 0)].astype(np.int64)
    return np.setdiff1d(named, known)
