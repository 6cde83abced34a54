"""Everything that was removed and is still known, as records of the stores that it was removed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from forensics.filesystem import Filesystem
from forensics.records import Artefact, Container, ContainerImage, Gap, Network, StoreContents
from forensics.recovery.carving.bolt_pages import LostDatabase, lost_databases
from forensics.recovery.carving.carved import carved_clues
from forensics.recovery.carving.carved_images import References
from forensics.recovery.carving.lost_records import lost_records
from forensics.recovery.carving.scan import Hits
from forensics.recovery.carving.storage_records import layer_names, named_by_layers, record_clues
from forensics.recovery.clues import Clue
from forensics.recovery.containers.containerd import containerd_clues
from forensics.recovery.containers.deleted_clues import deleted_clues
from forensics.recovery.containers.directory_slack import slack_clues
from forensics.recovery.containers.docker_network import network_clues, removed_networks
from forensics.recovery.containers.host_traces import host_clues, runtime_of
from forensics.recovery.containers.kubelet_checkpoints import checkpoint_clues
from forensics.recovery.containers.leftovers import leftover_clues, root_directory_clues, storage_clues
from forensics.recovery.containers.libpod_bolt import bolt_clues
from forensics.recovery.containers.libpod_rows import database_clues, journal_clues
from forensics.recovery.containers.references import reference_clues
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.homes import STORAGE, Homes
from forensics.recovery.join import container_key, image_key, join_containers, join_images
from forensics.recovery.limits import Limits
from forensics.stores.all import FoundStore
from forensics.stores.host_tree import HostTree
from forensics.stores.reading import StoreReader


@dataclass
class Clues:
    """What all sources know, of things that are there and of such as were removed.

    artefacts, networks: by the key of their store; networks: removed ones only.
    """

    containers: list[Clue[Container]] = field(default_factory=list)
    images: list[Clue[ContainerImage]] = field(default_factory=list)
    artefacts: dict[str, list[Artefact]] = field(default_factory=dict)
    networks: dict[str, list[Network]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recovery:
    """The stores with what was removed from them. tried, lost: how many documents were tried, and are of no use, by kind.

    databases: bbolt files that are gone, of which pages are left. is_containers_own: whether a byte of a partition's source was
    part of a deleted file in a layer. gaps: where a bound cut something off.
    """

    stores: list[StoreContents]
    tried: Mapping[str, int]
    lost: Mapping[str, int]
    databases: tuple[LostDatabase, ...]
    is_containers_own: Callable[[int, int], bool]
    gaps: tuple[Gap, ...] = ()


def recover(
    stores: Sequence[FoundStore],
    hits: Sequence[Hits] = (),
    filesystems: Mapping[int, Filesystem] | None = None,
    deleted: Sequence[Numbered] = (),
    trees: Sequence[HostTree] = (),
    mentions: Sequence[Clue[Container]] = (),
) -> Recovery:
    """The contents of the stores, with the containers and images that were removed from each behind those that are there.

    hits: where something may stand in what no file has. deleted: of the filesystems. trees: of the hosts.
    mentions: what logs say.
    """
    clues, limits = Clues(), Limits()
    for store in stores:
        _store_clues(store, clues, limits)
    roots = [(each.root, each.contents.store.key) for each in stores if each.root and each.contents.store.engine in STORAGE]
    clues.containers += journal_clues(hits, roots, limits)
    clues.containers += mentions
    engines = [each.contents.store.engine for each in stores]
    clues.containers += host_clues(trees, engines, limits)
    clues.containers += checkpoint_clues(trees, engines, limits)
    clues.containers += slack_clues(stores, trees, runtime_of(engines), limits)
    gone = deleted_clues(filesystems or {}, deleted, limits)
    clues.containers += gone.containers
    clues.images += gone.images
    carved = carved_clues(hits, gone.is_containers_own, _references(stores, clues), limits)
    clues.containers += carved.containers
    clues.containers += record_clues(hits, carved, gone.is_containers_own, limits)
    clues.containers += named_by_layers(clues.containers, layer_names(hits, gone.is_containers_own, limits))
    clues.images += carved.images
    databases = tuple(lost_databases(hits, filesystems or {}, deleted, gone.is_containers_own, limits))
    for database in databases:
        records = lost_records(database, filesystems or {})
        clues.containers += records.containers
        clues.images += records.images
    contents = with_recovered([store.contents for store in stores], clues)
    return Recovery(contents, carved.tried, carved.lost, databases, gone.is_containers_own, tuple(limits.gaps))


def _references(stores: Sequence[FoundStore], clues: Clues) -> References:
    """The digests that records have, of images that are there and of such as were removed."""
    references = References()
    for store in stores:
        references.add_records(store.contents.images)
        references.add_records(store.contents.containers)
        if store.containerd is not None:
            references.parts.update(store.containerd.meta.blobs)
    references.add_clues(clues.images)
    references.add_clues(clues.containers)
    return references


def with_recovered(stores: Sequence[StoreContents], clues: Clues) -> list[StoreContents]:
    """Joins the clues, and leaves out what is there: an allocated record is never overwritten."""
    there = {container_key(each) for contents in stores for each in contents.containers}
    images_there = {image_key(each) for contents in stores for each in contents.images}
    containers = join_containers(clue for clue in clues.containers if container_key(clue.record) not in there)
    images = join_images(clue for clue in clues.images if image_key(clue.record) not in images_there)
    homes = Homes(stores)
    found: dict[str, tuple[list[Container], list[ContainerImage]]] = {}
    for container, hint in containers:
        found.setdefault(homes.of(container, hint), ([], []))[0].append(container)
    for image, hint in images:
        found.setdefault(homes.of(image, hint), ([], []))[1].append(image)
    result = []
    for contents in (*stores, *homes.made):
        removed, removed_images = found.get(contents.store.key, ([], []))
        more = clues.artefacts.get(contents.store.key, ())
        result.append(
            replace(
                contents,
                containers=(*contents.containers, *removed),
                images=(*contents.images, *removed_images),
                artefacts=(*contents.artefacts, *more),
                networks=(*contents.networks, *clues.networks.get(contents.store.key, ())),
            )
        )
    return result


def _store_clues(store: FoundStore, clues: Clues, limits: Limits) -> None:
    """What the records and databases of one store still know."""
    kept = store.contents.store
    clues.containers += reference_clues(store.contents)
    if store.containerd is not None:
        found = containerd_clues(store.containerd, store.claimed, kept.engine, kept.key, limits)
        clues.containers += found.containers
        clues.images += found.images
        clues.artefacts.setdefault(kept.key, []).extend(found.artefacts)
        clues.containers += leftover_clues(store.containerd, store.claimed, kept.engine, kept.key)
    if kept.engine in STORAGE and store.root is not None:
        clues.containers += database_clues(store.root, kept.key)
        clues.containers += bolt_clues(store.root, kept.key, limits)
        clues.containers += storage_clues(store.root, kept.key)
    if kept.engine == "docker" and store.root is not None:
        clues.containers += root_directory_clues(store.root, kept.key)
        reader = StoreReader()
        database = reader.child(store.root, b"network", b"files", b"local-kv.db")
        if database is not None:
            clues.containers += network_clues(database, kept.key, limits)
            there = {each.network_id for each in store.contents.networks}
            clues.networks[kept.key] = removed_networks(database, there, limits)
