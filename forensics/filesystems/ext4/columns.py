"""The inode tables in columns: what stat shows of many inodes at once, from the same declarations as single inodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import NO_TIME
from forensics.filesystems.ext4.inodes import Rows
from forensics.filesystems.ext4.reading import Numbers
from parsers.ext4 import GOOD_OLD_INODE_SIZE
from parsers.ext4_inode import EXTRA_ENDS, INODE, INODE_EXTRA, MODE_TYPES, nanoseconds

TIMES = ("mtime", "atime", "ctime", "crtime")
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


def types(rows: Rows, large_directories: bool) -> NDArray[np.uint8]:
    """The types of raw inodes; 0 for those that no name can lead to: deleted, never used, or not to be believed."""
    inode = rows.view(INODE.dtype(rows.shape[1]))[:, 0]
    kinds: NDArray[np.uint8] = TYPES[inode["i_mode"] >> 12]
    kinds[inode["i_links_count"] == 0] = 0
    sized = inode["i_size_high"] >> 31 != 0
    kinds[sized & ((kinds == ord("f")) | large_directories)] = 0
    if rows.shape[1] > GOOD_OLD_INODE_SIZE:
        extra = _extra(rows)["i_extra_isize"]
        kinds[(extra > rows.shape[1] - GOOD_OLD_INODE_SIZE) | (extra & 3 != 0)] = 0
    return kinds


def columns(rows: Rows, large_directories: bool) -> Columns:
    """Raw inodes in columns, as parse_inode reads a single one."""
    inode = rows.view(INODE.dtype(rows.shape[1]))[:, 0]
    kinds = types(rows, large_directories)
    size = inode["i_size_lo"].astype(np.int64)
    wide = (kinds != 0) & ((kinds == ord("f")) | large_directories)
    size |= np.where(wide, inode["i_size_high"], 0).astype(np.int64) << 32
    device = (kinds == ord("c")) | (kinds == ord("b"))
    major = np.zeros(len(rows), np.uint32)
    minor = np.zeros(len(rows), np.uint32)
    if device.any():
        blocks = np.ascontiguousarray(inode["i_block"][device]).view(np.uint8).reshape(-1, 60)[:, :8].copy().view("<u4")
        old, new = blocks[:, 0], blocks[:, 1]
        major[device] = np.where(old != 0, old >> 8 & 0xFF, (new & 0xFFF00) >> 8)
        minor[device] = np.where(old != 0, old & 0xFF, (new & 0xFF) | (new >> 12 & 0xFFF00))
    far: dict[tuple[int, str], int] = {}
    times = {name: _time(rows, name, far) for name in TIMES}
    extra = _extra(rows)["i_extra_isize"] if rows.shape[1] > GOOD_OLD_INODE_SIZE else np.zeros(len(rows), np.uint16)
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
        extra_isize=extra,
        sectors=_joined(inode, "i_blocks_lo", "i_blocks_high", 32),
    )


def _joined(inode: NDArray[np.void], low: str, high: str, bits: int) -> Numbers:
    whole: Numbers = inode[low].astype(np.int64) | inode[high].astype(np.int64) << bits
    return whole


def _extra(rows: Rows) -> NDArray[np.void]:
    part = rows[:, GOOD_OLD_INODE_SIZE : GOOD_OLD_INODE_SIZE + INODE_EXTRA.size]
    return np.ascontiguousarray(part).view(INODE_EXTRA.dtype())[:, 0]


def _time(rows: Rows, name: str, far: dict[tuple[int, str], int]) -> Numbers:
    """One time of each inode in nanoseconds, NO_TIME where there is none or it does not fit."""
    small = rows.shape[1] == GOOD_OLD_INODE_SIZE
    if small and name == "crtime":
        return np.full(len(rows), NO_TIME, np.int64)
    inode = rows.view(INODE.dtype(rows.shape[1]))[:, 0]
    if small:
        return inode[f"i_{name}"].astype(np.int64) * 1_000_000_000
    extra = _extra(rows)
    there = extra["i_extra_isize"].astype(np.int64)
    there[there == 0] = INODE_EXTRA.size
    seconds: Numbers = (extra if name == "crtime" else inode)[f"i_{name}"].astype(np.int64)
    fraction = np.where(there >= EXTRA_ENDS[f"i_{name}_extra"], extra[f"i_{name}_extra"], 0)
    whole = seconds + ((fraction & 3).astype(np.int64) << 32)
    result: Numbers = whole * 1_000_000_000 + (fraction >> 2)
    if name == "crtime":
        result[there < EXTRA_ENDS["i_crtime"]] = NO_TIME
    for row in np.flatnonzero(whole > LAST_SECOND).tolist():
        if name != "crtime" or there[row] >= EXTRA_ENDS["i_crtime"]:
            far[row, name] = nanoseconds(int(seconds[row]), int(fraction[row]))
            result[row] = NO_TIME
    return result
