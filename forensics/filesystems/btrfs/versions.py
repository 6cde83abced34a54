"""Earlier versions of subvolumes: which root each of them had in which transactions, and where the removed ones were linked.

Every transaction that changes a subvolume gives it a new root, and tells it in the root tree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from forensics.filesystems.btrfs.chunks import NodeReader
from forensics.filesystems.btrfs.forest import Forest, is_subvolume
from forensics.filesystems.btrfs.stale import StaleNode
from forensics.filesystems.btrfs.subvolumes import Leaf, Root
from parsers import btrfs
from parsers.btrfs_names import ROOT_BACKREF, ROOT_TREE
from parsers.errors import EvidenceError, FormatError

MAX_VERSIONS = 1 << 16


@dataclass(frozen=True, slots=True)
class Version:
    """A subvolume as it was from the transaction `generation` on, at least until the end of `until`. last: as it was removed.

    changed_ns: when an inode of it was changed last, None where that is not known.
    """

    root: Root
    generation: int
    until: int
    last: bool = False
    changed_ns: int | None = None


@dataclass
class Versions:
    """What the root tree said in all transactions of which something is left.

    of: by subvolume, oldest first. places: (subvolume above, directory in it, name) by subvolume, as it was last told.
    """

    of: dict[int, list[Version]] = field(default_factory=dict)
    places: dict[int, tuple[int, int, bytes]] = field(default_factory=dict)

    def following(self, tree: int, version: Version) -> Version | None:
        """The version after one, where no other can have been in between."""
        following = next((each for each in self.of[tree] if each.generation > version.generation), None)
        return following if following is not None and following.generation <= version.until + 1 else None


def read_versions(reader: NodeReader, forest: Forest, stale: Iterable[StaleNode]) -> Versions:
    """All versions of subvolumes, the present ones included."""
    known: dict[tuple[int, int, int], Version] = {}
    told: dict[int, tuple[int, tuple[int, int, bytes]]] = {}
    for node in sorted(stale, key=lambda each: each.generation):
        if node.tree == ROOT_TREE and node.level == 0 and len(known) < MAX_VERSIONS:
            try:
                leaf = Leaf(node.address, reader.node(node.address, 0, node.generation))
            except (FormatError, EvidenceError):
                continue
            _take(leaf, node.generation, known, told)
    now = reader.superblock.generation
    for address in forest.root_leaves:
        try:
            _take(Leaf(address, reader.node(address, 0)), now, known, told)
        except (FormatError, EvidenceError):
            continue
    found = Versions(places={tree: place for tree, (_, place) in told.items()})
    for (tree, _, _), version in sorted(known.items()):
        found.of.setdefault(tree, []).append(version)
    return found


def _take(
    leaf: Leaf,
    generation: int,
    known: dict[tuple[int, int, int], Version],
    told: dict[int, tuple[int, tuple[int, int, bytes]]],
) -> None:
    for objectid, kind, key_offset, at, length in leaf.items():
        if kind == btrfs.ROOT_ITEM and is_subvolume(objectid) and length >= btrfs.root_item.size:
            fields = btrfs.root_item.fields(leaf.data, at)
            root = Root(fields["bytenr"], fields["level"], fields["generation"])
            key = objectid, fields["generation"], fields["bytenr"]
            gone = not fields["refs"]
            old = known.get(key)
            changed = _changed(leaf.data[at : at + length], fields["generation"])
            version = Version(root, fields["generation"], generation, gone, changed)
            known[key] = version if old is None else replace(old, until=max(old.until, generation), last=old.last or gone)
        elif kind == ROOT_BACKREF and length >= btrfs.root_ref.size:
            directory, _, size = btrfs.root_ref.unpack(leaf.data, at)
            start = at + btrfs.root_ref.size
            if objectid not in told or told[objectid][0] <= generation:
                told[objectid] = generation, (key_offset, directory, leaf.data[start : start + min(size, length)])


def _changed(item: bytes, generation: int) -> int | None:
    if len(item) < btrfs.root_times.size:
        return None
    version, seconds, nanoseconds = btrfs.root_times.unpack(item)
    return int(seconds) * 10**9 + int(nanoseconds) if version == generation else None
