"""Deleted files of ext2, ext3 and ext4: from the journal's history, the list of orphans, and inodes that were deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from forensics.filesystem import NO_TIME, Extent, Problem
from forensics.filesystems.bulk.blocks import read_content
from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.ext4.attributes import Attributes
from forensics.filesystems.ext4.blockmap import block_map
from forensics.filesystems.ext4.content import is_fast_link
from forensics.filesystems.ext4.freed_directories import read_freed_names
from forensics.filesystems.ext4.history import History, read_history
from forensics.filesystems.ext4.inodes import InodeTables, records
from forensics.filesystems.ext4.journal import CLEAN
from forensics.filesystems.ext4.orphans import orphans
from forensics.filesystems.ext4.past_inodes import States, read_states
from forensics.filesystems.ext4.past_names import directory_blocks, read_inline_names, read_names
from forensics.filesystems.ext4.reader import Ext4
from forensics.filesystems.ext4.reuse import TICK, Reuse, read_reuse
from forensics.filesystems.past.paths import BEFORE, Life, PastPaths
from forensics.recovery.files.deleted_file import CERTAIN, POSSIBLE, PROBABLE, DeletedFile
from forensics.recovery.files.ext4_unnamed import Unnamed
from forensics.recovery.files.journalled import MOST as MOST_BLOCKS
from forensics.recovery.files.journalled import Journalled, journalled
from forensics.recovery.files.standing import Standing, standing
from forensics.recovery.files.unallocated import Unallocated, unallocated
from forensics.source import Source
from parsers.errors import FormatError
from parsers.ext4_inode import BLOCK_AT, IN_INODE, MODE_TYPES, InodeFlag, InodeRecord, device, parse_inode
from parsers.xfs_inode import SECOND

FIRST_INODE = 11  # those before are the filesystem's own
MOST_TARGET = 4096
"""Bytes of a symlink's target that are read."""


def find_ext4_deleted(fs: Ext4) -> Iterator[DeletedFile]:
    """Every deleted file that something tells of, by inode number."""
    history = read_history(fs)
    held = orphans(fs)
    if history is None:
        none = np.zeros(0, np.int64)
        history = History(fs.source, fs.block_size, none, none, none, none, none.astype(np.bool_), none.reshape(0, 2))
    found = _Finder(fs, history, frozenset(held))
    yield from sorted(found.run(), key=lambda file: (file.inode, file.generation or 0, file.path or b""))


@dataclass(frozen=True)
class _Finder:
    fs: Ext4
    history: History
    held: frozenset[int]

    @cached_property
    def states(self) -> States:
        return read_states(self.history, self.fs.tables)

    @cached_property
    def _reuse(self) -> Reuse:
        return read_reuse(self.history, self.states, self.fs.geometry)

    @cached_property
    def _free(self) -> Unallocated | None:
        return unallocated(self.fs)

    @cached_property
    def _lives(self) -> dict[tuple[int, int], Life]:
        """When each inode of the journal was in use."""
        s = self.states
        lives: dict[tuple[int, int], Life] = {}
        used = np.flatnonzero(s.columns.type != 0)
        rows = (s.number[used], s.generation[used], s.first[used], s.last[used])
        for number, generation, first, last in zip(*(column.tolist() for column in rows), strict=True):
            known = lives.get((number, generation))
            lives[number, generation] = (first, last) if known is None else (known[0], last)
        return lives

    @cached_property
    def _paths(self) -> PastPaths:
        blocks = directory_blocks(self.history, self.states, self.fs.tables)
        names = read_names(self.history, blocks, self.fs.tables)
        read_inline_names(self.states, self.fs.tables, names)
        read_freed_names(self.history, self.states, self.fs.tables, names)
        return PastPaths(self.fs, names, self._lives)

    def run(self) -> Iterator[DeletedFile]:
        """All that is found; what the journal tells of goes before what an inode alone tells."""
        told: set[tuple[int, int]] = set()
        s = self.states
        bounds = [*np.searchsorted(s.number, np.unique(s.number)).tolist(), len(s)]
        for first, end in pairwise(bounds):
            if s.number[first] < FIRST_INODE:
                continue
            for rows in _by_generation(s, first, end):
                key = int(s.number[first]), int(s.generation[rows[0]])
                found = self._from_journal(rows) if key in self._lives else self._from_names(rows)
                if key not in self._lives or self._lives[key][1] < self.history.end:
                    for file in found:
                        told.add(key)
                        yield file
        yield from self._from_tables(told)

    def _from_journal(self, rows: list[int]) -> Iterator[DeletedFile]:
        """An inode that was in use and is no more; rows: its states, oldest first."""
        s = self.states
        used = [row for row in rows if s.columns.type[row] != 0]
        last = used[-1]
        number, life = int(s.number[last]), self._lives[int(s.number[last]), int(s.generation[last])]
        after = [row for row in rows if row > last]
        whole = [row for row in after if s.has_content[row]]
        row = whole[-1] if whole else last
        held = number in self.held and bool(after) and s.last[after[-1]] == self.history.end
        moment = int(s.last[row])
        if moment == self.history.end and not held:
            moment = int(s.first[row]) - 1  # what deleted it left its map, but its blocks are free since that transaction
        try:
            base = self._describe(s.raw[row].tobytes(), number, int(s.place[row]), moment, kind=_type(s.raw[last]))
        except FormatError:
            return
        deleted, no_later = self._deleted(life, after)
        base = replace(base, deleted_ns=deleted, no_later=no_later, method="orphan" if held else "journal")
        if held:
            base = replace(base, reuse="none", confidence=CERTAIN)
        names = self._paths.paths(number, life[1])
        if names:
            for path, parent in names:
                cut = not path.startswith(b"/") and base.confidence == CERTAIN
                yield replace(base, path=path, parent=parent, confidence=PROBABLE if cut else base.confidence)
            return
        earlier = self._paths.last_known(number, life)
        sure = base.confidence if held or base.confidence == POSSIBLE else PROBABLE
        yield from (replace(base, path=path, parent=parent, confidence=sure) for path, parent in earlier)
        if not earlier:
            yield replace(base, confidence=sure)

    def _from_names(self, rows: list[int]) -> Iterator[DeletedFile]:
        """An inode that the journal knows as a deleted one only, where a directory block still names it."""
        s = self.states
        number, moment = int(s.number[rows[0]]), int(s.first[rows[0]])
        names = self._paths.paths(number, moment - 1) if moment > BEFORE and number not in self.held else []
        if not names:
            return
        kind = _type(s.raw[rows[0]])
        if kind == "?":
            return
        try:
            base = self._describe(s.raw[rows[0]].tobytes(), number, int(s.place[rows[0]]), moment, kind=kind)
        except FormatError:
            return
        base = replace(base, method="names", deleted_ns=base.ctime_ns)
        if kind in "fdl":  # its end took its size and its map, and with these its time of modification
            cut = base.mtime_ns is not None and base.ctime_ns is not None and base.mtime_ns >= base.ctime_ns - TICK
            base = replace(
                base, size=None, extents=None, inline=None, target=None, reuse=None, mtime_ns=None if cut else base.mtime_ns
            )
            base = replace(base, confidence=CERTAIN if kind == "d" else PROBABLE)
        yield from (replace(base, path=path, parent=parent) for path, parent in names)

    def _deleted(self, life: Life, after: list[int]) -> tuple[int | None, bool]:
        """When an inode's last name went, and whether it may have been earlier."""
        s = self.states
        if after:
            change = int(s.columns.times["ctime"][after[0]])
            if change >= 0:
                return change, False
        moment = life[1] + 1
        time = int(self.history.times[moment]) if BEFORE < moment < self.history.end else NO_TIME
        return (time, True) if time != NO_TIME else (None, False)

    def _from_tables(self, told: set[tuple[int, int]]) -> Iterator[DeletedFile]:
        """Deleted inodes that the journal tells nothing of."""
        for numbers, raw in self.fs.tables.sweep():
            inode = records(raw)
            dead = (inode["i_links_count"] == 0) & (inode["i_mode"] != 0) & (numbers >= FIRST_INODE)
            dead &= (inode["i_dtime"] != 0) | np.isin(numbers, np.fromiter(self.held, np.int64, len(self.held)))
            for at in np.flatnonzero(dead).tolist():
                number, generation = int(numbers[at]), int(inode["i_generation"][at])
                if (number, generation) in told:
                    continue
                held = number in self.held
                offset = self.fs.tables.offset(number)
                try:
                    file = self._describe(raw[at].tobytes(), number, offset, self.history.end, kind=_type(raw[at]))
                except FormatError:
                    continue
                if held:
                    file = replace(file, method="orphan", reuse="none", confidence=CERTAIN, deleted_ns=file.ctime_ns)
                    yield Unnamed(self.states, self.fs.tables, self._paths).placed(file)
                else:
                    deleted = int(inode["i_dtime"][at]) * SECOND
                    yield replace(file, method="dtime", confidence=POSSIBLE, deleted_ns=deleted)

    def _describe(self, raw: bytes, number: int, place: int, moment: int, kind: str) -> DeletedFile:
        """A file by its raw inode as it was at a moment. Raises FormatError where the inode is not to be believed."""
        record = parse_inode(raw, True)
        source: Source = self.history.past(moment) if moment < self.history.end else self.fs.source
        tables = InodeTables(source, self.fs.geometry, {number: raw})
        silent = ProblemLog(source)
        attributes = Attributes(tables, silent, _no_value)
        extents, inline, unknown = self._content(record, raw, source, attributes, number, place)
        stands, sure = Standing(tuple(extents or ()), (), "none", True), True
        kept = Journalled(rest=extents or [])
        if number not in self.held or moment < self.history.end:
            kept = self._journalled(record, number, moment, extents or [])
            stands, sure = self._standing(kept.rest, moment)
            sure &= kept.sure and not kept.lost and not kept.cut
            if kept.cut:
                error = f"more than {MOST_BLOCKS:,} of its blocks stand in the journal, too; the rest was taken from its place"
                self.fs.problems.append(Problem("deleted files", f"inode {number}", error))
        return DeletedFile(
            path=None, inode=number, type=kind, mode=record.mode & 0xFFF, uid=record.uid, gid=record.gid, size=record.size,
            method="journal", confidence=CERTAIN if sure and not unknown else PROBABLE, generation=record.generation,
            mtime_ns=record.mtime, atime_ns=record.atime,
            ctime_ns=record.ctime, crtime_ns=record.crtime,
            target=self._target(record, source, attributes, raw, number) if kind == "l" else None,
            rdev=device(record.block) if kind in "cb" else None,
            xattrs=attributes.read(number, raw, record.extra_isize, record.file_acl),
            extents=None if extents is None else _in_order(stands.extents, kept.kept), inline=inline,
            lost=(*stands.lost, *kept.lost, *unknown), reuse=stands.reuse,
            offset=self.fs.source.locate(place) if moment == self.history.end else self.history.source.locate(place),
        )  # fmt: skip

    def _content(
        self, record: InodeRecord, raw: bytes, source: Source, attributes: Attributes, number: int, place: int
    ) -> tuple[list[Extent] | None, bytes | None, list[tuple[int, int]]]:
        """Where a regular file's content was, or the content itself, and the parts (first byte, length) that nothing tells of."""
        if record.type != "f":
            return None, None, []
        if record.flags & InodeFlag.INLINE_DATA:
            inline = attributes.inline_data(raw, record)[: min(record.size, self.fs.block_size)]
            return None, inline, [(len(inline), record.size - len(inline))] if len(inline) < record.size else []
        if not record.size or record.flags & InodeFlag.ENCRYPT:
            return ([], None, []) if not record.size else (None, None, [(0, record.size)])
        mapped = block_map(source, self.fs.geometry, record, place)
        size = self.fs.block_size
        end = -(-record.size // size)
        return (
            [
                Extent(r.logical * size, None if r.unwritten else r.physical * size, min(r.count, end - r.logical) * size)
                for r in mapped.runs
                if r.logical < end
            ],
            None,
            [(d.first * size, (min(d.end, end) - d.first) * size) for d in mapped.damage if d.first < min(d.end, end)],
        )

    def _target(self, record: InodeRecord, source: Source, attributes: Attributes, raw: bytes, number: int) -> bytes | None:
        if record.flags & InodeFlag.INLINE_DATA:
            return attributes.inline_data(raw, record)[: record.size].split(b"\0", 1)[0]
        if is_fast_link(record.size, record.sectors, record.file_acl, self.fs.superblock):
            return record.block[: record.size].split(b"\0", 1)[0]
        if not 0 < record.size <= MOST_TARGET:
            return None
        try:
            mapped = block_map(source, self.fs.geometry, record, None)
            return read_content(source, self.fs.block_size, mapped, 0, record.size, number).split(b"\0", 1)[0]
        except FormatError:
            return None

    def _journalled(self, record: InodeRecord, number: int, moment: int, extents: list[Extent]) -> Journalled:
        """What of a content stands in the journal: since the inode's map is as it is."""
        life = self._lives.get((number, record.generation))
        if life is None:
            return Journalled(rest=extents)
        s = self.states
        rows = range(*np.searchsorted(s.number, [number, number + 1]).tolist())
        own = [row for row in rows if s.generation[row] == record.generation and s.first[row] <= moment]
        alike = [int(s.first[row]) for row in own if s.raw[row, BLOCK_AT : BLOCK_AT + IN_INODE].tobytes() == record.block]
        in_inode = record.flags & InodeFlag.EXTENTS and not int.from_bytes(record.block[6:8], "little")
        return journalled(self.history, extents, min(alike, default=None) if in_inode else None, life[0], moment)

    def _standing(self, extents: list[Extent], moment: int) -> tuple[Standing, bool]:
        """What of a content was not given to others after a moment, and whether nothing of that is in doubt."""
        size = self.fs.block_size
        stands = standing(extents, size, self._free, lambda block, count: self._reuse.given_out(block, count, moment))
        stored = [each for each in extents if each.offset is not None]
        sure = not any(self._reuse.may_be_brief((each.offset or 0) // size, each.length // size, moment) for each in stored)
        # Data go to the disk before the transaction that gives them blocks: when the power goes, none tells of the last ones.
        sure &= self.fs.state == CLEAN
        return stands, (not stored or (sure and stands.known)) and not stands.lost


def _in_order(*parts: Iterable[Extent]) -> tuple[Extent, ...]:
    return tuple(sorted(chain(*parts), key=lambda extent: extent.logical))


def _by_generation(s: States, first: int, end: int) -> Iterator[list[int]]:
    """The states of one inode number, generation by generation."""
    rows: dict[int, list[int]] = {}
    for row in range(first, end):
        rows.setdefault(int(s.generation[row]), []).append(row)
    yield from rows.values()


def _type(raw: NDArray[np.uint8]) -> str:
    return MODE_TYPES.get((int(raw[0]) | int(raw[1]) << 8) & 0xF000, "?")


def _no_value(number: int, size: int) -> bytes:
    raise FormatError(f"inode {number} holds the value, and may hold another one by now")
