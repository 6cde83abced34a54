"""The allocation groups' free space headers, and the B+trees of free space by block.

Source: Linux 6.18, fs/xfs/libxfs/xfs_format.h. All integers are big-endian.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from construct import Bytes, Int32ub, Struct
from numpy.typing import NDArray

from parsers.errors import FormatError
from parsers.layout import Buffer, Layout
from parsers.xfs import MAX_LEVELS, SHORT_BLOCK, SHORT_CRC_SIZE

AGF = Layout(
    Struct(
        "agf_magicnum" / Bytes(4),
        "agf_versionnum" / Int32ub,
        "agf_seqno" / Int32ub,
        "agf_length" / Int32ub,
        "agf_bno_root" / Int32ub,
        "agf_cnt_root" / Int32ub,
        "agf_rmap_root" / Int32ub,
        "agf_bno_level" / Int32ub,
        "agf_cnt_level" / Int32ub,
        "agf_rmap_level" / Int32ub,
        "agf_flfirst" / Int32ub,
        "agf_fllast" / Int32ub,
        "agf_flcount" / Int32ub,
        "agf_freeblks" / Int32ub,
        "agf_longest" / Int32ub,
        "agf_btreeblks" / Int32ub,
    )
)
"""The free space header, as far as reading depends on it."""
AGF_MAGIC = b"XAGF"
AGF_SECTOR = 1
BNOBT_MAGICS = (b"ABTB", b"AB3B")


def parse_agf(data: Buffer, number: int) -> tuple[int, int]:
    """The root block and the number of levels of an allocation group's B+tree of free space by block. Raises FormatError."""
    if len(data) < AGF.size:
        raise FormatError("the free space header is cut off")
    agf = AGF.fields(data)
    if agf["agf_magicnum"] != AGF_MAGIC or agf["agf_seqno"] != number:
        raise FormatError(f"no free space header of allocation group {number}", offset=0)
    if not 1 <= agf["agf_bno_level"] <= MAX_LEVELS:
        raise FormatError(f"agf_bno_level is {agf['agf_bno_level']}", offset=AGF.offset_of("agf_bno_level"))
    return agf["agf_bno_root"], agf["agf_bno_level"]


class FreeTreeBlock(NamedTuple):
    """A block of a free space B+tree: (first block, count) runs where its level is 0, else the blocks of its children."""

    runs: NDArray[np.int64]
    children: tuple[int, ...]


def parse_free_tree_block(data: Buffer, level: int, has_crc: bool) -> FreeTreeBlock:
    """A block of a free space B+tree that stands `level` levels above the leaves. Raises FormatError where it is none."""
    header = SHORT_CRC_SIZE if has_crc else SHORT_BLOCK.size
    if len(data) < header:
        raise FormatError("a free space B+tree block is cut off")
    magic, found, count, _, _ = SHORT_BLOCK.unpack(data)
    if magic != BNOBT_MAGICS[has_crc] or found != level:
        raise FormatError(f"no free space B+tree block of level {level}", offset=0)
    room = (len(data) - header) // (12 if level else 8)
    if count > room or (level and not count):
        raise FormatError(f"a free space B+tree block of {count} records", offset=6)
    if level:
        at = header + 8 * room
        pointers = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(at, at + 4 * count, 4))
        return FreeTreeBlock(np.zeros((0, 2), np.int64), pointers)
    return FreeTreeBlock(np.frombuffer(data, ">u4", 2 * count, header).reshape(count, 2).astype(np.int64), ())
