"""A subvolume's tree log, applied in memory as the kernel applies it at the next mount.

Source: Linux 6.12, fs/btrfs/tree-log.c: btrfs_recover_log_trees and what it calls. Times that the kernel would set while it
does so are not made up: a directory that loses a name to the log keeps the times that the log gives it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping

from forensics.filesystems.btrfs.items import LAST, ItemTree
from forensics.filesystems.btrfs.replay_extents import FileExtents
from forensics.filesystems.btrfs.replay_names import Directories
from forensics.filesystems.btrfs.subvolumes import Item, Key
from parsers import btrfs
from parsers.btrfs_names import (
    DIR_LOG_INDEX,
    INODE_EXTREF,
    INODE_REF,
    Entry,
    Link,
    dir_log,
    entries,
    extref_hash,
    kind_of,
    links,
)
from parsers.errors import FormatError

_INODES, _NAMES, _REST = range(3)


def replay(tree: ItemTree, log: ItemTree, transaction: int, sector: int, holes_are_left_out: bool) -> Mapping[Key, Item | None]:
    """The items of a subvolume that its log changes, None for those that it removes. FormatError where it cannot be applied.

    transaction: the one that the log belongs to. holes_are_left_out: whether holes have no extents, the feature no-holes.
    """
    done = _Replay(tree, log, transaction, FileExtents(tree, sector, holes_are_left_out), sector)
    for stage in (_INODES, _NAMES, _REST):
        done.walk(stage)
    done.count_links()
    return tree.changes


class _Replay:
    def __init__(self, tree: ItemTree, log: ItemTree, transaction: int, extents: FileExtents, sector: int) -> None:
        self._tree, self._log, self._extents, self._sector = tree, log, extents, sector
        self._transaction = transaction
        self._names = Directories(tree, log, transaction)

    def walk(self, stage: int) -> None:
        """One walk over the log."""
        ignored = False
        for key, item in self._log.walk():
            objectid, kind, offset = key
            if kind == btrfs.INODE_ITEM:
                if len(item.data) < btrfs.inode_item.size:
                    raise FormatError(f"inode {objectid} in the log is cut short")
                # an inode without links was removed after it was logged; its directory's part of the log says so
                ignored = btrfs.inode_item.fields(item.data)["nlink"] == 0
                if stage == _INODES and not ignored:
                    self._inode(objectid, item)
            elif ignored:
                continue
            elif stage == _NAMES and kind == btrfs.DIR_INDEX:
                for entry in entries(item.data):
                    self._entry(objectid, offset, entry, item)
            elif stage == _REST and kind == btrfs.XATTR_ITEM:
                self._tree.put(key, item)
            elif stage == _REST and kind in (INODE_REF, INODE_EXTREF):
                self._links(key, item)
            elif stage == _REST and kind == btrfs.EXTENT_DATA:
                if self._names.inode(objectid) is None:
                    raise FormatError(f"the log has an extent of inode {objectid}, which is not there")
                self._extents.replace(objectid, offset, item)

    def count_links(self) -> None:
        """Give every inode as many links as it has names, and let go of what has none."""
        while self._names.fixups:
            number = max(self._names.fixups)
            self._names.fixups.remove(number)
            item = self._names.inode(number)
            if item is None:
                raise FormatError(f"inode {number}, whose names the log changes, is not there")
            count = len(self._names.all_links(number))
            fields = btrfs.inode_item.fields(item.data)
            if count != fields["nlink"]:
                changed = btrfs.inode_item.changed(item.data, nlink=count)
                self._tree.put((number, btrfs.INODE_ITEM, 0), Item(changed, item.address))
            if count == 0 and stat.S_ISDIR(fields["mode"]):
                self._remove_entries(number, 0, LAST, logged=False)

    def _inode(self, number: int, item: Item) -> None:
        self._remove_xattrs(number)
        mode = btrfs.inode_item.fields(item.data)["mode"]
        if stat.S_ISDIR(mode) and self._names.inode(number) is not None:
            for start, end in self._ranges(number):
                self._remove_entries(number, start, end, logged=True)
        self._overwrite_inode(number, item)
        if stat.S_ISREG(mode):
            now = self._names.inode(number)
            size = btrfs.inode_item.fields(now.data)["size"] if now is not None else 0
            self._extents.drop(number, -(-size // self._sector) * self._sector, LAST + 1)
        self._names.fixups.add(number)

    def _overwrite_inode(self, number: int, item: Item) -> None:
        key = (number, btrfs.INODE_ITEM, 0)
        old = self._names.inode(number)
        new = btrfs.inode_item.fields(item.data)
        directory = stat.S_ISDIR(new["mode"])
        data = item.data
        if old is None:
            generation = new["generation"] or self._transaction
            self._tree.put(key, Item(btrfs.inode_item.changed(data, generation=generation, size=0 if directory else new["size"]),
                                     item.address))  # fmt: skip
            return
        before = btrfs.inode_item.fields(old.data)
        if new["generation"] == 0:
            # it was logged to exist only; a size of 0 says nothing then
            if stat.S_ISREG(new["mode"]) and stat.S_ISREG(before["mode"]) and new["size"]:
                self._tree.put(key, Item(btrfs.inode_item.changed(old.data, size=new["size"]), old.address))
            return
        if directory:
            # the log has no directory's size: it follows from the entries that are added and removed
            data = btrfs.inode_item.changed(data, size=before["size"] if stat.S_ISDIR(before["mode"]) else 0)
        self._tree.put(key, Item(data, item.address))

    def _remove_xattrs(self, number: int) -> None:
        for key, item in self._tree.of(number, btrfs.XATTR_ITEM):
            logged = self._log.get(key)
            kept = {each[4] for each in btrfs.dir_items(logged.data)} if logged is not None else set()
            found = btrfs.dir_items(item.data)
            left = [each for each in found if each[4] in kept]
            if not left:
                self._tree.remove(key)
            elif len(left) < len(found):
                packed = b"".join(
                    btrfs.dir_item.pack(*each[:3], self._transaction, len(each[5]), len(each[4]), each[3]) + each[4] + each[5]
                    for each in left
                )
                self._tree.put(key, Item(packed, item.address))

    def _ranges(self, directory: int) -> Iterator[tuple[int, int]]:
        """The runs of a directory's indexes of which the log has every entry that there is."""
        for key, item in self._log.of(directory, DIR_LOG_INDEX):
            if len(item.data) < dir_log.size:
                raise FormatError(f"a range of directory {directory} in the log is cut short")
            yield key[2], dir_log.unpack(item.data)[0]

    def _remove_entries(self, directory: int, start: int, end: int, logged: bool) -> None:
        """Remove the entries with these indexes; logged: but for those that the log has."""
        for key, item in self._tree.between((directory, btrfs.DIR_INDEX, start), (directory, btrfs.DIR_INDEX, end)):
            in_log = self._log.get(key) if logged else None
            kept = {each.name for each in entries(in_log.data)} if in_log is not None else set()
            for entry in entries(item.data):
                if entry.name not in kept:
                    self._names.drop(directory, entry)

    def _entry(self, directory: int, index: int, entry: Entry, item: Item) -> None:
        """Add an entry of the log, unless its inode's back reference does so later."""
        if self._names.inode(directory) is None:
            raise FormatError(f"the log has an entry of directory {directory}, which is not there")
        exists = entry.key_type == btrfs.INODE_ITEM and self._names.inode(entry.objectid) is not None
        by_name = self._stays(directory, self._names.by_name(directory, entry.name), entry, exists)
        by_index = self._stays(directory, self._names.by_index(directory, index, entry.name), entry, exists)
        if (by_name and by_index) or not exists:
            return
        link = Link(directory, index, entry.name)
        if self._names.is_logged((entry.objectid, INODE_REF, directory), link) or self._names.is_logged(
            (entry.objectid, INODE_EXTREF, extref_hash(directory, entry.name)), link
        ):
            return
        if by_name or by_index or link in self._names.all_links(entry.objectid):
            return
        self._names.link(entry.objectid, link, item, back=True)
        if entry.kind != kind_of(stat.S_IFDIR):
            self._names.fixups.add(entry.objectid)

    def _stays(self, directory: int, found: Entry | None, entry: Entry, exists: bool) -> bool:
        """Whether the entry that stands there already is the same; another one is removed where the new one's inode is there."""
        if found is None:
            return False
        if found == entry:
            return True
        if exists:
            self._names.drop(directory, found)
        return False

    def _links(self, key: Key, item: Item) -> None:
        """Give an inode the names of a back reference in the log, and take away those that it does not have."""
        number, kind, offset = key
        names = self._names
        if names.inode(number) is None:
            raise FormatError(f"the log has names of inode {number}, which is not there")
        logged = links(kind, offset, item.data)
        if kind == INODE_REF and names.inode(offset) is None:
            return
        for link in logged:
            if names.inode(link.parent) is None or self._is_there(number, link):
                continue
            if kind == INODE_REF and number == link.parent:
                return
            self._unlink_unlogged(number, link)
            if (found := names.by_index(*link)) is not None:
                names.drop(link.parent, found)
            if (found := names.by_name(link.parent, link.name)) is not None:
                names.drop(link.parent, found)
            names.link(number, link, item, back=False)
        old = self._tree.get(key)
        for link in links(kind, offset, old.data) if old is not None else ():
            if not any(each.name == link.name and each.parent == link.parent for each in logged):
                names.unlink(link.parent, number, link.name)
        self._tree.put(key, item)

    def _is_there(self, number: int, link: Link) -> bool:
        """Whether the directory has that name for that inode, by index and by name."""
        by_index = self._names.by_index(*link)
        by_name = self._names.by_name(link.parent, link.name)
        return by_index is not None and by_name is not None and by_index.objectid == by_name.objectid == number

    def _unlink_unlogged(self, number: int, link: Link) -> None:
        """Remove the names that the inode has in that directory and the log does not know."""
        for key in ((number, INODE_REF, link.parent), (number, INODE_EXTREF, extref_hash(link.parent, link.name))):
            item = self._tree.get(key)
            for old in links(key[1], key[2], item.data) if item is not None else ():
                where = key if key[1] == INODE_REF else (number, INODE_EXTREF, extref_hash(old.parent, old.name))
                if old.parent == link.parent and not self._names.is_logged(where, old):
                    self._names.unlink(old.parent, number, old.name)
