"""Entries in blocks of directories of which only parts are known, and entries that were removed: their names stay behind.

Removing an entry writes a free space's head over the first four bytes of its inode number, and its tag at the free space's end;
of free spaces that are joined only the first one's head and the last tag are written (xfs_dir2_data.c xfs_dir2_data_make_free).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.reading import Numbers
from parsers.xfs_dir import BLOCK_MAGICS, ENTRY_HEAD, FREE_TAG, FTYPES, HASH_ENTRY_SIZE, HEADER_SIZES, TAG_SIZE, TAIL
from parsers.xfs_log import CHUNK

LEAST = 16  # bytes of the shortest entry
Bits = NDArray[np.bool_]


class Slack(NamedTuple):
    """One entry. whole: its inode number is; else only the lower 32 bits are left."""

    offset: int
    inode: int
    whole: bool
    live: bool
    kind: str | None
    name: bytes


def block_entries(data: NDArray[np.uint8], known: Bits, has_crc: bool, has_types: bool) -> tuple[list[list[Slack]], Bits]:
    """The entries of directory blocks, one to a row of `data`, and of which blocks all that is in use is known.

    known: which chunks of each are to be believed.
    """
    count, width = data.shape
    header = HEADER_SIZES[has_crc]
    at = np.arange(header, width - LEAST + 1, 8)
    shorts = data.view(">u2").astype(np.int64)
    heads, lengths = shorts[:, at // 2], shorts[:, at // 2 + 1]
    free, covered = _free(shorts, at, heads, lengths, known)
    size = data[:, at + 8].astype(np.int64) + ENTRY_HEAD + int(has_types) + TAG_SIZE + 7 & ~7
    end = at + size
    limit = _limits(data, known, has_crc)
    fits = (data[:, at + 8] > 0) & (end <= limit[:, None]) & _known(known, at, np.minimum(end, width))
    tag = np.take_along_axis(shorts, np.minimum(end - TAG_SIZE, width - TAG_SIZE) // 2, axis=1)
    own = tag == at
    cut = (heads == FREE_TAG) & own & (size <= lengths)
    whole = (heads < 0x100) & own
    before = np.clip((tag - header) // 8, 0, len(at) - 1)
    joined = (tag < at) & (tag >= header) & (tag % 8 == 0) & np.take_along_axis(free, before, axis=1)
    joined &= tag + np.take_along_axis(lengths, before, axis=1) >= end
    joined &= heads < 0x100
    rows, places = np.nonzero(fits & (cut | whole | joined))
    found: list[list[Slack]] = [[] for _ in range(count)]
    for row, place in zip(rows.tolist(), places.tolist(), strict=True):
        start = int(at[place])
        is_cut = bool(cut[row, place])
        inode = int.from_bytes(data[row, start + (4 if is_cut else 0) : start + 8].tobytes(), "big")
        stop = start + ENTRY_HEAD + int(data[row, start + 8])
        name = data[row, start + ENTRY_HEAD : stop].tobytes()
        kind = int(data[row, stop]) if has_types else 0
        if (
            not inode
            or name in (b".", b"..")
            or b"/" in name
            or b"\0" in name
            or not (not has_types or 0 < kind < len(FTYPES) - 1)
        ):
            continue
        live = bool(whole[row, place]) and not covered[row, place]
        found[row].append(Slack(start, inode, not is_cut, live, FTYPES[kind], name))
    return found, _is_whole(known, covered, at, limit)


def _is_whole(known: Bits, covered: Bits, at: Numbers, limit: Numbers) -> Bits:
    """Of which blocks nothing is unknown but what is inside of free spaces, or behind the entries."""
    unused = covered | (at >= limit[:, None])
    used = np.zeros(known.shape, np.bool_)
    rows, places = np.nonzero(~unused)
    used[rows, at[places] // CHUNK] = True
    whole: Bits = (known | ~used).all(axis=1) & known[:, 0]
    return whole


def _free(shorts: Numbers, at: Numbers, heads: Numbers, lengths: Numbers, known: Bits) -> tuple[Bits, Bits]:
    """The places at which free spaces begin, and those that are inside of one."""
    width = shorts.shape[1] * 2
    end = at + lengths
    free = (heads == FREE_TAG) & (lengths >= 8) & (lengths % 8 == 0) & (end <= width)
    free &= np.take_along_axis(shorts, np.where(free, end - TAG_SIZE, 0) // 2, axis=1) == at
    free &= known[:, at // CHUNK]
    free &= np.take_along_axis(known, np.where(free, end - TAG_SIZE, 0) // CHUNK, axis=1)
    edges = np.zeros((len(shorts), len(at) + 4), np.int32)
    rows, places = np.nonzero(free)
    np.add.at(edges, (rows, places), 1)
    np.add.at(edges, (rows, np.minimum(places + lengths[rows, places] // 8, len(at) + 3)), -1)
    return free, np.cumsum(edges, axis=1)[:, : len(at)] > 0


def _known(known: Bits, start: Numbers, end: Numbers) -> Bits:
    """Whether all chunks between are known."""
    gaps = np.concatenate([np.zeros((len(known), 1), np.int64), np.cumsum(~known, axis=1)], axis=1)
    right: Bits = np.take_along_axis(gaps, (end - 1) // CHUNK + 1, axis=1) == gaps[:, start // CHUNK]
    return right


def _limits(data: NDArray[np.uint8], known: Bits, has_crc: bool) -> Numbers:
    """Where entries end: before the hash entries of a directory's only block."""
    width = data.shape[1]
    single = (data[:, :4] == np.frombuffer(BLOCK_MAGICS[has_crc], np.uint8)).all(axis=1) & known[:, 0]
    tails = data[:, width - TAIL.size : width - 4].copy().view(">u4")[:, 0].astype(np.int64)
    ends = width - TAIL.size - HASH_ENTRY_SIZE * tails
    limits: Numbers = np.where(single & known[:, -1] & (ends >= HEADER_SIZES[has_crc]), ends, width)
    return limits
