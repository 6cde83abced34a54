"""A buildkitd of its own: its directory, wherever it is, with its workers' cache records and snapshots.

<root>/{cache.db,history.db}
<root>/<executor>-<snapshotter>/metadata_v2.db                          the cache records
<root>/<executor>-<snapshotter>/containerdmeta.db                       as containerd's meta.db, in the namespace `buildkit`
<root>/<executor>-<snapshotter>/snapshots/{metadata.db,snapshots/<id>}  as a snapshotter of containerd's

A worker on containerd has its snapshots there. Source: buildkit v0.8 to v0.25, cmd/buildkitd/main_{oci,containerd}_worker.go,
worker/runc/runc.go.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from forensics.records import Layer, Store, StoreContents
from forensics.stores.buildkit.builds import METADATA, built_layers, read_builds
from forensics.stores.containerd.discover import ContainerdRoot
from forensics.stores.containerd.layers import snapshot_layers
from forensics.stores.containerd.meta import read_meta
from forensics.stores.containerd.snapshotters import read_snapshotters
from forensics.stores.host_tree import HostTree, host_trees
from forensics.stores.reading import Place, StoreReader
from forensics.stores.shape import directories_with
from forensics.survey import Survey
from forensics.text import readable

_WORKER = re.compile(rb"(?:runc|containerd)-([a-z][a-z0-9-]*)")


@dataclass(frozen=True, slots=True)
class BuildkitRoot:
    """A directory of buildkitd's. host_path, tree: None where no host mounts its partition."""

    place: Place
    host_path: bytes | None
    tree: HostTree | None


def find_buildkit_roots(found: Survey, reader: StoreReader, others: Collection[tuple[int, int]]) -> tuple[BuildkitRoot, ...]:
    """Every such directory on the disk. others: partition and inode of those that are an engine's, and are read with it."""
    trees = host_trees(found)
    roots = []
    for partition in found.partitions:
        if partition.filesystem is None:
            continue
        for place in directories_with(partition.volume.number, partition.filesystem, _WORKER.fullmatch, _has_shape):
            if (place.partition, place.inode) not in others and _workers(reader, place):
                shown = ((path, tree) for tree in trees if (path := tree.host_path(place)) is not None)
                roots.append(BuildkitRoot(place, *next(shown, (None, None))))
    return tuple(sorted(roots, key=lambda root: (root.place.partition, root.place.inode)))


def read_buildkit(root: BuildkitRoot) -> StoreContents:
    """What a buildkitd left; whatever of it is damaged is a gap."""
    reader = StoreReader()
    layers: tuple[Layer, ...] = ()
    workers = _workers(reader, root.place)
    for worker in workers:
        snapshots = reader.child(worker, b"snapshots")
        if snapshots is None:
            continue
        name = readable(worker.name).partition("-")[2]
        snapshotters = read_snapshotters(reader, ContainerdRoot(worker, None, "buildkit", snapshotters={name: snapshots}))
        meta = read_meta(reader, reader.child(worker, b"containerdmeta.db"))
        layers += tuple(each.layer for each in snapshot_layers(reader, meta, snapshotters, {}, {}).all)
    builds = read_builds(reader, "buildkit", root.place, layers)
    path = readable(root.host_path if root.host_path is not None else root.place.path)
    return StoreContents(
        store=Store(
            key=f"buildkit:p{root.place.partition}:{path}",
            engine="buildkit",
            root=path,
            driver=",".join(readable(worker.name) for worker in workers),
            version=None,
            partition=root.place.partition,
        ),
        layers=built_layers(builds, layers),
        builds=builds,
        gaps=tuple(dict.fromkeys(reader.gaps)),
    )


def _has_shape(names: Mapping[bytes, int]) -> bool:
    return any(_WORKER.fullmatch(name) for name in names)


def _workers(reader: StoreReader, root: Place) -> list[Place]:
    return [place for place in reader.children(root, "d") if _WORKER.fullmatch(place.name) and _is_worker(reader, place)]


def _is_worker(reader: StoreReader, place: Place) -> bool:
    """Whether it has cache records; containerd-nydus ..., a snapshotter's, has its database right beside `snapshots`."""
    snapshots = reader.child(place, b"snapshots")
    if snapshots is not None and reader.child(snapshots, b"metadata.db") is None:
        return False
    return any(reader.child(place, name) is not None for name in METADATA)
