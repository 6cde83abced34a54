"""What the number of changes that an inode counts (di_changecount) says of the time between a known state and its deletion.

Every transaction that logs an inode's core adds one: that of a rename, of a write. What comes and goes within one transaction of
the log, a new name above all, leaves no other trace there. Source: fs/xfs (xfs_trans_log_inode, xfs_remove, xfs_inactive,
xfs_itruncate_extents, xfs_ifree), and what Linux 6.1 and 6.18 wrote, with and without reverse maps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from parsers.errors import FormatError
from parsers.xfs_inode import Format, InodeRecord, parse_inode

ENOUGH = 5
"""Deletions that must agree, before the least number of changes counts as what the host's kernel makes of one."""
MOST = 1
"""What a kernel is known to make more of it than the least of them."""


class Deletion(NamedTuple):
    """An inode that lost its one name. simple: all kernels count the same. beyond: changes above the least that this makes."""

    simple: bool
    beyond: int


def read_deletion(before: bytes, after: bytes, *, reverse_maps: bool) -> Deletion | None:
    """What happened between two states of an inode, None where that is not known."""
    try:
        old, new = parse_inode(before), parse_inode(after)
    except FormatError:
        return None
    if old.changes is None or new.changes is None or old.links != (2 if old.type == "d" else 1):
        return None
    counted = new.changes - old.changes
    if new.type == old.type and new.links == 0 and new.generation == old.generation:
        return Deletion(True, counted - 1)
    if new.type != "?" or new.generation != (old.generation + 1) & 0xFFFFFFFF:
        return None
    return Deletion(old.format == Format.LOCAL, counted - _cost(old, reverse_maps))


def usual(deletions: Iterable[Deletion | None]) -> int | None:
    """How far beyond the least the host's kernel is with every deletion, by those of a whole log; None where too few tell."""
    counts = Counter(each.beyond for each in deletions if each is not None and not each.simple)
    least = min(counts, default=None)
    return least if least is not None and 0 <= least <= MOST and counts[least] >= ENOUGH else None


def nothing_else(deletion: Deletion | None, usually: int | None) -> bool:
    """Whether it is certain that nothing but its deletion happened to an inode: no rename, no write. usually: see `usual`."""
    return deletion is not None and deletion.beyond == (0 if deletion.simple else usually)


def _cost(inode: InodeRecord, reverse_maps: bool) -> int:
    """The least number of changes that a deletion makes of an inode with one name, until it is free."""
    if inode.format == Format.LOCAL or not inode.extents:
        return 2
    return 3 + (-(-5 * inode.extents // 2) if reverse_maps else -(-inode.extents // 2) * 2)
