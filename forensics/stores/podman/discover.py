"""Finding the graphroots of containers/storage, wherever they are: where a host's configuration says, and by shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from forensics.stores.host_tree import HostTree, host_trees, resolve_or_none
from forensics.stores.podman.config import SYSTEM_ROOT, Configured, configured_storage
from forensics.stores.podman.libpod import read_libpod
from forensics.stores.reading import Place, StoreReader
from forensics.stores.shape import directories_with
from forensics.survey import Survey
from forensics.text import readable

DRIVERS = (b"overlay", b"vfs", b"btrfs", b"zfs", b"aufs", b"overlay2", b"devmapper")
PARTS = (b"-layers", b"-images", b"-containers")
_NAMES = frozenset(driver + part for driver in DRIVERS for part in PARTS)


@dataclass(frozen=True, slots=True)
class GraphRoot:
    """A graphroot. host_path: its path on the host, None where no host mounts its partition. how: what told of it.

    configured: what the configuration says of it, as far as any does. neighbours: all that are on the disk. run: its run root,
    where that is on the disk: the records of a transient store are there. user: whose it is, of the first one that the
    user has on that host.
    """

    place: Place
    host_path: bytes | None
    how: str
    tree: HostTree | None
    configured: Configured
    neighbours: tuple[Place, ...] = ()
    run: Place | None = None
    user: int | None = None


def find_graph_roots(found: Survey, reader: StoreReader) -> tuple[GraphRoot, ...]:
    """Every graphroot on the disk, once. What could not be read on the way is added to the reader's gaps."""
    roots: dict[tuple[int, int], GraphRoot] = {}
    told: list[tuple[HostTree, Configured]] = []
    trees = host_trees(found)
    for tree in trees:
        for configured in configured_storage(reader, tree):
            told.append((tree, configured))
            for path in (configured.root, *configured.stores):
                place = resolve_or_none(tree, path)
                if place is not None and is_graph_root(reader, place):
                    how = configured.how if path == configured.root else "additional store"
                    here = configured if path == configured.root else replace(configured, root=path, stores=())
                    roots.setdefault((place.partition, place.inode), GraphRoot(place, path, how, tree, here))
    for partition in found.partitions:
        if partition.filesystem is not None:
            for place in directories_with(partition.volume.number, partition.filesystem, _NAMES.__contains__, _has_shape):
                roots.setdefault((place.partition, place.inode), _on_host(place, trees, told))
    found_roots = _with_users(reader, _with_run_roots(reader, [roots[key] for key in sorted(roots)]))
    places = tuple(root.place for root in found_roots)
    return tuple(replace(root, neighbours=places) for root in found_roots)


def _with_run_roots(reader: StoreReader, roots: Sequence[GraphRoot]) -> list[GraphRoot]:
    """The graphroots, with their run roots, which have the same shape but never an image.

    The configuration tells which is whose, or the database of a transient store, which is in its run root.
    """
    owners: dict[int, GraphRoot] = {}
    by_path: dict[tuple[int, str], list[GraphRoot]] = {}
    by_run: dict[tuple[int, bytes], list[GraphRoot]] = {}
    for root in roots:
        if root.host_path is not None:
            by_path.setdefault((id(root.tree), readable(root.host_path)), []).append(root)
            by_run.setdefault((id(root.tree), root.configured.run_root or b""), []).append(root)
    for run in roots:
        if run.host_path is None or any(reader.child(run.place, driver + PARTS[1]) for driver in DRIVERS):
            continue
        told = read_libpod(StoreReader(), [run.place]).graph_root
        of_it = [*by_path.get((id(run.tree), told or ""), ()), *by_run.get((id(run.tree), run.host_path), ())]
        owner = next((root for root in of_it if root is not run), None)
        if owner is not None:
            owners[id(run)] = owner
    runs = {id(owner): run for run in reversed(roots) if (owner := owners.get(id(run))) is not None}
    return [replace(root, run=runs[id(root)].place) if id(root) in runs else root for root in roots if id(root) not in owners]


def _with_users(reader: StoreReader, roots: Sequence[GraphRoot]) -> list[GraphRoot]:
    seen: set[tuple[int, int]] = set()
    found = []
    for root in roots:
        inode = reader.inode(root.place)
        whose = (id(root.tree), inode.uid) if inode is not None and root.tree is not None else None
        found.append(replace(root, user=whose[1]) if whose is not None and whose not in seen else root)
        seen |= {whose} if whose is not None else set()
    return found


def is_graph_root(reader: StoreReader, place: Place) -> bool:
    """Whether a directory has something that only a graphroot has."""
    if reader.type(place) != "d":
        return False
    names = {child.name for child in reader.children(place)}
    return any(driver + part in names for driver in DRIVERS for part in PARTS)


def _has_shape(names: Mapping[bytes, int]) -> bool:
    return not _NAMES.isdisjoint(names) and any(sum(driver + part in names for part in PARTS) >= 2 for driver in DRIVERS)


def _on_host(place: Place, trees: Sequence[HostTree], told: Sequence[tuple[HostTree, Configured]]) -> GraphRoot:
    """A graphroot that was found by shape; what is configured for the user in whose home it lies counts there too."""
    for tree in trees:
        host_path = tree.host_path(place)
        if host_path is None:
            continue
        homes = [each for owner, each in told if owner is tree and each.home is not None]
        mine = [each for each in homes if each.home is not None and host_path.startswith(each.home + b"/")]
        system = [each for owner, each in told if owner is tree and each.home is None]
        nearest = max(
            mine, key=lambda each: len(each.home or b""), default=system[0] if system else Configured(host_path, "shape")
        )
        return GraphRoot(place, host_path, "shape", tree, replace(nearest, root=host_path))
    return GraphRoot(place, None, "shape", None, Configured(SYSTEM_ROOT, "shape"))
