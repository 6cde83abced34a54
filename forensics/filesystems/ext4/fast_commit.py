"""Fast commits applied in memory: which inodes, names and blocks they change on a replayed filesystem.

What each record does is what the kernel's replay does (fs/ext4/fast_commit.c, 6.18), side effects on link counts included. Only
the times that it takes from the clock at the mount are left out: they are no evidence.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.ext4.blockmap import block_map
from forensics.filesystems.ext4.inodes import InodeTables
from parsers.errors import FormatError
from parsers.ext4_fast_commit import CREAT, UNLINK, AddRange, Dentry, InodeRecord, Record
from parsers.ext4_inode import EXTENT_MAGIC, INODE, InodeFlag, Run, parse_inode

_AT = {name: place[1] for name, place in (INODE.dtype().fields or {}).items()}
_BLOCK = slice(_AT["i_block"], _AT["i_generation"])
_NO_EXTENTS = struct.pack("<HHHHI", EXTENT_MAGIC, 0, 4, 0, 0)
_EMPTY_INLINE = struct.pack("<IHH", 0, 56, 0).ljust(56, b"\0")  # one unused entry; the parent's number stands before it
_DIRECTORY = 0x4000


@dataclass(frozen=True, slots=True)
class Changes:
    """What goes before what the replayed disk holds.

    inodes: whole raw inodes. places: the byte in the source where one was found, if one was.
    entries: directory to name to inode, None where the name is gone. runs: all blocks of a file.
    """

    inodes: dict[int, bytes] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    entries: dict[int, dict[bytes, int | None]] = field(default_factory=dict)
    runs: dict[int, list[Run]] = field(default_factory=dict)


def apply(
    records: Sequence[Record],
    places: Sequence[int],
    tables: InodeTables,
    find: Callable[[int, bytes], int | None],
    problems: ProblemLog,
) -> Changes:
    """Apply records to the filesystem of `tables`; `find` looks a name up in one of its directories.

    places: the byte offset in the source of each block of the fast-commit area.
    """
    target = _Target(tables, find, problems)
    for record in records:
        if isinstance(record, InodeRecord):
            target.inode(record, places[record.block] + record.offset)
        elif isinstance(record, Dentry):
            target.dentry(record)
        elif isinstance(record, AddRange):
            target.map(record.inode, record.run)
        else:
            target.map(record.inode, Run(record.logical, record.count, 0, False), hole=True)
    return target.changes()


class _Target:
    def __init__(self, tables: InodeTables, find: Callable[[int, bytes], int | None], problems: ProblemLog) -> None:
        self._tables = tables
        self._find = find
        self._problems = problems
        self._raw: dict[int, bytearray] = {}
        self._places: dict[int, int] = {}
        self._entries: dict[int, dict[bytes, int | None]] = {}
        self._runs: dict[int, list[Run]] = {}
        self._new: set[int] = set()

    def changes(self) -> Changes:
        return Changes({number: bytes(raw) for number, raw in self._raw.items()}, self._places, self._entries, self._runs)

    def inode(self, record: InodeRecord, place: int) -> None:
        """All but i_block is taken over; of an inode that is not stored to its end, the rest stays what it was."""
        number, given = record.inode, record.raw
        try:
            raw = self._writable(number)
        except FormatError as error:
            self._problems.add("fast commits", f"inode {number}", error.what, place)
            return
        was_inline = self._flags(raw) & InodeFlag.INLINE_DATA
        raw[: _BLOCK.start] = given[: _BLOCK.start]
        raw[_BLOCK.stop : len(given)] = given[_BLOCK.stop :]
        self._places[number] = place
        if self._flags(raw) & InodeFlag.EXTENTS:
            if was_inline or raw[_BLOCK][:2] != _NO_EXTENTS[:2]:
                raw[_BLOCK] = _NO_EXTENTS.ljust(60, b"\0")
            return
        self._runs.pop(number, None)
        if self._flags(raw) & InodeFlag.INLINE_DATA:
            raw[_BLOCK] = given[_BLOCK]

    def dentry(self, record: Dentry) -> None:
        """Give an inode a name, or take one from it."""
        if record.tag == UNLINK:
            self._unlink(record)
        elif record.tag == CREAT:
            self._create(record)
        elif self._alive(record.inode):
            self._link(record)

    def _create(self, record: Dentry) -> None:
        if not self._alive(record.inode):
            self._problems.add("fast commits", f"inode {record.inode}", "a name was made for an inode that is not there")
            return
        if self._is_directory(record.inode) and not self._make_directory(record.inode, record.parent):
            return
        self._link(record)
        self._set(record.inode, "i_links_count", 1)  # of directories too

    def _link(self, record: Dentry) -> None:
        if self._alive(record.parent) and self._lookup(record.parent, record.name) is None:
            self._entries.setdefault(record.parent, {})[record.name] = record.inode
            self._add_links(record.inode, 1)

    def _unlink(self, record: Dentry) -> None:
        if not (self._alive(record.inode) and self._alive(record.parent)):
            return
        found = self._lookup(record.parent, record.name)
        if found is None:
            return
        if found == record.inode:
            self._entries.setdefault(record.parent, {})[record.name] = None
        self._add_links(record.inode, -1)  # even where the name is another inode's by now
        if not self._alive(record.inode):
            self._free(record.inode)

    def map(self, number: int, run: Run, hole: bool = False) -> None:
        """Give blocks of a file another place, or none.

        A file that outgrew its inode gets its blocks first, and only then the inode that says so. (The kernel takes the inline
        data for a block map then, and cannot mount.)
        """
        if not self._alive(number) or not self._flags(self._raw_of(number)) & (InodeFlag.EXTENTS | InodeFlag.INLINE_DATA):
            return
        if not hole and not self._tables.geometry.is_block(run.physical, run.count):
            what = f"blocks {run.physical} to {run.physical + run.count - 1} are outside the filesystem"
            self._problems.add("fast commits", f"inode {number}", what)
            return
        runs = self._runs.setdefault(number, self._map_of(number))
        replace(runs, run.logical, run.logical + run.count, [] if hole or not run.count else [run])

    def _make_directory(self, number: int, parent: int) -> bool:
        """A new directory: the kernel gives it a block with `.` and `..`; here it is an inline one.

        False where the kernel fails: of an older directory with this number, whose removal is replayed before, it leaves the
        blocks in their place (the link count never comes down to 0), and then finds the new one's first block taken.
        """
        if not self._alive(parent):
            return False
        raw = self._writable(number)
        if any(run.logical == 0 for run in self._map_of(number)):
            what = "the kernel's replay does not bring the new directory back: its number was a removed one's"
            self._problems.add("fast commits", f"inode {number}", what)
            return False
        flags = self._flags(raw) & ~InodeFlag.EXTENTS | InodeFlag.INLINE_DATA
        self._set(number, "i_flags", flags, 4)
        raw[_BLOCK] = parent.to_bytes(4, "little") + _EMPTY_INLINE
        self._runs.pop(number, None)
        self._entries.pop(number, None)
        self._new.add(number)
        return True

    def _free(self, number: int) -> None:
        """The last name is gone, and the blocks with it; the number may come back as another file's."""
        raw = self._writable(number)
        self._set(number, "i_size_lo", 0, 4)
        self._set(number, "i_size_high", 0, 4)
        raw[_BLOCK] = _NO_EXTENTS.ljust(60, b"\0") if self._flags(raw) & InodeFlag.EXTENTS else bytes(60)
        self._runs.pop(number, None)

    def _map_of(self, number: int) -> list[Run]:
        runs = self._runs.get(number)
        if runs is not None:
            return runs
        inode = parse_inode(self._raw_of(number))
        if inode.flags & InodeFlag.INLINE_DATA:
            return []
        return block_map(self._tables.source, self._tables.geometry, inode, None).runs

    def _lookup(self, directory: int, name: bytes) -> int | None:
        changed = self._entries.get(directory, {})
        if name in changed or directory in self._new:
            return changed.get(name)
        return self._find(directory, name)

    def _raw_of(self, number: int) -> bytes | bytearray:
        return self._raw.get(number) or self._tables.raw(number)

    def _writable(self, number: int) -> bytearray:
        if number not in self._raw:
            self._raw[number] = bytearray(self._tables.raw(number))
        return self._raw[number]

    def _get(self, number: int, name: str) -> int:
        return int.from_bytes(self._raw_of(number)[_AT[name] : _AT[name] + 2], "little")

    def _set(self, number: int, name: str, value: int, size: int = 2) -> None:
        self._writable(number)[_AT[name] : _AT[name] + size] = value.to_bytes(size, "little")

    def _flags(self, raw: bytes | bytearray) -> int:
        return int.from_bytes(raw[_AT["i_flags"] : _AT["i_flags"] + 4], "little")

    def _add_links(self, number: int, more: int) -> None:
        self._set(number, "i_links_count", max(self._get(number, "i_links_count") + more, 0) & 0xFFFF)

    def _alive(self, number: int) -> bool:
        """Whether the kernel would open the inode."""
        try:
            return bool(self._get(number, "i_mode") and self._get(number, "i_links_count"))
        except FormatError:
            return False

    def _is_directory(self, number: int) -> bool:
        return self._get(number, "i_mode") & 0xF000 == _DIRECTORY


def replace(runs: list[Run], first: int, end: int, new: list[Run]) -> None:
    """Put `new` in the place of the blocks [first, end) of a file; `runs` stay in order."""
    low = bisect_left(runs, first, key=lambda run: run.logical + run.count - 1)
    high = bisect_left(runs, end, low, key=lambda run: run.logical)
    kept = []
    if low < high:
        head, tail = runs[low], runs[high - 1]
        if head.logical < first:
            kept.append(head._replace(count=first - head.logical))
        kept += new
        skipped = end - tail.logical
        if skipped < tail.count:
            kept.append(Run(end, tail.count - skipped, tail.physical + skipped, tail.unwritten))
    runs[low:high] = kept if low < high else new
