"""The tree logs of a filesystem: what was synced since the last commit, by subvolume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from forensics.filesystem import Problem
from forensics.filesystems.btrfs.checksums import logged_checksums
from forensics.filesystems.btrfs.chunks import NodeReader
from forensics.filesystems.btrfs.items import LAST, ItemTree
from forensics.filesystems.btrfs.replay import replay
from forensics.filesystems.btrfs.subvolumes import Item, Key, Root
from parsers import btrfs
from parsers.btrfs_names import TREE_LOG
from parsers.errors import EvidenceError, FormatError

CLEAN, REPLAYED, PARTLY, NOT_REPLAYED = "clean", "journal replayed", "journal partly replayed", "journal not replayed"


@dataclass(frozen=True)
class Logs:
    """The filesystem's state, and what its tree logs change.

    changes: by subvolume and key; None for an item that they remove. checksums: of contents, by logical address. roots: of the
    logs themselves, and of the tree that lists them.
    """

    state: str
    changes: dict[int, Mapping[Key, Item | None]] = field(default_factory=dict)
    checksums: dict[int, bytes] = field(default_factory=dict)
    roots: tuple[Root, ...] = ()


def apply_logs(reader: NodeReader, superblock: btrfs.Superblock, roots: Mapping[int, Root], problems: list[Problem]) -> Logs:
    """Apply the tree logs. One that cannot be applied is a problem of its subvolume alone."""
    if not superblock.log_root:
        return Logs(CLEAN)
    transaction = superblock.generation + 1
    top = Root(superblock.log_root, superblock.log_root_level, transaction)
    changes: dict[int, Mapping[Key, Item | None]] = {}
    checksums: dict[int, bytes] = {}
    try:
        logs = _logs(reader, top)
    except (FormatError, EvidenceError) as error:
        problems.append(_problem(reader, superblock.log_root, "/", error))
        return Logs(NOT_REPLAYED)
    failed = 0
    for number, root in logs.items():
        if number not in roots:
            continue  # it was deleted since, and the kernel passes over its log too
        log = ItemTree(reader, root)
        try:
            tree = ItemTree(reader, roots[number])
            own = logged_checksums(log)
            changes[number] = replay(tree, log, transaction, superblock.sector, superblock.no_holes)
            checksums.update(own)
        except (FormatError, EvidenceError) as error:
            failed += 1
            problems.append(_problem(reader, root.address, f"subvolume {number}", error))
    return Logs(REPLAYED if not failed else PARTLY if changes else NOT_REPLAYED, changes, checksums, (top, *logs.values()))


def _logs(reader: NodeReader, top: Root) -> dict[int, Root]:
    """Where the logs are, by subvolume."""
    tree = ItemTree(reader, top)
    found = {}
    for key, item in tree.between((TREE_LOG, btrfs.ROOT_ITEM, 0), (TREE_LOG, btrfs.ROOT_ITEM, LAST)):
        if len(item.data) < btrfs.root_item.size:
            raise FormatError(f"the root of the log of subvolume {key[2]} is cut short")
        fields = btrfs.root_item.fields(item.data)
        found[key[2]] = Root(fields["bytenr"], fields["level"], fields["generation"])
    return found


def _problem(reader: NodeReader, address: int, where: str, error: Exception) -> Problem:
    older = "what was synced last before the power went is missing or older"
    return Problem("tree log", where, f"its tree log cannot be applied: {error}; {older}", reader.logical.locate(address))
