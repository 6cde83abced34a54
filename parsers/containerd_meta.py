"""containerd's meta.db: namespaces, images, containers, snapshots, content, leases and sandboxes.

Source: containerd v1.2 to v2.2, core/metadata/buckets.go (metadata/buckets.go before 2.0), images.go, containers.go, snapshot.go,
content.go, leases.go, sandbox.go, migrations.go. Version 1.7 has sandboxes at `<namespace>/sandboxes`, all else is below `v1`;
before version 2 of the schema unfinished content was at `content/ingest`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from parsers.bbolt_tree import Key
from parsers.containerd_records import Node, Path, gather
from parsers.protobuf_any import ProtobufAny

ROOT = b"v1"

# How many names lead to one record, by the kind of object below a namespace.
_DEPTH = {b"labels": 3, b"images": 4, b"containers": 4, b"leases": 4, b"sandboxes": 4, b"snapshots": 5, b"content": 5}


@dataclass(frozen=True, slots=True)
class Namespace:
    """The labels of a namespace; one that has none is known from its objects only."""

    namespace: str
    labels: Mapping[str, str]
    offset: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """A name for a target: the index or manifest with this digest."""

    namespace: str
    name: str
    digest: str | None
    media_type: str | None
    size: int | None
    labels: Mapping[str, str]
    created_ns: int | None
    updated_ns: int | None
    offset: int
    problems: tuple[str, ...]


class Container(NamedTuple):
    """A container. spec: an OCI runtime spec. image, snapshotter, snapshot_key: None for those of Docker's graph drivers."""

    namespace: str
    id: str
    image: str | None
    snapshotter: str | None
    snapshot_key: str | None
    sandbox_id: str | None
    runtime: str | None
    spec: ProtobufAny | None
    extensions: Mapping[str, ProtobufAny]
    labels: Mapping[str, str]
    created_ns: int | None
    updated_ns: int | None
    offset: int
    problems: tuple[str, ...]


class Snapshot(NamedTuple):
    """A namespace's key for a snapshot. name: what its snapshotter calls it. parent: a key, None for a base.

    children: the keys of those that were made on it, with their offsets in the file. The garbage collector (core/metadata/gc.go)
    takes a snapshot away without taking it off this list.
    """

    namespace: str
    snapshotter: str
    key: str
    name: str | None
    parent: str | None
    labels: Mapping[str, str]
    created_ns: int | None
    offset: int
    problems: tuple[str, ...]
    children: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob of the content store, as one namespace has it."""

    namespace: str
    digest: str
    size: int | None
    labels: Mapping[str, str]
    created_ns: int | None
    offset: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ingest:
    """Content whose writing has not ended. ref: the writer's own name. expected: its digest, where the writer knew it.

    stored_ref: the name that the content store knows it by, `<namespace>/<number>/<ref>`.
    """

    namespace: str
    ref: str
    stored_ref: str | None
    expected: str | None
    expire_ns: int | None
    offset: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """What keeps things from being collected. snapshots: snapshotter and key."""

    namespace: str
    id: str
    snapshots: tuple[tuple[str, str], ...]
    content: tuple[str, ...]
    ingests: tuple[str, ...]
    images: tuple[str, ...]
    labels: Mapping[str, str]
    created_ns: int | None
    offset: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox, as 1.7 and later keep it beside its container."""

    namespace: str
    id: str
    sandboxer: str | None
    runtime: str | None
    spec: ProtobufAny | None
    extensions: Mapping[str, ProtobufAny]
    labels: Mapping[str, str]
    created_ns: int | None
    updated_ns: int | None
    offset: int
    problems: tuple[str, ...]


_NO_EXTENSIONS: Mapping[str, ProtobufAny] = MappingProxyType({})
Record = Namespace | Image | Container | Snapshot | Blob | Ingest | Lease | Sandbox


def parse_records(keys: Iterable[Key]) -> Iterator[Record]:
    """Every record in a walk over all keys of a meta.db, in its order."""
    for node in gather(keys, _depth_of):
        record = _parse(node)
        if record is not None:
            yield record


def _depth_of(path: Path) -> int | None:
    if path[0] == ROOT:
        return _DEPTH.get(path[2]) if len(path) > 2 else None
    return 3 if len(path) > 1 and path[1] == b"sandboxes" else None


def _parse(node: Node) -> Record | None:
    path = node.path if node.path[0] == ROOT else (ROOT, *node.path)
    namespace, kind, name = sys.intern(_text(path[1])), path[2], _text(path[-1])
    if kind == b"labels":
        outer = Node(path[:2], node.offset, nodes={b"labels": node}, problems=node.problems)
        return Namespace(namespace, outer.texts(b"labels"), node.offset, tuple(node.problems))
    if kind == b"images":
        return _image(node, namespace, name)
    if kind == b"containers":
        return _container(node, namespace, name)
    if kind == b"snapshots":
        return _snapshot(node, namespace, _text(path[3]), name)
    if kind == b"leases":
        return _lease(node, namespace, name)
    if kind == b"sandboxes":
        return _sandbox(node, namespace, name)
    if path[3] == b"blob":
        return _blob(node, namespace, name)
    return _ingest(node, namespace, name) if path[3] in (b"ingests", b"ingest") else None


def _image(node: Node, namespace: str, name: str) -> Image:
    target = node.inside(b"target")
    return Image(
        namespace=namespace,
        name=name,
        digest=target.text(b"digest"),
        media_type=target.text(b"mediatype"),
        size=target.signed(b"size"),
        labels=node.texts(b"labels"),
        created_ns=node.time(b"createdat"),
        updated_ns=node.time(b"updatedat"),
        offset=node.offset,
        problems=tuple(node.problems),
    )


def _container(node: Node, namespace: str, name: str) -> Container:
    return Container(
        namespace=namespace,
        id=sys.intern(name),
        image=_shared(node.text(b"image")),
        snapshotter=_shared(node.text(b"snapshotter")),
        snapshot_key=_shared(node.text(b"snapshotKey")),
        sandbox_id=node.text(b"sandboxid"),
        runtime=_shared(node.inside(b"runtime").text(b"name")),
        spec=node.any(b"spec"),
        extensions=_extensions(node),
        labels=node.texts(b"labels"),
        created_ns=node.time(b"createdat"),
        updated_ns=node.time(b"updatedat"),
        offset=node.offset,
        problems=tuple(node.problems),
    )


def _snapshot(node: Node, namespace: str, snapshotter: str, key: str) -> Snapshot:
    return Snapshot(
        namespace=namespace,
        snapshotter=sys.intern(snapshotter),
        key=sys.intern(key),
        name=node.text(b"name"),
        parent=node.text(b"parent"),
        labels=node.texts(b"labels"),
        created_ns=node.time(b"createdat"),
        offset=node.offset,
        problems=tuple(node.problems),
        children=_members(node.nodes.get(b"children")),
    )


def _members(node: Node | None) -> tuple[tuple[str, int], ...]:
    if node is None or node.members is None:
        return ()
    return tuple((name.decode("utf-8", "replace"), offset) for name, offset in sorted(node.members.items()))


def _blob(node: Node, namespace: str, digest: str) -> Blob:
    return Blob(
        namespace=namespace,
        digest=digest,
        size=node.signed(b"size"),
        labels=node.texts(b"labels"),
        created_ns=node.time(b"createdat"),
        offset=node.offset,
        problems=tuple(node.problems),
    )


def _ingest(node: Node, namespace: str, name: str) -> Ingest:
    return Ingest(
        namespace=namespace,
        ref=name,
        stored_ref=node.text(b"ref"),
        expected=node.text(b"expected"),
        expire_ns=node.time(b"expireat"),
        offset=node.offset,
        problems=tuple(node.problems),
    )


def _lease(node: Node, namespace: str, name: str) -> Lease:
    snapshots = node.inside(b"snapshots")
    return Lease(
        namespace=namespace,
        id=name,
        snapshots=tuple((sn, key) for sn in snapshots.names() for key in snapshots.names(sn.encode())),
        content=node.names(b"content"),
        ingests=node.names(b"ingests"),
        images=node.names(b"images"),
        labels=node.texts(b"labels"),
        created_ns=node.time(b"createdat"),
        offset=node.offset,
        problems=tuple(node.problems),
    )


def _sandbox(node: Node, namespace: str, name: str) -> Sandbox:
    return Sandbox(
        namespace=namespace,
        id=name,
        sandboxer=node.text(b"sandboxer"),
        runtime=node.inside(b"runtime").text(b"name"),
        spec=node.any(b"spec"),
        extensions=_extensions(node),
        labels=node.texts(b"labels"),
        created_ns=node.time(b"createdat"),
        updated_ns=node.time(b"updatedat"),
        offset=node.offset,
        problems=tuple(node.problems),
    )


def _extensions(node: Node) -> Mapping[str, ProtobufAny]:
    bucket = node.nodes.get(b"extensions")
    if bucket is None:
        return _NO_EXTENSIONS
    found = {_text(name): bucket.any(name) for name in sorted(bucket.values)}
    return {name: value for name, value in found.items() if value is not None}


def _shared(text: str | None) -> str | None:
    """A text that many records have, kept once."""
    return None if text is None else sys.intern(text)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
