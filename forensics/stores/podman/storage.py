"""One driver's part of a graphroot: what layers.json, images.json and containers.json tell, and where each stands.

<driver>-layers/{layers.json,volatile-layers.json}
<driver>-images/{images.json,<image id>/<big data>}
<driver>-containers/{containers.json,volatile-containers.json,<container id>/userdata}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from forensics.stores.podman.discover import DRIVERS, PARTS
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.container_storage import (
    ContainerRecord,
    ImageRecord,
    LayerRecord,
    parse_containers,
    parse_images,
    parse_layers,
)

MAX_DOCUMENT = 256 << 20

_T = TypeVar("_T", LayerRecord, ImageRecord, ContainerRecord)


@dataclass(frozen=True, slots=True)
class StoredDriver:
    """What the metadata of one driver say, by id, each with the file that says it.

    directory: of the driver's layers. layers_place: of what is told of them. containers_place: of the containers; run_place: of
    what they have in the run root.
    """

    name: str
    directory: Place | None
    layers: Mapping[str, tuple[LayerRecord, Place]]
    images: Mapping[str, tuple[ImageRecord, Place]]
    containers: Mapping[str, tuple[ContainerRecord, Place]]
    layers_place: Place | None
    images_place: Place | None
    containers_place: Place | None
    run_place: Place | None = None


def read_drivers(reader: StoreReader, root: Place, run: Place | None = None) -> tuple[StoredDriver, ...]:
    """The drivers that have anything in a graphroot, by name. run: its run root, where it is on the disk."""
    present = {place.name: place for place in reader.children(root, "d")}
    fleeting = {place.name: place for place in reader.children(run, "d")}
    found = []
    for driver in sorted(DRIVERS):
        if any(driver + part in present for part in PARTS):
            layers, images, containers = (present.get(driver + part) for part in PARTS)
            found.append(
                StoredDriver(
                    name=readable(driver),
                    directory=present.get(driver),
                    layers=_read(reader, layers, fleeting.get(driver + PARTS[0]), b"layers.json", parse_layers),
                    images=_read(reader, images, None, b"images.json", parse_images),
                    containers=_read(reader, containers, fleeting.get(driver + PARTS[2]), b"containers.json", parse_containers),
                    layers_place=layers,
                    images_place=images,
                    containers_place=containers,
                    run_place=fleeting.get(driver + PARTS[2]),
                )
            )
    return tuple(found)


def _read(
    reader: StoreReader,
    directory: Place | None,
    fleeting: Place | None,
    name: bytes,
    parse: Callable[[bytes], tuple[tuple[_T, ...], tuple[str, ...]]],
) -> dict[str, tuple[_T, Place]]:
    """The records of a document and of its volatile twin, by id; what containers with --rm left is in the latter.

    fleeting: the directory in the run root, which has the volatile twin of a transient store.
    """
    found: dict[str, tuple[_T, Place]] = {}
    if directory is None:
        return found
    volatile = b"volatile-" + name
    for where, file in ((directory, name), (directory, volatile), (fleeting, volatile)):
        place = reader.child(where, file) if where is not None else None
        if place is None:
            continue
        records, problems = reader.load(place, readable(file), parse, MAX_DOCUMENT) or ((), ())
        reader.tell(readable(file), problems, place)
        for record in records:
            if record.id in found:
                reader.gap(readable(file), f"{record.id} twice; the first one counts", place)
            found.setdefault(record.id, (record, place))
    return found
