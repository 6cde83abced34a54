"""Finding containerd's data directories: by shape anywhere on the disk, and where a host's configuration says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from forensics.stores.containerd.config import Configured, configured_daemons
from forensics.stores.host_tree import HostTree, host_trees, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.stores.shape import directories_with
from forensics.survey import Survey

META = b"io.containerd.metadata.v1.bolt"
CONTENT = b"io.containerd.content.v1.content"
SNAPSHOTTERS = b"io.containerd.snapshotter.v1."
TASKS = (b"io.containerd.runtime.v2.task", b"io.containerd.runtime.v1.linux")
SNAPSHOTS, DATABASE = b"snapshots", b"metadata.db"
_NAMES = frozenset((META, CONTENT, *TASKS))


@dataclass(frozen=True, slots=True)
class ContainerdRoot:
    """A data directory. host_path: None where no host mounts its partition. state: the state directory, where it is on a disk.

    snapshotters: the directories of those that were given one of their own, by their name. states: directories on the disk that
    look like some daemon's state directory, strays: a snapshotter's, of which nothing tells whose.
    """

    place: Place
    host_path: bytes | None
    how: str
    tree: HostTree | None = None
    state: Place | None = None
    snapshotters: Mapping[str, Place] = field(default_factory=dict)
    states: tuple[Place, ...] = ()
    strays: tuple[Place, ...] = ()


def find_containerd_roots(found: Survey, reader: StoreReader) -> tuple[ContainerdRoot, ...]:
    """Every data directory on the disk, once. What could not be read on the way is added to the reader's gaps."""
    roots: dict[tuple[int, int], ContainerdRoot] = {}
    trees = host_trees(found)
    for tree in trees:
        for daemon in configured_daemons(reader, tree):
            place = resolve_or_none(tree, daemon.root)
            if place is not None and _is_root(reader, place):
                roots.setdefault((place.partition, place.inode), _configured(tree, daemon, place))
    states = []
    for partition in found.partitions:
        if partition.filesystem is not None:
            for place in directories_with(partition.volume.number, partition.filesystem, _NAMES.__contains__, _has_any_shape):
                if _is_root(reader, place):
                    roots.setdefault((place.partition, place.inode), _on_host(place, trees))
                else:
                    states.append(place)
    known = {(root.state.partition, root.state.inode) for root in roots.values() if root.state is not None}
    others = tuple(place for place in states if (place.partition, place.inode) not in known)
    strays = tuple(_strays(found, reader, roots.values())) if roots else ()
    return tuple(replace(roots[key], states=others, strays=strays) for key in sorted(roots))


def _strays(found: Survey, reader: StoreReader, roots: Iterable[ContainerdRoot]) -> Iterator[Place]:
    """Directories that look like a snapshotter's, and are in no data directory and named by no configuration."""
    known = {(place.partition, place.inode) for root in roots for place in root.snapshotters.values()}
    known |= {(child.partition, child.inode) for root in roots for child in reader.children(root.place)}
    for partition in found.partitions:
        if partition.filesystem is not None:
            for place in directories_with(partition.volume.number, partition.filesystem, SNAPSHOTS.__eq__, _has_snapshots):
                if (place.partition, place.inode) not in known and reader.child(place, DATABASE) is not None:
                    yield place


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


def _has_any_shape(names: Mapping[bytes, int]) -> bool:
    """As _has_shape, or of a state directory."""
    return _has_shape(names) or not names.keys().isdisjoint(TASKS)


def _has_snapshots(names: Mapping[bytes, int]) -> bool:
    return SNAPSHOTS in names


def _configured(tree: HostTree, daemon: Configured, place: Place) -> ContainerdRoot:
    snapshotters = {}
    for name, paths in sorted(daemon.root_paths.items()):
        directory = next(filter(None, (resolve_or_none(tree, path) for path in paths)), None)
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
