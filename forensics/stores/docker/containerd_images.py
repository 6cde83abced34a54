"""Docker's containerd image store: the namespace in which a containerd keeps this data-root's images and layers.

A container's snapshots are `<id>`, and from v25 on `<id>-init` right below it; a lease of the container's id keeps them. Images
are named targets, `moby-dangling@<digest>` where they have no name. With a graph driver the namespace still holds a
container's record while it runs.

Source: moby v24 to v29, daemon/containerd/{image_snapshot,image_inspect,soft_delete}.go, distribution/reference normalize.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from forensics.records import Artefact, Container, ContainerImage, Layer
from forensics.stores.containerd.artefacts import namespace_artefacts as records_of
from forensics.stores.containerd.containers import container_records
from forensics.stores.containerd.discover import ContainerdRoot
from forensics.stores.containerd.images import image_record
from forensics.stores.containerd.store import ContainerdStore
from forensics.stores.containerd.tasks import task_artefacts
from forensics.stores.docker.containers import StoredContainer
from forensics.stores.docker.discover import REMAPPED, DockerRoot
from forensics.stores.reading import StoreReader

NAMESPACE = "moby"
OWN_CONTAINERD = b"/containerd/daemon"
DANGLING = "moby-dangling@"
PARENT = "org.mobyproject.image.parent"
DEFAULT_DOMAINS = ("docker.io/library/", "docker.io/")

_ID = re.compile(r"[0-9a-f]{64}")

_Ids: TypeAlias = Mapping[tuple[int, int], frozenset[str]]
_Claimed: TypeAlias = "Mapping[tuple[int, int], EngineNamespace]"


@dataclass(frozen=True)
class EngineNamespace:
    """A namespace of a containerd that belongs to a data-root. elsewhere: the containers of other data-roots that share it."""

    store: ContainerdStore
    namespace: str
    elsewhere: frozenset[str] = frozenset()

    def snapshotters(self) -> frozenset[str]:
        """The snapshotters that it has snapshots in."""
        return frozenset(each.snapshotter for each in self.store.layers.all if each.namespace == self.namespace)

    def keys(self) -> frozenset[str]:
        """Ids of containers that anything in it belongs to."""
        meta = self.store.meta
        found = {each.key for each in self.store.layers.all if each.namespace == self.namespace and each.key is not None}
        found |= {each.id for each in meta.containers if each.namespace == self.namespace}
        found |= {each.id for each in meta.leases if each.namespace == self.namespace}
        return frozenset(key for key in found if _ID.fullmatch(key))


def claim_namespaces(
    reader: StoreReader, roots: Sequence[DockerRoot], stores: Sequence[ContainerdStore]
) -> Mapping[tuple[int, int], EngineNamespace]:
    """Which namespace is which data-root's (partition and inode): the one that knows its containers, else by name.

    The daemons of one host may share a containerd, and then a namespace, too.
    """
    spaces = [EngineNamespace(store, name) for store in stores for name in _namespaces(store)]
    ids = {_key(root): _container_ids(reader, root) for root in roots}
    claimed: dict[tuple[int, int], EngineNamespace] = {}
    for claim in (_by_containers, _shared, _by_name):
        for root in roots:
            if _key(root) not in claimed and (space := claim(root, spaces, ids, claimed)) is not None:
                claimed[_key(root)] = space
    return {own: replace(space, elsewhere=_ids_of(space, ids, claimed) - ids[own]) for own, space in claimed.items()}


def namespace_layers(space: EngineNamespace, ids: Iterable[str]) -> tuple[Layer, ...]:
    """The layers of the namespace; those of containers that `ids` tells of are these containers'."""
    known = {*ids, *space.elsewhere}
    return tuple(
        replace(layer, kind="container") if layer.kind == "orphan" and layer.name in known else layer
        for layer in space.store.layers.of([space.namespace])
    )


def own_layers(space: EngineNamespace, stored: Mapping[str, StoredContainer]) -> dict[str, str]:
    """The key of each container's own layer, by the container's id."""
    found = {}
    for (namespace, snapshotter, key), each in sorted(space.store.layers.by_key.items()):
        container = stored.get(key)
        driver = container.config.driver if container is not None and container.config is not None else None
        if namespace == space.namespace and _ID.fullmatch(key) and driver in (None, snapshotter):
            found[key] = each.layer.key
    return found


def namespace_containers(
    space: EngineNamespace, stored: Mapping[str, StoredContainer], own: Mapping[str, str]
) -> tuple[Container, ...]:
    """The containers that only the namespace still knows: by their record, which they have while they run, or by their layer."""
    reader, meta = space.store.reader, space.store.meta
    records = {
        each.container_id: replace(each, engine="docker", namespace=None, state="running", layer=own.get(each.container_id))
        for each in container_records(reader, space.store.context, {space.namespace})
        if each.container_id not in stored and each.container_id not in space.elsewhere
    }
    leases = {lease.id: lease for lease in meta.leases if lease.namespace == space.namespace}
    for cid in sorted(leases.keys() & own.keys() - stored.keys() - records.keys() - space.elsewhere):
        source = meta.provenance(leases[cid].offset)
        records[cid] = Container("docker", None, cid, None, created_ns=leases[cid].created_ns, layer=own[cid], source=source)
    for cid in sorted(records):
        reader.gap("container", f"containers/{cid} is gone; only what containerd has of it is known", space.store.context.place)
    return tuple(records[cid] for cid in sorted(records))


def namespace_images(space: EngineNamespace) -> tuple[ContainerImage, ...]:
    """The images, with names as Docker prints them."""
    records = []
    for (namespace, digest), image in sorted(space.store.images.items()):
        if namespace != space.namespace:
            continue
        record = image_record(space.store.meta, image, space.store.layers)
        names = [familiar(name.name) for name in image.names if not name.name.startswith(DANGLING)]
        parents = [name.labels[PARENT] for name in image.names if PARENT in name.labels]
        records.append(
            replace(
                record,
                engine="docker",
                namespace=None,
                refs=tuple(dict.fromkeys((*sorted(names), *sorted(f"{_repository(name)}@{digest}" for name in names)))),
                labels=image.config.labels if image.config is not None else {},
                parent_image=parents[0] if parents else None,
            )
        )
    return tuple(records)


def namespace_artefacts(space: EngineNamespace) -> tuple[Artefact, ...]:
    """What else the namespace holds: leases, snapshots, contents, and the specs and tasks of running containers."""
    records = records_of("docker", space.store.meta, space.store.layers, (space.namespace,))
    return (*records, *_runtime_specs(space), *_tasks(space))


def _by_containers(root: DockerRoot, spaces: Sequence[EngineNamespace], ids: _Ids, claimed: _Claimed) -> EngineNamespace | None:
    return _best([(space, ids[_key(root)]) for space in spaces if space not in claimed.values()])


def _shared(root: DockerRoot, spaces: Sequence[EngineNamespace], ids: _Ids, claimed: _Claimed) -> EngineNamespace | None:
    """Of a copy of a data-root, all containers are the original's, and it shares nothing."""
    taken = [space for space in spaces if space in claimed.values()]
    return _best([(space, ids[_key(root)] - _ids_of(space, ids, claimed)) for space in taken])


def _by_name(root: DockerRoot, spaces: Sequence[EngineNamespace], ids: _Ids, claimed: _Claimed) -> EngineNamespace | None:
    return next((space for space in spaces if space not in claimed.values() and _is_named_for(root, space)), None)


def _best(candidates: Sequence[tuple[EngineNamespace, frozenset[str]]]) -> EngineNamespace | None:
    """The namespace that knows most of the containers beside it, if one knows any."""
    known = [(len(ids & space.keys()), space) for space, ids in candidates]
    most, best = max(known, key=lambda each: each[0], default=(0, None))
    return best if most else None


def _ids_of(space: EngineNamespace, ids: _Ids, claimed: _Claimed) -> frozenset[str]:
    return frozenset().union(*(ids[own] for own, its in claimed.items() if its == space))


def _container_ids(reader: StoreReader, root: DockerRoot) -> frozenset[str]:
    return frozenset(place.name.decode("utf-8", "replace") for place in reader.children(reader.child(root.place, b"containers")))


def _key(root: DockerRoot) -> tuple[int, int]:
    return root.place.partition, root.place.inode


def _tasks(space: EngineNamespace) -> Iterator[Artefact]:
    """The tasks of containers that were running, with the directories of their shims."""
    tasks = task_artefacts(StoreReader(), "docker", space.store.context.tasks, (space.namespace,))
    return (each for each in tasks if each.name not in space.elsewhere)


def _runtime_specs(space: EngineNamespace) -> tuple[Artefact, ...]:
    """The OCI specs of the containers that were running: Docker has containerd keep one as long as the container runs."""
    found = []
    for each in space.store.meta.containers:
        if each.namespace == space.namespace and each.spec is not None and each.id not in space.elsewhere:
            spec = each.spec.value.decode("utf-8", "replace")
            source = space.store.meta.provenance(each.offset)
            found.append(Artefact("docker", "runtime spec", each.id, None, None, each.created_ns, {"spec": spec}, source=source))
    return tuple(found)


def familiar(name: str) -> str:
    """An image's name as Docker prints it, without the default domain."""
    for domain in DEFAULT_DOMAINS:
        if name.startswith(domain):
            return name.removeprefix(domain)
    return name


def _repository(name: str) -> str:
    base = name.partition("@")[0]
    head, slash, last = base.rpartition("/")
    return head + slash + last.partition(":")[0]


def _namespaces(store: ContainerdStore) -> list[str]:
    layers = {each.namespace for each in store.layers.all if each.namespace is not None}
    return sorted({*store.meta.names(), *layers})


def _is_named_for(root: DockerRoot, space: EngineNamespace) -> bool:
    """Whether a daemon with this data-root would use this namespace of this containerd."""
    name = f"{NAMESPACE}-{root.place.name.decode('utf-8', 'replace')}" if root.how == REMAPPED else NAMESPACE
    other = space.store.root
    inside = other.place.partition == root.place.partition and other.place.path == root.place.path + OWN_CONTAINERD
    return space.namespace == name and (inside or _same_host(root, other))


def _same_host(root: DockerRoot, other: ContainerdRoot) -> bool:
    if root.tree is None or other.tree is None:
        return False
    return root.tree.mounts[b"/"].partition == other.tree.mounts[b"/"].partition
