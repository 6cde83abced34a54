"""What devicemapper's metadata tell of layers' thin devices, and of the pool that they are in.

devicemapper/metadata/<layer>              one thin device
devicemapper/metadata/deviceset-metadata   all of them
devicemapper/devicemapper/{data,metadata}  the pool, where it is no volume of its own
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forensics.records import Artefact
from forensics.stores.docker.older_drivers import DEVICE_SET
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.docker_devicemapper import parse_device_set, parse_thin_device

MAX_FILE = 64 << 10


def thin_devices(reader: StoreReader, directory: Place | None) -> Iterator[Artefact]:
    """The pool, and each layer's device. directory: devicemapper/ of a data-root."""
    metadata = reader.child(directory, b"metadata") if directory is not None else None
    if directory is None or metadata is None:
        return
    yield from _pool(reader, directory, reader.child(metadata, b"deviceset-metadata"))
    for place in reader.children(metadata, "f"):
        device = None if place.name in DEVICE_SET else reader.load(place, "thin device", parse_thin_device, MAX_FILE)
        if device is None:
            continue
        reader.tell("thin device", device.problems, place)
        told = (
            ("device id", device.device_id),
            ("size in bytes", device.size),
            ("transaction", device.transaction_id),
            ("initialized", None if device.initialized is None else str(device.initialized).lower()),
            ("deleted", "true" if device.deleted else None),
        )
        yield _artefact(reader, "thin device", readable(place.name), place, told)


def _pool(reader: StoreReader, directory: Place, place: Place | None) -> Iterator[Artefact]:
    told: list[tuple[str, object]] = []
    device_set = reader.load(place, "thin devices", parse_device_set, MAX_FILE)
    if device_set is not None:
        reader.tell("thin devices", device_set.problems, place)
        told += [("next device id", device_set.next_device_id), ("base device", device_set.uuid)]
        told += [("filesystem", device_set.filesystem)]
    for name in (b"data", b"metadata"):
        file = reader.child(directory, b"devicemapper", name)
        inode = reader.inode(file) if file is not None else None
        if file is not None and inode is not None:
            told += [(f"{readable(name)} file", f"{readable(file.path)}, {inode.size} bytes")]
    if told:
        yield _artefact(reader, "thin pool", "devicemapper", place or directory, told)


def _artefact(reader: StoreReader, kind: str, name: str, place: Place, told: Sequence[tuple[str, object]]) -> Artefact:
    inode = reader.inode(place)
    return Artefact(
        "docker",
        kind,
        name,
        path=readable(place.path),
        time_ns=inode.mtime_ns if inode is not None else None,
        details={label: str(value) for label, value in told if value is not None},
        source=reader.provenance(place),
    )
