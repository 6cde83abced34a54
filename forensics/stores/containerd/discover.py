"""Finding containerd's data directories: by shape anywhere on the disk, and where a host's configuration says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from forensics.stores.containerd.config import Configured, configured_daemons
from forensics.stores.host_tree import HostTree, host_trees, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.stores.shape import directories_with
from forensics.survey import Survey

META = b"io.containerd.metadata.v1.bolt"
CONTENT = b"io.containerd.content.v1.content"
SNAPSHOTTERS = b"io.containerd.snapshotter.v1."


@dataclass(frozen=True, slots=True)
class ContainerdRoot:
    """A data directory. host_path: None where no host mounts its partition. state: the state directory, where it is on a disk.

    snapshotters: the directories of those that were given one of their own, by their name.
    """

    place: Place
    host_path: bytes | None
    how: str
    tree: HostTree | None = None
    state: Place | None = None
    snapshotters: Mapping[str, Place] = field(default_factory=dict)


def find_containerd_roots(found: Survey, reader: StoreReader) -> tuple[ContainerdRoot, ...]:
    """Every data directory on the disk, once. What could not be read on the way is added to the reader's gaps."""
    roots: dict[tuple[int, int], ContainerdRoot] = {}
    trees = host_trees(found)
    for tree in trees:
        for daemon in configured_daemons(reader, tree):
            place = resolve_or_none(tree, daemon.root)
            if place is not None and _is_root(reader, place):
                roots.setdefault((place.partition, place.inode), _configured(tree, daemon, place))
    for partition in found.partitions:
        if partition.filesystem is not None:
            for place in directories_with(
                partition.volume.number, partition.filesystem, {META, CONTENT}.__contains__, _has_shape
            ):
                roots.setdefault((place.partition, place.inode), _on_host(place, trees))
    return tuple(roots[key] for key in sorted(roots))


def part(reader: StoreReader, root: ContainerdRoot, name: bytes) -> Place | None:
    """A directory of the data directory, which may be a symlink, or a filesystem of its own."""
    place = reader.child(root.place, name)
    if place is not None and root.tree is not None and root.host_path is not None:
        path = root.host_path + b"/" + name
        if reader.type(place) == "l" or path in root.tree.mounts or path in root.tree.binds:
            place = resolve_or_none(root.tree, path)
    return place if place is not None and reader.type(place) == "d" else None


def _is_root(reader: StoreReader, place: Place) -> bool:
    return reader.type(place) == "d" and _has_shape({child.name: child.inode for child in reader.children(place)})


def _has_shape(names: Mapping[bytes, int]) -> bool:
    return META in names or (CONTENT in names and any(name.startswith(SNAPSHOTTERS) for name in names))


def _configured(tree: HostTree, daemon: Configured, place: Place) -> ContainerdRoot:
    snapshotters = {}
    for name, path in sorted(daemon.root_paths.items()):
        directory = resolve_or_none(tree, path)
        if directory is not None:
            snapshotters[name] = directory
    state = resolve_or_none(tree, daemon.state) if daemon.state is not None else None
    return ContainerdRoot(place, daemon.root, daemon.how, tree, state, snapshotters)


def _on_host(place: Place, trees: Sequence[HostTree]) -> ContainerdRoot:
    for tree in trees:
        host_path = tree.host_path(place)
        if host_path is not None:
            return ContainerdRoot(place, host_path, "shape", tree)
    return ContainerdRoot(place, None, "shape")
