"""The trees that a root tree lists: subvolumes, where they are linked, and the filesystem's own trees."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from forensics.filesystem import Problem
from forensics.filesystems.btrfs.chunks import LogicalSource, NodeReader
from forensics.filesystems.btrfs.subvolumes import Root, leaves
from parsers import btrfs
from parsers.btrfs_names import ROOT_TREE_DIR
from parsers.errors import FormatError

OWN = frozenset((btrfs.EXTENT_TREE, btrfs.CSUM_TREE))


@dataclass
class Forest:
    """The trees of one generation.

    subvolumes: by id. links: (subvolume above, subvolume, directory in the one above, name). own: the extent and checksum trees.
    default: the subvolume that a mount without options shows. root_leaves: the addresses of the root tree's leaves.
    """

    subvolumes: dict[int, Root] = field(default_factory=dict)
    links: set[tuple[int, int, int, bytes]] = field(default_factory=set)
    own: dict[int, Root] = field(default_factory=dict)
    default: int = btrfs.FS_TREE
    root_leaves: list[int] = field(default_factory=list)


def read_forest(reader: NodeReader, root: Root, problems: list[Problem]) -> Forest:
    """What a root tree lists."""
    found = Forest()
    for leaf in leaves(reader, root, problems, "root tree"):
        found.root_leaves.append(leaf.address)
        for objectid, kind, key_offset, at, length in leaf.items():
            _take(found, leaf.data[at : at + length], objectid, kind, key_offset)
    if found.default not in found.subvolumes:
        found.default = btrfs.FS_TREE
    return found


def _take(found: Forest, item: bytes, objectid: int, kind: int, key_offset: int) -> None:
    if kind == btrfs.ROOT_ITEM and len(item) >= btrfs.root_item.size:
        fields = btrfs.root_item.fields(item)
        root = Root(fields["bytenr"], fields["level"], fields["generation"])
        if objectid in OWN:
            found.own[objectid] = root
        elif is_subvolume(objectid) and fields["refs"]:
            found.subvolumes[objectid] = root
    elif kind == btrfs.ROOT_REF and len(item) >= btrfs.root_ref.size:
        directory, _, length = btrfs.root_ref.unpack(item)
        found.links.add((objectid, key_offset, directory, item[btrfs.root_ref.size : btrfs.root_ref.size + length]))
    elif kind == btrfs.DIR_ITEM and objectid == ROOT_TREE_DIR:
        try:
            for target, _, _, _, name, _ in btrfs.dir_items(item):
                found.default = target if name == b"default" else found.default
        except FormatError:
            return  # then it is the top-level one, as of a new filesystem


def is_subvolume(tree: int) -> bool:
    """Whether a tree of that id has files."""
    return tree == btrfs.FS_TREE or btrfs.FIRST_SUBVOLUME <= tree < 1 << 63


def read_chunks(reader: NodeReader, logical: LogicalSource, problems: list[Problem]) -> dict[int, str]:
    """Give the address space its chunks; answers the UUIDs of the filesystem's devices, by id."""
    superblock = reader.superblock
    chunks = btrfs.system_chunks(superblock.system_chunks)
    devices: dict[int, str] = {}
    logical.use(chunks)
    for leaf in leaves(reader, Root(superblock.chunk_root, superblock.chunk_root_level), problems, "chunk tree"):
        for _, kind, key_offset, at, length in leaf.items():
            if kind == btrfs.DEV_ITEM and length >= btrfs.dev_item.size:
                devices[key_offset] = str(uuid.UUID(bytes=btrfs.dev_item.fields(leaf.data, at)["uuid"]))
            elif kind == btrfs.CHUNK_ITEM:
                chunks.append(btrfs.parse_chunk(leaf.data[at : at + length], key_offset)[0])
    logical.use(chunks)
    return devices
