"""Every state that inodes had, as far as the journal's copies of the inode tables tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.ext4.columns import Columns, columns
from forensics.filesystems.ext4.history import History
from forensics.filesystems.ext4.inodes import InodeTables, Rows, records
from parsers.ext4 import Incompat
from parsers.ext4_inode import BLOCK_AT, EXTENT_MAGIC, IN_INODE, InodeFlag


@dataclass(frozen=True)
class States:
    """States of inodes in columns, sorted by inode number, then by time.

    first, last: the moments from and to which a state was valid; the last state of an inode in the journal ends at its `end`,
    which stands for the filesystem as it is now. place: the byte in the source where the raw inode stands. generation: tells one
    file from the next one with the same number. has_content: whether the inode has a size and a map, or holds its content itself.
    """

    number: Numbers
    first: Numbers
    last: Numbers
    place: Numbers
    raw: Rows
    generation: Numbers
    dtime: Numbers
    columns: Columns
    has_content: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.number)


def read_states(history: History, tables: InodeTables) -> States:
    """All states of all inodes of which the journal has copies, and then the state that each of them has now."""
    found = [_block_states(history, tables, block, first) for block, first in _table_blocks(history, tables)]
    return _states([part for part in found if len(part[0])], tables, history.end)


def _table_blocks(history: History, tables: InodeTables) -> Iterator[tuple[int, int]]:
    """The blocks of inode tables that the journal has copies of, with the number of their first inode."""
    s = tables.geometry.superblock
    starts = tables.geometry.tables
    groups = np.argsort(starts, kind="stable")
    groups = groups[starts[groups] >= 0]
    at = np.searchsorted(starts[groups] // s.block_size, history.blocks, "right") - 1
    per_block = s.block_size // s.inode_size
    length = -(-s.inodes_per_group // per_block)
    for block, index in zip(history.blocks.tolist(), at.tolist(), strict=True):
        if index < 0:
            continue
        group = int(groups[index])
        inside = block - int(starts[group]) // s.block_size
        if inside < length:
            yield block, group * s.inodes_per_group + inside * per_block + 1


_Part = tuple[Numbers, Numbers, Numbers, Numbers, Rows]


def _block_states(history: History, tables: InodeTables, block: int, first: int) -> _Part:
    """The states of one table block's inodes: number, first, last, place, raw."""
    copies = history.rows(block)
    rows = np.arange(copies.start, copies.stop)
    size = tables.size
    per_block = history.block_size // size
    numbers = np.arange(per_block) + first
    data = np.concatenate([history.data(rows).reshape(len(rows), per_block, size), tables.rows(numbers)[None]])
    moments = np.append(history.moment[rows], history.end)
    places = np.append(history.place[rows], -1)
    changed = np.ones((len(data), per_block), np.bool_)
    changed[1:] = (data[1:] != data[:-1]).any(axis=2)
    changed[:, ~data.any(axis=(0, 2))] = False
    inode, copy = np.nonzero(changed.T)
    same = np.append(inode[1:] == inode[:-1], False)[: len(inode)]
    last = np.where(same, np.append(moments[copy][1:], 0)[: len(copy)] - 1, history.end)
    place = np.where(places[copy] >= 0, places[copy] + inode * size, tables.offsets(numbers)[inode])
    return numbers[inode], moments[copy], last, place, data[copy, inode]


def _states(parts: list[_Part], tables: InodeTables, end: int) -> States:
    none = np.zeros(0, np.int64)
    parts = parts or [(none, none, none, none, np.zeros((0, tables.size), np.uint8))]
    number, first, last, place, raw = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((first, number))
    raw = np.ascontiguousarray(raw[order])
    inode = records(raw)
    found = columns(inode, bool(tables.geometry.superblock.incompat & Incompat.LARGEDIR))
    return States(
        number[order], first[order], last[order], place[order], raw, inode["i_generation"].astype(np.int64),
        inode["i_dtime"].astype(np.int64), found, has_content(raw, found),
    )  # fmt: skip


def has_content(raw: Rows, found: Columns) -> NDArray[np.bool_]:
    """Which raw inodes still say where their content is; a deleted one has neither size nor map."""
    words = np.ascontiguousarray(raw[:, BLOCK_AT : BLOCK_AT + IN_INODE]).view("<u4")
    extents = found.flags & InodeFlag.EXTENTS != 0
    mapped = np.where(extents, (words[:, 0] & 0xFFFF == EXTENT_MAGIC) & (words[:, 0] >> 16 > 0), words.any(axis=1))
    size = records(raw)["i_size_lo"].astype(np.int64) | found.size
    inline = found.flags & InodeFlag.INLINE_DATA != 0
    known: NDArray[np.bool_] = (size > 0) & (mapped | inline)
    return known
