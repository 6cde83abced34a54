"""Every name that directories had, and when, as far as the log tells: short forms in inodes, and changed blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.filesystems.bulk.reading import read_or_nothing
from forensics.filesystems.past.paths import BEFORE, Life, Name
from forensics.filesystems.xfs.dirblocks import walk_short_forms
from forensics.filesystems.xfs.dirslack import Slack, block_entries
from forensics.filesystems.xfs.forks import leaf_runs
from forensics.filesystems.xfs.history import Change, History
from forensics.filesystems.xfs.reader import Xfs
from parsers.xfs import crc_holds
from parsers.xfs_dir import BLOCK_MAGICS, CRC_AT, DATA_MAGICS, OWNER_AT
from parsers.xfs_inode import CORE_SIZES, DINODE, MODE_TYPES, Format
from parsers.xfs_log import CHUNK

BATCH = 256  # copies of blocks that are looked through at the same time
PLACE_AT = 8  # blkno in a block's header, in basic blocks
FORKOFF_AT, SIZE_AT = DINODE.offset_of("di_forkoff"), DINODE.offset_of("di_size")
DIRECTORY = 0x4000


@dataclass
class Names:
    """sure: names that stood in their directories at both moments, by inode. unsure: those that were read out of what is left of
    removed entries, or from blocks of which parts are not known.
    """

    sure: dict[int, list[Name]] = field(default_factory=dict)
    unsure: dict[int, list[Name]] = field(default_factory=dict)


class _Copy(NamedTuple):
    """A directory block after a transaction. logged: the chunks that the transaction changed, by number."""

    moment: int
    known: NDArray[np.bool_]
    data: NDArray[np.uint8]
    logged: frozenset[int]
    freed: bool


def read_names(fs: Xfs, history: History, lives: Mapping[tuple[int, int], Life]) -> Names:
    """All names that the log tells of, those in directories that never changed left out."""
    names = Names()
    _read_short(fs, history, names)
    reader = _Blocks(fs, history, lives, names)
    for block in sorted(history.directories):
        reader.follow(block)
    return names


def _read_short(fs: Xfs, history: History, names: Names) -> None:
    """The names in directories that stood in their inodes."""
    found = [
        (number, at, state)
        for number, states in sorted(history.states.items())
        for at, state in enumerate(states)
        if state.used and state.known and state.mode & 0xF000 == DIRECTORY and state.raw[5] == Format.LOCAL
    ]
    core = CORE_SIZES[3 if fs.superblock.has_crc else 2]
    for first in range(0, len(found), BATCH):
        part = found[first : first + BATCH]
        rows = np.frombuffer(b"".join(state.raw for _, _, state in part), np.uint8).reshape(len(part), -1)
        room = np.array([state.raw[FORKOFF_AT] * 8 or rows.shape[1] - core for _, _, state in part])
        size = np.array([int.from_bytes(state.raw[SIZE_AT : SIZE_AT + 8], "big") & (1 << 62) - 1 for _, _, state in part])
        short = walk_short_forms(
            rows[:, core:], np.minimum(size, np.minimum(room, rows.shape[1] - core)), fs.superblock.has_types
        )
        text = short.names.tobytes()
        ends = (short.start + short.length).tolist()
        for row, inode, start, end in zip(short.row.tolist(), short.inode.tolist(), short.start.tolist(), ends, strict=True):
            number, at, state = part[row]
            named = Name(state.first, history.last(number, at), number, state.generation, text[start:end])
            names.sure.setdefault(inode, []).append(named)


@dataclass
class _Blocks:
    """Follows the changes of directory blocks."""

    fs: Xfs
    history: History
    lives: Mapping[tuple[int, int], Life]
    names: Names
    _owners: dict[int, list[int]] | None = None
    _by_number: dict[int, list[tuple[int, Life]]] = field(default_factory=dict)
    _low: dict[int, list[int]] = field(default_factory=dict)
    _kinds: dict[int, frozenset[str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for (number, generation), life in self.lives.items():
            self._by_number.setdefault(number, []).append((generation, life))
        for number in self._by_number:
            self._low.setdefault(number & 0xFFFFFFFF, []).append(number)

    def follow(self, block: int) -> None:
        """Read the names of one block."""
        changes = self.history.directories[block]
        ends = [at + 1 for at, change in enumerate(changes) if change.freed]
        bounds = [0, *(end for end in ends if end < len(changes)), len(changes)]
        for first, end in pairwise(bounds):
            self._follow(block, changes[first:end], base=end == len(changes))

    def _follow(self, block: int, changes: list[Change], base: bool) -> None:
        owner: int | None = None
        standing: dict[tuple[bytes, int], tuple[int, bool]] = {}
        seen: set[tuple[bytes, int]] | None = None
        for copy, entries, whole in self._copies(block, changes, base):
            told = self._owner(block, copy)
            if told is not None and told != owner:
                standing, seen, owner = {}, None, told
            moment = copy.moment - 1 if copy.freed else copy.moment
            generation = self._generation(owner, moment) if owner is not None else None
            if owner is None or generation is None:
                continue
            now = {(each.name, each.inode): each for each in entries if each.live and self._fits(each, each.inode)}
            for key in sorted(standing.keys() - now.keys() if not copy.freed else standing.keys()):
                first, sure = standing.pop(key)
                self._add(key[1], Name(first, copy.moment - 1, owner, generation, key[0]), sure)
            if copy.freed and seen is None:  # as it was when the ring began
                for name, inode in sorted(now):
                    self._add(inode, Name(self._born(inode, moment), copy.moment - 1, owner, generation, name), whole)
            if copy.freed:
                continue
            for key, each in now.items():
                fresh = seen is not None or self._is_fresh(each, copy)
                standing.setdefault(key, (copy.moment if fresh else self._born(each.inode, copy.moment), whole))
            self._take_removed(entries, copy, (owner, generation), seen or set())
            seen = (seen or set()) | {(each.name, each.inode & 0xFFFFFFFF) for each in entries}
        self._close(owner, standing)

    def _close(self, owner: int | None, standing: Mapping[tuple[bytes, int], tuple[int, bool]]) -> None:
        """Add the names that still stand."""
        generation = self._generation(owner, self.history.end) if owner is not None else None
        if owner is None or generation is None:
            return
        for (name, inode), (first, sure) in sorted(standing.items()):
            self._add(inode, Name(first, self.history.end, owner, generation, name), sure)

    def _take_removed(self, entries: list[Slack], copy: _Copy, owner: tuple[int, int], seen: set[tuple[bytes, int]]) -> None:
        """Add the names of entries that a transaction removed, of which the block was not known before."""
        for each in entries:
            low = each.inode & 0xFFFFFFFF
            changed = {each.offset // CHUNK, (each.offset + len(each.name) + 12) // CHUNK}
            if each.live or (each.name, low) in seen or not changed & copy.logged:
                continue
            for number in [each.inode] if each.whole else self._low.get(low, []):
                if (copy.moment, number) in self.history.logged and self._fits(each, number):
                    self._add(number, Name(self._born(number, copy.moment - 1), copy.moment - 1, *owner, each.name), sure=False)

    def _add(self, inode: int, name: Name, sure: bool) -> None:
        if name.first <= name.last:
            (self.names.sure if sure else self.names.unsure).setdefault(inode, []).append(name)

    def _born(self, inode: int, moment: int) -> int:
        """When the life of an inode began that it had at a moment."""
        return max((life[0] for _, life in self._by_number.get(inode, ()) if life[0] <= moment), default=BEFORE)

    def _is_fresh(self, each: Slack, copy: _Copy) -> bool:
        """Whether an entry of a block that was not known before may be new: what makes one, logs its inode too."""
        return each.offset // CHUNK in copy.logged and (copy.moment, each.inode) in self.history.logged

    def _fits(self, each: Slack, number: int) -> bool:
        """Whether an entry's type is that of the inode; so where nothing is known of it."""
        if each.kind is None:
            return True
        kinds = self._kinds.get(number)
        if kinds is None:
            used = (state for state in self.history.states.get(number, ()) if state.used)
            kinds = self._kinds[number] = frozenset(MODE_TYPES.get(state.mode & 0xF000) for state in used)
        return not kinds or each.kind in kinds

    def _copies(self, block: int, changes: list[Change], base: bool) -> Iterator[tuple[_Copy, list[Slack], bool]]:
        s = self.fs.superblock
        pending = []
        for copy in self._states(block, changes, base):
            pending.append(copy)
            if len(pending) == BATCH:
                yield from self._parsed(pending, s.has_crc, s.has_types)
                pending = []
        yield from self._parsed(pending, s.has_crc, s.has_types)

    def _parsed(self, copies: list[_Copy], has_crc: bool, has_types: bool) -> Iterator[tuple[_Copy, list[Slack], bool]]:
        if copies:
            found, whole = block_entries(
                np.stack([c.data for c in copies]), np.stack([c.known for c in copies]), has_crc, has_types
            )
            yield from zip(copies, found, whole.tolist(), strict=True)

    def _states(self, block: int, changes: list[Change], base: bool) -> Iterator[_Copy]:
        """The block after each change: what the log has of it so far, and what it never changed as the disk has it."""
        size = self.fs.superblock.dir_block_size
        data, known = np.zeros(size, np.uint8), np.zeros(size // CHUNK, np.bool_)
        changed = {c for change in changes for at, piece in change.pieces for c in _chunks(at, piece)}
        lying = self._lying(block, changes) if base else None
        if lying is not None:
            data[:] = np.frombuffer(lying, np.uint8)
            known[[c for c in range(len(known)) if c not in changed]] = True
        for change in changes:
            logged = set[int]()
            for at, piece in change.pieces:
                end = min(at + len(piece), size)
                data[at:end] = np.frombuffer(piece[: max(0, end - at)], np.uint8)
                here = [c for c in _chunks(at, piece) if c < len(known)]
                known[here] = True
                logged.update(here)
            yield _Copy(change.moment, known.copy(), data.copy(), frozenset(logged), change.freed)

    def _lying(self, block: int, changes: list[Change]) -> bytes | None:
        """The block as the disk has it, where it still is the directory's: as it was left, whoever has its place now."""
        s = self.fs.superblock
        data = read_or_nothing(self.history.source, block * s.block_size, s.dir_block_size)
        if len(data) < s.dir_block_size or data[:4] not in (*BLOCK_MAGICS, *DATA_MAGICS):
            return None
        if s.has_crc:
            here = int.from_bytes(data[PLACE_AT : PLACE_AT + 8], "big") * 512 == block * s.block_size
            heads = [piece for change in changes for at, piece in change.pieces if at == 0 and len(piece) >= OWNER_AT + 8]
            same = not heads or heads[-1][OWNER_AT : OWNER_AT + 8] == data[OWNER_AT : OWNER_AT + 8]
            return data if here and same and crc_holds(data, CRC_AT) else None
        return data

    def _owner(self, block: int, copy: _Copy) -> int | None:
        """The directory that a block is part of."""
        if self.fs.superblock.has_crc:
            return int.from_bytes(copy.data[OWNER_AT : OWNER_AT + 8].tobytes(), "big") or None if copy.known[0] else None
        if self._owners is None:
            self._owners = self._find_owners()
        found = set(self._owners.get(block, ()))
        return found.pop() if len(found) == 1 else None

    def _find_owners(self) -> dict[int, list[int]]:
        """Which directories had which of the changed blocks, where the blocks do not tell."""
        wanted = self.history.directories
        states = [
            (number, state.raw)
            for number, each in self.history.states.items()
            for state in each
            if state.known and state.mode & 0xF000 == DIRECTORY
        ]
        live = np.array([number for number, _ in self.fs.directories()], np.int64)
        numbers = np.concatenate([np.array([number for number, _ in states], np.int64), live])
        raw = np.frombuffer(b"".join(raw for _, raw in states), np.uint8).reshape(len(states), self.fs.superblock.inode_size)
        rows = np.concatenate([raw, self.fs.tables.rows(live)])
        runs, _ = leaf_runs(rows, self.fs.tables.records(rows), self.fs.geometry)
        owners: dict[int, list[int]] = {}
        for owner, first, count in zip(runs.owner.tolist(), runs.physical.tolist(), runs.count.tolist(), strict=True):
            for block in range(first, first + min(count, 1 << 16)):
                if block in wanted:
                    owners.setdefault(block, []).append(int(numbers[owner]))
        return owners

    def _generation(self, number: int, moment: int) -> int | None:
        """Which directory of this number there was."""
        for generation, (first, last) in self._by_number.get(number, ()):
            if first <= moment <= last:
                return generation
        if number in self._by_number:
            return None
        raw = self.fs.tables.rows(np.array([number], np.int64))
        return int(self.fs.tables.records(raw)["di_gen"][0])


def _chunks(at: int, piece: bytes) -> range:
    return range(at // CHUNK, (at + len(piece)) // CHUNK)
