"""Inodes in columns: what stat shows of many at once, from the same declarations as single inodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import NO_TIME
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.bulk.tree import TIMES
from parsers.xfs_inode import BIGTIME_EPOCH, CORE_SIZES, MAGIC, MODE_TYPES, SECOND, InodeFlag2

TYPES = np.zeros(16, np.uint8)
for _bits, _letter in MODE_TYPES.items():
    TYPES[_bits >> 12] = ord(_letter)


@dataclass(frozen=True, slots=True)
class Columns:
    """Raw inodes in columns. type: 0 where the inode is not in use or not to be believed."""

    type: NDArray[np.uint8]
    mode: NDArray[np.uint16]
    uid: NDArray[np.uint32]
    gid: NDArray[np.uint32]
    size: Numbers
    links: Numbers
    extents: Numbers
    times: dict[str, Numbers]
    far_times: dict[tuple[int, str], int]
    """Times that do not fit, by (row, name)."""


def types(inode: NDArray[np.void], numbers: Numbers) -> NDArray[np.uint8]:
    """The types of inodes; 0 for those that no name can lead to: deleted, never used, or not to be believed."""
    kinds: NDArray[np.uint8] = TYPES[inode["di_mode"] >> 12]
    good = (inode["di_magic"] == MAGIC) & (links(inode) > 0) & (inode["di_size"] >= 0)
    version = inode["di_version"]
    if has_crtime(inode):
        good &= (version == 3) & (inode["di_ino"] == numbers.astype(np.uint64))
    else:
        good &= (version == 1) | (version == 2)
    core = CORE_SIZES[3 if has_crtime(inode) else 2]
    good &= inode["di_forkoff"].astype(np.int64) * 8 + core < inode.itemsize
    kinds[~good] = 0
    return kinds


def has_crtime(inode: NDArray[np.void]) -> bool:
    """Whether these are inodes of version 3."""
    return "di_ino" in (inode.dtype.names or ())


def links(inode: NDArray[np.void]) -> Numbers:
    """How many names each inode says it has."""
    return np.where(inode["di_version"] == 1, inode["di_onlink"], inode["di_nlink"]).astype(np.int64)


def extent_counts(inode: NDArray[np.void]) -> Numbers:
    """How many extents each data fork says it has; more than any has where the number is beyond 63 bits."""
    if not has_crtime(inode):
        return inode["di_nextents"].astype(np.int64)
    wide = inode["di_flags2"] & int(InodeFlag2.NREXT64) != 0
    big = np.minimum(inode["di_big_nextents"], np.uint64(1 << 62)).astype(np.int64)
    return np.where(wide, big, inode["di_nextents"])


def columns(inode: NDArray[np.void], numbers: Numbers) -> Columns:
    """Inodes in columns, as parse_inode reads a single one."""
    far: dict[tuple[int, str], int] = {}
    times = {name: _time(inode, name, far) for name in TIMES[:-1]}
    times["crtime"] = _time(inode, "crtime", far) if has_crtime(inode) else np.full(len(inode), NO_TIME, np.int64)
    return Columns(
        type=types(inode, numbers),
        mode=(inode["di_mode"] & 0xFFF).astype(np.uint16),
        uid=inode["di_uid"].astype(np.uint32),
        gid=inode["di_gid"].astype(np.uint32),
        size=inode["di_size"].astype(np.int64),
        links=links(inode),
        extents=extent_counts(inode),
        times=times,
        far_times=far,
    )


def _time(inode: NDArray[np.void], name: str, far: dict[tuple[int, str], int]) -> Numbers:
    """One time of each inode in nanoseconds, NO_TIME where it does not fit."""
    seconds = inode[f"di_{name}_sec"].astype(np.int64)
    fraction = inode[f"di_{name}_nsec"].astype(np.int64)
    plain: Numbers = seconds * SECOND + fraction
    if not has_crtime(inode):
        return plain
    big = inode["di_flags2"] & int(InodeFlag2.BIGTIME) != 0
    if not big.any():
        return plain
    counted = (seconds & 0xFFFFFFFF).astype(np.uint64) << np.uint64(32) | fraction.astype(np.uint64)
    epoch = BIGTIME_EPOCH * SECOND
    beyond = big & (counted > np.uint64(np.iinfo(np.int64).max + epoch))
    shifted = (counted - np.uint64(epoch)).view(np.int64)  # wraps around for times before 1970, as it should
    result: Numbers = np.where(big, shifted, plain)
    for row in np.flatnonzero(beyond).tolist():
        far[row, name] = int(counted[row]) - epoch
        result[row] = NO_TIME
    return result
