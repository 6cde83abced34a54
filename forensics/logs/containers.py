"""Which files are containers' logs, and whose: by where the engines keep them, and by what containers' records say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from forensics.logs.rotation import group_rotated
from forensics.records import Container
from forensics.stores.containerd.nerdctl import nerdctl_directories
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable

POD_LOGS = (b"/var/log/pods", b"/var/log/crio/pods")
POD_LINKS = b"/var/log/containers"
_ID = re.compile(rb"[0-9a-f]{64}")
_USERDATA = re.compile(rb"[a-z0-9]+-containers")
_POD_LOG = re.compile(rb"(.+\.log)(?:[.-]\d.*)?")
_POD_LINK = re.compile(rb"(.+)-([0-9a-f]{64})\.log")


@dataclass(frozen=True, slots=True)
class LogOwner:
    """A container as it is in the case. number: its number there. partition: its store's."""

    number: int
    store: str
    partition: int
    record: Container


@dataclass(frozen=True, slots=True)
class ContainerLog:
    """A log's files, the oldest first. owner: None where the case has no record of the container; then what names it is told.

    format: None where the content tells it.
    """

    files: tuple[Place, ...]
    format: str | None
    owner: LogOwner | None
    container_id: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class LogPlaces:
    """Where logs are looked for. roots: each store's directory, by its key."""

    reader: StoreReader
    trees: Sequence[HostTree]
    roots: Mapping[str, Place]
    owners: Sequence[LogOwner]

    def owner(self, container_id: str, store: str | None = None) -> LogOwner | None:
        """The container of an id, of any store but where one is named."""
        found = [each for each in self.owners if each.record.container_id == container_id and store in (None, each.store)]
        return found[0] if found else None


def container_logs(places: LogPlaces) -> Iterator[ContainerLog]:
    """Every container's log, once: the same file may be found in several ways."""
    seen: set[tuple[int, int]] = set()
    for log in _all(places):
        files = tuple(file for file in log.files if (file.partition, file.inode) not in seen)
        if files:
            seen.update((file.partition, file.inode) for file in files)
            yield ContainerLog(files, log.format, log.owner, log.container_id, log.name)


def _all(places: LogPlaces) -> Iterator[ContainerLog]:
    for store, root in sorted(places.roots.items()):
        yield from _of_docker(places, store, root)
        yield from _of_podman(places, store, root)
    for owner in places.owners:
        yield from _at_log_path(places, owner)
    for tree in places.trees:
        yield from _of_pods(places, tree)
        yield from _of_nerdctl(places, tree)


def _log(places: LogPlaces, files: tuple[Place, ...], form: str | None, container_id: str, store: str | None) -> ContainerLog:
    owner = places.owner(container_id, store) or places.owner(container_id)
    return ContainerLog(files, form, owner, container_id)


def _of_docker(places: LogPlaces, store: str, root: Place) -> Iterator[ContainerLog]:
    """containers/<id>/<id>-json.log, local-logs/container.log, and the copy that is kept of what a remote driver took."""
    reader = places.reader
    for directory in reader.children(reader.child(root, b"containers"), "d"):
        if not _ID.fullmatch(directory.name):
            continue
        container_id, json_log = directory.name.decode(), directory.name + b"-json.log"
        inside = reader.children(directory, "f")
        local = reader.children(reader.child(directory, b"local-logs"), "f")
        for files, base, form in (
            (inside, json_log, "json-file"),
            (local, b"container.log", "local"),
            (inside, b"container-cached.log", "local"),
        ):
            for parts in group_rotated(files, [base]).values():
                yield _log(places, parts, form, container_id, store)


def _of_podman(places: LogPlaces, store: str, root: Place) -> Iterator[ContainerLog]:
    """<driver>-containers/<id>/userdata/ctr.log."""
    reader = places.reader
    for containers in reader.children(root, "d"):
        if not _USERDATA.fullmatch(containers.name):
            continue
        for directory in reader.children(containers, "d"):
            userdata = reader.child(directory, b"userdata")
            if not _ID.fullmatch(directory.name) or userdata is None:
                continue
            for parts in group_rotated(reader.children(userdata, "f"), [b"ctr.log"]).values():
                yield _log(places, parts, None, directory.name.decode(), store)


def _at_log_path(places: LogPlaces, owner: LogOwner) -> Iterator[ContainerLog]:
    """Where the container's own record says; its host's, or any host's where its store is on none."""
    path = (owner.record.log_path or "").encode("utf-8", "surrogateescape")
    parent, _, name = path.rpartition(b"/")
    if not path.startswith(b"/") or not name:
        return
    own = [tree for tree in places.trees if any(root.partition == owner.partition for root in tree.mounts.values())]
    for tree in own or places.trees:
        directory = resolve_or_none(tree, parent or b"/")
        if directory is None or places.reader.type(directory) != "d":
            continue
        for files in _rotated_in(places, tree, directory, parent, name):
            yield ContainerLog(files, None, owner)


def _rotated_in(places: LogPlaces, tree: HostTree, directory: Place, path: bytes, name: bytes) -> Iterator[tuple[Place, ...]]:
    """The files of a log in a directory; where it is a symlink (cri-dockerd makes them), those of what it leads to."""
    reader = places.reader
    link = reader.child(directory, name)
    if link is not None and reader.type(link) == "l":
        target = reader.target(link) or b""
        full = target if target.startswith(b"/") else path + b"/" + target
        place = resolve_or_none(tree, full)
        inside = resolve_or_none(tree, full.rpartition(b"/")[0] or b"/")
        if place is None or inside is None or reader.child(inside, place.name) is None:
            return
        yield from group_rotated(reader.children(inside, "f"), [place.name]).values()
        return
    yield from group_rotated(reader.children(directory, "f"), [name]).values()


def _of_pods(places: LogPlaces, tree: HostTree) -> Iterator[ContainerLog]:
    """What is left in the kubelet's log directories: of containers that were removed, or that a record does not lead to.

    <namespace>_<pod>_<uid>/<container>/<restart>.log; older, <uid>/<container>_<restart>.log.
    """
    reader = places.reader
    links = _pod_links(places, tree)
    for top in POD_LOGS:
        for pod in reader.children(resolve_or_none(tree, top), "d"):
            path = top + b"/" + pod.name
            inside = reader.children(pod)
            yield from _in_pod(places, tree, links, pod, path, None)
            for directory in inside:
                if reader.type(directory) == "d":
                    yield from _in_pod(places, tree, links, directory, path + b"/" + directory.name, readable(directory.name))


def _in_pod(
    places: LogPlaces, tree: HostTree, links: Mapping[tuple[int, int], str], directory: Place, path: bytes, container: str | None
) -> Iterator[ContainerLog]:
    files = places.reader.children(directory, "fl")
    bases = {match[1] for file in files if (match := _POD_LOG.fullmatch(file.name))}
    for base in sorted(bases):
        name = container or readable(base.rpartition(b"_")[0]) or None
        for parts in _rotated_in(places, tree, directory, path, base):
            container_id = next((links[key] for part in parts if (key := (part.partition, part.inode)) in links), None)
            owner = places.owner(container_id) if container_id is not None else None
            yield ContainerLog(parts, None, owner, container_id, name)


def _pod_links(places: LogPlaces, tree: HostTree) -> dict[tuple[int, int], str]:
    """The container ids of the files that /var/log/containers/<pod>_<namespace>_<container>-<id>.log lead to."""
    links = {}
    for link in places.reader.children(resolve_or_none(tree, POD_LINKS), "l"):
        match = _POD_LINK.fullmatch(link.name)
        place = resolve_or_none(tree, POD_LINKS + b"/" + link.name) if match else None
        if match is not None and place is not None:
            links[place.partition, place.inode] = match[2].decode()
    return links


def _of_nerdctl(places: LogPlaces, tree: HostTree) -> Iterator[ContainerLog]:
    """<address>/containers/<namespace>/<id>/<id>-json.log, of containers that containerd does not know any more."""
    reader = places.reader
    for address in nerdctl_directories(reader, tree):
        for namespace in reader.children(reader.child(address, b"containers"), "d"):
            for directory in reader.children(namespace, "d"):
                if _ID.fullmatch(directory.name):
                    for parts in group_rotated(reader.children(directory, "f"), [directory.name + b"-json.log"]).values():
                        yield _log(places, parts, "json-file", directory.name.decode(), None)
