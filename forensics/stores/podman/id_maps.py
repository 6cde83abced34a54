"""Whose ids stand on the disk, and which a container's filesystem shows: rootless users, user namespaces, idmapped mounts.

A container with a user namespace of its own (--userns=auto, keep-id, --uidmap) gets a copy of its image's top layer with owners
changed, or its layers are shown with other owners: the kernel does that for the layers below its own (overlay/<layer>/mapped is
where the driver mounts them so), fuse-overlayfs for all of them.
Source: containers/storage v1.46 to v1.60, drivers/overlay/overlay.go (get, SupportsShifting), store.go (imageTopLayerForMapping).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from forensics.records import Container, Layer, ShownIds
from forensics.stores.podman.join import KnownContainer
from forensics.stores.podman.storage import StoredDriver
from forensics.stores.reading import Place, StoreReader
from parsers.id_map import IdMaps, inverted, through

MAPPED = b"mapped"


def tell_unknown_ids(reader: StoreReader, user: IdMaps, root: Place) -> None:
    """That owners are not known where a user's subordinate ids are not (a directory service may have given them)."""
    if len(user.uids) == 1 or len(user.gids) == 1:
        error = (
            f"no file gives uid {user.uids[0].outside} any: owners other than the user are shown as 65534, the kernel's nobody"
        )
        reader.gap("subordinate ids", error, root)


def with_ids(
    reader: StoreReader,
    container: Container,
    known: KnownContainer,
    drivers: Mapping[str, StoredDriver],
    layers: Mapping[str, Layer],
    user: IdMaps | None,
) -> Container:
    """A container with what its ids are on the host, and with the owners that its filesystem shows. user: the rootless user's."""
    own = known.record.ids if known.record is not None else None
    if own is None:
        return replace(container, ids=user)
    on_host = _through(own, user) if user is not None else own
    driver = drivers.get(known.driver or "")
    layer = layers.get(container.layer or "")
    shown = None
    if driver is not None and driver.name == "overlay" and layer is not None and not _is_copied(driver, known, own):
        if layer.marks == "fuse":
            shown = ShownIds(_shown(own, user), own_layer=True)
        elif known.layer is not None and _was_mapped(reader, driver, known.layer):
            shown = ShownIds(_shown(own, user), own_layer=False)
    return replace(container, ids=on_host, shown_ids=shown)


def _is_copied(driver: StoredDriver, known: KnownContainer, own: IdMaps) -> bool:
    """Whether the layer below a container's own has its owners already."""
    record = driver.layers.get(known.layer or "")
    below = driver.layers.get(record[0].parent or "") if record is not None else None
    return below is not None and below[0].ids == own


def _was_mapped(reader: StoreReader, driver: StoredDriver, layer: str) -> bool:
    return driver.directory is not None and reader.child(driver.directory, layer.encode(), MAPPED) is not None


def _shown(own: IdMaps, user: IdMaps | None) -> IdMaps:
    """From an id on the disk into the user's namespace, as if it were the container's own, out of it again, to the host."""
    if user is None:
        return own
    inside = IdMaps(inverted(user.uids), inverted(user.gids))
    return _through(_through(inside, own), user)


def _through(first: IdMaps, then: IdMaps) -> IdMaps:
    return IdMaps(through(first.uids, then.uids), through(first.gids, then.gids))
