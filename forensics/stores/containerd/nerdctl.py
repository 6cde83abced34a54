"""nerdctl's own store: the names, logs and volumes of its containers.

<store>/<first 8 hex of the SHA-256 of containerd's address>/
    containers/<namespace>/<id>/{<id>-json.log,log-config.json,lifecycle.json,network-config.json,hostname,resolv.conf}
    names/<namespace>/<name>            its text is the id
    etchosts/<namespace>/<id>/{hosts,meta.json}     meta.json: of a container that had a task, maybe before a crash
    volumes/<namespace>/<name>/{_data,volume.json}

Source: nerdctl v0.8 to v2.1, pkg/clientutil, pkg/store, pkg/namestore, pkg/mountutil/volumestore.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from forensics.records import Container, Volume
from forensics.stores.containerd.discover import ContainerdRoot
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.stores.users import users
from forensics.text import readable
from parsers.json_fields import parse_object
from parsers.nerdctl import Hosts, Lifecycle, parse_hosts, parse_lifecycle, parse_log_driver

ROOT = b"/var/lib/nerdctl"
ROOTLESS = b"/.local/share/nerdctl"
CONTAINERD_ROOTLESS = b"/.local/share/containerd"
MAX_FILE = 1 << 20

_ADDRESS = re.compile(rb"[0-9a-f]{8}")
_ID = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True)
class Nerdctl:
    """What nerdctl keeps of one containerd's containers. containers: its directories, by namespace and id."""

    base: str = ""
    containers: Mapping[tuple[str, str], Place] = field(default_factory=dict)
    names: Mapping[tuple[str, str], str] = field(default_factory=dict)
    hosts: Mapping[tuple[str, str], Hosts] = field(default_factory=dict)
    lifecycles: Mapping[tuple[str, str], Lifecycle] = field(default_factory=dict)
    logs: Mapping[tuple[str, str], tuple[str | None, str | None]] = field(default_factory=dict)
    volumes: tuple[tuple[str, Place], ...] = ()

    def name(self, namespace: str, container_id: str) -> str | None:
        """What a container is called."""
        hosts = self.hosts.get((namespace, container_id))
        return self.names.get((namespace, container_id)) or (hosts.name if hosts is not None else None)

    def hostname(self, namespace: str, container_id: str) -> str | None:
        """What a container's hosts file calls it."""
        hosts = self.hosts.get((namespace, container_id))
        return hosts.hostname if hosts is not None else None

    def lifecycle(self, namespace: str, container_id: str) -> Lifecycle | None:
        """A container's lifecycle.json."""
        return self.lifecycles.get((namespace, container_id))

    def log(self, namespace: str, container_id: str) -> tuple[str | None, str | None]:
        """The path of a container's log on the host, and its driver."""
        return self.logs.get((namespace, container_id), (None, None))


def read_nerdctl(reader: StoreReader, root: ContainerdRoot, ids: Sequence[tuple[str, str]]) -> Nerdctl:
    """The store of the containerd at `root`: the one that has its containers. ids: namespace and id of each of them."""
    found = Nerdctl()
    for base, place in _stores(reader, root):
        store = _read(reader, base, place)
        wanted = set(ids)
        overlap = wanted & store.containers.keys()
        if len(overlap) > len(wanted & found.containers.keys()) or (not found.base and not wanted and store.volumes):
            found = store
    return found


def nerdctl_directories(reader: StoreReader, tree: HostTree) -> Iterator[Place]:
    """The stores of all containerds of a host, the system's and the users', each a directory named for containerd's address."""
    for top in (ROOT, *(user.home + ROOTLESS for user in users(reader, tree))):
        for place in reader.children(_directory(tree, top), "d"):
            if _ADDRESS.fullmatch(place.name):
                yield place


def nerdctl_volumes(reader: StoreReader, nerdctl: Nerdctl, containers: Sequence[Container]) -> tuple[Volume, ...]:
    """The named volumes, with the containers that mount them."""
    records = []
    for namespace, place in nerdctl.volumes:
        name = readable(place.name)
        path = f"{nerdctl.base}/volumes/{namespace}/{name}/_data"
        used = [each.container_id for each in containers for mount in each.mounts if mount.source == path]
        labels = reader.load(
            reader.child(place, b"volume.json"), "volume.json", lambda data: parse_object(data).text_map("Labels"), MAX_FILE
        )
        inode = reader.inode(place)
        created = inode.crtime_ns if inode is not None else None
        records.append(
            Volume(
                "nerdctl", name, "local", path, tuple(sorted(set(used))), labels, None, created, source=reader.provenance(place)
            )
        )
    return tuple(records)


def _stores(reader: StoreReader, root: ContainerdRoot) -> list[tuple[str, Place]]:
    """The directories that may be this containerd's, with their paths on the host."""
    tree = root.tree
    if tree is None or root.host_path is None:
        return []
    home = root.host_path.removesuffix(CONTAINERD_ROOTLESS)
    top = home + ROOTLESS if home != root.host_path else ROOT
    return [
        (readable(top + b"/" + place.name), place)
        for place in reader.children(_directory(tree, top), "d")
        if _ADDRESS.fullmatch(place.name)
    ]


def _directory(tree: HostTree, path: bytes) -> Place | None:
    return resolve_or_none(tree, path)


def _read(reader: StoreReader, base: str, place: Place) -> Nerdctl:
    containers, lifecycles, names = {}, {}, {}
    logs: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    for namespace in reader.children(reader.child(place, b"containers"), "d"):
        for directory in reader.children(namespace, "d"):
            if not _ID.fullmatch(directory.name):
                continue
            key = readable(namespace.name), directory.name.decode()
            containers[key] = directory
            lifecycle = reader.load(reader.child(directory, b"lifecycle.json"), "lifecycle.json", parse_lifecycle, MAX_FILE)
            if lifecycle is not None:
                lifecycles[key] = lifecycle
            logs[key] = _log(reader, base, directory, key)
    for namespace in reader.children(reader.child(place, b"names"), "d"):
        for file in reader.children(namespace, "f"):
            text = reader.load(file, "nerdctl's name", lambda data: data.strip(), MAX_FILE)
            if text is not None and _ID.fullmatch(text):
                names[readable(namespace.name), text.decode()] = readable(file.name)
    hosts = {}
    for namespace in reader.children(reader.child(place, b"etchosts"), "d"):
        for directory in reader.children(namespace, "d"):
            meta = reader.child(directory, b"meta.json") if _ID.fullmatch(directory.name) else None
            told = reader.load(meta, "etchosts' meta.json", parse_hosts, MAX_FILE)
            if told is not None:
                reader.tell("etchosts' meta.json", told.problems, meta)
                hosts[readable(namespace.name), directory.name.decode()] = told
    volumes = [
        (readable(namespace.name), volume)
        for namespace in reader.children(reader.child(place, b"volumes"), "d")
        for volume in reader.children(namespace, "d")
    ]
    return Nerdctl(base, containers, names, hosts, lifecycles, logs, tuple(volumes))


def _log(reader: StoreReader, base: str, directory: Place, key: tuple[str, str]) -> tuple[str | None, str | None]:
    driver = reader.load(reader.child(directory, b"log-config.json"), "log-config.json", parse_log_driver, MAX_FILE)
    name = f"{key[1]}-json.log"
    if driver not in (None, "json-file") or reader.child(directory, name.encode()) is None:
        return None, driver
    return f"{base}/containers/{key[0]}/{key[1]}/{name}", driver or "json-file"
