"""Which directory a snapshot has, where a snapshotter's metadata.db no longer tells: by the times of both.

A snapshotter makes a snapshot's directory, and right after that containerd writes the record (for a layer of an image: as soon
as it is unpacked). Where there are as many directories as records, both in order of their times are each other's. Else the one
record of which the time lies between the birth of a directory and that of the next is that directory's. Where two lie there,
neither is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from forensics.stores.containerd.meta import MetaDb
from forensics.stores.containerd.snapshotters import Snapshotter
from forensics.stores.reading import StoreReader
from forensics.text import counted
from parsers.containerd_meta import Snapshot
from parsers.containerd_snapshots import StoredSnapshot


def with_rebuilt(reader: StoreReader, meta: MetaDb, snapshotters: Mapping[str, Snapshotter]) -> dict[str, Snapshotter]:
    """The snapshotters, with what metadata.db lost of their snapshots, as far as meta.db and the directories' births tell it."""
    return {name: _rebuilt(reader, meta, snapshotter) for name, snapshotter in snapshotters.items()}


def _rebuilt(reader: StoreReader, meta: MetaDb, snapshotter: Snapshotter) -> Snapshotter:
    records = [each for each in meta.snapshots.values() if each.snapshotter == snapshotter.name and each.name is not None]
    lost = {each.name for each in records} - snapshotter.snapshots.keys()
    if not lost:
        return snapshotter
    names = {(each.namespace, each.key): each.name for each in records}
    parents = {(each.namespace, each.parent) for each in records}
    taken = {each.id for each in snapshotter.snapshots.values()}
    found = dict(snapshotter.snapshots)
    for number, record in _matches(reader, snapshotter, records).items():
        if record.name is None or record.name not in lost or number in taken:
            continue
        above = (record.namespace, record.key) in parents
        found[record.name] = StoredSnapshot(
            name=record.name,
            id=number,
            kind="committed" if above or record.key.startswith("sha256:") else "active",
            parent=names.get((record.namespace, record.parent)) if record.parent is not None else None,
            created_ns=record.created_ns,
            updated_ns=None,
            inodes=None,
            size=None,
            labels=record.labels,
            offset=0,
            problems=(),
        )
    count = len(found) - len(snapshotter.snapshots)
    verb = "is" if len(lost) == 1 else "are"
    what = (
        f"{counted(len(lost), 'snapshot')} {verb} lost; the directories of {count} of them are told by their times, an inference"
    )
    reader.gap(f"{snapshotter.name} snapshotter's metadata.db", what, snapshotter.database or snapshotter.place)
    return replace(snapshotter, snapshots=found, inferred=frozenset(found.keys() - snapshotter.snapshots.keys()))


def _matches(reader: StoreReader, snapshotter: Snapshotter, records: list[Snapshot]) -> dict[int, Snapshot]:
    """The record of each directory of which the times tell one."""
    births = []
    for name, directory in snapshotter.directories.items():
        inode = reader.inode(directory.place)
        if name.isascii() and name.isdigit() and inode is not None and inode.crtime_ns is not None:
            births.append((inode.crtime_ns, int(name)))
    dated = sorted((each for each in records if each.created_ns is not None), key=lambda each: (each.created_ns or 0, each.key))
    in_order = list(zip(sorted(births), dated, strict=False))
    if len(births) == len(records) == len(dated) and all(born <= (each.created_ns or 0) for (born, _), each in in_order):
        return {number: each for (_, number), each in in_order}
    events = sorted(
        [(born, 0, number, None) for born, number in births]
        + [(each.created_ns or 0, 1, i, each) for i, each in enumerate(dated)],
        key=lambda event: event[:3],
    )
    since: dict[int, list[Snapshot]] = {}
    current: int | None = None
    for _, _, number, record in events:
        if record is None:
            current = number
        elif current is not None:
            since.setdefault(current, []).append(record)
    return {number: found[0] for number, found in since.items() if len(found) == 1}
