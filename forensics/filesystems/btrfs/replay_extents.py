"""What a tree log's replay does to files' extents: those in the log take the place of what they overlap.

Source: Linux 6.12, fs/btrfs/tree-log.c (replay_one_extent), file.c (btrfs_drop_extents).
"""

from __future__ import annotations

from bisect import bisect_left, insort

from forensics.filesystems.btrfs.items import LAST, ItemTree
from forensics.filesystems.btrfs.subvolumes import Item
from parsers import btrfs
from parsers.errors import FormatError

_HEAD = btrfs.file_extent.size


class FileExtents:
    """The extents of a subvolume's files while its log is applied."""

    def __init__(self, tree: ItemTree, sector: int, holes_are_left_out: bool) -> None:
        self._tree, self._sector, self._no_holes = tree, sector, holes_are_left_out
        self._starts: dict[int, list[int]] = {}

    def replace(self, inode: int, start: int, item: Item) -> None:
        """Give a file an extent of the log."""
        kind, _, size = _shape(item)
        end = start + (-(-size // self._sector) * self._sector if kind == btrfs.INLINE else size)
        old = self._tree.get((inode, btrfs.EXTENT_DATA, start))
        if old is not None and old.data == item.data:
            return
        self.drop(inode, start, end)
        if kind != btrfs.INLINE and self._no_holes and btrfs.file_extent_place.unpack(item.data, _HEAD)[0] == 0:
            return
        self._put(inode, start, item)

    def drop(self, inode: int, start: int, end: int) -> None:
        """Take the bytes from start to end away from whatever extents have them."""
        starts = self._known(inode)
        first = max(bisect_left(starts, start) - 1, 0)
        for at in starts[first : bisect_left(starts, end)]:
            item = self._tree.get((inode, btrfs.EXTENT_DATA, at))
            if item is None:
                continue
            kind, skip, size = _shape(item)
            if at + size <= start and size:
                continue
            if kind == btrfs.INLINE:
                if at < start:
                    raise FormatError(f"the log cuts an inline extent of inode {inode} in two")
                self._remove(inode, at)
                continue
            if at + size > end:
                rest = _changed(item, skip + end - at, at + size - end)
                if at >= start:
                    self._remove(inode, at)
                self._put(inode, end, rest)
            elif at >= start:
                self._remove(inode, at)
            if at < start:
                self._put(inode, at, _changed(item, skip, start - at))

    def _known(self, inode: int) -> list[int]:
        if inode not in self._starts:
            self._starts[inode] = [key[2] for key, _ in self._tree.of(inode, btrfs.EXTENT_DATA)]
        return self._starts[inode]

    def _put(self, inode: int, start: int, item: Item) -> None:
        if start > LAST:
            raise FormatError(f"an extent of inode {inode} begins behind the end of all files")
        key = (inode, btrfs.EXTENT_DATA, start)
        starts = self._known(inode)
        at = bisect_left(starts, start)
        if starts[at : at + 1] != [start]:
            insort(starts, start)
        self._tree.put(key, item)

    def _remove(self, inode: int, start: int) -> None:
        starts = self._known(inode)
        del starts[bisect_left(starts, start)]
        self._tree.remove((inode, btrfs.EXTENT_DATA, start))


def _shape(item: Item) -> tuple[int, int, int]:
    """An extent's type, where in what is on the disk it begins, and how many bytes of the file it has."""
    if len(item.data) < _HEAD:
        raise FormatError("a file extent is cut short")
    _, ram_bytes, _, _, _, kind = btrfs.file_extent.unpack(item.data)
    if kind == btrfs.INLINE:
        return kind, 0, ram_bytes
    if kind > btrfs.PREALLOC or len(item.data) < _HEAD + btrfs.file_extent_place.size:
        raise FormatError(f"a file extent of type {kind}")
    _, _, skip, length = btrfs.file_extent_place.unpack(item.data, _HEAD)
    return kind, skip, length


def _changed(item: Item, skip: int, length: int) -> Item:
    place = btrfs.file_extent_place.changed(item.data[_HEAD:], offset=skip & LAST, num_bytes=length)
    return Item(item.data[:_HEAD] + place, item.address)
