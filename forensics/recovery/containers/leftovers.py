"""Removed containers of which an engine's directory still has something that its records do not know.

A crash amid a removal, or a client that does not clean up, leaves a snapshot, a lease, the CRI plugin's directory, or the
directory of a shim: these bear the container's id (containerd v1.4 to v2.2: internal/cri/server/container_remove.go,
core/runtime/v2/bundle.go; moby v24 to v29, daemon/containerd/image_snapshot.go).
Of every container that Docker ever had made on an image, the image's snapshot keeps the id: see parsers/containerd_meta.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import chain

from forensics.records import Container
from forensics.recovery.carving.carved import storage_container
from forensics.recovery.clues import CERTAIN, CREATED, POSSIBLE, Clue
from forensics.recovery.containers.containerd import NO_CONTAINERS, is_a_containers
from forensics.recovery.containers.spec_identity import KUBERNETES
from forensics.stores.containerd.cri import DIRECTORIES
from forensics.stores.containerd.discover import TASKS
from forensics.stores.containerd.store import ContainerdStore
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.container_storage import parse_containers

_ID = re.compile(r"[0-9a-f]{64}")
_INIT = re.compile(rf"({_ID.pattern})-init")  # what Docker makes a container's own snapshot on
_STORAGE = re.compile(rb"([a-z0-9]+)-containers")
_TEMPORARY = re.compile(rb"\.tmp-(?:volatile-)?containers\.json\d*")
MAX_JSON = 16 << 20
_NAME = re.compile(rb"[A-Za-z0-9][\w.-]{0,127}")


def leftover_clues(store: ContainerdStore, claimed: Collection[str], engine: str, key: str) -> Iterator[Clue[Container]]:
    """A clue to each container of one engine. claimed: namespaces that are Docker's; key: of the engine's store."""
    there = {(each.namespace, each.id) for each in store.meta.containers if each.namespace not in claimed}
    for clue in chain(_directories(store), _snapshots(store, there), _children(store), _leases(store)):
        namespace = clue.record.namespace or ""
        docker = namespace in claimed
        if (
            docker != (engine == "docker")
            or namespace in NO_CONTAINERS
            or (docker and not _ID.fullmatch(clue.record.container_id))
        ):
            continue
        record = replace(clue.record, engine=engine, namespace=None if docker else namespace)
        yield replace(clue, record=record, store=key)


def root_directory_clues(root: Place, key: str) -> Iterator[Clue[Container]]:
    """rootfs/<snapshotter>/<id> of a data-root of Docker's: where a container's root filesystem was mounted."""
    reader = StoreReader()
    for snapshotter in reader.children(reader.child(root, b"rootfs"), "d"):
        for place in reader.children(snapshotter, "d"):
            if _ID.fullmatch(readable(place.name)):
                source = reader.provenance(place, "mount point of its root filesystem")
                yield Clue(Container("docker", None, place.name.decode(), None, source=source), CERTAIN, "file", key)


def storage_clues(root: Place, key: str) -> Iterator[Clue[Container]]:
    """`.tmp-containers.json<number>` of a graphroot: what a write of containers/storage that was cut off left."""
    reader = StoreReader()
    for directory in reader.children(root, "d"):
        driver = _STORAGE.fullmatch(directory.name)
        if driver is None:
            continue
        for place in (each for each in reader.children(directory, "f") if _TEMPORARY.fullmatch(each.name)):
            records, _ = reader.load(place, "containers.json", parse_containers, MAX_JSON) or ((), ())
            for record in records:
                made = storage_container(record, driver[1].decode())
                source = reader.provenance(place, "write of containers.json that was cut off")
                yield Clue(replace(made, source=source), CERTAIN, "file", key, CREATED)


def _directories(store: ContainerdStore) -> Iterator[Clue[Container]]:
    """The CRI plugin's directories, and those of shims."""
    reader, root = StoreReader(), store.root.place
    for name in DIRECTORIES:
        for part in (b"containers", b"sandboxes"):
            for place in reader.children(reader.child(root, name, part), "d"):
                own = readable(place.name)
                if not _ID.fullmatch(own):
                    continue
                made = Container(
                    "containerd", KUBERNETES, own, None, source=reader.provenance(place, "directory of the CRI plugin")
                )
                status = store.context.statuses.get(own) if part == b"containers" else None
                if status is not None:
                    made = replace(
                        made, state=status.state, created_ns=status.created_ns, started_ns=status.started_ns,
                        finished_ns=status.finished_ns, exit_code=status.exit_code if status.finished_ns is not None else None,
                    )  # fmt: skip
                yield Clue(made, CERTAIN, "file")
    for name in TASKS:
        for namespace in reader.children(reader.child(root, name), "d"):
            for place in reader.children(namespace, "d"):
                if _NAME.fullmatch(place.name):
                    own, source = readable(place.name), reader.provenance(place, "directory of its shim")
                    name_told = None if _ID.fullmatch(own) else own
                    yield Clue(Container("containerd", readable(namespace.name), own, name_told, source=source), CERTAIN, "file")


def _snapshots(store: ContainerdStore, there: Collection[tuple[str, str]]) -> Iterator[Clue[Container]]:
    """What a container wrote to, under a key that can be a container's id: whole, with all layers below it.

    there: containers that have their records.
    """
    for (namespace, _, key), each in sorted(store.layers.by_key.items()):
        is_active = each.stored is None or each.stored.kind == "active"
        if not is_active or not is_a_containers(namespace, key) or (namespace, key) in there:
            continue
        fitting = store.context.index.by_top.get((namespace, each.layer.parent or ""), [])
        source = each.layer.source
        made = Container(
            engine="containerd",
            namespace=namespace,
            container_id=key,
            name=None if _ID.fullmatch(key) else key,
            image_id=fitting[0] if len(fitting) == 1 else None,
            created_ns=each.stored.created_ns if each.stored is not None else None,
            layer=each.layer.key,
            source=replace(source, how="snapshot that bears its id") if source is not None else None,
        )
        yield Clue(made, POSSIBLE, "reference", weak=frozenset(("created_ns",)))


def _children(store: ContainerdStore) -> Iterator[Clue[Container]]:
    """Docker's containers whose snapshots were collected: the snapshot below them goes on to list them."""
    snapshots = store.meta.snapshots
    for (namespace, snapshotter, key), below in sorted(snapshots.items()):
        fitting = store.context.index.by_top.get((namespace, key), [])
        for child, offset in below.children:
            init = _INIT.fullmatch(child)
            if init is None or (namespace, snapshotter, child) in snapshots:
                continue
            source = store.meta.provenance(offset)
            told = replace(source, how="listed as made on a snapshot of an image") if source is not None else None
            image_id = fitting[0] if len(fitting) == 1 else None
            yield Clue(Container("containerd", namespace, init[1], None, image_id=image_id, source=told), POSSIBLE, "record")


def _leases(store: ContainerdStore) -> Iterator[Clue[Container]]:
    """Docker's, which keep a container's snapshots."""
    for lease in store.meta.leases:
        if _ID.fullmatch(lease.id) and any(key == lease.id for _, key in lease.snapshots):
            source = store.meta.provenance(lease.offset)
            made = Container("containerd", lease.namespace, lease.id, None, created_ns=lease.created_ns)
            told = replace(source, how="lease that bears its id") if source is not None else None
            yield Clue(replace(made, source=told), POSSIBLE, "reference", weak=frozenset(("created_ns",)))
