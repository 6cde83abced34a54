"""What a store says: the records that every engine's module returns, whatever the engine.

Text that came from evidence stands here as it was; times are nanoseconds since 1970 UTC, None where unknown (a Go zero time
is unknown). `origin` is how a record came to us: 'allocated' or 'recovered'. A recovered one has a `confidence`
(certain, probable, possible) and all of its `sources`; an allocated one has neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from parsers.id_map import IdMaps


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a record was read: partition number, path in it, inode, first byte's offset in the disk image, and how."""

    partition: int
    path: str
    inode: int | None = None
    offset: int | None = None
    how: str = "allocated"


@dataclass(frozen=True, slots=True)
class RecordSource:
    """One source of a recovered record. confidence: how sure the record is by this one alone: certain, probable or possible.

    gives: the columns that were taken from it. differs: what it says otherwise than the record does, by column.
    """

    where: Provenance
    confidence: str
    gives: tuple[str, ...]
    differs: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gap:
    """What could not be read, where, and why. offset: in the disk image."""

    artefact: str
    error: str
    partition: int | None = None
    path: str | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """One engine's store. root: its path on the host, where known. key: unique in a case, `docker:p2:/var/lib/docker`.

    origin: recovered where the store is not there any more, and only what was removed from it tells of it.
    """

    key: str
    engine: str
    root: str
    driver: str | None
    version: str | None
    partition: int
    origin: str = "allocated"


@dataclass(frozen=True, slots=True)
class LayerArchive:
    """What a layer can be held against: `tar`, a blob of the content store, or `tar-split`, which its files complete."""

    kind: str
    partition: int
    inode: int
    path: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer directory and what the store's metadata says of it.

    key: unique in a store; name: its directory or snapshot. directory: the inode of the directory with the layer's files, None
    where it is gone. partition: where that inode is. kind: image, init, container or orphan. lower: the key of the layer
    right below it in the overlay stack; the stack of a container is its layer, that layer's lower, and so on down.
    stacked: False for drivers whose directories are whole root filesystems (vfs, btrfs); `lower` then is no part of the view.
    marks: whose whiteouts count: trusted, user, fuse, aufs, or none where a container sees the directory as it lies.
    compared_with: the key of the layer against whose view the engine lists this one's changes, None where that is `lower`.
    owners: the user namespace whose ids stand in xattrs that override owners, None for the host's own.
    """

    key: str
    name: str
    kind: str
    directory: int | None
    path: str
    partition: int
    lower: str | None = None
    diff_id: str | None = None
    chain_id: str | None = None
    parent: str | None = None
    size_bytes: int | None = None
    stacked: bool = True
    marks: str = "trusted"
    compared_with: str | None = None
    archive: LayerArchive | None = None
    owners: IdMaps | None = None
    origin: str = "allocated"
    source: Provenance | None = None


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """One step of a container image's history. empty: the step made no layer."""

    created_ns: int | None
    created_by: str | None
    comment: str | None
    author: str | None
    empty: bool


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """A container image. layers: diff ids, bottom first. top: the key of its top layer. config: the raw config JSON text."""

    engine: str
    namespace: str | None
    image_id: str
    refs: tuple[str, ...]
    created_ns: int | None
    size_bytes: int | None
    layers: tuple[str, ...]
    top: str | None = None
    architecture: str | None = None
    os: str | None = None
    history: tuple[HistoryStep, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    parent_image: str | None = None
    updated_ns: int | None = None
    config: str | None = None
    origin: str = "allocated"
    source: Provenance | None = None
    confidence: str | None = None
    sources: tuple[RecordSource, ...] = ()


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of a container. type: bind, volume, tmpfs, secret ..., and engine for what the engine mounts by itself.

    source: the path on the host; name: the volume's.
    """

    type: str
    source: str | None
    destination: str
    rw: bool | None
    name: str | None = None
    driver: str | None = None
    options: str | None = None


@dataclass(frozen=True, slots=True)
class ShownIds:
    """The owners that a container's filesystem shows where they are not those on the disk: `inside` there, `outside` shown.

    own_layer: whether of what the container itself wrote, too.
    """

    maps: IdMaps
    own_layer: bool


@dataclass(frozen=True, slots=True)
class Container:
    """A container. state: created, running, paused, restarting, removing, exited, dead, or None where nothing tells.

    removed_ns: of a recovered one, the very moment of its removal.
    layer: the key of its own (top) layer in its store. command: the effective argv. config, hostconfig: the raw JSON texts.
    ids: what its users and groups are on the host, None where they are the host's own, or unknown.
    """

    engine: str
    namespace: str | None
    container_id: str
    name: str | None
    image: str | None = None
    image_id: str | None = None
    state: str | None = None
    created_ns: int | None = None
    started_ns: int | None = None
    finished_ns: int | None = None
    removed_ns: int | None = None
    exit_code: int | None = None
    pid: int | None = None
    command: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None
    labels: Mapping[str, str] | None = None
    pod: str | None = None
    privileged: bool | None = None
    restart_count: int | None = None
    restart_policy: str | None = None
    error: str | None = None
    oom_killed: bool | None = None
    hostname: str | None = None
    user: str | None = None
    working_dir: str | None = None
    log_path: str | None = None
    log_driver: str | None = None
    layer: str | None = None
    ids: IdMaps | None = None
    shown_ids: ShownIds | None = None
    mounts: tuple[Mount, ...] = ()
    config: str | None = None
    hostconfig: str | None = None
    origin: str = "allocated"
    source: Provenance | None = None
    confidence: str | None = None
    sources: tuple[RecordSource, ...] = ()


@dataclass(frozen=True, slots=True)
class Volume:
    """A named or anonymous volume. path: on the host. used_by: container ids."""

    engine: str
    name: str
    driver: str | None
    path: str | None
    used_by: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None
    options: Mapping[str, str] | None = None
    created_ns: int | None = None
    origin: str = "allocated"
    source: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One container's attachment to a network."""

    container_id: str | None
    endpoint_id: str
    address: str | None
    mac: str | None


@dataclass(frozen=True, slots=True)
class Network:
    """A container network. subnets: CIDR texts."""

    engine: str
    name: str
    network_id: str
    driver: str | None
    subnets: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    created_ns: int | None = None
    labels: Mapping[str, str] | None = None
    origin: str = "allocated"
    source: Provenance | None = None


@dataclass(frozen=True, slots=True)
class BoltKey:
    """One key of a bbolt file. bucket: the path of bucket names; page: the page id; offset: of the key in the disk image.

    file: None where only pages are left. value: its first bytes, None where they are not kept; value_bytes: how many it has.
    """

    file: str | None
    bucket: tuple[bytes, ...]
    key: bytes
    value: bytes | None
    value_bytes: int
    page: int
    offset: int | None
    state: str
    txid: int | None
    partition: int


@dataclass(frozen=True, slots=True)
class Artefact:
    """Something of a store that is no container, image, volume or network.

    kind: namespace, lease, ingest (content whose writing never ended), static pod, pod ... details: what it says, by name.
    """

    engine: str
    kind: str
    name: str
    namespace: str | None = None
    path: str | None = None
    time_ns: int | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    origin: str = "allocated"
    source: Provenance | None = None


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """What was built: a build, or a step of one that is kept in the build cache.

    kind: build, or a cache record's type: regular, source.local, exec.cachemount ... parent: the record that it builds on, the
    first of several. layer: the key of the layer with its files. size_bytes: of what it added, None where that was not counted.
    mutable: whether it can still be written to; shared: whether a container image of the engine has it, too.
    """

    engine: str
    record_id: str
    kind: str
    description: str | None
    created_ns: int | None = None
    last_used_ns: int | None = None
    completed_ns: int | None = None
    parent: str | None = None
    snapshot: str | None = None
    layer: str | None = None
    size_bytes: int | None = None
    usage_count: int | None = None
    mutable: bool | None = None
    shared: bool | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    origin: str = "allocated"
    source: Provenance | None = None


class Event(NamedTuple):
    """Something that happened. event: what, in one or two words. source: what tells it. container: its number in the case.

    confidence: certain, probable or possible.
    """

    time_ns: int
    event: str
    source: str
    message: str
    container: int | None = None
    path: bytes | None = None
    confidence: str = "certain"
    partition: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class RuleText:
    """What a rule of findings says of itself. severity: the highest that it gives. attack: MITRE ATT&CK technique ids."""

    name: str
    severity: str
    title: str
    why: str
    check: str
    benign: str
    attack: tuple[str, ...]


class Finding(NamedTuple):
    """Something suspicious. severity: high, medium, low or info. container: its number in the case.

    detail: what was found, with secrets redacted. offset: of what it points to, in the disk image.
    """

    severity: str
    title: str
    detail: str
    container: int | None = None
    path: bytes | None = None
    sha256: str | None = None
    partition: int | None = None
    offset: int | None = None


@dataclass(frozen=True)
class StoreContents:
    """Everything that one store holds. Layers are in no promised order; every `lower` is the key of one of them or dangles."""

    store: Store
    layers: tuple[Layer, ...] = ()
    images: tuple[ContainerImage, ...] = ()
    containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    networks: tuple[Network, ...] = ()
    artefacts: tuple[Artefact, ...] = ()
    builds: tuple[BuildRecord, ...] = ()
    gaps: tuple[Gap, ...] = ()
