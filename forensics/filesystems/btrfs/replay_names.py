"""What a tree log's replay does to directories: links are added, and those that contradict the log are taken away.

Source: Linux 6.12, fs/btrfs/tree-log.c, inode.c (btrfs_add_link, __btrfs_unlink_inode), inode-item.c, dir-item.c.
"""

from __future__ import annotations

from forensics.filesystems.btrfs.items import ItemTree
from forensics.filesystems.btrfs.subvolumes import Item, Key
from parsers import btrfs
from parsers.btrfs_names import (
    INODE_EXTREF,
    INODE_REF,
    Entry,
    Link,
    entries,
    extref_hash,
    kind_of,
    links,
    name_hash,
    pack_entry,
    pack_links,
)
from parsers.errors import FormatError


class Directories:
    """The directories of a subvolume while its log is applied. fixups: inodes whose links are counted at the end."""

    def __init__(self, tree: ItemTree, log: ItemTree, transaction: int) -> None:
        self.tree, self.log, self.transaction = tree, log, transaction
        self.fixups: set[int] = set()

    def inode(self, objectid: int) -> Item | None:
        """An inode's item, of the size that it must have."""
        item = self.tree.get((objectid, btrfs.INODE_ITEM, 0))
        return item if item is not None and len(item.data) >= btrfs.inode_item.size else None

    def by_name(self, directory: int, name: bytes) -> Entry | None:
        """The entry of that name."""
        item = self.tree.get((directory, btrfs.DIR_ITEM, name_hash(name)))
        return next((each for each in entries(item.data) if each.name == name), None) if item is not None else None

    def by_index(self, directory: int, index: int, name: bytes) -> Entry | None:
        """The entry with that index, if it has that name."""
        item = self.tree.get((directory, btrfs.DIR_INDEX, index))
        return next((each for each in entries(item.data) if each.name == name), None) if item is not None else None

    def is_logged(self, key: Key, link: Link) -> bool:
        """Whether the log has that name in that back reference."""
        item = self.log.get(key)
        if item is None:
            return False
        return any(each.name == link.name and each.parent == link.parent for each in links(key[1], key[2], item.data))

    def link(self, inode: int, link: Link, item: Item, back: bool) -> None:
        """Add a name. item: what told of it. back: whether the inode is to refer back to it, too."""
        directory, index, name = link
        key = (inode, INODE_REF, directory)
        if back:
            known = self.tree.get(key)
            found = links(INODE_REF, directory, known.data) if known is not None else []
            self.tree.put(key, Item(pack_links(INODE_REF, [*found, link]), item.address))
        target = self.inode(inode)
        mode = btrfs.inode_item.fields(target.data)["mode"] if target is not None else 0
        entry = Entry(inode, btrfs.INODE_ITEM, 0, kind_of(mode), name)
        packed = pack_entry(entry, self.transaction)
        key = (directory, btrfs.DIR_ITEM, name_hash(name))
        same = self.tree.get(key)
        if same is not None and any(each.name == name for each in entries(same.data)):
            raise FormatError(f"directory {directory} would have two entries of one name")
        if self.tree.get((directory, btrfs.DIR_INDEX, index)) is not None:
            raise FormatError(f"directory {directory} would have two entries with index {index}")
        self.tree.put(key, Item((same.data if same is not None else b"") + packed, item.address))
        self.tree.put((directory, btrfs.DIR_INDEX, index), Item(packed, item.address))
        self._resize(directory, 2 * len(name))

    def unlink(self, directory: int, inode: int, name: bytes) -> None:
        """Take a name away, and the inode's reference back to it."""
        key = (directory, btrfs.DIR_ITEM, name_hash(name))
        item = self.tree.get(key)
        found = entries(item.data) if item is not None else []
        left = [each for each in found if each.name != name]
        if item is None or len(left) == len(found):
            raise FormatError(f"directory {directory} has no entry of a name that is to be removed")
        self._put_or_remove(key, b"".join(pack_entry(each, self.transaction) for each in left), item.address)
        index = self._unlink_back(directory, inode, name)
        if index is not None:
            self.tree.remove((directory, btrfs.DIR_INDEX, index))
        self._resize(directory, -2 * len(name))

    def drop(self, directory: int, entry: Entry) -> None:
        """Remove an entry that contradicts the log."""
        if entry.key_type != btrfs.INODE_ITEM or self.inode(entry.objectid) is None:
            raise FormatError(f"directory {directory} has an entry in the log's way that leads to no inode")
        self.fixups.add(entry.objectid)
        self.unlink(directory, entry.objectid, entry.name)

    def all_links(self, inode: int) -> list[Link]:
        """Every name that an inode refers back to."""
        return [
            link
            for kind in (INODE_REF, INODE_EXTREF)
            for key, item in self.tree.of(inode, kind)
            for link in links(kind, key[2], item.data)
        ]

    def _unlink_back(self, directory: int, inode: int, name: bytes) -> int | None:
        for key in ((inode, INODE_REF, directory), (inode, INODE_EXTREF, extref_hash(directory, name))):
            item = self.tree.get(key)
            if item is None:
                continue
            found = links(key[1], directory, item.data)
            gone = next((each for each in found if each.name == name and each.parent == directory), None)
            if gone is not None:
                self._put_or_remove(key, pack_links(key[1], [each for each in found if each != gone]), item.address)
                return gone.sequence
        return None

    def _put_or_remove(self, key: Key, data: bytes, address: int) -> None:
        if data:
            self.tree.put(key, Item(data, address))
        else:
            self.tree.remove(key)

    def _resize(self, directory: int, change: int) -> None:
        item = self.inode(directory)
        if item is None:
            raise FormatError(f"directory {directory} has no inode")
        size = max(btrfs.inode_item.fields(item.data)["size"] + change, 0)
        self.tree.put((directory, btrfs.INODE_ITEM, 0), Item(btrfs.inode_item.changed(item.data, size=size), item.address))
