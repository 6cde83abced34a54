"""What a host says of itself, read inside the filesystem that holds its /etc, and where its volumes were mounted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import TypeVar

from forensics.filesystem import Filesystem, Problem, lookup, read_file, resolve
from forensics.filesystems.mounting import possible_roots, rooted, shown_by_mount
from forensics.text import readable
from forensics.volume import Volume
from parsers import host_files
from parsers.errors import CtrForensicsError
from parsers.host_files import FstabEntry

MAX_FILE = 1 << 20
MAX_UNITS = 1000
WTMP_TAIL = host_files.utmp.sizeof() * 4096
_HEX_ID = re.compile(r"[0-9a-f]{32}")
_DISK_PARTITION = re.compile(r"/dev/(?:([shv]d[a-z]+|xvd[a-z]+)|((?:nvme\d+n|mmcblk|nbd|loop)\d+)p)(\d+)")
_WHOLE_DISK = re.compile(r"/dev/([shv]d[a-z]+|xvd[a-z]+|(?:nvme\d+n|mmcblk|nbd|loop)\d+)")
_VOLUME_NAME = re.compile(r"(?:d(\d+))?p(\d+)|disk(\d*)")
_Place = tuple[int, int]
_TAGS = {"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Host:
    """A Linux host. kernel: of its last recorded boot, else the newest installed. fstab: with systemd's mount units.

    root: the inode of its root directory where that is not the filesystem's own, as in a subvolume of Btrfs; path: that of it.
    """

    partition: int
    hostname: str | None
    os: str | None
    kernel: str | None
    timezone: str | None
    machine_id: str | None
    fstab: tuple[FstabEntry, ...] = ()
    root: int | None = None
    path: bytes = b"/"
    crypttab: tuple[tuple[str, str], ...] = ()
    """The names that encrypted volumes get, with the specs of what they stand on."""


def read_host(fs: Filesystem, partition: int) -> Host | None:
    """The host whose root filesystem this is, None where it is nobody's. What is damaged becomes a problem of `fs`.

    Of several subvolumes of Btrfs it is the one that its own fstab mounts at /: snapshots of it have that fstab, too.
    """
    others: list[Host] = []
    for place in possible_roots(fs):
        host = _read_root(rooted(fs, place.inode), partition)
        if host is None:
            continue
        if place.inode != fs.root:
            host = replace(host, root=place.inode, path=place.path)
        if fs.kind != "btrfs" or _mounts_itself(host, fs):
            return host
        others.append(host)
    if others:
        which = ", ".join(readable(host.path) for host in others)
        text = f"no fstab in it mounts its own subvolume at /; taken for the host's root, of {which}: the first one"
        fs.problems.append(Problem("host", readable(others[0].path), text))
        return others[0]
    return None


def _mounts_itself(host: Host, fs: Filesystem) -> bool:
    entry = next((entry for entry in host.fstab if entry.file == "/"), None)
    shown = shown_by_mount(fs, entry.options if entry is not None else None)
    return shown is not None and shown.inode == (host.root or fs.root)


def _read_root(fs: Filesystem, partition: int) -> Host | None:
    def attempt(what: bytes, read: Callable[[Filesystem, bytes], T | None]) -> T | None:
        try:
            return read(fs, what)
        except CtrForensicsError as error:
            fs.problems.append(Problem("host", readable(what), str(error)))
            return None

    hostname = attempt(b"/etc/hostname", _first_line)
    os = attempt(b"/etc/os-release", _os_release) or attempt(b"/usr/lib/os-release", _os_release)
    os = os or attempt(b"/etc/redhat-release", _first_line)
    machine_id = attempt(b"/etc/machine-id", _machine_id) or attempt(b"/var/lib/dbus/machine-id", _machine_id)
    fstab = attempt(b"/etc/fstab", _fstab)
    if hostname is None and os is None and machine_id is None and fstab is None:
        return None
    kernel = attempt(b"/var/log/wtmp", _booted_kernel) or attempt(b"/lib/modules", _installed_kernel)
    timezone = attempt(b"/etc/localtime", _linked_zone) or attempt(b"/etc/timezone", _first_line)
    units = attempt(b"/etc/systemd/system", _mount_units) or ()
    crypttab = attempt(b"/etc/crypttab", _crypttab) or ()
    return Host(partition, hostname, os, kernel, timezone, machine_id, (*(fstab or ()), *units), crypttab=crypttab)


def _text(fs: Filesystem, path: bytes) -> str | None:
    number = resolve(fs, path)
    if number is None or fs.inode(number).type != "f":
        return None
    return readable(read_file(fs, number, MAX_FILE))


def _first_line(fs: Filesystem, path: bytes) -> str | None:
    lines = (line.strip() for line in (_text(fs, path) or "").splitlines())
    return next((line for line in lines if line and not line.startswith("#")), None)


def _os_release(fs: Filesystem, path: bytes) -> str | None:
    text = _text(fs, path)
    return host_files.os_release(text) if text else None


def _machine_id(fs: Filesystem, path: bytes) -> str | None:
    line = _first_line(fs, path) or ""
    return line if _HEX_ID.fullmatch(line) else None


def _fstab(fs: Filesystem, path: bytes) -> tuple[FstabEntry, ...] | None:
    text = _text(fs, path)
    return None if text is None else host_files.fstab(text)


def _crypttab(fs: Filesystem, path: bytes) -> tuple[tuple[str, str], ...] | None:
    text = _text(fs, path)
    return None if text is None else host_files.crypttab(text)


def _mount_units(fs: Filesystem, path: bytes) -> tuple[FstabEntry, ...]:
    directory = resolve(fs, path)
    if directory is None:
        return ()
    names = [entry.name for entry in fs.entries(directory) if entry.name.endswith(b".mount")]
    units = (host_files.mount_unit(_text(fs, path + b"/" + name) or "") for name in names[:MAX_UNITS])
    return tuple(unit for unit in units if unit is not None)


def _linked_zone(fs: Filesystem, path: bytes) -> str | None:
    number = lookup(fs, path)
    if number is None or fs.inode(number).type != "l":
        return None
    _, found, zone = fs.target(number).partition(b"/zoneinfo/")
    return readable(zone) if found and zone else None


def _booted_kernel(fs: Filesystem, path: bytes) -> str | None:
    number = resolve(fs, path)
    if number is None or fs.inode(number).type != "f":
        return None
    record = host_files.utmp.sizeof()
    whole = fs.inode(number).size // record * record
    start = max(0, whole - WTMP_TAIL)
    return host_files.last_booted_kernel(fs.read(number, start, whole - start))


def _installed_kernel(fs: Filesystem, path: bytes) -> str | None:
    directory = resolve(fs, path)
    return None if directory is None else host_files.newest_kernel([readable(entry.name) for entry in fs.entries(directory)])


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume, by number, at a place of the host. options: as fstab has them."""

    point: str
    volume: int
    options: str | None


def mount_points(host: Host, volumes: Iterable[tuple[Volume, Filesystem | None]]) -> dict[int, str]:
    """Where the host mounts which volume, by number; its own root filesystem at /. Of several places of one, the first."""
    points: dict[int, str] = {}
    for mount in mounts(host, volumes):
        points.setdefault(mount.volume, mount.point)
    points[host.partition] = "/"
    return points


def mounts(host: Host, volumes: Iterable[tuple[Volume, Filesystem | None]]) -> list[Mount]:
    """What the host's fstab mounts, in its order.

    A spec like /dev/sda2 counts where it can only be one disk: see `_known_disks`.
    """
    named: dict[str, int] = {}
    placed: dict[_Place, int] = {}
    empty: set[int] = set()
    for volume, fs in volumes:
        for name in _spec_names(host, volume, fs):
            named.setdefault(name, volume.number)
        place = _place(volume)
        if place is not None:
            placed[place] = volume.number
            empty |= {volume.number} if fs is None else set()
    taken = {number for entry in host.fstab if (number := named.get(_normalized(entry.spec))) is not None}
    disks = _known_disks(host, placed, taken | (empty if len({disk for disk, _ in placed}) > 1 else set()))
    found: list[Mount] = []
    for entry in host.fstab:
        number = named.get(_normalized(entry.spec))
        if number is None and (spec := _disk_spec(entry.spec)) is not None:
            number = placed.get((disks.get(spec[0], 0), spec[1]))
        if number is not None and entry.file.startswith("/"):
            found.append(Mount(entry.file.rstrip("/") or "/", number, entry.options))
    return found


def _spec_names(host: Host, volume: Volume, fs: Filesystem | None) -> list[str]:
    """The names under which fstab may know a volume, as _normalized has them."""
    tags = [("PARTUUID", volume.uuid), ("PARTLABEL", volume.label)] if volume.scheme in ("gpt", "dos") else []
    if fs is not None:
        tags += [("UUID", fs.uuid), ("LABEL", fs.label)]
    names = [_normalized(f"{tag}={value}") for tag, value in tags if value]
    if volume.scheme == "lvm":
        group, _, name = volume.name.partition("/")
        names += [f"/dev/{group}/{name}", f"/dev/mapper/{group.replace('-', '--')}-{name.replace('-', '--')}"]
    elif volume.scheme == "luks" and volume.uuid:
        below = f"UUID={volume.uuid.lower()}"
        names += [f"/dev/mapper/{name}" for name, spec in host.crypttab if _normalized(spec) == below]
    elif volume.scheme == "md":
        names += [f"/dev/md/{volume.name}", *([f"/dev/md{volume.name}"] if volume.name.isdigit() else [])]
    return names


def _normalized(spec: str) -> str:
    """A spec with its tag instead of /dev/disk/by-..., without quotes; UUIDs in lower case."""
    for tag, directory in _TAGS.items():
        for prefix in (f"{tag}=", f"/dev/disk/{directory}/"):
            if spec.startswith(prefix):
                value = re.sub(r"\\x([0-9a-f]{2})", lambda code: chr(int(code[1], 16)), spec[len(prefix) :].strip("\"'"))
                return f"{tag}={value.lower() if tag.endswith('UUID') else value}"
    return spec


def _place(volume: Volume) -> _Place | None:
    """The number of the disk among those given, and of the partition in its table, 0 for a disk without one."""
    found = _VOLUME_NAME.fullmatch(volume.name) if volume.scheme in ("gpt", "dos", "none") else None
    return None if found is None else (int(found[1] or found[3] or 1), int(found[2] or 0))


def _disk_spec(spec: str) -> tuple[str, int] | None:
    """The disk's name in a spec like /dev/sda2, and the partition's number, 0 for the whole disk."""
    if found := _DISK_PARTITION.fullmatch(spec):
        return found[1] or found[2], int(found[3])
    whole = _WHOLE_DISK.fullmatch(spec)
    return None if whole is None else (whole[1], 0)


def _known_disks(host: Host, placed: Mapping[_Place, int], others: Set[int]) -> dict[str, int]:
    """Which disk each name stands for: that of / itself, and where one name is left, the one disk that has what it names.

    others: volumes that such a name cannot mean, having another name in fstab, or no filesystem.
    """
    specs = [(spec, entry.file) for entry in host.fstab if (spec := _disk_spec(entry.spec)) is not None]
    known: dict[str, int] = {}
    for (name, part), mounted_at in specs:
        if mounted_at == "/":
            own = next((disk for (disk, number), volume in placed.items() if volume == host.partition and number == part), None)
            if own is None:
                return {}
            known[name] = own
    names = {name for (name, _), _ in specs} - known.keys()
    if len(names) == 1:
        wanted = {part for (name, part), _ in specs if name in names}
        left = {disk for disk, _ in placed} - set(known.values())
        beyond = others | {host.partition}
        fit = [disk for disk in left if all(placed.get((disk, part), host.partition) not in beyond for part in wanted)]
        if len(fit) == 1:
            known[names.pop()] = fit[0]
    return known
