"""A containerd data directory, read as a whole: its parts, joined, and handed out by namespace."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from forensics.records import Store, StoreContents
from forensics.stores.containerd.artefacts import containerd_artefacts
from forensics.stores.containerd.containers import Context, container_records
from forensics.stores.containerd.content import read_content
from forensics.stores.containerd.cri import read_statuses
from forensics.stores.containerd.discover import CONTENT, META, ContainerdRoot, part
from forensics.stores.containerd.images import StoredImage, diff_ids, image_records, layer_archives, nameless_images, read_images
from forensics.stores.containerd.layers import SnapshotLayers, snapshot_layers
from forensics.stores.containerd.meta import MetaDb, read_meta
from forensics.stores.containerd.nerdctl import nerdctl_volumes, read_nerdctl
from forensics.stores.containerd.networks import cni_networks
from forensics.stores.containerd.rebuilt import with_rebuilt
from forensics.stores.containerd.snapshotters import read_snapshotters
from forensics.stores.containerd.tasks import read_tasks, task_artefacts
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable


@dataclass(frozen=True)
class ContainerdStore:
    """What one containerd left. root_path: on the host where it is known, else in its partition."""

    root: ContainerdRoot
    reader: StoreReader
    context: Context
    blobs: Mapping[str, Place]

    @property
    def root_path(self) -> str:
        """Where people look for it."""
        return readable(self.root.host_path if self.root.host_path is not None else self.root.place.path)

    @property
    def meta(self) -> MetaDb:
        """The records of meta.db."""
        return self.context.meta

    @property
    def images(self) -> Mapping[tuple[str, str], StoredImage]:
        """The images by namespace and target digest."""
        return self.context.images

    @property
    def layers(self) -> SnapshotLayers:
        """The snapshots."""
        return self.context.layers


def read_containerd(root: ContainerdRoot) -> ContainerdStore:
    """Everything in a data directory; whatever of it is damaged is a gap."""
    reader = StoreReader()
    metadata, blobs = part(reader, root, META), part(reader, root, CONTENT)
    database = reader.child(metadata, b"meta.db") if metadata is not None else None
    if database is None:
        reader.gap("containerd's meta.db", "missing", root.place)
    meta = read_meta(reader, database)
    snapshotters = with_rebuilt(reader, meta, read_snapshotters(reader, root, meta.snapshots.values()))
    content = read_content(reader, blobs, meta)
    images = read_images(reader, meta, content)
    if not meta.whole:
        images |= nameless_images(reader, content, images)
    archives = layer_archives(meta, content, images.values())
    layers = snapshot_layers(reader, meta, snapshotters, diff_ids(images.values()), archives)
    ids = [(each.namespace, each.id) for each in meta.containers]
    nerdctl = read_nerdctl(reader, root, ids)
    context = Context(
        database or root.place,
        meta,
        images,
        layers,
        snapshotters,
        read_statuses(reader, root.place),
        read_tasks(reader, root, frozenset(ids)),
        nerdctl,
    )
    return ContainerdStore(root, reader, context, content.blobs)


def containerd_contents(store: ContainerdStore, without: Collection[str] = ()) -> StoreContents:
    """What a store holds but for the namespaces that are another engine's."""
    reader, root = store.reader, store.root
    known = {each.namespace for each in store.layers.all if each.namespace is not None}
    namespaces = sorted({*store.meta.names(), *known} - set(without))
    containers = container_records(reader, store.context, namespaces)
    drivers = sorted({each.snapshotter for each in store.layers.all if each.namespace in namespaces})
    return StoreContents(
        store=Store(
            key=f"containerd:p{root.place.partition}:{store.root_path}",
            engine="containerd",
            root=store.root_path,
            driver=",".join(drivers) or None,
            version=None,
            partition=root.place.partition,
        ),
        layers=store.layers.of([None, *namespaces]),
        images=image_records(store.meta, store.images, store.layers, ["", *namespaces]),
        containers=containers,
        volumes=nerdctl_volumes(reader, store.context.nerdctl, containers),
        networks=cni_networks(reader, root, containers, store.context.nerdctl.hosts),
        artefacts=(
            *containerd_artefacts(reader, store.meta, store.layers, part(reader, root, CONTENT), store.blobs, namespaces),
            *task_artefacts(reader, "containerd", store.context.tasks, namespaces),
        ),
        gaps=tuple(dict.fromkeys(reader.gaps)),
    )
