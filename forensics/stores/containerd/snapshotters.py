"""Snapshotters: each one's metadata.db, and the directories of the snapshots that it tells of, or no longer tells of.

overlayfs            snapshots/<id>/fs     what the layer holds, for an overlay mount
native               snapshots/<id>        a whole root filesystem
btrfs                {active,view,snapshots}/<id>   a subvolume, a whole root filesystem
blockfile            snapshots/<id>        a disk image of a whole root filesystem: not read
erofs                snapshots/<id>/fs     as overlayfs, but of layers of container images layer.erofs, an EROFS: not read
devmapper            a thin volume each, in a pool of the host's: not read

Source: containerd v1.2 to v2.2, plugins/snapshots/{overlay,native,btrfs,blockfile,erofs,devmapper}; fuse-overlayfs-snapshotter,
stargz-snapshotter, soci-snapshotter and nydus-snapshotter use overlayfs' layout. A snapshot's record is removed before its
directory is, by default much later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from forensics.file_source import FileSource
from forensics.records import Provenance
from forensics.stores.bolt import key_provenance, open_database, walk_database
from forensics.stores.containerd.discover import DATABASE, SNAPSHOTTERS, ContainerdRoot, part
from forensics.stores.reading import Place, StoreReader, subvolume_is_here
from forensics.text import readable
from parsers.containerd_meta import Snapshot
from parsers.containerd_snapshots import SNAPSHOTS, StoredSnapshot, parse_snapshots

STACKED = frozenset(("overlayfs", "fuse-overlayfs", "stargz", "nydus", "overlaybd", "soci"))
WHOLE = frozenset(("native", "btrfs"))
UNREAD = {
    "blockfile": "each is a disk image of its own (snapshots/<id>), which is not looked into",
    "devmapper": "each is a thin volume in a device mapper pool, which is not looked into",
    "erofs": "those of container images are EROFS files (snapshots/<id>/layer.erofs), which are not looked into; what containers"
    " wrote is read",
    "zfs": "each is a ZFS dataset, which is not read",
}
"""Snapshotters whose snapshots are known, and why their files are not."""

_NYDUS = ("blob", "bootstrap", "tarfs", "image-block", "layer-block", "proxy-mode")
REMOTE = ("containerd.io/snapshot/remote", *(f"containerd.io/snapshot/nydus-{kind}" for kind in _NYDUS))
"""Labels of snapshots whose files were fetched as they were read, and are not in their directory (nydus-snapshotter v0.13)."""

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

    root: where it keeps all its things; place: the directory of its snapshots, that one or one in it. inferred: the names of
    snapshots that no record of metadata.db tells of.
    """

    name: str
    place: Place
    database: Place | None
    snapshots: Mapping[str, StoredSnapshot]
    directories: Mapping[str, SnapshotDirectory]
    stacked: bool
    marks: str
    root: Place
    inferred: frozenset[str] = frozenset()

    def provenance(self, reader: StoreReader, snapshot: StoredSnapshot) -> Provenance:
        """Where a snapshot's record was read."""
        if snapshot.name in self.inferred:
            return reader.provenance(self.directories[str(snapshot.id)].place, "told by its times")
        if self.database is None:
            return reader.provenance(self.place)
        source = FileSource(self.database.fs, self.database.inode, readable(self.database.path))
        return key_provenance(source, self.database.partition, snapshot.offset)


def read_snapshotters(reader: StoreReader, root: ContainerdRoot, records: Iterable[Snapshot] = ()) -> dict[str, Snapshotter]:
    """Every snapshotter that has anything on the disk, by name. records: of meta.db, by which those are found whose place no
    configuration tells."""
    names = [place.name for place in reader.children(root.place) if place.name.startswith(SNAPSHOTTERS)]
    found_places = {readable(name.removeprefix(SNAPSHOTTERS)): part(reader, root, name) for name in names}
    places = {name: place for name, place in found_places.items() if place is not None}
    places.update(root.snapshotters)
    found = {}
    for name, place in sorted(places.items()):
        snapshotter = _read(reader, name, place)
        if snapshotter.snapshots or snapshotter.directories:
            found[name] = snapshotter
    wanted: dict[str, set[str]] = {}
    for record in records:
        if record.snapshotter not in found and record.name is not None:
            wanted.setdefault(record.snapshotter, set()).add(record.name)
    for name, place in _by_records(reader, root, wanted):
        found[name] = _read(reader, name, place)
    return dict(sorted(found.items()))


def _database_of(reader: StoreReader, place: Place) -> tuple[Place, Place | None]:
    """The directory that holds a snapshotter's snapshots, and its metadata.db: stargz and soci have it one directory deeper, and
    beside that one another of the same name."""
    inner = reader.child(place, b"snapshotter")
    inside = reader.child(inner, DATABASE) if inner is not None else None
    return (inner, inside) if inner is not None and inside is not None else (place, reader.child(place, DATABASE))


def _by_records(reader: StoreReader, root: ContainerdRoot, wanted: Mapping[str, set[str]]) -> Iterator[tuple[str, Place]]:
    """Directories of no known snapshotter whose metadata.db has most of the snapshots that meta.db tells of. wanted: by name."""
    names = {}
    for place in root.strays if wanted else ():
        database = reader.child(place, DATABASE)
        quiet = StoreReader()  # whatever it is, it may be no snapshotter's
        bolt = open_database(quiet, database, "metadata.db") if database is not None else None
        if bolt is not None and database is not None:
            names[place] = {each.name for each in parse_snapshots(walk_database(quiet, database, "metadata.db", bolt, SNAPSHOTS))}
    for name, snapshots in sorted(wanted.items()):
        there = [place for place, told in names.items() if 2 * len(told & snapshots) > len(snapshots)]
        if len(there) == 1:
            yield name, there[0]
        elif there:
            paths = ", ".join(readable(place.path) for place in there)
            reader.gap("snapshotter", f"the snapshots of {name} may be in any of {paths}; none is read", root.place)


def _read(reader: StoreReader, name: str, place: Place) -> Snapshotter:
    root = place
    place, database = _database_of(reader, root)
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
    if snapshots and name in UNREAD:
        reader.gap("snapshotter", f"{len(snapshots)} snapshots of {name}: {UNREAD[name]}", place)
    elif snapshots and name not in STACKED | WHOLE:
        what = f"{len(snapshots)} snapshots of {name}, whose layout is not known: what looks as overlayfs' is read"
        reader.gap("snapshotter", what, place)
    remote = sum(is_remote(snapshot) for snapshot in snapshots.values())
    if remote:
        reader.gap("snapshotter", f"{remote} snapshots of {name} were never on this disk as a whole", place)
    return Snapshotter(name, place, database, snapshots, directories, stacked, _marks(reader, name, directories), root)


def is_remote(snapshot: StoredSnapshot) -> bool:
    """Whether its files stand elsewhere."""
    return any(label in snapshot.labels for label in REMOTE)


def _directories(reader: StoreReader, place: Place, stacked: bool) -> dict[str, SnapshotDirectory]:
    """What stands for each snapshot: a directory, or with blockfile a file."""
    found = {}
    for directory in reader.children(reader.child(place, b"snapshots"), "df?"):
        if reader.type(directory) == "f":
            found[readable(directory.name)] = SnapshotDirectory(directory, None)
            continue
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
