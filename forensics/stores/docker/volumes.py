"""The volumes of a data-root: volumes/<name>/_data and what volumes/metadata.db says of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from forensics.records import Container, Gap, Provenance, Volume
from forensics.stores.bolt import live_keys
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.errors import FormatError
from parsers.json_fields import parse_object

ARTEFACT = "volumes/metadata.db"
BUCKET = (b"volumes",)
MAX_OPTIONS = 64 << 10


@dataclass(frozen=True, slots=True)
class _Metadata:
    """A value of metadata.db, daemon/volume/service/db.go volumeMetadata."""

    driver: str | None
    labels: dict[str, str]
    options: dict[str, str]
    source: Provenance


def docker_volumes(
    reader: StoreReader, host_root: str, volumes: Place | None, containers: Iterable[Container]
) -> tuple[Volume, ...]:
    """Every volume that has a directory or a record; created_ns: when its directory was made."""
    if volumes is None:
        return ()
    metadata = _read_metadata(reader, reader.child(volumes, b"metadata.db"))
    directories = {readable(place.name): place for place in reader.children(volumes, "d")}
    users: dict[str, list[str]] = {}
    for container in containers:
        for name in sorted({mount.name for mount in container.mounts if mount.type == "volume" and mount.name is not None}):
            users.setdefault(name, []).append(container.container_id)
    records = []
    for name in sorted({*directories, *metadata}):
        place, told = directories.get(name), metadata.get(name)
        inode = reader.inode(place) if place is not None else None
        options = told.options if told is not None else None
        if place is not None and not options:
            options = _options(reader, place) or options
        driver = told.driver if told is not None else "local"  # a directory here is the local driver's
        records.append(
            Volume(
                engine="docker",
                name=name,
                driver=driver,
                path=f"{host_root}/volumes/{name}/_data" if driver == "local" else None,
                used_by=tuple(users.get(name, ())),
                labels=told.labels if told is not None else None,
                options=options,
                created_ns=inode.crtime_ns if inode is not None else None,
                source=told.source if told is not None else reader.provenance(place) if place is not None else None,
            )
        )
    return tuple(records)


def _read_metadata(reader: StoreReader, database: Place | None) -> dict[str, _Metadata]:
    found: dict[str, _Metadata] = {}
    for key, value, where in live_keys(reader, database, ARTEFACT, BUCKET):
        name = readable(key)
        try:
            top = parse_object(value)
        except FormatError as error:
            reader.gaps.append(Gap(ARTEFACT, f"{name}: {error.what}", where.partition, where.path, where.offset))
            continue
        driver = top.text("Driver") or None
        found[name] = _Metadata(driver, top.text_map("Labels") or {}, top.text_map("Options") or {}, where)
        reader.tell(ARTEFACT, top.problems, database)
    return found


def _options(reader: StoreReader, volume: Place) -> dict[str, str] | None:
    """opts.json of the local driver: what is mounted on `_data`."""
    top = reader.load(reader.child(volume, b"opts.json"), "volume's opts.json", parse_object, MAX_OPTIONS)
    if top is None:
        return None
    known = {"type": top.text("MountType"), "o": top.text("MountOpts"), "device": top.text("MountDevice")}
    return {name: value for name, value in known.items() if value}
