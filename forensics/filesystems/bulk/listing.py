"""The entries of many directories in columns, their names in one run of bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.reading import Numbers


class BlockFault(NamedTuple):
    """What is wrong in a block: its row, the byte in it, what it is."""

    row: int
    offset: int
    error: str


@dataclass(frozen=True, slots=True)
class Found:
    """The live entries of some blocks: the block's row, the inode, the type (ASCII code, 0 unknown), and the name in `names`."""

    row: NDArray[np.int64]
    inode: NDArray[np.uint32]
    type: NDArray[np.uint8]
    start: NDArray[np.int64]
    length: NDArray[np.uint8]
    names: NDArray[np.uint8]
    faults: list[BlockFault]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a directory; offset: in the source. lost: names may be lost by it."""

    directory: int
    error: str
    offset: int | None
    lost: bool = True


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries of some directories, grouped by directory.

    directories: their inode numbers, ascending; first, count: where each one's entries are. type: ASCII codes, 0 where the
    directory does not tell. start, length: a name's place in `names`.
    """

    directories: Numbers
    first: Numbers
    count: Numbers
    inode: NDArray[np.uint32]
    type: NDArray[np.uint8]
    start: Numbers
    length: NDArray[np.uint8]
    names: bytes

    def index(self, directory: int) -> int | None:
        """The place of a directory in `directories`, None where it is not among them."""
        at = int(np.searchsorted(self.directories, directory))
        return at if at < len(self.directories) and self.directories[at] == directory else None

    def covers(self, directories: Numbers) -> bool:
        """Whether all of these directories are among its own."""
        return bool(np.isin(directories, self.directories).all())

    def rows(self, at: int) -> slice:
        """The entries of the directory at this place."""
        first = int(self.first[at])
        return slice(first, first + int(self.count[at]))

    def owner(self, row: int) -> int:
        """The place of the directory that an entry is in."""
        return int(np.searchsorted(self.first, row, "right")) - 1

    def name_list(self, rows: Numbers | slice) -> list[bytes]:
        """The names of some entries."""
        starts = self.start[rows]
        names = self.names
        return [names[a:b] for a, b in zip(starts.tolist(), (starts + self.length[rows]).tolist(), strict=True)]


class EntryRows:
    """Entries as they are found, in any order."""

    def __init__(self) -> None:
        self._owner: list[Numbers] = [np.zeros(0, np.int64)]
        self._inode: list[NDArray[np.uint32]] = [np.zeros(0, np.uint32)]
        self._type: list[NDArray[np.uint8]] = [np.zeros(0, np.uint8)]
        self._start: list[Numbers] = [np.zeros(0, np.int64)]
        self._length: list[NDArray[np.uint8]] = [np.zeros(0, np.uint8)]
        self._names = bytearray()

    def add(self, found: Found, owner: Numbers) -> None:
        """Add entries; owner: the place of each one's directory among the directories that will be given to `grouped`."""
        self._owner.append(owner)
        self._inode.append(found.inode)
        self._type.append(found.type)
        self._start.append(found.start + len(self._names))
        self._length.append(found.length)
        self._names += found.names.tobytes()

    def append(self, part: Listing, known: int) -> None:
        """Add all entries of a listing, whose directories are counted from `known` on."""
        names = np.frombuffer(part.names, np.uint8)
        owner = np.repeat(np.arange(len(part.directories)), part.count) + known
        self.add(Found(owner, part.inode, part.type, part.start, part.length, names, []), owner)

    def grouped(self, directories: Numbers) -> Listing:
        """All entries by directory; `directories` in the order that the owners were counted in."""
        ascending = np.argsort(directories, kind="stable")
        place = np.empty(len(directories), np.int64)
        place[ascending] = np.arange(len(directories))
        owner = place[np.concatenate(self._owner)]
        order = np.argsort(owner, kind="stable")
        count = np.bincount(owner, minlength=len(directories)).astype(np.int64)
        return Listing(
            directories=directories[ascending],
            first=np.cumsum(count) - count,
            count=count,
            inode=np.concatenate(self._inode)[order],
            type=np.concatenate(self._type)[order],
            start=np.concatenate(self._start)[order],
            length=np.concatenate(self._length)[order],
            names=bytes(self._names),
        )


def merge(parts: Sequence[Listing]) -> Listing:
    """One listing of several that have no directory in common."""
    if len(parts) == 1:
        return parts[0]
    entries = EntryRows()
    known = 0
    for part in parts:
        entries.append(part, known)
        known += len(part.directories)
    return entries.grouped(np.concatenate([*(part.directories for part in parts), np.zeros(0, np.int64)]))


def changed(listing: Listing, changes: Mapping[int, Mapping[bytes, int | None]], greatest: int) -> Listing:
    """A listing with names taken out and put in; the type of a new name is unknown, its inode no more than `greatest`."""
    keep = np.ones(len(listing.inode), np.bool_)
    owners: list[int] = []
    inodes: list[int] = []
    names: list[bytes] = []
    for directory, wanted in changes.items():
        at = listing.index(directory)
        if at is None:
            continue
        rows = listing.rows(at)
        keep[rows] = [name not in wanted for name in listing.name_list(rows)]
        for name, inode in sorted(wanted.items()):
            if inode is not None and 0 < inode <= greatest:
                owners.append(at)
                inodes.append(inode)
                names.append(name)
    entries = EntryRows()
    owner = np.repeat(np.arange(len(listing.directories)), listing.count)
    blob = np.frombuffer(listing.names, np.uint8)
    kept = Found(
        np.flatnonzero(keep), listing.inode[keep], listing.type[keep], listing.start[keep], listing.length[keep], blob, []
    )
    entries.add(kept, owner[keep])
    lengths = np.array([len(name) for name in names], np.int64)
    new = Found(
        row=np.arange(len(names)),
        inode=np.array(inodes, listing.inode.dtype),
        type=np.zeros(len(names), np.uint8),
        start=np.cumsum(lengths) - lengths,
        length=lengths.astype(np.uint8),
        names=np.frombuffer(b"".join(names), np.uint8),
        faults=[],
    )
    entries.add(new, np.array(owners, np.int64))
    return entries.grouped(listing.directories)
