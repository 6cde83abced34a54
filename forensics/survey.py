"""What a disk image holds, found in seconds: volumes, their filesystems, hosts, and where the hosts mount what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forensics.filesystem import Filesystem
from forensics.filesystems.open import identify, open_volume
from forensics.host import Host, mount_points, read_host
from forensics.records import Gap
from forensics.source import Source
from forensics.volume import Volume
from forensics.volumes import find_volumes
from parsers.errors import CtrForensicsError, FormatError, UnsupportedFormat

NO_FILESYSTEMS = {
    "lvm2": "LVM2 physical volume",
    "swap": "swap",
    "hibernation": "swap with a hibernated system",
    "ext_journal": "journal of another filesystem",
}
"""What is recognised, holds no files and so leaves no gap, with the state that it gives its volume."""

BOOT_CODE = frozenset({"BIOS boot", "PPC PReP Boot", "Microsoft reserved"})
MAX_EMPTY_CHECK = 16 << 20
_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class Partition:
    """A volume and the filesystem in it.

    kind: what its signature says it holds, None where nothing is recognised. state: the filesystem's own, or why there is none:
    `unsupported`, `damaged`, `unreadable`, `unknown`, `empty`, `swap` ... error: why it cannot be read.
    """

    volume: Volume
    filesystem: Filesystem | None
    kind: str | None
    state: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """A disk image at a glance. hosts and mount_points go by volume number; gaps do not repeat the filesystems' problems."""

    disk: Source
    partitions: tuple[Partition, ...]
    hosts: dict[int, Host]
    mount_points: dict[int, str]
    gaps: tuple[Gap, ...]


def survey(disk: Source, replay_journal: bool = True, secrets: Sequence[bytes] = ()) -> Survey:
    """Find the volumes of a disk image and open their filesystems. secrets: for encrypted volumes."""
    volumes, gaps = find_volumes(disk, secrets)
    found = list(gaps)
    partitions = tuple(_open(volume, replay_journal, found) for volume in volumes)
    hosts: dict[int, Host] = {}
    for partition in partitions:
        if partition.filesystem is not None:
            host = _read_host(partition, found)
            if host is not None:
                hosts[partition.volume.number] = host
    points: dict[int, str] = {}
    for host in hosts.values():
        for number, point in mount_points(host, [(p.volume, p.filesystem) for p in partitions]).items():
            points.setdefault(number, point)
    return Survey(disk, partitions, hosts, points, tuple(found))


def _open(volume: Volume, replay_journal: bool, gaps: list[Gap]) -> Partition:
    """One volume with its filesystem; what goes wrong is this volume's alone."""
    if volume.error is not None:
        return Partition(volume, None, None, "unsupported", volume.error)  # find_volumes made the gap
    if volume.holds is not None:
        return Partition(volume, None, None, volume.holds)
    kind: str | None = None
    state, found = "", ""
    if volume.scheme == "signature":
        found = ", found by signature"
    try:
        kind = identify(volume.source) if volume.collection is None else volume.scheme
        if kind in NO_FILESYSTEMS:
            return Partition(volume, None, kind, NO_FILESYSTEMS[kind])
        filesystem = open_volume(volume, replay_journal)
        if filesystem is not None:
            return Partition(volume, filesystem, filesystem.kind, filesystem.state + found)
        if volume.type in BOOT_CODE or volume.source.size == 0 or _is_empty(volume.source):
            looked_at_all = volume.type not in BOOT_CODE and volume.source.size <= MAX_EMPTY_CHECK
            return Partition(volume, None, None, "empty" if looked_at_all else "no filesystem")
        state, error = "unknown", "no known filesystem stands here"
    except UnsupportedFormat as problem:
        state, error = "unsupported", str(problem)
    except FormatError as problem:
        state, error = "damaged", str(problem)
    except CtrForensicsError as problem:
        state, error = "unreadable", str(problem)
    gaps.append(Gap("filesystem", error, volume.number, offset=volume.offset))
    return Partition(volume, None, kind, state + found, error)


def _is_empty(source: Source) -> bool:
    """Whether all bytes are zero, as far as is looked."""
    for offset in range(0, min(source.size, MAX_EMPTY_CHECK), _CHUNK):
        chunk = source.read(offset, _CHUNK)
        if chunk.count(0) != len(chunk):
            return False
    return True


def _read_host(partition: Partition, gaps: list[Gap]) -> Host | None:
    if partition.filesystem is None:
        return None
    try:
        return read_host(partition.filesystem, partition.volume.number)
    except CtrForensicsError as error:
        gaps.append(Gap("host", str(error), partition.volume.number))
        return None
