"""A snapshotter's metadata.db: which snapshots there are, and which directory each has.

v1/snapshots/<name>/{id,kind,parent,createdat,updatedat,inodes,size,labels/}

Source: containerd v1.2 to v2.2, core/snapshots/storage/bolt.go (snapshots/storage/bolt.go before 2.0).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from parsers.bbolt_tree import Key
from parsers.containerd_records import Node, Path, gather

SNAPSHOTS: Path = (b"v1", b"snapshots")
KINDS = {1: "view", 2: "active", 3: "committed"}


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot. name: `<namespace>/<number>/<key>`; parent: another's name. kind: view, active or committed. id: its directory.

    inodes, size: of committed ones only, size in bytes.
    """

    name: str
    id: int | None
    kind: str | None
    parent: str | None
    created_ns: int | None
    updated_ns: int | None
    inodes: int | None
    size: int | None
    labels: Mapping[str, str]
    offset: int
    problems: tuple[str, ...]


def parse_snapshots(keys: Iterable[Key]) -> Iterator[StoredSnapshot]:
    """Every snapshot in a walk over the keys of a metadata.db, by name."""
    for node in gather(keys, _depth_of):
        yield _snapshot(node)


def split_name(name: str) -> tuple[str, str]:
    """The namespace and the key in a snapshot's name; both may be empty. A key may hold slashes."""
    namespace, _, rest = name.partition("/")
    _, _, key = rest.partition("/")
    return namespace, key


def _depth_of(path: Path) -> int | None:
    return 3 if path[:2] == SNAPSHOTS else None


def _snapshot(node: Node) -> StoredSnapshot:
    kind = node.values.get(b"kind")
    if kind is not None and (len(kind) != 1 or kind[0] not in KINDS):
        node.problem(f"kind: {kind[:16].hex()} is none of a snapshot's")
    return StoredSnapshot(
        name=node.path[-1].decode("utf-8", "replace"),
        id=node.unsigned(b"id"),
        kind=KINDS.get(kind[0]) if kind is not None and len(kind) == 1 else None,
        parent=node.text(b"parent"),
        created_ns=node.time(b"createdat"),
        updated_ns=node.time(b"updatedat"),
        inodes=node.signed(b"inodes"),
        size=node.signed(b"size"),
        labels=node.texts(b"labels"),
        offset=node.offset,
        problems=tuple(node.problems),
    )
