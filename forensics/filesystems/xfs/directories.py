"""Reads directories, one or all: from raw inodes to a Listing, the blocks in physical order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.blocks import BlockMap
from forensics.filesystems.bulk.listing import EntryRows, Fault, Listing
from forensics.filesystems.bulk.reading import Numbers, read_or_nothing, read_runs
from forensics.filesystems.xfs.dirblocks import walk_blocks, walk_short_forms
from forensics.filesystems.xfs.forks import leaf_runs
from forensics.filesystems.xfs.inodes import InodeTables, Rows
from parsers.crc32c import crc32c_rows
from parsers.errors import FormatError
from parsers.xfs_dir import CRC_AT, LEAF_OFFSET
from parsers.xfs_inode import CORE_SIZES, Format, InodeRecord

BATCH = 16 << 20  # bytes of directory blocks that are walked at the same time
SUMMED = 256  # blocks whose checksums are computed at the same time: what that needs fits a processor's cache
MOST_FAULTS = 100_000  # that are remembered of one reading
FEW_SHARED = 4096  # blocks of several directories, as damage may leave them; more are made to be read for ever


class Batch(NamedTuple):
    """Directories' inodes: numbers and raw rows."""

    numbers: Numbers
    rows: Rows


class _Runs(NamedTuple):
    """Runs of filesystem blocks of directories in columns; owner: the directory's row."""

    owner: Numbers
    logical: Numbers
    count: Numbers  # type: ignore[assignment] # nobody misses tuple.count
    physical: Numbers


class _Blocks(NamedTuple):
    """Filesystem blocks of directories in columns; owner: the place of the directory in the order of the batches."""

    owner: Numbers
    logical: Numbers
    physical: Numbers


class DirectoryReader:
    """Reads directories; `block_map` reads the map of a directory that is more than a list of extents in its inode."""

    def __init__(self, tables: InodeTables, block_map: Callable[[int, InodeRecord], BlockMap]) -> None:
        self._tables = tables
        self._block_map = block_map
        superblock = tables.geometry.superblock
        self._size = superblock.block_size
        self._dir_size = superblock.dir_block_size
        self._per = superblock.dir_block_size // superblock.block_size
        self._has_crc = superblock.has_crc
        self._has_types = superblock.has_types

    def read(self, batches: Iterable[Batch]) -> tuple[Listing, list[Fault]]:
        """The entries of all directories of the batches, each directory given once, and what is wrong with them."""
        entries = EntryRows()
        faults: list[Fault] = []
        numbers: list[Numbers] = [np.zeros(0, np.int64)]
        plans: list[_Blocks] = []
        known = 0
        for batch in batches:
            numbers.append(batch.numbers)
            plans.append(self._plan(batch, known, entries, faults))
            known += len(batch.numbers)
        directories = np.concatenate(numbers)
        if plans:
            plan = _Blocks(*(np.concatenate(column) for column in zip(*plans, strict=True)))
            self._walk(self._once(plan, directories, faults), directories, entries, faults)
        return entries.grouped(directories), faults

    def _plan(self, batch: Batch, known: int, entries: EntryRows, faults: list[Fault]) -> _Blocks:
        """Where the blocks of some directories are; short forms are read on the spot."""
        numbers, rows = batch
        inode = self._tables.records(rows)
        local = inode["di_format"] == Format.LOCAL
        self._walk_short(np.flatnonzero(local), batch, inode, known, entries, faults)
        runs, simple = leaf_runs(rows, inode, self._tables.geometry)
        wanted = ~runs.unwritten
        columns = [runs.owner[wanted], runs.logical[wanted], runs.count[wanted], runs.physical[wanted]]
        others: list[tuple[int, int, int, int]] = []
        for at in np.flatnonzero(~simple & ~local).tolist():
            number = int(numbers[at])
            try:
                mapped = self._block_map(number, self._tables.record(number))
            except FormatError as error:
                faults.append(Fault(number, error.what, error.offset))
                continue
            others += [(at, run.logical, run.count, run.physical) for run in mapped.runs if not run.unwritten]
            faults += [Fault(number, d.error, d.offset, d.end > d.first) for d in mapped.damage]
        if others:
            columns = [
                np.concatenate([c, np.array(o, np.int64)]) for c, o in zip(columns, zip(*others, strict=True), strict=True)
            ]
        return self._expand(_Runs(*columns), known, ~local, numbers, faults)

    def _expand(self, runs: _Runs, known: int, in_blocks: NDArray[np.bool_], numbers: Numbers, faults: list[Fault]) -> _Blocks:
        """The blocks below LEAF_OFFSET one by one."""
        owner, logical, count, physical = runs
        end = LEAF_OFFSET // self._size
        inside = logical < end
        owner, logical, count, physical = owner[inside], logical[inside], count[inside], physical[inside]
        count = np.minimum(count, end - logical)
        blocks = np.bincount(owner, minlength=len(numbers))
        for at in np.flatnonzero(in_blocks & (blocks == 0))[:MOST_FAULTS].tolist():
            faults.append(Fault(int(numbers[at]), "the directory has no blocks", None))
        present = self._tables.geometry.present_blocks
        if int(count.sum()) > present + FEW_SHARED:
            faults.append(Fault(int(numbers[0]), "directories claim more blocks than the filesystem has", None))
            keep = np.cumsum(count) <= present
            owner, logical, count, physical = owner[keep], logical[keep], count[keep], physical[keep]
        total = int(count.sum())
        inner = np.arange(total, dtype=np.int64) - np.repeat(np.cumsum(count) - count, count)
        return _Blocks(np.repeat(owner, count) + known, np.repeat(logical, count) + inner, np.repeat(physical, count) + inner)

    def _once(self, plan: _Blocks, directories: Numbers, faults: list[Fault]) -> _Blocks:
        """The plan as it is, or, where many blocks belong to several directories, each block once."""
        if not len(plan.physical):
            return plan
        blocks, firsts = np.unique(plan.physical, return_index=True)
        if len(plan.physical) - len(blocks) <= FEW_SHARED:
            return plan
        again = np.ones(len(plan.physical), np.bool_)
        again[firsts] = False
        for at in np.unique(plan.owner[again])[:MOST_FAULTS].tolist():
            faults.append(Fault(int(directories[at]), "blocks of the directory belong to others as well", None))
        return _Blocks(*(column[~again] for column in plan))

    def _gather(self, plan: _Blocks, directories: Numbers, faults: list[Fault]) -> tuple[Numbers, Numbers]:
        """The directory blocks: owner of each, and the filesystem blocks that it is made of, one row each; in physical order."""
        order = np.lexsort((plan.logical, plan.owner)) if self._per > 1 else np.argsort(plan.physical, kind="stable")
        plan = _Blocks(*(column[order] for column in plan))
        if self._per == 1:
            return plan.owner, plan.physical[:, None]
        group = plan.logical // self._per
        starts = np.flatnonzero(np.concatenate([[True], (np.diff(plan.owner) != 0) | (np.diff(group) != 0)]))
        sizes = np.diff(np.append(starts, len(group)))
        whole = sizes == self._per
        for at in plan.owner[starts[~whole]][:MOST_FAULTS].tolist():
            faults.append(Fault(int(directories[at]), "a directory block is not whole", None))
        starts = starts[whole]
        blocks = plan.physical[starts[:, None] + np.arange(self._per)]
        order = np.argsort(blocks[:, 0], kind="stable")
        return plan.owner[starts][order], blocks[order]

    def _walk(self, plan: _Blocks, directories: Numbers, entries: EntryRows, faults: list[Fault]) -> None:
        """Read and walk blocks, some megabytes at a time."""
        if not len(plan.owner):
            return
        owner, blocks = self._gather(plan, directories, faults)
        most = max(1, BATCH // self._dir_size)
        for begin in range(0, len(owner), most):
            part = blocks[begin : begin + most]
            data = self._read(part)
            self._check_sums(data, owner[begin : begin + most], part, directories, faults)
            found = walk_blocks(data, self._has_crc, self._has_types)
            for fault in found.faults[: max(0, MOST_FAULTS - len(faults))]:
                place = int(part[fault.row, fault.offset // self._size]) * self._size + fault.offset % self._size
                faults.append(Fault(int(directories[owner[begin + fault.row]]), fault.error, place))
            entries.add(found, owner[begin + found.row])

    def _read(self, blocks: Numbers) -> NDArray[np.uint8]:
        """Directory blocks, one to a row; zeros where they cannot be read."""
        source, size = self._tables.source, self._dir_size
        data = np.zeros((len(blocks), size), np.uint8)
        together = (blocks == blocks[:, :1] + np.arange(self._per)).all(axis=1)
        rows = np.flatnonzero(together)
        offsets = blocks[rows, 0] * self._size
        for first, last, read in read_runs(source, offsets, size):
            length = int(offsets[last - 1] - offsets[first]) + size
            units = np.frombuffer(read.ljust(length, b"\0"), np.uint8).reshape(-1, self._size)
            at = (offsets[first:last] - offsets[first]) // self._size
            data[rows[first:last]] = units[at[:, None] + np.arange(self._per)].reshape(last - first, size)
        for row in np.flatnonzero(~together).tolist():
            pieces = (read_or_nothing(source, block * self._size, self._size) for block in blocks[row].tolist())
            whole = b"".join(piece.ljust(self._size, b"\0") for piece in pieces)
            data[row] = np.frombuffer(whole, np.uint8)
        return data

    def _check_sums(
        self, data: NDArray[np.uint8], owner: Numbers, blocks: Numbers, directories: Numbers, faults: list[Fault]
    ) -> None:
        if not self._has_crc:
            return
        stored = data[:, CRC_AT : CRC_AT + 4].copy().view("<u4")[:, 0]
        data[:, CRC_AT : CRC_AT + 4] = 0
        sums = [crc32c_rows(data[first : first + SUMMED]) for first in range(0, len(data), SUMMED)]
        wrong = np.concatenate(sums) ^ np.uint32(0xFFFFFFFF) != stored
        for row in np.flatnonzero(wrong)[: max(0, MOST_FAULTS - len(faults))].tolist():
            place = int(blocks[row, 0]) * self._size
            faults.append(Fault(int(directories[owner[row]]), "the checksum of a directory block is wrong", place, False))

    def _walk_short(
        self, at: Numbers, batch: Batch, inode: NDArray[np.void], known: int, entries: EntryRows, faults: list[Fault]
    ) -> None:
        if not len(at):
            return
        core = CORE_SIZES[3 if self._has_crc else 2]
        split = inode["di_forkoff"][at].astype(np.int64) * 8
        room = np.where(split, split, batch.rows.shape[1] - core)
        size = inode["di_size"][at].astype(np.int64)
        for i in np.flatnonzero(size > room)[:MOST_FAULTS].tolist():
            faults.append(
                Fault(int(batch.numbers[at[i]]), f"a directory of {size[i]} bytes in an inode with room for {room[i]}", None)
            )
        found = walk_short_forms(batch.rows[at, core:], np.minimum(size, room), self._has_types)
        for fault in found.faults:
            number = int(batch.numbers[at[fault.row]])
            faults.append(Fault(number, fault.error, self._tables.offset(number) + core + fault.offset))
        entries.add(found, at[found.row] + known)
