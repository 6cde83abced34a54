"""Inode numbers: those that the kernel shows, with the subvolume's id in the bits above 40 where it is not the top-level tree."""

from __future__ import annotations

from parsers import btrfs

BITS = 40
UNLINKED = 1 << 62
"""From here on: directories that stand where a snapshot's subvolume was not taken along."""


def number_of(tree: int, objectid: int) -> int:
    """The number of an inode of a subvolume."""
    if objectid >= 1 << BITS or tree >= 1 << (61 - BITS):
        return UNLINKED - 1  # no filesystem has got that far; asking for it says so
    return objectid if tree == btrfs.FS_TREE else tree << BITS | objectid


def split(number: int) -> tuple[int, int]:
    """The subvolume and the inode in it."""
    return number >> BITS or btrfs.FS_TREE, number & ((1 << BITS) - 1)
