"""Docker's graph drivers: how the layers of each are read, and what one has in a data-root."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from forensics.records import ContainerImage, Layer
from forensics.stores.docker.claims import Claims, claim_directories, claims_as_told
from forensics.stores.docker.containers import StoredContainer, images_of
from forensics.stores.docker.graph_driver import GraphDriver
from forensics.stores.docker.graph_v1 import Graph, with_graph
from forensics.stores.docker.images import StoredImage, docker_images, known_chain, read_images
from forensics.stores.docker.layerdb import LayerDb, read_layerdb
from forensics.stores.docker.layers import docker_layers
from forensics.stores.docker.older_drivers import (
    list_devicemapper,
    list_windowsfilter,
    list_zfs,
    read_aufs,
    read_btrfs,
    read_overlay,
    read_vfs,
)
from forensics.stores.docker.overlay2 import read_fuse_overlayfs, read_overlay2
from forensics.stores.reading import Place, StoreReader


@dataclass(frozen=True, slots=True)
class Driver:
    """One of Docker's drivers. read: from its directory. missing: where its layers' files are, if no layer's can be read."""

    name: str
    read: Callable[[StoreReader, Place], GraphDriver]
    missing: str | None = None


DRIVERS = (
    Driver("aufs", read_aufs),
    Driver("btrfs", read_btrfs, "each layer is a Btrfs subvolume"),
    Driver("devicemapper", list_devicemapper, "each layer is a filesystem on a thin device of a device-mapper pool"),
    Driver("fuse-overlayfs", read_fuse_overlayfs),
    Driver("overlay", read_overlay),
    Driver("overlay2", read_overlay2),
    Driver("vfs", read_vfs),
    Driver("windowsfilter", list_windowsfilter, "each layer is a Windows filesystem with registry hives"),
    Driver("zfs", list_zfs, "each layer is a dataset of a ZFS pool"),
)


@dataclass(frozen=True, slots=True)
class DriverContents:
    """What one graph driver has in a data-root."""

    name: str
    images: Mapping[str, StoredImage]
    db: LayerDb
    claims: Claims
    graph: GraphDriver
    layers: tuple[Layer, ...]
    image_records: tuple[ContainerImage, ...]


def driver_of(name: str) -> Driver | None:
    """One of the drivers by its name."""
    return next((driver for driver in DRIVERS if driver.name == name), None)


def read_driver(
    reader: StoreReader,
    name: str,
    image: Place | None,
    directory: Place | None,
    stored: Mapping[str, StoredContainer],
    v1: Graph,
) -> DriverContents | None:
    """image: the directory image/<driver>; directory: the driver's own. None for a driver that has neither images nor layers."""
    images = read_images(reader, image) if image is not None else {}
    layerdb = reader.child(image, b"layerdb") if image is not None else None
    top = directory or image
    if top is None or not (images or reader.children(layerdb) or reader.children(directory)):
        return None
    driver = driver_of(name)
    graph = driver.read(reader, directory) if driver is not None and directory is not None else GraphDriver(name, {}, {})
    mine = {cid: c for cid, c in stored.items() if c.config is None or c.config.driver in (name, None)}
    db = with_graph(read_layerdb(reader, layerdb, known_chain(images)), v1, graph, mine)
    of_containers = images_of(stored, images)
    if driver is not None and (driver.missing is None or any(each.diff is not None for each in graph.directories.values())):
        claims = claim_directories(reader, graph, db, {cid: c.place for cid, c in mine.items()}, of_containers)
    else:
        where = driver.missing if driver is not None else "not a driver of Docker's own"
        reader.gap("graph driver", f"the layers of {name} are not read, only what the metadata tell of them: {where}", top)
        claims = claims_as_told(db, of_containers)
    used = {c.config.image: claims.image[cid] for cid, c in stored.items() if c.config and c.config.image and cid in claims.image}
    return DriverContents(
        name=name,
        images=images,
        db=db,
        claims=claims,
        graph=graph,
        layers=docker_layers(reader, top, graph, db, claims),
        image_records=docker_images(reader, name, images, db, claims, used),
    )
