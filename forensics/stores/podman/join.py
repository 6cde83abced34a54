"""All that is known of each container of a graphroot, joined: containers.json, libpod's database, its own directory.

Where containers.json is damaged, a container's layer is told by the OCI spec of its last start, or by the layer's name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from forensics.records import Provenance
from forensics.stores.podman.libpod import Libpod, Told
from forensics.stores.podman.storage import StoredDriver
from forensics.stores.podman.userdata import Userdata, read_userdata
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.container_storage import ContainerRecord

LAYER_NAME = "-layer"  # a container's layer has its name, and this behind it

_ID = re.compile(rb"[0-9a-f]{64}")
_LAYER_IN_PATH = re.compile(r"/([0-9a-f]{64})(?=/|$)")


@dataclass(frozen=True, slots=True)
class KnownContainer:
    """One container. place: of what told of it first. record: in containers.json; told: in libpod's database. layer: its id."""

    container_id: str
    driver: str | None
    place: Place | None
    record: ContainerRecord | None
    told: Told | None
    data: Userdata
    layer: str | None
    source: Provenance | None

    @property
    def layer_key(self) -> str | None:
        """The key of its layer in the store."""
        return f"{self.driver}/{self.layer}" if self.driver is not None and self.layer is not None else None


def known_containers(reader: StoreReader, drivers: Sequence[StoredDriver], libpod: Libpod) -> tuple[KnownContainer, ...]:
    """Every container that anything tells of, by id."""
    found: dict[str, KnownContainer] = {}
    for driver in drivers:
        directories = {
            readable(each.name): each for each in reader.children(driver.containers_place, "d?") if _ID.fullmatch(each.name)
        }
        for cid in sorted({*driver.containers, *directories} - found.keys()):
            record, place = driver.containers.get(cid, (None, directories.get(cid)))
            data = read_userdata(reader, driver.containers_place, cid)
            if data.spec is None and driver.run_place is not None:
                data = read_userdata(reader, driver.run_place, cid)
            told = libpod.containers.get(cid)
            if record is None:
                reader.gap("container", f"{cid} is not in containers.json", place)
            layer = _layer(reader, driver, cid, record, told, data, place)
            source = told.source if told is not None else reader.provenance(place) if place is not None else None
            found[cid] = KnownContainer(cid, driver.name, place, record, told, data, layer, source)
    for cid in sorted(libpod.containers.keys() - found.keys()):
        told = libpod.containers[cid]
        own = next((each for each in drivers if _named(each, cid, None, told) is not None), None)
        layer = _named(own, cid, None, told) if own is not None else None
        if layer is None and told.config is not None and told.config.rootfs is None:
            reader.gap("container", f"{cid} is in libpod's database only: its storage is gone")
        found[cid] = KnownContainer(cid, own.name if own else None, None, None, told, Userdata(), layer, told.source)
    return tuple(found[cid] for cid in sorted(found))


def _layer(
    reader: StoreReader,
    driver: StoredDriver,
    cid: str,
    record: ContainerRecord | None,
    told: Told | None,
    data: Userdata,
    place: Place | None,
) -> str | None:
    if record is not None and record.layer is not None:
        return record.layer
    root = data.spec.root if data.spec is not None else None
    in_path = _LAYER_IN_PATH.findall(root or "")
    layer: str | None = in_path[-1] if in_path else _named(driver, cid, record, told)
    if layer is not None:
        reader.gap("container's layer", f"of {cid} is told by {'its OCI spec' if in_path else 'its name'}: {layer}", place)
    return layer


def _named(driver: StoredDriver, cid: str, record: ContainerRecord | None, told: Told | None) -> str | None:
    """The one layer that has a container's name."""
    names = {cid, *(record.names if record is not None else ())}
    if told is not None and told.config is not None and told.config.name is not None:
        names.add(told.config.name)
    wanted = {name + LAYER_NAME for name in names}
    layers = [layer.id for layer, _ in driver.layers.values() if wanted.intersection(layer.names)]
    return layers[0] if len(layers) == 1 else None
