"""Containers that were given a directory of the host instead of a container image (`--rootfs`): that is their filesystem."""

from __future__ import annotations

from collections.abc import Sequence

from forensics.records import Layer
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.podman.join import KnownContainer
from forensics.stores.reading import StoreReader
from forensics.text import readable


def given_directories(reader: StoreReader, tree: HostTree | None, known: Sequence[KnownContainer]) -> dict[str, Layer]:
    """The directory of each such container as a layer, by container id. One that wrote to an overlay on it is told as a gap."""
    found = {}
    for each in known:
        config = each.told.config if each.told is not None else None
        if config is None or config.rootfs is None:
            continue
        place = resolve_or_none(tree, config.rootfs.encode()) if tree is not None else None
        if place is None or reader.type(place) != "d":
            reader.gap("rootfs", f"{config.rootfs}, the root filesystem of {each.container_id}, is not on the disk", each.place)
            continue
        if config.rootfs_overlay:
            reader.gap("rootfs", f"{each.container_id} wrote to an overlay on {config.rootfs}, which is not read", each.place)
        found[each.container_id] = Layer(
            key=f"rootfs/{each.container_id}",
            name=config.rootfs,
            kind="container",
            directory=place.inode,
            path=readable(place.path),
            partition=place.partition,
            stacked=False,
            marks="none",
            source=reader.provenance(place),
        )
    return found
