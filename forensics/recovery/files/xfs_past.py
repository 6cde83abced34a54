"""Deleted files of XFS that the ring of the log has states of, also those that were written to their places long ago."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from forensics.filesystem import Extent
from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.past.paths import Life, PastPaths
from forensics.filesystems.xfs.attributes import Attributes
from forensics.filesystems.xfs.forks import data_map
from forensics.filesystems.xfs.history import History, State
from forensics.filesystems.xfs.inode_trees import inodes_in_use
from forensics.filesystems.xfs.past_blocks import PastBlocks
from forensics.filesystems.xfs.past_names import Names, read_names
from forensics.filesystems.xfs.reader import Xfs
from forensics.filesystems.xfs.replay import CLEAN
from forensics.filesystems.xfs.reuse import Reuse, read_reuse
from forensics.recovery.files.deleted_file import CERTAIN, POSSIBLE, PROBABLE, SETTLED, DeletedFile
from forensics.recovery.files.standing import Standing, standing
from forensics.recovery.files.unallocated import Unallocated, unallocated
from forensics.recovery.files.xfs_changes import Deletion, nothing_else, read_deletion, usual
from parsers.errors import FormatError
from parsers.xfs_inode import Format, InodeFlag, InodeRecord, device, parse_inode

Placed = list[tuple[bytes, tuple[int, int], bool]]
"""Paths with their directories (number, generation), and whether they are sure."""


@dataclass(frozen=True)
class PastFiles:
    """What a filesystem's log tells of files that are gone."""

    fs: Xfs
    history: History
    lives: dict[tuple[int, int], Life]
    _now: dict[int, tuple[int, int, bool]] = field(default_factory=dict)

    @cached_property
    def _names(self) -> Names:
        return read_names(self.fs, self.history, self.lives)

    @cached_property
    def _sure(self) -> PastPaths:
        return PastPaths(self.fs, self._names.sure, self.lives)

    @cached_property
    def _unsure(self) -> PastPaths:
        both = {number: [*self._names.sure.get(number, ()), *names] for number, names in self._names.unsure.items()}
        return PastPaths(self.fs, {**self._names.sure, **both}, self.lives)

    @cached_property
    def _reuse(self) -> Reuse:
        return read_reuse(self.history, self.fs.tables)

    @cached_property
    def _free(self) -> Unallocated | None:
        return unallocated(self.fs)

    def gone(self) -> Iterator[DeletedFile]:
        """Every name of every inode that was in use in the past, and is not any more, or by another file."""
        self._read_now()
        for number, generation in sorted(self.lives):
            free, now, held = self._now[number]
            alive = not free and now == generation
            if not alive and not held:
                yield from self._gone(number, generation)

    def _read_now(self) -> None:
        """Which of the log's inodes are free, whose they are else, and whether that is one without a name."""
        numbers = np.array(sorted(self.history.states), np.int64)
        used = [
            np.intersect1d(numbers, each) for each in inodes_in_use(self.fs.source, self.fs.geometry, ProblemLog(self.fs.source))
        ]
        in_use = np.isin(numbers, np.concatenate([*used, numbers[:0]]))
        inode = self.fs.tables.records(self.fs.tables.rows(numbers))
        free = ~in_use | (inode["di_mode"] == 0)
        held = ~free & (inode["di_nlink"] == 0)
        for row, number in enumerate(numbers.tolist()):
            self._now[number] = bool(free[row]), int(inode["di_gen"][row]), bool(held[row])

    def paths(self, number: int, generation: int) -> Placed:
        """The paths that an inode had last in its life."""
        life = self.lives.get((number, generation))
        if life is None:
            return []
        best: Placed = []
        for known, sure in ((self._sure, True), (self._unsure, False)):
            found = [(path, parent, sure) for path, parent in known.paths(number, life[1])]
            if found and all(path.startswith(b"/") for path, _, _ in found):
                return found
            best = best or found
        for known in (self._sure, self._unsure) if not best else ():
            best = best or [(path, parent, False) for path, parent in known.last_known(number, life)]
        return best

    def _gone(self, number: int, generation: int) -> Iterator[DeletedFile]:
        states = self.history.states[number]
        own = [at for at, state in enumerate(states) if state.generation == generation and state.mode]
        last = max(at for at in own if states[at].used)
        whole = [at for at in own if at > last and states[at].known and _size(states[at])]
        at = whole[-1] if whole else last
        try:
            base = self._describe(number, at)
        except FormatError:
            return
        deleted, no_later = self._deleted(number, last)
        base = replace(base, deleted_ns=deleted, no_later=no_later)
        if base.confidence == CERTAIN and not (self.only_deleted(number, generation) and self._settled(base)):
            base = replace(base, confidence=PROBABLE)
        placed = self.paths(number, generation)
        for path, parent, sure in placed:
            cut = base.confidence == CERTAIN and not (sure and path.startswith(b"/"))
            yield replace(base, path=path, parent=parent, confidence=PROBABLE if cut else base.confidence)
        if not placed:
            yield replace(base, confidence=POSSIBLE if base.confidence == POSSIBLE else PROBABLE)

    def only_deleted(self, number: int, generation: int) -> bool:
        """Whether nothing but its deletion happened to an inode after the last state with a name: no rename, no write."""
        return nothing_else(self._deletions.get((number, generation)), self._usual)

    def _settled(self, file: DeletedFile) -> bool:
        """Whether the end of a content had reached the disk: of whole blocks, or none, that is not sure until a while later."""
        if file.type != "f" or (file.size or 0) % self.fs.block_size:
            return True
        return not file.no_later and (file.deleted_ns or 0) - (file.mtime_ns or 0) >= SETTLED

    @cached_property
    def _deletions(self) -> dict[tuple[int, int], Deletion | None]:
        found: dict[tuple[int, int], Deletion | None] = {}
        maps = self.fs.superblock.has_reverse_maps
        for number, generation in self.lives:
            states = self.history.states[number]
            own = [at for at, state in enumerate(states) if state.generation == generation and state.used]
            free, _, held = self._now[number]
            after = next((state.raw for state in states[own[-1] + 1 :] if not state.used), None) if own else None
            if after is None and (free or held):
                after = self.fs.tables.raw(number)
            if own and after is not None:
                found[number, generation] = read_deletion(states[own[-1]].raw, after, reverse_maps=maps)
        return found

    @cached_property
    def _usual(self) -> int | None:
        return usual(self._deletions.values())

    def _deleted(self, number: int, last: int) -> tuple[int | None, bool]:
        """When an inode's last name went, and whether it may have been earlier."""
        states = self.history.states[number]
        if last + 1 < len(states):
            after, raw = states[last + 1].used, states[last + 1].raw
        else:
            after, raw = not self._now[number][0], self.fs.tables.raw(number)
        try:
            record = parse_inode(raw)
        except FormatError:
            return None, False
        following = states[last].generation, states[last].generation + 1 & 0xFFFFFFFF
        if not after and record.generation in following:
            return record.ctime, False  # freeing an inode does not change its time: that is of the end of its last name
        return record.crtime, True

    def _describe(self, number: int, at: int) -> DeletedFile:
        """A file by a state of its inode. Raises FormatError where that is not to be believed."""
        state = self.history.states[number][at]
        record = parse_inode(state.raw)
        kind, moment = record.type, self.history.last(number, at)
        if kind == "?":
            raise FormatError(f"inode {number} is of no type")
        extents, unknown = self._content(record, state, moment)
        stands, sure = self._standing(extents or [], moment, (number, state.generation))
        sure &= not any(gap > state.seen for gap in self.history.gaps)  # a later state may be lost
        silent = Attributes(self.fs.tables, ProblemLog(self.history.source))
        return DeletedFile(
            path=None, inode=number, type=kind, mode=record.mode & 0xFFF, uid=record.uid, gid=record.gid, size=record.size,
            method="journal", confidence=CERTAIN if sure and not unknown else PROBABLE, generation=record.generation,
            mtime_ns=record.mtime, atime_ns=record.atime, ctime_ns=record.ctime, crtime_ns=record.crtime,
            target=record.fork[: record.size] if kind == "l" and state.known and record.format == Format.LOCAL else None,
            rdev=device(record.fork) if kind in "cb" and state.known else None,
            xattrs=silent.read(number, record) if record.attr_format == Format.LOCAL else {},
            extents=None if extents is None else stands.extents, lost=(*stands.lost, *unknown), reuse=stands.reuse,
            offset=self.history.source.locate(state.place),
        )  # fmt: skip

    def _content(self, record: InodeRecord, state: State, moment: int) -> tuple[list[Extent] | None, list[tuple[int, int]]]:
        """Where a regular file's content was, and the parts (first byte, length) that nothing tells of."""
        if record.type != "f":
            return None, []
        if not record.size:
            return [], []
        if not state.known or record.flags & InodeFlag.REALTIME or record.format not in (Format.EXTENTS, Format.BTREE):
            return None, [(0, record.size)]
        size = self.fs.block_size
        end = -(-record.size // size)
        mapped = data_map(PastBlocks(self.history, moment), self.fs.geometry, record, state.place)
        return (
            [
                Extent(
                    run.logical * size, None if run.unwritten else run.physical * size, min(run.count, end - run.logical) * size
                )
                for run in mapped.runs
                if run.logical < end
            ],
            [(d.first * size, (min(d.end, end) - d.first) * size) for d in mapped.damage if d.first < min(d.end, end)],
        )

    def _standing(self, extents: list[Extent], moment: int, own: tuple[int, int]) -> tuple[Standing, bool]:
        """What of a content was not given to others after a moment, and whether nothing of that is in doubt."""
        size = self.fs.block_size
        stands = standing(extents, size, self._free, lambda block, count: self._reuse.given_out(block, count, moment, own))
        stored = [each for each in extents if each.offset is not None]
        sure = not any(self._reuse.may_be_brief((each.offset or 0) // size, moment) for each in stored)
        # Data go to the disk before the transaction that gives them blocks: when the power goes, none tells of the last ones.
        sure &= self.fs.state == CLEAN
        return stands, (not stored or (sure and stands.known)) and not stands.lost


def past_files(fs: Xfs, history: History) -> PastFiles:
    """The deleted files of a filesystem by its log's history."""
    return PastFiles(fs, history, history.lives())


def _size(state: State) -> int:
    try:
        return parse_inode(state.raw).size
    except FormatError:
        return 0
