"""Directories whose names are lost with a block of the directory that they stood in: they still know their parent.

The kernel would not show them. fsck links them into lost+found, as `#` and the inode number; here they keep their place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forensics.filesystems.ext4.listing import Fault, Listing

MOST = 100_000


def lost_names(
    listing: Listing, faults: dict[int, list[Fault]], root: int, parent_of: Callable[[int], int | None]
) -> dict[int, dict[bytes, int | None]]:
    """For each damaged directory the names to be given to those of its subdirectories that no entry names any more."""
    damaged = {number for number, found in faults.items() if any(fault.lost for fault in found)}
    names: dict[int, dict[bytes, int | None]] = {}
    if damaged:
        for number in np.setdiff1d(listing.directories, listing.inode)[:MOST].tolist():
            parent = parent_of(number) if number != root else None
            if parent in damaged and parent is not None and listing.index(parent) is not None:
                names.setdefault(parent, {})[b"#%d" % number] = number
    return names
