"""Removed containers whose directories' names are left in the slack of the directory that they were in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from forensics.filesystems.ext4.reader import Ext4
from forensics.filesystems.ext4.slack import directory_slack
from forensics.records import Container, Provenance
from forensics.recovery.clues import PROBABLE, Clue
from forensics.recovery.containers.host_traces import LINK, LINKS
from forensics.recovery.homes import STORAGE
from forensics.recovery.limits import Limits
from forensics.stores.all import FoundStore
from forensics.stores.containerd.cri import DIRECTORIES
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable

KIND = "slack"
MAX_NAMES = 100_000

_ID = re.compile(rb"[0-9a-f]{64}")
_CONTAINERS = re.compile(rb"[a-z0-9]+-containers")


def slack_clues(
    stores: Sequence[FoundStore], trees: Sequence[HostTree], runtime: str, limits: Limits
) -> Iterator[Clue[Container]]:
    """A clue to each container of which such a name is left. runtime: the engine that runs the kubelet's pods."""
    for store in stores:
        key, engine = store.contents.store.key, store.contents.store.engine
        for place in _directories(store) if store.root is not None else ():
            cri = place.path.rpartition(b"/")[0].rpartition(b"/")[2] in DIRECTORIES
            own = "containerd" if cri else engine

            def made(name: re.Match[bytes], own: str = own, cri: bool = cri) -> Container:
                return Container(own, "k8s.io" if cri else None, name[0].decode(), None)

            yield from _clues(place, "d", _ID, made, key, limits)
    for tree in trees:
        links = resolve_or_none(tree, LINKS)
        if links is not None:
            yield from _clues(links, "l", LINK, lambda name: _linked(name, runtime), None, limits)


def _directories(store: FoundStore) -> Iterator[Place]:
    """The directories of a store in which each container has one of its own."""
    reader, root, engine = StoreReader(), store.root, store.contents.store.engine
    if root is None:
        return
    found: list[Place | None] = []
    if engine == "docker":
        found.append(reader.child(root, b"containers"))
        found += [reader.child(driver, b"layerdb", b"mounts") for driver in reader.children(reader.child(root, b"image"), "d")]
    elif engine in STORAGE:
        found += [place for place in reader.children(root, "d") if _CONTAINERS.fullmatch(place.name)]
    elif engine == "containerd":
        found += [reader.child(root, name, part) for name in DIRECTORIES for part in (b"containers", b"sandboxes")]
    yield from (place for place in found if place is not None)


def _linked(name: re.Match[bytes], runtime: str) -> Container:
    container, pod, namespace = (name[part].decode() for part in ("container", "pod", "namespace"))
    return Container(
        runtime, "k8s.io" if runtime == "containerd" else None, name["id"].decode(), container, pod=f"{namespace}/{pod}"
    )


def _clues(
    place: Place,
    kind: str,
    wanted: re.Pattern[bytes],
    made: Callable[[re.Match[bytes]], Container],
    key: str | None,
    limits: Limits,
) -> Iterator[Clue[Container]]:
    if not isinstance(place.fs, Ext4):
        return
    names = directory_slack(place.fs, place.inode, wanted)
    for found in limits.first(names, MAX_NAMES, "names in a directory's slack", place.partition, readable(place.path)):
        match = wanted.fullmatch(found.name.name)
        if match is None:
            return
        if found.name.type not in (kind, None):
            continue
        where = "slack of the directory" if not found.in_journal else "slack of the directory, in the journal"
        source = Provenance(place.partition, readable(place.path), place.inode, found.offset, where)
        yield Clue(replace(made(match), origin="recovered", source=source), PROBABLE, KIND, key)
