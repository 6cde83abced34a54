"""The volumes of a graphroot: volumes/<name>/_data, and what libpod's database says of them."""

from __future__ import annotations

from collections.abc import Iterable

from forensics.records import Container, Volume
from forensics.stores.podman.libpod import Libpod
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable


def storage_volumes(
    reader: StoreReader, volumes_root: str, directory: Place | None, libpod: Libpod, containers: Iterable[Container]
) -> tuple[Volume, ...]:
    """Every volume that has a directory or a record. volumes_root: the directory's path on the host."""
    places = {readable(place.name): place for place in reader.children(directory, "d")}
    users: dict[str, list[str]] = {}
    for container in containers:
        for name in sorted({mount.name for mount in container.mounts if mount.type == "volume" and mount.name is not None}):
            users.setdefault(name, []).append(container.container_id)
    records = []
    for name in sorted({*places, *libpod.volumes}):
        told, where = libpod.volumes.get(name, (None, None))
        place = places.get(name)
        inode = reader.inode(place) if place is not None else None
        driver = told.driver or "local" if told is not None else "local"
        records.append(
            Volume(
                engine="podman",
                name=name,
                driver=driver,
                path=(told.mount_point if told is not None else None) or f"{volumes_root}/{name}/_data",
                used_by=tuple(users.get(name, ())),
                labels=told.labels if told is not None else None,
                options=told.options if told is not None else None,
                created_ns=(told.created_ns if told is not None else None) or (inode.crtime_ns if inode is not None else None),
                source=where or (reader.provenance(place) if place is not None else None),
            )
        )
    return tuple(records)
