"""Snapshots as layers: each snapshot of a snapshotter with its directory, and each directory of which no record tells.

A layer's key is its snapshotter and its directory; its name is the key by which its namespace knows the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from forensics.records import Layer, LayerArchive
from forensics.stores.containerd.meta import MetaDb
from forensics.stores.containerd.snapshotters import Snapshotter, is_remote
from forensics.stores.reading import StoreReader
from forensics.text import readable
from parsers.containerd_meta import Snapshot
from parsers.containerd_snapshots import StoredSnapshot, split_name
from parsers.docker_layer import INIT_SUFFIX

VIEWS_SHOW_PARENTS = frozenset(("native", "blockfile"))
"""Snapshotters whose views have nothing of their own, but show their parent's directory or file (containerd v1.7 to v2.2)."""


@dataclass(frozen=True, slots=True)
class SnapshotLayer:
    """A layer, the namespace that it belongs to, None where no record tells, and its snapshot's record."""

    namespace: str | None
    snapshotter: str
    key: str | None
    layer: Layer
    stored: StoredSnapshot | None = None


@dataclass
class SnapshotLayers:
    """All layers. by_key: by namespace, snapshotter and the namespace's key."""

    all: list[SnapshotLayer] = field(default_factory=list)
    by_key: dict[tuple[str, str, str], SnapshotLayer] = field(default_factory=dict)

    @cached_property
    def of_chain(self) -> dict[tuple[str, str], list[SnapshotLayer]]:
        """The layers of one namespace's key in all snapshotters."""
        found: dict[tuple[str, str], list[SnapshotLayer]] = {}
        for (namespace, _, key), each in sorted(self.by_key.items()):
            found.setdefault((namespace, key), []).append(each)
        return found

    def of(self, namespaces: Iterable[str | None]) -> tuple[Layer, ...]:
        """The layers of some namespaces; None for those of none."""
        wanted = set(namespaces)
        return tuple(each.layer for each in self.all if each.namespace in wanted)


def snapshot_layers(
    reader: StoreReader,
    meta: MetaDb,
    snapshotters: Mapping[str, Snapshotter],
    diff_ids: Mapping[str, str],
    archives: Mapping[str, LayerArchive],
) -> SnapshotLayers:
    """Every snapshot and every leftover directory. diff_ids: by chain id. archives: by diff id."""
    found = SnapshotLayers()
    users = {(each.namespace, each.snapshotter, each.snapshot_key) for each in meta.containers}
    leased = {(lease.namespace, sn, lease.id) for lease in meta.leases for sn, key in lease.snapshots if key == lease.id}
    by_name = {(each.snapshotter, each.name): each for each in meta.snapshots.values()}
    for snapshotter in snapshotters.values():
        taken = set()
        for name, stored in sorted(snapshotter.snapshots.items()):
            record = by_name.get((snapshotter.name, name))
            namespace, key = (record.namespace, record.key) if record is not None else split_name(name)
            where = (namespace, snapshotter.name, key)
            used = where in users or where in leased or _lost_its_record(meta, stored, record)
            layer = _layer(reader, snapshotter, stored, record, key, used, diff_ids.get(key))
            if layer.diff_id is not None and stored.kind == "committed":
                layer = replace(layer, archive=archives.get(layer.diff_id))
            each = SnapshotLayer(namespace or None, snapshotter.name, key, layer, stored)
            taken.add(str(stored.id))
            found.all.append(each)
            if record is not None or where not in found.by_key:
                found.by_key[where] = each
        for name in sorted(snapshotter.directories.keys() - taken):
            found.all.append(SnapshotLayer(None, snapshotter.name, None, _leftover(reader, snapshotter, name)))
    for where, record in sorted(meta.snapshots.items()):
        if where not in found.by_key:
            each = SnapshotLayer(record.namespace, record.snapshotter, record.key, _gone(meta, record, where in users))
            found.all.append(each)
            found.by_key[where] = each
    return found


def _lost_its_record(meta: MetaDb, stored: StoredSnapshot, record: Snapshot | None) -> bool:
    """Whether it is what a container whose record is lost wrote to, which only the snapshotter still knows."""
    return not meta.whole and record is None and stored.kind == "active"


def _layer(
    reader: StoreReader,
    snapshotter: Snapshotter,
    stored: StoredSnapshot,
    record: Snapshot | None,
    key: str,
    used: bool,
    diff_id: str | None,
) -> Layer:
    directory = snapshotter.directories.get(str(stored.id))
    parent = snapshotter.snapshots.get(stored.parent) if stored.parent is not None else None
    shown = parent if stored.kind == "view" and snapshotter.name in VIEWS_SHOW_PARENTS else None
    content = directory.content if directory is not None and not is_remote(stored) else None
    if directory is None and snapshotter.directories and shown is None:
        reader.gap("snapshot", f"{stored.name}: its directory {stored.id} is missing", snapshotter.place)
    place = directory.place if directory is not None else snapshotter.place
    where = readable((content or place).path)
    if directory is None and snapshotter.directories:
        where += f"/snapshots/{(shown or stored).id}"
    lower = layer_key(snapshotter.name, parent.id if parent is not None else None, stored.parent) if stored.parent else None
    chain_id = key if key.startswith("sha256:") else None
    parent_key = record.parent if record is not None else split_name(stored.parent)[1] if stored.parent is not None else None
    return Layer(
        key=layer_key(snapshotter.name, stored.id, stored.name),
        name=key or stored.name,
        kind=_kind(stored, key, used),
        directory=content.inode if content is not None else None,
        path=where,
        partition=place.partition,
        lower=lower,
        diff_id=diff_id,
        chain_id=chain_id,
        parent=parent_key,
        size_bytes=stored.size,
        stacked=snapshotter.stacked,
        compared_with=lower if used and not snapshotter.stacked and stored.kind == "active" else None,
        marks="none" if stored.parent is None and stored.kind == "active" else snapshotter.marks,
        source=snapshotter.provenance(reader, stored),
    )


def layer_key(snapshotter: str, number: int | None, name: str) -> str:
    """The key of a snapshot's layer in its store."""
    return f"{snapshotter}/{number}" if number is not None else f"{snapshotter}/{name}"


def _kind(stored: StoredSnapshot, key: str, used: bool) -> str:
    if stored.kind == "committed":
        return "init" if key.endswith(INIT_SUFFIX) else "image"
    return "container" if used else "orphan"


def _leftover(reader: StoreReader, snapshotter: Snapshotter, name: str) -> Layer:
    """A directory of a snapshot that was removed, or that was never finished (`new-...`)."""
    directory = snapshotter.directories[name]
    place = directory.content or directory.place
    return Layer(
        key=f"{snapshotter.name}/{name}",
        name=name,
        kind="orphan",
        directory=place.inode if directory.content is not None else None,
        path=readable(place.path),
        partition=place.partition,
        stacked=snapshotter.stacked,
        marks=snapshotter.marks,
        source=reader.provenance(directory.place),
    )


def _gone(meta: MetaDb, record: Snapshot, used: bool) -> Layer:
    """A snapshot that only meta.db knows."""
    provenance = meta.provenance(record.offset)
    chain_id = record.key if record.key.startswith("sha256:") else None
    return Layer(
        key=f"{record.snapshotter}/{record.namespace}/{record.key}",
        name=record.key,
        kind="image" if chain_id is not None else "container" if used else "orphan",
        directory=None,
        path=provenance.path if provenance is not None else "",
        partition=meta.partition,
        chain_id=chain_id,
        parent=record.parent,
        source=provenance,
    )
