"""A Docker data-root, read as a whole: its parts, joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from forensics.records import ContainerImage, Layer, Store, StoreContents
from forensics.stores.docker.claims import Claims, claim_directories, claims_as_told
from forensics.stores.docker.containerd_images import (
    EngineNamespace,
    namespace_containers,
    namespace_images,
    namespace_layers,
    own_layers,
)
from forensics.stores.docker.containers import StoredContainer, docker_containers, images_of, read_containers
from forensics.stores.docker.discover import DockerRoot
from forensics.stores.docker.graph_v1 import read_graph
from forensics.stores.docker.images import StoredImage, docker_images, known_chain, read_images
from forensics.stores.docker.layerdb import LayerDb, read_layerdb
from forensics.stores.docker.layers import docker_layers
from forensics.stores.docker.networks import docker_networks, read_networks
from forensics.stores.docker.overlay2 import GraphDriver, read_overlay2
from forensics.stores.docker.volumes import docker_volumes
from forensics.stores.host_tree import resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable

GRAPH_DRIVERS = ("aufs", "btrfs", "devicemapper", "fuse-overlayfs", "overlay", "overlay2", "vfs", "windowsfilter", "zfs")
LAYERS_READ = (b"overlay2",)


@dataclass(frozen=True, slots=True)
class _Driver:
    """What one graph driver has in a data-root."""

    name: str
    images: Mapping[str, StoredImage]
    db: LayerDb
    claims: Claims
    layers: tuple[Layer, ...]
    image_records: tuple[ContainerImage, ...]


def read_docker(root: DockerRoot, space: EngineNamespace | None = None) -> StoreContents:
    """Everything that a data-root tells; whatever of it is damaged is a gap. space: its namespace in a containerd."""
    reader = StoreReader()
    stored = read_containers(reader, _part(reader, root, b"containers"))
    image = _part(reader, root, b"image")
    found: dict[bytes, Place | None] = {place.name: place for place in reader.children(image, "d")}
    for name in LAYERS_READ:  # its layers may be there where image/ is damaged
        found.setdefault(name, None)
    drivers = [
        driver for name, place in sorted(found.items()) if (driver := _read_driver(reader, root, name, place, stored)) is not None
    ]
    network = _part(reader, root, b"network")
    networks = read_networks(reader, reader.child(network, b"files", b"local-kv.db") if network is not None else None)
    host_root = _host_root(root, stored)
    images = {image_id: image for driver in drivers for image_id, image in driver.images.items()}
    joined = [(driver.name, driver.db, driver.claims) for driver in drivers]
    containers = docker_containers(reader, host_root, stored, joined, images, networks.names)
    snapshotters: frozenset[str] = frozenset()
    layers = tuple(layer for driver in drivers for layer in driver.layers)
    image_records = tuple(image for driver in drivers for image in driver.image_records)
    if space is not None:
        snapshotters, own = space.snapshotters(), own_layers(space, stored)
        containers = tuple(replace(each, layer=each.layer or own.get(each.container_id)) for each in containers)
        containers += namespace_containers(space, stored, own)
        layers += namespace_layers(space, own)
        image_records += namespace_images(space)
    driver_name = _main_driver(stored, drivers, snapshotters)
    if driver_name is not None and driver_name not in (*(driver.name for driver in drivers), *snapshotters):
        where = (
            "are not in this data-root" if driver_name in GRAPH_DRIVERS else "are in containerd's image store, which is not read"
        )
        reader.gap("graph driver", f"containers' layers ({driver_name}) {where}", root.place)
    return StoreContents(
        store=Store(
            key=f"docker:p{root.place.partition}:{host_root}",
            engine="docker",
            root=host_root,
            driver=driver_name,
            version=None,
            partition=root.place.partition,
        ),
        layers=layers,
        images=(*image_records, *read_graph(reader, root.place)),
        containers=containers,
        volumes=docker_volumes(reader, host_root, _part(reader, root, b"volumes"), containers),
        networks=docker_networks(reader, networks, stored),
        gaps=tuple(dict.fromkeys(reader.gaps)),
    )


def _read_driver(
    reader: StoreReader, root: DockerRoot, driver: bytes, image: Place | None, stored: Mapping[str, StoredContainer]
) -> _Driver | None:
    """image: the directory image/<driver>. None for a driver that has neither images nor layers."""
    name = readable(driver)
    images = read_images(reader, image) if image is not None else {}
    layerdb = reader.child(image, b"layerdb") if image is not None else None
    directory = _part(reader, root, driver) if driver in LAYERS_READ else None
    if not images and not reader.children(layerdb) and not reader.children(directory):
        return None
    db = read_layerdb(reader, layerdb, known_chain(images))
    of_containers = images_of(stored, images)
    if driver in LAYERS_READ:
        graph = read_overlay2(reader, directory)
        mine = {cid: c.place for cid, c in stored.items() if c.config is None or c.config.driver in (name, None)}
        claims = claim_directories(reader, graph, db, mine, of_containers)
    else:
        reader.gap("graph driver", f"the layers of {name} are not read, only what layerdb tells of them", image)
        graph, claims = GraphDriver({}, {}), claims_as_told(db, of_containers)
    used = {c.config.image: claims.image[cid] for cid, c in stored.items() if c.config and c.config.image and cid in claims.image}
    return _Driver(
        name=name,
        images=images,
        db=db,
        claims=claims,
        layers=docker_layers(reader, name, directory or image or root.place, graph, db, claims),
        image_records=docker_images(reader, name, images, db, claims, used),
    )


def _part(reader: StoreReader, root: DockerRoot, name: bytes) -> Place | None:
    """A directory of the data-root, which may be a symlink, or a filesystem of its own."""
    place = reader.child(root.place, name)
    linked = place is not None and reader.type(place) == "l"
    if root.tree is not None and root.host_path is not None:
        path = root.host_path + b"/" + name
        if linked or path in root.tree.mounts or path in root.tree.binds:
            place, linked = resolve_or_none(root.tree, path) or place, False
    if place is not None and reader.type(place) != "d":
        reader.gap("data-root", "a symlink that leads nowhere" if linked else "no directory", place)
        return None
    return place


def _host_root(root: DockerRoot, stored: Mapping[str, StoredContainer]) -> str:
    """The data-root's path on the host: as it is mounted, else as containers' configs have it, else in its partition."""
    if root.host_path is not None:
        return readable(root.host_path)
    told: Counter[str] = Counter()
    for cid, container in stored.items():
        config = container.config
        for path in (config.hostname_path, config.log_path) if config is not None else ():
            base, found, _ = (path or "").partition(f"/containers/{cid}/")
            told.update([base] if found else [])
    return min(told, key=lambda base: (-told[base], base)) if told else readable(root.place.path)


def _main_driver(stored: Mapping[str, StoredContainer], drivers: list[_Driver], snapshotters: frozenset[str]) -> str | None:
    """The driver that most containers name, else the one with most layers, else a snapshotter of containerd's."""
    named = Counter(container.config.driver for container in stored.values() if container.config is not None)
    named.update(dict.fromkeys((*(driver.name for driver in drivers), *snapshotters), 0))
    layers = {driver.name: len(driver.layers) for driver in drivers}
    return min((name for name in named if name), key=lambda name: (-named[name], -layers.get(name, 0), name), default=None)
