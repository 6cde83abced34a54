"""Containers that were given a directory of the host instead of a container image (`--rootfs`): that is their filesystem.

<driver>-containers/<id>/rootfs/upper      what a container wrote that was not to change the directory (`--rootfs DIR:O`)
<driver>-containers/<id>/userdata/overlay/<n>/upper      the same of a volume (`--volume DIR:/x:O`), while the container ran
Source: podman v4 to v5, libpod/container_internal_linux.go (resolveRootfs, mountStorage), buildah pkg/overlay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forensics.records import Layer
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.podman.join import KnownContainer
from forensics.stores.podman.storage import StoredDriver
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable


def given_directories(
    reader: StoreReader, tree: HostTree | None, known: Sequence[KnownContainer], drivers: Sequence[StoredDriver], marks: str
) -> dict[str, tuple[Layer, ...]]:
    """The layers of each such container, its own first, by container id. marks: of overlays on directories, as Layer.marks."""
    found: dict[str, tuple[Layer, ...]] = {}
    for each in known:
        config = each.told.config if each.told is not None else None
        if config is None or config.rootfs is None:
            continue
        place = resolve_or_none(tree, config.rootfs.encode()) if tree is not None else None
        if place is None or reader.type(place) != "d":
            reader.gap("rootfs", f"{config.rootfs}, the root filesystem of {each.container_id}, is not on the disk", each.place)
            place = None
        upper = _upper(reader, drivers, each.container_id) if config.rootfs_overlay else None
        if config.rootfs_overlay and upper is None:
            reader.gap("rootfs", f"what {each.container_id} wrote to an overlay on {config.rootfs} is not there", each.place)
        key = f"rootfs/{each.container_id}"
        if upper is not None:
            below = _layer(reader, f"{key}/lower", config.rootfs, "image", place, marks) if place is not None else None
            own = _layer(reader, key, f"{each.container_id}/rootfs/upper", "container", upper, marks, lower=f"{key}/lower")
            found[each.container_id] = (own, below) if below is not None else (own,)
        elif place is not None:
            found[each.container_id] = (_layer(reader, key, config.rootfs, "container", place, "none"),)
    return found


def overlay_volumes(
    reader: StoreReader, known: Sequence[KnownContainer], drivers: Sequence[StoredDriver], marks: str
) -> Iterator[Layer]:
    """What running containers wrote to volumes that were overlays; no part of a root filesystem, and browsed by itself."""
    places = [driver.containers_place for driver in drivers if driver.containers_place is not None]
    for each, place in ((each, place) for each in known for place in places):
        volumes = reader.child(place, each.container_id.encode(), b"userdata", b"overlay")
        for volume in reader.children(volumes, "d"):
            upper = reader.child(volume, b"upper")
            if upper is not None and reader.children(upper):
                name = f"{each.container_id}/overlay/{readable(volume.name)}"
                yield _layer(reader, f"overlay-volume/{name}", name, "container", upper, marks)


def _upper(reader: StoreReader, drivers: Sequence[StoredDriver], container_id: str) -> Place | None:
    for driver in drivers:
        if driver.containers_place is not None:
            place = reader.child(driver.containers_place, container_id.encode(), b"rootfs", b"upper")
            if place is not None:
                return place
    return None


def _layer(reader: StoreReader, key: str, name: str, kind: str, place: Place, marks: str, lower: str | None = None) -> Layer:
    return Layer(
        key=key,
        name=name,
        kind=kind,
        directory=place.inode,
        path=readable(place.path),
        partition=place.partition,
        lower=lower,
        stacked=marks != "none",
        marks=marks,
        source=reader.provenance(place),
    )
