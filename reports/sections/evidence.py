"""What was examined: the disk images, their volumes, the hosts on them, the stores, and the run that read them."""

from __future__ import annotations

from dataclasses import dataclass

from reports.scope import Scope, pairs, read, words


@dataclass(frozen=True, slots=True)
class DiskImage:
    """A disk. files: where it was read from; size: bytes; stored: hashes that the disk image's format keeps of it."""

    name: str | None
    format: str | None
    files: tuple[str, ...]
    size: int
    sha256: str | None
    stored: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Row:
    name: str | None
    format: str | None
    files: str
    size: int
    sha256: str | None
    details: str | None


@dataclass(frozen=True, slots=True)
class Volume:
    """A partition or logical volume. offset, length: bytes."""

    number: int
    name: str | None
    scheme: str
    offset: int | None
    length: int
    filesystem: str | None
    label: str | None
    uuid: str | None
    state: str
    mount_point: str | None


@dataclass(frozen=True, slots=True)
class Host:
    """An installed system."""

    hostname: str | None
    os: str | None
    kernel: str | None
    timezone: str | None
    machine_id: str | None
    partition: int


@dataclass(frozen=True, slots=True)
class Store:
    """An engine's directory."""

    engine: str
    version: str | None
    driver: str | None
    root: str
    partition: int


@dataclass(frozen=True, slots=True)
class Examined:
    """All of it. run: names and values of the table `run`."""

    disk_images: tuple[DiskImage, ...]
    volumes: tuple[Volume, ...]
    hosts: tuple[Host, ...]
    stores: tuple[Store, ...]
    layers: int
    entries: int
    run: tuple[tuple[str, str], ...]

    @property
    def size(self) -> int:
        """Bytes of the disk images together."""
        return sum(image.size for image in self.disk_images)


def read_examined(scope: Scope) -> Examined:
    """What was examined, whatever the report is about."""
    layers, entries = scope.db.execute("SELECT count(*), coalesce(sum(entries), 0) FROM layers").fetchone()
    run = scope.db.execute("SELECT key, value FROM run WHERE value IS NOT NULL ORDER BY key").fetchall()
    return Examined(
        tuple(_disk_image(row) for row in read(scope, _Row, "FROM disk_images ORDER BY number")),
        read(scope, Volume, "FROM partitions ORDER BY number"),
        read(scope, Host, "FROM host ORDER BY partition, hostname"),
        read(scope, Store, "FROM stores ORDER BY key"),
        layers,
        entries,
        tuple((str(key), str(value)) for key, value in run),
    )


def _disk_image(row: _Row) -> DiskImage:
    stored = tuple((name, value) for name, value in pairs(row.details) if name.startswith("stored "))
    return DiskImage(row.name, row.format, words(row.files), row.size, row.sha256, stored)
