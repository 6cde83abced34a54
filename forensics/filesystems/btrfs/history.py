"""Inodes that were there and are not any more, by the leaves that earlier transactions left, each in its last known state.

The number of an inode is not given out again in the same subvolume, so one that is not there now was deleted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from forensics.filesystems.btrfs.chunks import NodeReader
from forensics.filesystems.btrfs.items import ItemTree
from forensics.filesystems.btrfs.stale import StaleNode
from forensics.filesystems.btrfs.subvolumes import Item, Key, Leaf, Root
from forensics.filesystems.btrfs.versions import Version, Versions
from parsers import btrfs
from parsers.errors import EvidenceError, FormatError

MAX_STATES = 2_000_000
TREES = 6  # earlier trees that are searched by turns
NODES = 128  # of each of them that are kept

Inodes = Mapping[int, Set[int]]


class State(NamedTuple):
    """An inode as a leaf has it. generation: of the leaf; place: of the item in it; links: how many names it had."""

    leaf: int
    generation: int
    place: int
    links: int


@dataclass
class History:
    """What earlier transactions left. states: by subvolume and inode. reached: the newest version that has a leaf, by both."""

    reader: NodeReader
    versions: Versions
    states: dict[tuple[int, int], State] = field(default_factory=dict)
    reached: dict[tuple[int, int], Version] = field(default_factory=dict)
    _trees: OrderedDict[int, ItemTree] = field(default_factory=OrderedDict)

    def version(self, tree: int, state: State) -> Version | None:
        """The newest known version of the subvolume that had the inode in this state."""
        return self.reached.get((tree, state.leaf))

    def tree(self, version: Version) -> ItemTree:
        """A version's items."""
        address = version.root.address
        if address not in self._trees:
            self._trees[address] = ItemTree(self.reader, version.root, NODES)
            if len(self._trees) > TREES:
                self._trees.popitem(last=False)
        self._trees.move_to_end(address)
        return self._trees[address]

    def items(self, tree: int, objectid: int, state: State) -> tuple[list[tuple[Key, Item]], bool]:
        """An inode's items in this state, and whether these are all of them."""
        version = self.version(tree, state)
        if version is not None:
            try:
                return self.tree(version).between((objectid, 0, 0), (objectid, 255, (1 << 64) - 1)), True
            except (FormatError, EvidenceError):
                pass  # the leaf itself has at least the first of them
        leaf = Leaf(state.leaf, self.reader.node(state.leaf, 0, state.generation))
        rows = list(leaf.items())
        found = [((number, kind, offset), Item(leaf.data[at : at + length], leaf.address + at))
                 for number, kind, offset, at, length in rows if number == objectid]  # fmt: skip
        return found, bool(rows) and rows[-1][0] != objectid

    def is_last(self, tree: int, objectid: int, state: State) -> bool:
        """Whether it is known that no later transaction changed the inode but the one that removed it."""
        version = self.version(tree, state)
        if version is None or version.last:
            return version is not None
        following = self.versions.following(tree, version)
        if following is None:
            return False
        try:
            return self.tree(following).get((objectid, btrfs.INODE_ITEM, 0)) is None
        except (FormatError, EvidenceError):
            return False


def read_history(reader: NodeReader, versions: Versions, stale: Iterable[StaleNode], in_use: Set[int], now: Inodes) -> History:
    """The history of all subvolumes. in_use: the nodes that are; now: the inodes of each subvolume that is there."""
    found = History(reader, versions)
    found.reached = _reached(reader, versions, in_use)
    leaves = {(node.tree, node.address) for node in stale if node.level == 0} | found.reached.keys()
    for tree, address in sorted(leaves, key=lambda each: each[1]):
        try:
            leaf = Leaf(address, reader.node(address, 0))
        except (FormatError, EvidenceError):
            continue
        _take(found.states, tree, leaf, now.get(tree, frozenset()))
        if len(found.states) > MAX_STATES:
            break
    return found


def _take(states: dict[tuple[int, int], State], tree: int, leaf: Leaf, now: Set[int]) -> None:
    generation = btrfs.node_header.fields(leaf.data)["generation"]
    for objectid, kind, _, at, length in leaf.items():
        if kind != btrfs.INODE_ITEM or objectid in now or objectid < btrfs.ROOT_DIR or length < btrfs.inode_item.size:
            continue
        links = btrfs.inode_item.fields(leaf.data, at)["nlink"]
        known = states.get((tree, objectid))
        if known is None or (links > 0, generation) > (known.links > 0, known.generation):
            states[tree, objectid] = State(leaf.address, generation, at, links)


def _reached(reader: NodeReader, versions: Versions, in_use: Set[int]) -> dict[tuple[int, int], Version]:
    """Which leaves that are not in use each version has, as far as its nodes still stand; the newest version of each."""
    found: dict[tuple[int, int], Version] = {}
    for tree in sorted(versions.of):
        seen: set[int] = set()
        for version in reversed(versions.of[tree]):
            for leaf in _leaves_of(reader, version.root, in_use, seen):
                found.setdefault((tree, leaf), version)
    return found


def _leaves_of(reader: NodeReader, root: Root, in_use: Set[int], seen: set[int]) -> Iterator[int]:
    """seen: nodes below which all was found by a newer version."""
    pending = [root]
    while pending:
        at = pending.pop()
        if at.address in in_use or at.address in seen or not 0 <= at.level < btrfs.MAX_LEVEL:
            continue
        try:
            data = reader.node(at.address, at.level, at.generation)
        except (FormatError, EvidenceError):
            continue
        seen.add(at.address)
        if at.level == 0:
            yield at.address
        else:
            pending += [Root(address, at.level - 1, generation) for *_, address, generation in Leaf(at.address, data).pointers()]
