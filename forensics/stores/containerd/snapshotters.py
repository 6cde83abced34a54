"""Snapshotters: each one's metadata.db, and the directories of the snapshots that it tells of, or no longer tells of.

overlayfs            snapshots/<id>/fs     what the layer holds, for an overlay mount
native               snapshots/<id>        a whole root filesystem
btrfs                {active,view,snapshots}/<id>   a subvolume, a whole root filesystem

Source: containerd v1.2 to v2.2, plugins/snapshots/{overlay,native,btrfs}; fuse-overlayfs-snapshotter and stargz-snapshotter use
overlayfs' layout. A snapshot's record is removed before its directory is, by default much later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from forensics.file_source import FileSource
from forensics.records import Provenance
from forensics.stores.bolt import key_provenance, open_database, walk_database
from forensics.stores.containerd.discover import SNAPSHOTTERS, ContainerdRoot, part
from forensics.stores.reading import Place, StoreReader, subvolume_is_here
from forensics.text import readable
from parsers.containerd_snapshots import SNAPSHOTS, StoredSnapshot, parse_snapshots

DATABASE = b"metadata.db"
STACKED = frozenset(("overlayfs", "fuse-overlayfs", "stargz", "nydus", "overlaybd", "soci"))
WHOLE = frozenset(("native", "btrfs"))
REMOTE = ("containerd.io/snapshot/remote", "containerd.io/snapshot/nydus-blob", "containerd.io/snapshot/nydus-bootstrap")
"""Labels of snapshots whose files were fetched as they were read, and are not in their directory."""

EROFS = b"layer.erofs"
BTRFS_DIRECTORIES = (b"active", b"view", b"snapshots")

_ID = re.compile(rb"[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class SnapshotDirectory:
    """A snapshot's directory. content: where its files are, None where it has none."""

    place: Place
    content: Place | None


@dataclass(frozen=True, slots=True)
class Snapshotter:
    """One snapshotter. snapshots: by name; directories: by their own name, `17`, `new-1234`. stacked, marks: as of Layer.

    inferred: the names of snapshots that no record of metadata.db tells of.
    """

    name: str
    place: Place
    database: Place | None
    snapshots: Mapping[str, StoredSnapshot]
    directories: Mapping[str, SnapshotDirectory]
    stacked: bool
    marks: str
    inferred: frozenset[str] = frozenset()

    def provenance(self, reader: StoreReader, snapshot: StoredSnapshot) -> Provenance:
        """Where a snapshot's record was read."""
        if snapshot.name in self.inferred:
            return reader.provenance(self.directories[str(snapshot.id)].place, "told by its times")
        if self.database is None:
            return reader.provenance(self.place)
        source = FileSource(self.database.fs, self.database.inode, readable(self.database.path))
        return key_provenance(source, self.database.partition, snapshot.offset)


def read_snapshotters(reader: StoreReader, root: ContainerdRoot) -> dict[str, Snapshotter]:
    """Every snapshotter that has anything on the disk, by name."""
    names = [place.name for place in reader.children(root.place) if place.name.startswith(SNAPSHOTTERS)]
    found_places = {readable(name.removeprefix(SNAPSHOTTERS)): part(reader, root, name) for name in names}
    places = {name: place for name, place in found_places.items() if place is not None}
    places.update(root.snapshotters)
    found = {}
    for name, place in sorted(places.items()):
        snapshotter = _read(reader, name, place)
        if snapshotter.snapshots or snapshotter.directories:
            found[name] = snapshotter
    return found


def _read(reader: StoreReader, name: str, place: Place) -> Snapshotter:
    database = reader.child(place, DATABASE)
    if database is None:  # stargz and others keep theirs one directory deeper
        inner = reader.child(place, b"snapshotter")
        if inner is not None and reader.child(inner, DATABASE) is not None:
            place, database = inner, reader.child(inner, DATABASE)
    artefact = f"{name} snapshotter's metadata.db"
    bolt = open_database(reader, database, artefact) if database is not None else None
    snapshots = {}
    if bolt is not None and database is not None:
        for snapshot in parse_snapshots(walk_database(reader, database, artefact, bolt, SNAPSHOTS)):
            for problem in snapshot.problems:
                reader.gap(artefact, f"snapshot {snapshot.name}: {problem}", database, snapshot.offset)
            snapshots[snapshot.name] = snapshot
    stacked = name not in WHOLE
    directories = _btrfs(reader, place) if name == "btrfs" else _directories(reader, place, stacked)
    if snapshots and name not in STACKED | WHOLE:
        reader.gap("snapshotter", f"the snapshots of {name} are not read, only what its metadata.db tells of them", place)
    remote = sum(is_remote(snapshot) for snapshot in snapshots.values())
    if remote:
        reader.gap("snapshotter", f"{remote} snapshots of {name} were never on this disk as a whole", place)
    return Snapshotter(name, place, database, snapshots, directories, stacked, _marks(reader, name, directories))


def is_remote(snapshot: StoredSnapshot) -> bool:
    """Whether its files stand elsewhere."""
    return any(label in snapshot.labels for label in REMOTE)


def _directories(reader: StoreReader, place: Place, stacked: bool) -> dict[str, SnapshotDirectory]:
    found = {}
    for directory in reader.children(reader.child(place, b"snapshots"), "d?"):
        content = reader.child(directory, b"fs") if stacked else directory
        if content is not None and (reader.type(content) != "d" or reader.child(directory, EROFS) is not None):
            content = None
        found[readable(directory.name)] = SnapshotDirectory(directory, content)
    return found


def _btrfs(reader: StoreReader, place: Place) -> dict[str, SnapshotDirectory]:
    found = {}
    for name in BTRFS_DIRECTORIES:
        for directory in reader.children(reader.child(place, name), "d?"):
            if _ID.fullmatch(directory.name):
                here = directory.fs.kind != "btrfs" or subvolume_is_here(reader, directory)
                if not here:
                    reader.gap("btrfs snapshot", "its subvolume is not here", directory)
                found[readable(directory.name)] = SnapshotDirectory(directory, directory if here else None)
    return found


def _marks(reader: StoreReader, name: str, directories: Mapping[str, SnapshotDirectory]) -> str:
    """Whose overlay xattrs count: a rootless daemon's are `user`, which its layers' own roots tell."""
    if name in WHOLE:
        return "none"
    if name == "fuse-overlayfs":
        return "fuse"
    seen = {"trusted": 0, "user": 0}
    for directory in directories.values():
        names = reader.xattr_names(directory.content) if directory.content is not None else ()
        for kind in seen:
            seen[kind] += any(each.startswith(f"{kind}.overlay.".encode()) for each in names)
    return "user" if seen["user"] > seen["trusted"] else "trusted"
