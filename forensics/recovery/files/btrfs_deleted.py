"""Deleted files of Btrfs: inodes that were unlinked and not freed yet, and those that only earlier transactions' leaves have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from forensics.filesystem import Extent, Inode, Problem
from forensics.filesystems.btrfs.content import FileExtent, parse_extent
from forensics.filesystems.btrfs.history import MAX_STATES, History, State, read_history
from forensics.filesystems.btrfs.inodes import parse_inode
from forensics.filesystems.btrfs.items import LAST, ItemTree
from forensics.filesystems.btrfs.numbers import number_of
from forensics.filesystems.btrfs.past_contents import LOST, STANDS, PastContents, past_contents
from forensics.filesystems.btrfs.past_paths import PastPath, PastPaths, own_links
from forensics.filesystems.btrfs.reader import BtrfsFilesystem
from forensics.filesystems.btrfs.stale import nodes_in_use, stale_nodes
from forensics.filesystems.btrfs.subvolumes import Item, Key, read_subvolume
from forensics.filesystems.btrfs.versions import Version, read_versions
from forensics.recovery.files.deleted_file import CERTAIN, PROBABLE, SETTLED, DeletedFile
from parsers import btrfs
from parsers.errors import EvidenceError, FormatError

MAX_INLINE = 16 << 20
"""Bytes of a content that has no extents of its own (inline, compressed) and is kept."""
ALL_INLINE = 256 << 20
"""The same of all such contents."""
Items = list[tuple[Key, Item]]
_LINKS = btrfs.inode_item.offset_of("nlink")


def find_btrfs_deleted(fs: BtrfsFilesystem) -> Iterator[DeletedFile]:
    """Every deleted file that something tells of, by inode number."""
    unlinked = {tree: _unlinked(fs, tree) for tree in sorted(fs.forest.subvolumes)}
    in_use = nodes_in_use(fs.reader, fs.forest.subvolumes.values())
    stale = list(stale_nodes(fs.reader, in_use))
    versions = read_versions(fs.reader, fs.forest, stale)
    now = {tree: fs.subvolume(tree).inodes.keys() - gone for tree, gone in unlinked.items()}
    history = read_history(fs.reader, versions, [node for node in stale if node.tree != btrfs.CSUM_TREE], in_use, now)
    if len(history.states) > MAX_STATES:
        error = f"more than {MAX_STATES} inodes are in earlier transactions only; the others are not listed"
        fs.problems.append(Problem("deleted files", "/", error))
    sums = [node for node in stale if node.tree == btrfs.CSUM_TREE and node.level == 0]
    contents = past_contents(fs.reader, fs.forest.own.get(btrfs.EXTENT_TREE), sums)
    found = _Finder(fs, history, PastPaths(fs, history), contents)
    yield from sorted(found.run(unlinked), key=lambda file: (file.inode, file.path or b""))


def _unlinked(fs: BtrfsFilesystem, tree: int) -> set[int]:
    """The inodes of a subvolume that have no name any more and are not freed."""
    volume = fs.subvolume(tree)
    return {
        number
        for number, (leaf, at) in volume.inodes.items()
        if number > btrfs.ROOT_DIR and not int.from_bytes(volume.leaves[leaf].data[at + _LINKS : at + _LINKS + 4], "little")
    }


@dataclass
class _Standing:
    """What is left of a content."""

    extents: list[Extent] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)
    inline: bytes | None = None
    sure: bool = True
    total: int = 0
    taken: int = 0

    @property
    def reuse(self) -> str | None:
        """The word for how much of it others have."""
        if self.taken:
            return "all" if self.taken == self.total else "some"
        return "none" if self.sure else None


@dataclass
class _Finder:
    fs: BtrfsFilesystem
    history: History
    paths: PastPaths
    contents: PastContents
    left: int = ALL_INLINE

    def run(self, unlinked: Mapping[int, set[int]]) -> Iterator[DeletedFile]:
        """All that is found; what is in a subvolume still goes before what earlier transactions tell."""
        held = {(tree, number) for tree, numbers in unlinked.items() for number in numbers}
        for tree, numbers in sorted(unlinked.items()):
            names = self._names_before_log(tree) if numbers else {}
            for number in sorted(numbers):
                yield from self._held(tree, number, names.get(number, []))
        order = self.history.states
        for tree, objectid in sorted(order, key=lambda key: (key[0], order[key].leaf, key[1])):
            if (tree, objectid) not in held and (objectid != btrfs.ROOT_DIR or tree not in unlinked):
                yield from self._gone(tree, objectid, order[tree, objectid])
        for tree in sorted({tree for tree, _ in order} - unlinked.keys()):
            yield from self._directories_above(tree)

    def _directories_above(self, tree: int) -> Iterator[DeletedFile]:
        """The directories of a removed subvolume in which something of it stood, but which have leaves that are in use."""
        for version in reversed(self.history.versions.of.get(tree, [])):
            then = self.history.tree(version)
            pending = [number for of, number in self.history.states if of == tree]
            seen = set(pending)
            try:
                while pending:
                    items = then.between((pending[-1], 0, 0), (pending.pop(), 255, LAST))
                    for above in {link.parent for link in own_links(items)} - seen:
                        seen.add(above)
                        pending.append(above)
                        known = then.between((above, 0, 0), (above, 255, LAST))
                        yield from self._told(tree, above, known, True, version, version.generation, version.last)
            except (FormatError, EvidenceError):
                continue
            return

    def _names_before_log(self, tree: int) -> dict[int, list[tuple[int, bytes]]]:
        found: dict[int, list[tuple[int, bytes]]] = {}
        if self.fs.state == "clean":
            return found
        for directory, names in sorted(read_subvolume(self.fs.reader, tree, self.fs.forest.subvolumes[tree], []).names.items()):
            for name in sorted(names):
                if names[name].subvolume is None:
                    found.setdefault(names[name].objectid, []).append((directory, name))
        return found

    def _held(self, tree: int, objectid: int, before: list[tuple[int, bytes]]) -> Iterator[DeletedFile]:
        """An inode without a name, whole; with the names that it had before the log, or in an earlier transaction."""
        number = number_of(tree, objectid)
        try:
            inode = self.fs.inode(number)
            extents = self.fs.extents(number) if inode.type == "f" else None
            inline = None
            if inode.type == "f" and extents is None and self._may_keep(inode.size):
                inline = self.fs.read(number)
            target = self.fs.target(number) if inode.type == "l" else None
            xattrs = self.fs.xattrs(number)
        except (FormatError, EvidenceError):
            return
        stands = _Standing(list(extents or ()), inline=inline)
        if inode.type == "f" and extents is None and inline is None:
            stands.lost, stands.sure = [(0, inode.size)], False
        file = replace(
            _file(inode, stands, "orphan", xattrs, target),
            deleted_ns=_time(inode.ctime_ns),
            reuse="none" if stands.sure else None,
        )
        state = self.history.states.get((tree, objectid))
        if before:
            then = ItemTree(self.fs.reader, self.fs.forest.subvolumes[tree])
            for directory, name in before:
                above, known = self.paths.directory(tree, directory, then)
                yield replace(file, path=above + b"/" + name, confidence=file.confidence if known else PROBABLE)
            return
        paths = self._paths(tree, objectid, state) if state is not None and state.links else []
        yield from (replace(file, path=path.path, confidence=PROBABLE) for path in paths)
        if not paths:
            yield file

    def _gone(self, tree: int, objectid: int, state: State) -> Iterator[DeletedFile]:
        """An inode that only an earlier transaction has."""
        try:
            items, whole = self.history.items(tree, objectid, state)
        except (FormatError, EvidenceError):
            return
        last = self.history.is_last(tree, objectid, state) and state.links > 0
        yield from self._told(tree, objectid, items, whole, self.history.version(tree, state), state.generation, last)

    def _told(
        self, tree: int, objectid: int, items: Items, whole: bool, version: Version | None, seen: int, last: bool
    ) -> Iterator[DeletedFile]:
        """A file by its items, as the transaction `seen` had them; last: whether no later one had others."""
        try:
            item = next(item for key, item in items if key[1] == btrfs.INODE_ITEM and len(item.data) >= btrfs.inode_item.size)
            inode = parse_inode(number_of(tree, objectid), item.data, 0, self.fs.source.locate(item.address))
            if inode.type == "?":
                return
            xattrs = {n: v for key, each in items if key[1] == btrfs.XATTR_ITEM for n, v in btrfs.xattrs(each.data).items()}
            stands, target = self._content(inode, items, whole, seen)
        except (FormatError, EvidenceError, StopIteration):
            return
        file = _file(inode, stands, "transaction", xattrs, target)
        if not last or self._may_be_longer(inode, version):
            file = replace(file, confidence=PROBABLE)
        if objectid == btrfs.ROOT_DIR:
            yield replace(file, path=self.paths.top(tree))
            return
        paths = self.paths.of(tree, items, self.history.tree(version) if version is not None else None)
        for path in paths:
            moment = self._deleted(tree, path.directory, version, inode)
            sure = file.confidence if path.sure else PROBABLE
            yield replace(file, path=path.path, confidence=sure, deleted_ns=moment, no_later=moment is not None)
        if not paths:
            yield replace(file, confidence=PROBABLE)

    def _may_be_longer(self, inode: Inode, version: Version | None) -> bool:
        """Whether the end of a content may never have reached the disk: it ends with a sector, or is nothing, and is recent."""
        if inode.type != "f" or inode.size % self.fs.block_size:
            return False
        changed = version.changed_ns if version is not None else None
        return changed is None or inode.mtime_ns is None or changed < inode.mtime_ns + SETTLED

    def _paths(self, tree: int, objectid: int, state: State) -> list[PastPath]:
        try:
            items, _ = self.history.items(tree, objectid, state)
        except (FormatError, EvidenceError):
            return []
        version = self.history.version(tree, state)
        return self.paths.of(tree, items, self.history.tree(version) if version is not None else None)

    def _deleted(self, tree: int, directory: int, version: Version | None, inode: Inode) -> int | None:
        """A moment before which the file was deleted: its directory changed then the first time, or the last one."""
        following = self.history.versions.following(tree, version) if version is not None else None
        later: int | None = None
        try:
            if following is not None:
                item = self.history.tree(following).get((directory, btrfs.INODE_ITEM, 0))
                if item is not None and len(item.data) >= btrfs.inode_item.size:
                    later = _time(parse_inode(0, item.data, 0, None).ctime_ns)
            if later is None and tree in self.fs.forest.subvolumes:
                later = _time(self.fs.inode(number_of(tree, directory)).ctime_ns)
        except (FormatError, EvidenceError):
            return None
        return later if later is not None and inode.ctime_ns is not None and later >= inode.ctime_ns else None

    def _content(self, inode: Inode, items: Items, whole: bool, seen: int) -> tuple[_Standing, bytes | None]:
        """What is left of a file's content, and a symlink's target. whole: whether no item of the inode is missing."""
        stands = _Standing()
        parsed = [(parse_extent(key[2], item.data), _made(item)) for key, item in items if key[1] == btrfs.EXTENT_DATA]
        if inode.type == "l":
            data = next((extent.data for extent, _ in parsed if extent.data is not None and not extent.compression), None)
            return stands, data
        if inode.type != "f":
            return stands, None
        parsed = [each for each in parsed if each[0].start < inode.size]
        end = max((extent.start + extent.length for extent, _ in parsed), default=0)
        whole = whole or end >= inode.size
        if any(not extent.plain for extent, _ in parsed if extent.data is not None or extent.address):
            self._packed(stands, inode, parsed, whole, seen)
            return stands, None
        for extent, made in parsed:
            self._judge(stands, extent, made, seen)
        if not whole:
            stands.lost.append((end, inode.size - end))
            stands.sure = False
        return stands, None

    def _judge(self, stands: _Standing, extent: FileExtent, made: int, seen: int) -> None:
        if extent.address == 0:
            return
        if not extent.written:
            stands.extents.append(Extent(extent.start, None, extent.length))
            return
        place, sector = extent.address + extent.skip, self.fs.block_size
        for first, end, what in self.contents.judge(place, extent.length, made, seen):
            length = min(end * sector, extent.length) - first * sector
            stands.total += end - first
            if what == LOST:
                stands.lost.append((extent.start + first * sector, length))
                stands.taken += end - first
            else:
                stands.extents.append(Extent(extent.start + first * sector, place + first * sector, length))
            stands.sure &= what == STANDS

    def _packed(self, stands: _Standing, inode: Inode, parsed: list[tuple[FileExtent, int]], whole: bool, seen: int) -> None:
        """A content that is inline or compressed: kept whole, or not at all."""
        for extent, made in parsed:
            if extent.data is not None or not extent.address:
                continue
            length = extent.packed if extent.compression else extent.length
            place = extent.address + (0 if extent.compression else extent.skip)
            for first, end, what in self.contents.judge(place, length, made, seen) if extent.written else ():
                stands.total += end - first
                stands.taken += end - first if what == LOST else 0
                stands.sure &= what == STANDS
        if whole and not stands.taken and self._may_keep(inode.size):
            try:
                stands.inline = self.fs.content.read([extent for extent, _ in parsed], 0, inode.size)
            except (FormatError, EvidenceError):
                stands.taken = stands.total
        if stands.inline is None:
            stands.lost, stands.sure = [(0, inode.size)], False

    def _may_keep(self, size: int) -> bool:
        if size > min(MAX_INLINE, self.left):
            error = f"compressed contents: {ALL_INLINE:,} bytes are kept in all, {MAX_INLINE:,} of one file; others count as lost"
            told = Problem("deleted files", "/", error)
            if told not in self.fs.problems:
                self.fs.problems.append(told)
            return False
        self.left -= size
        return True


def _made(item: Item) -> int:
    """The transaction that made an extent."""
    return int(btrfs.file_extent.unpack(item.data)[0])


def _file(inode: Inode, stands: _Standing, method: str, xattrs: Mapping[bytes, bytes], target: bytes | None) -> DeletedFile:
    regular = inode.type == "f"
    return DeletedFile(
        path=None, inode=inode.number, type=inode.type, mode=inode.mode, uid=inode.uid, gid=inode.gid, size=inode.size,
        method=method, confidence=CERTAIN if stands.sure and not stands.lost else PROBABLE, generation=inode.generation,
        mtime_ns=_time(inode.mtime_ns), atime_ns=_time(inode.atime_ns), ctime_ns=_time(inode.ctime_ns),
        crtime_ns=_time(inode.crtime_ns), target=target, rdev=inode.rdev, xattrs=xattrs,
        extents=tuple(stands.extents) if regular and stands.inline is None else None, inline=stands.inline,
        lost=tuple(stands.lost), reuse=stands.reuse if regular else None, offset=inode.offset,
    )  # fmt: skip


def _time(value: int | None) -> int | None:
    """A time that the case can hold, else none."""
    return value if value is not None and -(1 << 63) <= value < 1 << 63 else None
