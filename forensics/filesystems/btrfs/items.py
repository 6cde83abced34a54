"""A tree's items by key, with changes to them that are made in memory only."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from forensics.filesystems.btrfs.chunks import NodeReader
from forensics.filesystems.btrfs.subvolumes import Item, Key, Leaf, Root
from parsers import btrfs
from parsers.errors import FormatError

LAST = (1 << 64) - 1
KEPT = 1024  # nodes that are kept


class _Node(NamedTuple):
    keys: list[Key]
    items: list[Item]
    below: list[Root]


class ItemTree:
    """A tree that is searched by key, and changed in memory. Raises FormatError where a node of it is damaged.

    kept: how many nodes are.
    """

    def __init__(self, reader: NodeReader, root: Root, kept: int = KEPT) -> None:
        self._reader, self._root, self._kept = reader, root, kept
        self._nodes: OrderedDict[int, _Node] = OrderedDict()
        self.changes: dict[Key, Item | None] = {}
        self._changed: list[Key] = []

    def get(self, key: Key) -> Item | None:
        """The item of a key."""
        if key in self.changes:
            return self.changes[key]
        return next((item for _, item in self._lying(self._root, key, key)), None)

    def between(self, first: Key, last: Key) -> list[tuple[Key, Item]]:
        """All items from the first key to the last, both included, in order."""
        low, high = bisect_left(self._changed, first), bisect_right(self._changed, last)
        found = [each for each in self._lying(self._root, first, last) if each[0] not in self.changes]
        if low == high:
            return found
        found += [(key, item) for key in self._changed[low:high] if (item := self.changes[key]) is not None]
        return sorted(found)

    def of(self, objectid: int, kind: int) -> list[tuple[Key, Item]]:
        """All items of one object and type."""
        return self.between((objectid, kind, 0), (objectid, kind, LAST))

    def before(self, key: Key) -> tuple[Key, Item] | None:
        """The last item on the disk whose key is less than this one."""
        return self._last_before(self._root, key)

    def put(self, key: Key, item: Item) -> None:
        """Give a key an item."""
        self._note(key, item)

    def remove(self, key: Key) -> None:
        """Take a key's item away."""
        self._note(key, None)

    def walk(self) -> Iterator[tuple[Key, Item]]:
        """All items as they lie on the disk, in order."""
        return self._lying(self._root, (0, 0, 0), (LAST, 255, LAST))

    def _note(self, key: Key, item: Item | None) -> None:
        if key not in self.changes:
            insort(self._changed, key)
        self.changes[key] = item

    def _lying(self, at: Root, first: Key, last: Key) -> Iterator[tuple[Key, Item]]:
        node = self._node(at)
        if at.level == 0:
            for index in range(bisect_left(node.keys, first), bisect_right(node.keys, last)):
                yield node.keys[index], node.items[index]
            return
        for index in range(max(bisect_right(node.keys, first) - 1, 0), bisect_right(node.keys, last)):
            yield from self._lying(node.below[index], first, last)

    def _last_before(self, at: Root, key: Key) -> tuple[Key, Item] | None:
        node = self._node(at)
        index = bisect_left(node.keys, key) - 1
        if index < 0:
            return None
        if at.level == 0:
            return node.keys[index], node.items[index]
        return self._last_before(node.below[index], key)

    def _node(self, at: Root) -> _Node:
        node = self._nodes.get(at.address)
        if node is None:
            node = self._parse(at)
            self._nodes[at.address] = node
            if len(self._nodes) > self._kept:
                self._nodes.popitem(last=False)
        else:
            self._nodes.move_to_end(at.address)
        return node

    def _parse(self, at: Root) -> _Node:
        if at.level >= btrfs.MAX_LEVEL:
            raise FormatError(f"a tree of {at.level} levels", self._reader.logical.name)
        data = self._reader.node(at.address, at.level, at.generation)
        leaf = Leaf(at.address, data)
        if at.level == 0:
            rows = [((objectid, kind, key), Item(data[start : start + length], at.address + start))
                    for objectid, kind, key, start, length in leaf.items()]  # fmt: skip
            node = _Node([key for key, _ in rows], [item for _, item in rows], [])
        else:
            node = _Node([], [], [])
            for objectid, kind, key, address, generation in leaf.pointers():
                node.keys.append((objectid, kind, key))
                node.below.append(Root(address, at.level - 1, generation, (objectid, kind, key)))
        if any(after <= before for before, after in zip(node.keys, node.keys[1:], strict=False)):
            raise FormatError(f"the keys of the node at logical address {at.address} are in no order", self._reader.logical.name)
        if at.first is not None and node.keys[:1] != [at.first]:
            raise FormatError(f"the node at logical address {at.address} begins with another key", self._reader.logical.name)
        return node
