"""Directories whose names are lost with a block, or with the inode, of the directory that they stood in: they still know it.

The kernel would not show them. fsck links them into lost+found, as `#` and the inode number; here they keep their place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forensics.filesystems.bulk.listing import Fault, Listing
from forensics.filesystems.bulk.reading import Numbers

DIRECTORY = ord("d")
MOST = 100_000


def lost_names(
    listing: Listing, faults: dict[int, list[Fault]], root: int, parent_of: Callable[[int], int | None]
) -> dict[int, dict[bytes, int | None]]:
    """For each damaged directory the names to be given to those of its subdirectories that no entry names any more."""
    damaged = {number for number, found in faults.items() if any(fault.lost for fault in found)}
    names: dict[int, dict[bytes, int | None]] = {}
    if damaged:
        for number in _unnamed(listing)[:MOST].tolist():
            parent = parent_of(number) if number != root else None
            if parent in damaged and parent is not None and listing.index(parent) is not None:
                names.setdefault(parent, {})[b"#%d" % number] = number
    return names


def lost_directories(listing: Listing, root: int, parent_of: Callable[[int], int | None]) -> list[int]:
    """The directories whose own inodes are lost: others say that they stand in them, and an entry, or being the root, agrees."""
    unnamed = _unnamed(listing)
    parents = {parent_of(number) for number in unnamed[unnamed != root][:MOST].tolist()}
    missing = np.array([parent for parent in parents if parent is not None and listing.index(parent) is None], np.int64)
    named = listing.inode[listing.type == DIRECTORY]
    return [number for number in np.unique(missing).tolist() if number == root or number in named]


def _unnamed(listing: Listing) -> Numbers:
    called = listing.inode[listing.type == DIRECTORY]
    few = np.sort(listing.directories[~np.isin(listing.directories, called)])
    if not len(few):
        return few
    # an entry that tells another type names a directory all the same
    at = np.minimum(np.searchsorted(few, listing.inode), len(few) - 1)
    named = np.zeros(len(few), np.bool_)
    named[at[few[at] == listing.inode]] = True
    return few[~named]
