"""The trees of a filesystem: every leaf of one, and what of a subvolume the filesystem protocol asks for, by inode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from forensics.filesystem import Problem
from forensics.filesystems.btrfs.chunks import NodeReader
from parsers import btrfs
from parsers.errors import EvidenceError, FormatError

MAX_NODES = 1 << 22
_HEAD = btrfs.node_header.size
_NRITEMS = btrfs.node_header.offset_of("nritems")


Key = tuple[int, int, int]
"""Object, type and offset, by which a tree is sorted."""


class Item(NamedTuple):
    """An item's bytes, and the logical address at which they stand, or the ones stood that they were made from."""

    data: bytes
    address: int


NO_CHANGES: Mapping[Key, Item | None] = {}


@dataclass(frozen=True, slots=True)
class Root:
    """A tree's root node, or the root of a part of it, which begins with a key that the node above tells."""

    address: int
    level: int
    generation: int | None = None
    first: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf and its logical address."""

    address: int
    data: bytes

    def items(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Object, type and offset of each key, and where in `data` the item's bytes are; those that lie outside are left out."""
        count = int.from_bytes(self.data[_NRITEMS : _NRITEMS + 4], "little")
        size = len(self.data) - _HEAD
        table = self.data[_HEAD : _HEAD + count * btrfs.leaf_item.size]
        for objectid, kind, key_offset, offset, length in btrfs.leaf_item.rows(table):
            if offset + length <= size:
                yield objectid, kind, key_offset, _HEAD + offset, length

    def pointers(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Of a node above the leaves: object, type and offset of each key, and the address and generation of the node below."""
        count = int.from_bytes(self.data[_NRITEMS : _NRITEMS + 4], "little")
        return btrfs.key_pointer.rows(self.data[_HEAD : _HEAD + count * btrfs.key_pointer.size])


def leaves(reader: NodeReader, root: Root, problems: list[Problem], what: str) -> Iterator[Leaf]:
    """Every leaf of a tree, in the order of its keys; a node that cannot be read loses what is below it."""
    if root.level >= btrfs.MAX_LEVEL:
        problems.append(Problem("tree", what, f"a root of level {root.level}", reader.logical.locate(root.address)))
        return
    seen: set[int] = set()
    pending = [root]
    while pending:
        at = pending.pop()
        if at.address in seen or len(seen) > MAX_NODES:
            problems.append(Problem("tree", what, "leads in a circle", reader.logical.locate(at.address)))
            continue
        seen.add(at.address)
        try:
            data = reader.node(at.address, at.level, at.generation)
        except (FormatError, EvidenceError) as error:
            problems.append(Problem("tree node", what, str(error), reader.logical.locate(at.address)))
            continue
        if at.level == 0:
            yield Leaf(at.address, data)
            continue
        below = [Root(address, at.level - 1, generation) for _, _, _, address, generation in Leaf(at.address, data).pointers()]
        pending += reversed(below)


@dataclass(frozen=True, slots=True)
class Name:
    """A name in a directory. subvolume: the one that it leads to, else objectid is an inode of the same."""

    name: bytes
    type: str | None
    objectid: int
    subvolume: int | None


@dataclass
class Subvolume:
    """A subvolume, read whole. Places are (leaf's index, byte in it, length)."""

    number: int
    leaves: list[Leaf] = field(default_factory=list)
    inodes: dict[int, tuple[int, int]] = field(default_factory=dict)
    names: dict[int, dict[bytes, Name]] = field(default_factory=dict)
    xattrs: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    extents: dict[int, list[tuple[int, int, int, int]]] = field(default_factory=dict)

    @cached_property
    def parents(self) -> dict[int, tuple[int, bytes]]:
        """The directory that each directory is in, and its name there."""
        return {
            each.objectid: (directory, each.name)
            for directory in sorted(self.names, reverse=True)
            for each in self.names[directory].values()
            if each.type == "d" and each.subvolume is None
        }

    @property
    def size(self) -> int:
        """Bytes of its leaves, which it keeps."""
        return sum(len(leaf.data) for leaf in self.leaves)


def read_subvolume(
    reader: NodeReader, number: int, root: Root, problems: list[Problem], changes: Mapping[Key, Item | None] = NO_CHANGES
) -> Subvolume:
    """All items of a subvolume that matter. changes: items that stand in the place of those on the disk, None for none."""
    found = Subvolume(number)
    what = f"subvolume {number}"
    for leaf in leaves(reader, root, problems, what):
        items = leaf.items()
        if changes:
            items = iter([each for each in items if each[:3] not in changes])
        _add_items(found, leaf, items, problems)
    for key, item in sorted((key, item) for key, item in changes.items() if item is not None):
        _add_items(found, Leaf(item.address, item.data), iter([(*key, 0, len(item.data))]), problems)
    return found


def _add_items(found: Subvolume, leaf: Leaf, items: Iterator[tuple[int, int, int, int, int]], problems: list[Problem]) -> None:
    index = len(found.leaves)
    kept = False
    for objectid, kind, key_offset, at, length in items:
        if kind == btrfs.INODE_ITEM:
            if length >= btrfs.inode_item.size:
                found.inodes[objectid] = (index, at)
                kept = True
        elif kind == btrfs.DIR_INDEX:
            _add_names(found, leaf, objectid, at, length, problems)
        elif kind == btrfs.XATTR_ITEM:
            found.xattrs.setdefault(objectid, []).append((index, at, length))
            kept = True
        elif kind == btrfs.EXTENT_DATA:
            found.extents.setdefault(objectid, []).append((key_offset, index, at, length))
            kept = True
    if kept:
        found.leaves.append(leaf)


def _add_names(found: Subvolume, leaf: Leaf, directory: int, at: int, length: int, problems: list[Problem]) -> None:
    try:
        for objectid, key_type, _, kind, name, _ in btrfs.dir_items(leaf.data[at : at + length]):
            subvolume = objectid if key_type == btrfs.ROOT_ITEM else None
            target = btrfs.ROOT_DIR if subvolume is not None else objectid
            known = found.names.setdefault(directory, {})
            if name and b"/" not in name and b"\0" not in name:
                known[name] = Name(name, btrfs.TYPES.get(kind), target, subvolume)
    except FormatError as error:
        problems.append(Problem("directory", f"inode {directory} of subvolume {found.number}", str(error)))
