"""A Docker data-root, read as a whole: its parts, joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from forensics.records import Container, Store, StoreContents
from forensics.stores.buildkit.builds import built_layers, read_builds
from forensics.stores.docker.containerd_images import (
    EngineNamespace,
    namespace_artefacts,
    namespace_containers,
    namespace_images,
    namespace_layers,
    own_layers,
)
from forensics.stores.docker.containers import StoredContainer, docker_containers, read_containers
from forensics.stores.docker.discover import REMAPPED, DockerRoot
from forensics.stores.docker.drivers import DRIVERS, DriverContents, driver_of, read_driver
from forensics.stores.docker.graph_v1 import graph_images, read_graph
from forensics.stores.docker.networks import docker_networks, read_networks
from forensics.stores.docker.pulls import pulled_layers
from forensics.stores.docker.swarm import tell_swarm
from forensics.stores.docker.thin_devices import thin_devices
from forensics.stores.docker.volumes import docker_volumes
from forensics.stores.host_tree import resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.stores.user_ids import is_a_users, remapped_ids, rootless_ids
from forensics.text import readable


def read_docker(root: DockerRoot, space: EngineNamespace | None = None) -> StoreContents:
    """Everything that a data-root tells; whatever of it is damaged is a gap. space: its namespace in a containerd."""
    reader = StoreReader()
    stored = read_containers(reader, _part(reader, root, b"containers"))
    image = _part(reader, root, b"image")
    found: dict[bytes, Place | None] = {place.name: place for place in reader.children(image, "d")}
    for known in DRIVERS:  # its layers may be there where image/ is damaged
        found.setdefault(known.name.encode(), None)
    v1 = read_graph(reader, root.place)
    read = (
        read_driver(reader, readable(name), place, _part(reader, root, name) if driver_of(readable(name)) else None, stored, v1)
        for name, place in sorted(found.items())
    )
    drivers = [driver for driver in read if driver is not None]
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
    containers = _with_ids(reader, root, containers, stored)
    buildkit = _part(reader, root, b"buildkit")
    builds = read_builds(reader, "docker", buildkit, layers, image_records) if buildkit is not None else ()
    layers = built_layers(builds, layers)
    tell_swarm(reader, _part(reader, root, b"swarm"))
    driver_name = _main_driver(stored, drivers, snapshotters)
    if driver_name is not None and driver_name not in (*(driver.name for driver in drivers), *snapshotters):
        where = (
            "are not in this data-root"
            if driver_of(driver_name) is not None
            else "are in containerd's image store, which is not read"
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
        images=(*image_records, *graph_images(reader, v1, layers)),
        containers=containers,
        volumes=docker_volumes(reader, host_root, _part(reader, root, b"volumes"), containers),
        networks=docker_networks(reader, networks, stored),
        builds=builds,
        artefacts=(
            *pulled_layers(reader, image),
            *thin_devices(reader, _part(reader, root, b"devicemapper")),
            *(namespace_artefacts(space) if space is not None else ()),
        ),
        gaps=tuple(dict.fromkeys(reader.gaps)),
    )


def _with_ids(
    reader: StoreReader, root: DockerRoot, containers: Sequence[Container], stored: Mapping[str, StoredContainer]
) -> tuple[Container, ...]:
    """The containers with what their ids are on the host: of a rootless daemon, or of one that remaps all containers but some."""
    if root.how == REMAPPED:
        ids = remapped_ids(reader, root.tree, root.place)
        hosts = {cid for cid, container in stored.items() if container.host is not None and container.host.userns_mode == "host"}
        return tuple(each if each.container_id in hosts else replace(each, ids=ids) for each in containers)
    if not is_a_users(reader, root.tree, root.place):
        return tuple(containers)
    ids = rootless_ids(reader, root.tree, root.place)
    return tuple(replace(each, ids=ids) for each in containers)


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


def _main_driver(
    stored: Mapping[str, StoredContainer], drivers: list[DriverContents], snapshotters: frozenset[str]
) -> str | None:
    """The driver that most containers name, else the one with most layers, else a snapshotter of containerd's."""
    named = Counter(container.config.driver for container in stored.values() if container.config is not None)
    named.update(dict.fromkeys((*(driver.name for driver in drivers), *snapshotters), 0))
    layers = {driver.name: len(driver.layers) for driver in drivers}
    return min((name for name in named if name), key=lambda name: (-named[name], -layers.get(name, 0), name), default=None)
