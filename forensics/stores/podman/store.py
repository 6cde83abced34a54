"""A graphroot of containers/storage, read as a whole: its drivers, and the databases beside them, joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from forensics.records import Artefact, Container, ContainerImage, Layer, Store, StoreContents
from forensics.stores.docker.graph_driver import GraphDriver
from forensics.stores.docker.overlay2 import LINKS
from forensics.stores.host_tree import resolve_or_none
from forensics.stores.podman.artefacts import storage_artefacts
from forensics.stores.podman.containers import storage_containers
from forensics.stores.podman.discover import GraphRoot, is_graph_root
from forensics.stores.podman.id_maps import tell_unknown_ids, with_ids
from forensics.stores.podman.images import known_images, storage_images
from forensics.stores.podman.join import known_containers
from forensics.stores.podman.layers import DriverLayers, Uses, read_graph, storage_layers
from forensics.stores.podman.libpod import Libpod, read_libpod
from forensics.stores.podman.networks import storage_networks
from forensics.stores.podman.quadlets import quadlets
from forensics.stores.podman.rootfs import given_directories, overlay_volumes
from forensics.stores.podman.storage import StoredDriver, read_drivers
from forensics.stores.podman.volumes import storage_volumes
from forensics.stores.reading import Place, StoreReader
from forensics.stores.user_ids import rootless_ids
from forensics.text import readable
from parsers.json_fields import parse_object

BY_CONFIGURATION_ONLY = "shape"
OVERLAY = "overlay"
CRIO = "crio"
VERSION_FILE, MAX_VERSION = b"/var/lib/crio/version", 4096


def read_graph_root(root: GraphRoot) -> StoreContents:
    """Everything that a graphroot tells; whatever of it is damaged is a gap."""
    reader = StoreReader()
    drivers = read_drivers(reader, root.place, root.run)
    libpod = read_libpod(reader, _database_directories(reader, root))
    graphs = {driver.name: read_graph(reader, driver, root.tree) for driver in drivers}
    others = _additional(reader, root)
    others += _image_stores(reader, root, graphs, others)
    host_root = _host_root(root, libpod)
    volumes_root, volumes = _volumes(reader, root, libpod, host_root)
    known = known_containers(reader, drivers, libpod)
    containers = storage_containers(reader, known, libpod, volumes_root)
    user = rootless_ids(reader, root.tree, root.place)
    engine = _engine(libpod, containers)
    layers: list[Layer] = []
    images: list[ContainerImage] = []
    for driver in drivers:
        same = [other for other in others if other.driver.name == driver.name]
        found = known_images(reader, driver)
        tops = {image.layer for image in found} | {record.layer for each in same for record, _ in each.driver.images.values()}
        tops |= {layer for image in found if image.record is not None for layer in image.record.mapped}
        owned = {each.layer for each in known if each.driver == driver.name}
        uses = Uses(frozenset(filter(None, owned)), frozenset(filter(None, tops)))
        layers += storage_layers(reader, root.place, driver, uses, root.configured.conf, same, graphs[driver.name])
        records = dict(driver.layers)
        for other in same:
            records.update((name, each) for name, each in other.driver.layers.items() if name not in records)
        images += storage_images(reader, engine, driver.name, found, records)
    marks = next((layer.marks for layer in layers if layer.stacked), "trusted" if user is None else "user")
    given = given_directories(reader, root.tree, known, drivers, marks)
    layers += (layer for each in given.values() for layer in each)
    layers += overlay_volumes(reader, known, drivers, marks)
    containers = tuple(
        replace(each, layer=given[each.container_id][0].key) if each.container_id in given else each for each in containers
    )
    by_key = {layer.key: layer for layer in layers}
    stored = {driver.name: driver for driver in drivers}
    containers = tuple(with_ids(reader, each, own, stored, by_key, user) for each, own in zip(containers, known, strict=True))
    if user is not None and (marks == "fuse" or any(each.shown_ids is not None for each in containers)):
        tell_unknown_ids(reader, user, root.place)
    return StoreContents(
        store=Store(
            key=f"{engine}:p{root.place.partition}:{host_root}",
            engine=engine,
            root=host_root,
            driver=_main_driver(drivers, libpod),
            version=_version(reader, root) if engine == CRIO else None,
            partition=root.place.partition,
        ),
        layers=tuple(replace(layer, owners=user) if layer.marks == "fuse" else layer for layer in layers),
        images=tuple(images),
        containers=containers,
        volumes=storage_volumes(reader, volumes_root, volumes, libpod, containers),
        networks=storage_networks(reader, _network_directories(reader, root), libpod),
        artefacts=(*storage_artefacts(reader, engine, root.place, libpod), *_quadlets(reader, root)),
        gaps=tuple(dict.fromkeys(reader.gaps)),
    )


def _database_directories(reader: StoreReader, root: GraphRoot) -> list[Place]:
    """Where libpod's database may be: in the graphroot, its libpod/, or where containers.conf says."""
    found = [root.place, *reader.children(root.place, "d")]
    found = [place for place in found if place is root.place or place.name == b"libpod"]
    found += [root.run] if root.run is not None else []
    if root.tree is not None and root.how != BY_CONFIGURATION_ONLY:
        for path in root.configured.databases:
            place = resolve_or_none(root.tree, path)
            if place is not None and reader.type(place) == "d":
                found.append(place)
    return found


def _additional(reader: StoreReader, root: GraphRoot) -> list[DriverLayers]:
    """The drivers of the additional stores whose layers may be below this one's."""
    found = []
    for path in root.configured.stores:
        place = resolve_or_none(root.tree, path) if root.tree is not None else None
        if place is None or not is_graph_root(reader, place):
            reader.gap("additional image store", f"{readable(path)} is not on the disk", root.place)
        elif (place.partition, place.inode) != (root.place.partition, root.place.inode):
            found += [DriverLayers(driver, read_graph(reader, driver, root.tree)) for driver in read_drivers(reader, place)]
    return found


def _image_stores(
    reader: StoreReader, root: GraphRoot, graphs: Mapping[str, GraphDriver], others: Sequence[DriverLayers]
) -> list[DriverLayers]:
    """Graphroots of no configuration (`podman --imagestore`) with layers below this one's, by short names: those are random."""
    graph = graphs.get(OVERLAY)
    if graph is None:
        return []
    known = set(graph.links).union(*(each.graph.links for each in others))
    missing = {link for directory in graph.directories.values() for link in directory.lower or ()} - known
    found = []
    for place in root.neighbours:
        if not missing or (place.partition, place.inode) == (root.place.partition, root.place.inode):
            continue
        links = {readable(each.name) for each in reader.children(reader.child(place, OVERLAY.encode(), LINKS))}
        if missing & links:
            drivers = [driver for driver in read_drivers(reader, place) if driver.name == OVERLAY]
            found += [DriverLayers(driver, read_graph(reader, driver, root.tree)) for driver in drivers]
            missing -= links
    return found


def _host_root(root: GraphRoot, libpod: Libpod) -> str:
    """The graphroot's path on the host: as it is mounted, else as libpod's database has it, else in its partition."""
    if root.host_path is not None:
        return readable(root.host_path)
    return libpod.graph_root or readable(root.place.path)


def _volumes(reader: StoreReader, root: GraphRoot, libpod: Libpod, host_root: str) -> tuple[str, Place | None]:
    """The path on the host of the directory of the volumes, and the directory."""
    told = libpod.volume_path or (readable(root.configured.volumes) if root.configured.volumes is not None else None)
    if told is not None and root.tree is not None and told != f"{libpod.graph_root or host_root}/volumes":
        place = resolve_or_none(root.tree, told.encode())
        if place is not None and reader.type(place) == "d":
            return told, place
    return f"{host_root}/volumes", reader.child(root.place, b"volumes")


def _network_directories(reader: StoreReader, root: GraphRoot) -> list[Place]:
    own = reader.child(root.place, b"networks")
    found = [own] if own is not None else []
    if root.tree is not None and root.how != BY_CONFIGURATION_ONLY:
        for path in root.configured.networks:
            place = resolve_or_none(root.tree, path)
            if place is not None:
                found.append(place)
    return found


def _engine(libpod: Libpod, containers: Sequence[Container]) -> str:
    """Whose store it is: CRI-O's where all that tells is CRI-O's."""
    if not libpod.containers and any(container.engine == CRIO for container in containers):
        return CRIO
    return "podman"


def _quadlets(reader: StoreReader, root: GraphRoot) -> Iterator[Artefact]:
    if root.tree is not None and root.user is not None:
        yield from quadlets(reader, "podman", root.tree, root.user)


def _version(reader: StoreReader, root: GraphRoot) -> str | None:
    """What CRI-O leaves behind to see whether it was upgraded, a JSON text of its version."""
    place = resolve_or_none(root.tree, VERSION_FILE) if root.tree is not None else None
    fields = reader.load(place, "CRI-O's version", lambda data: parse_object(b'{"version":' + data + b"}"), MAX_VERSION)
    return fields.text("version") or None if fields is not None else None


def _main_driver(drivers: Sequence[StoredDriver], libpod: Libpod) -> str | None:
    """The driver that has most containers, then images, then layers."""
    if libpod.driver is not None:
        return libpod.driver
    ranked = sorted(drivers, key=lambda each: (-len(each.containers), -len(each.images), -len(each.layers), each.name))
    return ranked[0].name if ranked else None
