"""Every name that directories had, and when, as far as the journal's copies of directory blocks tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import Numbers
from forensics.filesystems.ext4.attributes import Attributes
from forensics.filesystems.ext4.blockmap import block_map
from forensics.filesystems.ext4.columns import types
from forensics.filesystems.ext4.dirblocks import begin_directories, walk_blocks
from forensics.filesystems.ext4.directories import INLINE_HEAD
from forensics.filesystems.ext4.history import History
from forensics.filesystems.ext4.inodes import InodeTables, Rows, records
from forensics.filesystems.ext4.past_inodes import States
from forensics.filesystems.ext4.runs import leaf_runs
from forensics.filesystems.past.paths import BEFORE, Name
from parsers.errors import FormatError
from parsers.ext4 import Incompat
from parsers.ext4_inode import InodeFlag, Run, parse_inode

BATCH = 2048  # blocks that are walked at the same time
DIRECTORY = ord("d")


class Owner(NamedTuple):
    """A directory that had a block, from one moment to another."""

    first: int
    last: int
    number: int
    generation: int


@dataclass(frozen=True)
class DirectoryBlocks:
    """Which directories had which of the journalled blocks, and when."""

    owners: Mapping[int, Sequence[Owner]]

    def owner(self, block: int, moment: int, inode: int | None) -> Owner | None:
        """The directory that a block was part of; inode: its number, where the block itself tells it (with `.`)."""
        fitting = [o for o in self.owners.get(block, ()) if inode is None or o.number == inode]
        valid = [o for o in fitting if o.first <= moment <= o.last]
        return max(valid, key=lambda o: o.first) if valid else None


def directory_blocks(history: History, states: States, tables: InodeTables) -> DirectoryBlocks:
    """The blocks of all directories: those of now, and those that the journal has states of."""
    owners: dict[int, list[Owner]] = {}
    at = np.flatnonzero(states.columns.type == DIRECTORY)
    _add(owners, history, tables, _Directories(
        states.number[at], states.generation[at], states.first[at], states.last[at], states.raw[at]))  # fmt: skip

    for numbers, rows in tables.sweep():
        inode = records(rows)
        live = np.flatnonzero((types(inode, True) == DIRECTORY) & ~np.isin(numbers, states.number))
        count = len(live)
        _add(owners, history, tables, _Directories(
            numbers[live], inode["i_generation"][live].astype(np.int64), np.full(count, BEFORE), np.full(count, history.end),
            rows[live]))  # fmt: skip
    return DirectoryBlocks(owners)


class _Directories(NamedTuple):
    number: Numbers
    generation: Numbers
    first: Numbers
    last: Numbers
    raw: Rows


def _add(owners: dict[int, list[Owner]], history: History, tables: InodeTables, found: _Directories) -> None:
    if not len(found.number):
        return
    runs, simple = leaf_runs(found.raw, tables.geometry)
    wanted: list[tuple[int, int, int]] = list(zip(runs.owner.tolist(), runs.physical.tolist(), runs.count.tolist(), strict=True))
    for at in np.flatnonzero(~simple).tolist():
        wanted += [(at, run.physical, run.count) for run in _map(history, tables, found, at)]
    for at, physical, count in wanted:
        first, last = np.searchsorted(history.blocks, [physical, physical + count])
        for block in history.blocks[first:last].tolist():
            owners.setdefault(block, []).append(
                Owner(int(found.first[at]), int(found.last[at]), int(found.number[at]), int(found.generation[at]))
            )


def _map(history: History, tables: InodeTables, found: _Directories, at: int) -> list[Run]:
    """The runs of a directory with more than a few extents, or none."""
    try:
        record = parse_inode(found.raw[at].tobytes(), True)
        if record.flags & InodeFlag.INLINE_DATA:
            return []
        source = history.past(int(found.last[at]))
        return block_map(source, tables.geometry, record, None).runs
    except FormatError:
        return []


def read_names(history: History, blocks: DirectoryBlocks, tables: InodeTables) -> dict[int, list[Name]]:
    """Every name in the journal's copies of directory blocks, by the inode number that it named."""
    names: dict[int, list[Name]] = {}
    for block, copies in _walked(history, blocks, tables):
        _follow(block, copies, history, blocks, names)
    return names


def read_inline_names(states: States, tables: InodeTables, names: dict[int, list[Name]]) -> None:
    """Add the names in directories that stand in their inodes."""
    has_types = bool(tables.geometry.superblock.incompat & Incompat.FILETYPE)
    inline = (states.columns.type == DIRECTORY) & (states.columns.flags & InodeFlag.INLINE_DATA != 0)
    attributes = Attributes(tables, ProblemLog(tables.source), _no_value)
    for row in np.flatnonzero(inline).tolist():
        raw = states.raw[row].tobytes()
        try:
            record = parse_inode(raw, True)
        except FormatError:
            continue
        for data in (record.block[INLINE_HEAD:], attributes.inline_rest(raw, record)):
            table = np.frombuffer(data.ljust(len(data) + 7 & ~3, b"\0"), np.uint8).reshape(1, -1)
            found = walk_blocks(table, np.array([len(data) & ~3]), np.zeros(1, np.bool_), tables.count, has_types)
            for inode, start, length in zip(found.inode.tolist(), found.start.tolist(), found.length.tolist(), strict=True):
                name = found.names[start : start + length].tobytes()
                first, last = int(states.first[row]), int(states.last[row])
                named = Name(first, last, int(states.number[row]), int(states.generation[row]), name)
                names.setdefault(inode, []).append(named)


def _no_value(number: int, size: int) -> bytes:
    raise FormatError(f"inode {number} holds no directory")


_Copy = tuple[int, int | None, dict[bytes, int]]


def _walked(history: History, blocks: DirectoryBlocks, tables: InodeTables) -> Iterator[tuple[int, list[_Copy]]]:
    """Each directory block's copies: their moment, the directory's number where they tell it, and names with inode numbers."""
    rows = np.flatnonzero(np.isin(history.block, np.fromiter(blocks.owners, np.int64, len(blocks.owners))))
    has_types = bool(tables.geometry.superblock.incompat & Incompat.FILETYPE)
    block, copies = -1, list[_Copy]()
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH]
        data = history.data(part)
        dot = np.ascontiguousarray(data[:, :4]).view("<u4")[:, 0]
        own = begin_directories(data)
        limits = np.full(len(part), history.block_size, np.int64)
        found = walk_blocks(data, limits, own, tables.count, has_types)
        entries: list[dict[bytes, int]] = [{} for _ in range(len(part))]
        text = found.names.tobytes()
        ends = (found.start + found.length).tolist()
        for row, inode, start, end in zip(found.row.tolist(), found.inode.tolist(), found.start.tolist(), ends, strict=True):
            entries[row][text[start:end]] = inode
        for at, row in enumerate(part.tolist()):
            if history.block[row] != block:
                if copies:
                    yield block, copies
                block, copies = int(history.block[row]), []
            copies.append((int(history.moment[row]), int(dot[at]) if own[at] else None, entries[at]))
    if copies:
        yield block, copies


def _follow(block: int, copies: list[_Copy], history: History, blocks: DirectoryBlocks, names: dict[int, list[Name]]) -> None:
    """Turn the copies of one block into names that came and went."""
    open_names: dict[tuple[bytes, int], int] = {}
    owner: Owner | None = None

    def close(keys: list[tuple[bytes, int]], last: int) -> None:
        for key in keys:
            first = open_names.pop(key)
            if owner is not None and first <= last:
                names.setdefault(key[1], []).append(Name(first, last, owner.number, owner.generation, key[0]))

    for moment, number, entries in copies:
        new = blocks.owner(block, moment, number)
        if owner is not None and (new is None or (new.number, new.generation) != (owner.number, owner.generation)):
            close(list(open_names), moment - 1)
        owner = new
        if owner is None:
            continue
        now = set(entries.items())
        close([key for key in open_names if key not in now], moment - 1)
        for key in now:
            open_names.setdefault(key, moment)
    close(list(open_names), history.end)
