"""The inode tables in columns: what stat shows of many inodes at once, from the same declarations as single inodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import NO_TIME
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.bulk.tree import TIMES
from parsers.ext4 import GOOD_OLD_INODE_SIZE
from parsers.ext4_inode import EXTRA_ENDS, IN_INODE, INODE_EXTRA, MODE_TYPES, nanoseconds

LAST_SECOND = np.iinfo(np.int64).max // 1_000_000_000 - 2  # of those whose nanoseconds fit, whatever the fraction says
TYPES = np.zeros(16, np.uint8)
for _bits, _letter in MODE_TYPES.items():
    TYPES[_bits >> 12] = ord(_letter)


@dataclass(frozen=True, slots=True)
class Columns:
    """Raw inodes in columns. type: 0 where the inode is not in use or not to be believed."""

    type: NDArray[np.uint8]
    mode: NDArray[np.uint16]
    uid: Numbers
    gid: Numbers
    size: Numbers
    links: NDArray[np.uint16]
    flags: NDArray[np.uint32]
    file_acl: Numbers
    major: NDArray[np.uint32]
    minor: NDArray[np.uint32]
    times: dict[str, Numbers]
    far_times: dict[tuple[int, str], int]
    """Times that do not fit, by (row, name)."""
    extra_isize: NDArray[np.uint16]
    sectors: Numbers
    """i_blocks, in units of 512 bytes."""


def types(inode: NDArray[np.void], large_directories: bool) -> NDArray[np.uint8]:
    """The types of inodes; 0 for those that no name can lead to: deleted, never used, or not to be believed."""
    kinds: NDArray[np.uint8] = TYPES[inode["i_mode"] >> 12]
    kinds[inode["i_links_count"] == 0] = 0
    negative = inode["i_size_high"] >> 31 != 0
    kinds[negative & ((kinds == ord("f")) | large_directories)] = 0
    if inode.itemsize > GOOD_OLD_INODE_SIZE:
        extra = inode["i_extra_isize"]
        kinds[(extra > inode.itemsize - GOOD_OLD_INODE_SIZE) | (extra & 3 != 0)] = 0
    return kinds


def columns(inode: NDArray[np.void], large_directories: bool) -> Columns:
    """Inodes in columns, as parse_inode reads a single one."""
    kinds = types(inode, large_directories)
    size = inode["i_size_lo"].astype(np.int64)
    wide = (kinds != 0) & ((kinds == ord("f")) | large_directories)
    size |= np.where(wide, inode["i_size_high"], 0).astype(np.int64) << 32
    major, minor = _devices(inode, np.flatnonzero((kinds == ord("c")) | (kinds == ord("b"))))
    far: dict[tuple[int, str], int] = {}
    if inode.itemsize > GOOD_OLD_INODE_SIZE:
        there = inode["i_extra_isize"].astype(np.int64)
        there[there == 0] = INODE_EXTRA.size
        times = {name: _time(inode, there, name, far) for name in TIMES}
    else:
        times = {name: inode[f"i_{name}"].astype(np.int64) * 1_000_000_000 for name in TIMES[:-1]}
        times["crtime"] = np.full(len(inode), NO_TIME, np.int64)
    return Columns(
        type=kinds,
        mode=(inode["i_mode"] & 0xFFF).astype(np.uint16),
        uid=_joined(inode, "i_uid", "i_uid_high", 16),
        gid=_joined(inode, "i_gid", "i_gid_high", 16),
        size=size,
        links=inode["i_links_count"],
        flags=inode["i_flags"],
        file_acl=_joined(inode, "i_file_acl_lo", "i_file_acl_high", 32),
        major=major,
        minor=minor,
        times=times,
        far_times=far,
        extra_isize=inode["i_extra_isize"] if inode.itemsize > GOOD_OLD_INODE_SIZE else np.zeros(len(inode), np.uint16),
        sectors=_joined(inode, "i_blocks_lo", "i_blocks_high", 32),
    )


def _joined(inode: NDArray[np.void], low: str, high: str, bits: int) -> Numbers:
    whole: Numbers = inode[low].astype(np.int64) | inode[high].astype(np.int64) << bits
    return whole


def _devices(inode: NDArray[np.void], at: Numbers) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Major and minor numbers of the inodes at these places, 0 for all others."""
    major = np.zeros(len(inode), np.uint32)
    minor = np.zeros(len(inode), np.uint32)
    if len(at):
        words = np.ascontiguousarray(inode["i_block"][at]).view("<u4").reshape(-1, IN_INODE // 4)
        old, new = words[:, 0], words[:, 1]
        major[at] = np.where(old != 0, old >> 8 & 0xFF, (new & 0xFFF00) >> 8)
        minor[at] = np.where(old != 0, old & 0xFF, (new & 0xFF) | (new >> 12 & 0xFFF00))
    return major, minor


def _time(inode: NDArray[np.void], there: Numbers, name: str, far: dict[tuple[int, str], int]) -> Numbers:
    """One time of each inode in nanoseconds, NO_TIME where there is none or it does not fit; there: bytes of extra fields."""
    seconds: Numbers = inode[f"i_{name}"].astype(np.int64)
    fraction = np.where(there >= EXTRA_ENDS[f"i_{name}_extra"], inode[f"i_{name}_extra"], 0)
    whole = seconds + ((fraction & 3).astype(np.int64) << 32)
    result: Numbers = whole * 1_000_000_000 + (fraction >> 2)
    absent = there < EXTRA_ENDS.get(f"i_{name}", 0)
    result[absent] = NO_TIME
    for row in np.flatnonzero((whole > LAST_SECOND) & ~absent).tolist():
        far[row, name] = nanoseconds(int(seconds[row]), int(fraction[row]))
        result[row] = NO_TIME
    return result
