"""Reads directories, one or all: from raw inodes to a Listing, the blocks in physical order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.blocks import BlockMap
from forensics.filesystems.bulk.listing import EntryRows, Fault, Listing, changed
from forensics.filesystems.bulk.reading import Numbers, read_runs
from forensics.filesystems.ext4.attributes import Attributes
from forensics.filesystems.ext4.dirblocks import walk_blocks
from forensics.filesystems.ext4.inodes import InodeTables, Rows, records
from forensics.filesystems.ext4.runs import PLAIN, leaf_runs
from parsers.errors import FormatError
from parsers.ext4 import Incompat
from parsers.ext4_inode import BLOCK_AT, InodeFlag, InodeRecord, parse_inode

BATCH = 16 << 20  # bytes of directory blocks that are walked at the same time
MOST_FAULTS = 100_000  # that are remembered of one reading
INLINE_HEAD = 4  # bytes of an inline directory before its first entry: the parent's number, instead of `.` and `..`
FEW_SHARED = 4096  # blocks of several directories, as stale inodes may have them; more are made to be read for ever
WHOLE = 1 << 40  # blocks; more than any directory has


class Batch(NamedTuple):
    """Directories' inodes: numbers and raw rows."""

    numbers: Numbers
    rows: Rows


class _Blocks(NamedTuple):
    """Runs of directory blocks in columns; owner: the place of the directory in the order of the batches."""

    owner: Numbers
    logical: Numbers
    count: Numbers  # type: ignore[assignment] # nobody misses tuple.count
    physical: Numbers


class DirectoryReader:
    """Reads directories; `changes` (directory to name to inode, None: removed) go before what the blocks hold."""

    def __init__(
        self,
        tables: InodeTables,
        attributes: Attributes,
        block_map: Callable[[int, InodeRecord], BlockMap],
        mapped_elsewhere: Iterable[int],
        changes: Mapping[int, Mapping[bytes, int | None]],
    ) -> None:
        self._tables = tables
        self._attributes = attributes
        self._block_map = block_map
        self._elsewhere = np.array(sorted(mapped_elsewhere), np.int64)
        self._changes = changes
        superblock = tables.geometry.superblock
        self._size = superblock.block_size
        self._has_types = bool(superblock.incompat & Incompat.FILETYPE)
        self.large = bool(superblock.incompat & Incompat.LARGEDIR)

    def read(self, batches: Iterable[Batch]) -> tuple[Listing, list[Fault]]:
        """The entries of all directories of the batches, each directory given once, and what is wrong with them."""
        entries = EntryRows()
        faults: list[Fault] = []
        numbers: list[Numbers] = []
        plans: list[_Blocks] = []
        known = 0
        for batch in batches:
            numbers.append(batch.numbers)
            plans += self._plan(batch, known, entries, faults)
            known += len(batch.numbers)
        directories = np.concatenate([*numbers, np.zeros(0, np.int64)])
        if plans:
            plan = _Blocks(*(np.concatenate(column) for column in zip(*plans, strict=True)))
            self._walk(self._in_order(plan, directories, faults), directories, entries, faults)
        listing = entries.grouped(directories)
        touched = [d for d in sorted(self._changes) if listing.index(d) is not None]
        if touched:
            listing = changed(listing, {d: self._changes[d] for d in touched}, self._tables.count)
        return listing, faults

    def _plan(self, batch: Batch, known: int, entries: EntryRows, faults: list[Fault]) -> list[_Blocks]:
        """Where the blocks of some directories are; inline ones are read on the spot."""
        numbers, rows = batch
        inode = records(rows)
        flags = inode["i_flags"]
        size = inode["i_size_lo"].astype(np.int64)
        if self.large:
            size |= (inode["i_size_high"] & 0x7FFFFFFF).astype(np.int64) << 32
        runs, simple = leaf_runs(rows, self._tables.geometry)
        simple &= (flags & PLAIN == InodeFlag.EXTENTS) & ~np.isin(numbers, self._elsewhere)
        wanted = simple[runs.owner] & ~runs.unwritten
        columns = [runs.owner[wanted], runs.logical[wanted], runs.count[wanted], runs.physical[wanted]]
        damaged = np.zeros(len(numbers), np.bool_)
        inline: list[tuple[int, bytes, int]] = []
        others: list[tuple[int, int, int, int]] = []
        for at in np.flatnonzero(~simple).tolist():
            number = int(numbers[at])
            try:
                record = parse_inode(rows[at].tobytes(), self.large)
                if record.flags & InodeFlag.ENCRYPT:
                    faults.append(
                        Fault(number, "the directory is encrypted; its names cannot be read without the key", None, False)
                    )
                    damaged[at] = True
                elif record.flags & InodeFlag.INLINE_DATA:
                    inline += self._inline(at + known, rows[at].tobytes(), record)
                    damaged[at] = True
                else:
                    mapped = self._block_map(number, record)
                    others += [(at, run.logical, run.count, run.physical) for run in mapped.runs if not run.unwritten]
                    faults += [Fault(number, d.error, d.offset) for d in mapped.damage]
                    damaged[at] = bool(mapped.damage)
            except FormatError as error:
                faults.append(Fault(number, error.what, error.offset))
                damaged[at] = True
        self._walk_inline(inline, entries, faults, numbers, known)
        if others:
            columns = [
                np.concatenate([c, np.array(o, np.int64)]) for c, o in zip(columns, zip(*others, strict=True), strict=True)
            ]
        return [self._clip(_Blocks(*columns), numbers, size, damaged, known, faults)]

    def _clip(
        self, runs: _Blocks, numbers: Numbers, size: Numbers, damaged: NDArray[np.bool_], known: int, faults: list[Fault]
    ) -> _Blocks:
        """The runs cut at the directories' sizes; a size that cannot be is not believed, and a hole is a fault."""
        blocks = -(-size // self._size)
        odd = ~damaged & ((size == 0) | (size % self._size != 0))
        for at in np.flatnonzero(odd).tolist():
            faults.append(Fault(int(numbers[at]), f"the directory's size is {size[at]}, no whole number of blocks", None))
        end = np.where(odd | damaged, WHOLE, blocks)[runs.owner]
        inside = runs.logical < end
        count = np.minimum(runs.count, end - runs.logical)
        runs = _Blocks(runs.owner[inside], runs.logical[inside], count[inside], runs.physical[inside])
        covered = np.bincount(runs.owner, runs.count, len(numbers)).astype(np.int64)
        for at in np.flatnonzero(~odd & ~damaged & (covered < blocks)).tolist():
            faults.append(
                Fault(int(numbers[at]), f"{blocks[at] - covered[at]} of the directory's {blocks[at]} blocks are missing", None)
            )
        return runs._replace(owner=runs.owner + known)

    def _in_order(self, plan: _Blocks, directories: Numbers, faults: list[Fault]) -> _Blocks:
        """In physical order. Where many blocks belong to several directories, each of them is read once."""
        order = np.lexsort((plan.owner, plan.physical))
        plan = _Blocks(*(column[order] for column in plan))
        ends = np.maximum.accumulate(plan.physical + plan.count)
        before = np.append(0, ends[:-1])
        shared = np.clip(before - plan.physical, 0, plan.count)
        if int(shared.sum()) <= FEW_SHARED:
            return plan
        again = shared > 0
        for at in np.unique(plan.owner[again]).tolist():
            faults.append(Fault(int(directories[at]), "blocks of the directory belong to others as well", None))
        return _Blocks(*(column[~again] for column in plan))

    def _walk(self, plan: _Blocks, directories: Numbers, entries: EntryRows, faults: list[Fault]) -> None:
        """Read and walk blocks in the order given, some megabytes at a time."""
        ends = np.cumsum(plan.count)
        total = int(ends[-1]) if len(ends) else 0
        most = max(1, BATCH // self._size)
        room = np.empty((min(most, total), self._size), np.uint8)
        for begin in range(0, total, most):
            block = np.arange(begin, min(begin + most, total), dtype=np.int64)
            run = np.searchsorted(ends, block, "right")
            inside = block - (ends - plan.count)[run]
            offsets = (plan.physical[run] + inside) * self._size
            data = room[: len(block)]
            for first, last, read in read_runs(self._tables.source, offsets, self._size):
                if last - first == 1 and len(read) == self._size:
                    data[first] = np.frombuffer(read, np.uint8)
                    continue
                whole = np.frombuffer(read.ljust(int(offsets[last - 1] - offsets[first]) + self._size, b"\0"), np.uint8)
                data[first:last] = whole.reshape(-1, self._size)[(offsets[first:last] - offsets[first]) // self._size]
            limits = np.full(len(block), self._size, np.int64)
            is_first = plan.logical[run] + inside == 0
            found = walk_blocks(data, limits, is_first, self._tables.count, self._has_types)
            owner = plan.owner[run]
            for fault in found.faults[: max(0, MOST_FAULTS - len(faults))]:
                place = int(offsets[fault.row]) + fault.offset
                faults.append(Fault(int(directories[owner[fault.row]]), fault.error, place))
            entries.add(found, owner[found.row])

    def _inline(self, owner: int, raw: bytes, record: InodeRecord) -> list[tuple[int, bytes, int]]:
        """The runs of entries in an inline directory: (owner, bytes, offset in the inode or -1)."""
        rest = self._attributes.inline_rest(raw, record)
        parts = [(owner, record.block[INLINE_HEAD:], BLOCK_AT + INLINE_HEAD)]
        if rest:
            parts.append((owner, rest, -1))
        return parts

    def _walk_inline(
        self, parts: list[tuple[int, bytes, int]], entries: EntryRows, faults: list[Fault], numbers: Numbers, known: int
    ) -> None:
        if not parts:
            return
        width = max(len(data) for _, data, _ in parts) + 7 & ~3
        table = np.frombuffer(b"".join(data.ljust(width, b"\0") for _, data, _ in parts), np.uint8).reshape(-1, width)
        limits = np.array([len(data) & ~3 for _, data, _ in parts], np.int64)
        found = walk_blocks(table, limits, np.zeros(len(parts), np.bool_), self._tables.count, self._has_types)
        owners = np.array([owner for owner, _, _ in parts], np.int64)
        for fault in found.faults:
            owner, _, base = parts[fault.row]
            number = int(numbers[owner - known])
            offset = self._tables.offset(number) + base + fault.offset if base >= 0 else None
            faults.append(Fault(number, fault.error, offset))
        entries.add(found, owners[found.row])
