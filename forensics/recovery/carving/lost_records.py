"""Containers and container images of bbolt files that are gone: what their pages still hold of them.

A record that names itself, by its bucket and by what it holds, or by what it holds alone, is as sure as the deleted file that it
stood in, and probable where only pages are left. What is named by its bucket alone is possible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from forensics.filesystem import Filesystem
from forensics.records import Container, ContainerImage
from forensics.recovery.carving.bolt_pages import LostDatabase
from forensics.recovery.clues import CERTAIN, CREATED, ENVIRONMENT, POSSIBLE, PROBABLE, RANK, Clue
from forensics.recovery.containers.containerd import container_clue, is_a_containers, reference_of, referred_clue
from forensics.recovery.containers.docker_network import attached
from forensics.recovery.containers.libpod_parts import libpod_record
from forensics.recovery.containers.old_records import MOBY, OldRecord, old_records
from forensics.stores.containerd.containers import Context
from forensics.stores.containerd.layers import SnapshotLayers
from forensics.stores.containerd.meta import MetaDb
from forensics.stores.containerd.nerdctl import Nerdctl
from forensics.stores.containerd.tasks import Tasks
from forensics.stores.docker.networks import BUCKET
from forensics.stores.reading import Place, StoreReader
from parsers import containerd_meta
from parsers.bbolt_free import Deleted
from parsers.containerd_snapshots import SNAPSHOTS, parse_snapshots, split_name
from parsers.errors import FormatError
from parsers.libpod import LibpodContainer, parse_container

PAGES = "pages"

_WHOLE_ID = re.compile(r"[0-9a-f]{64}")


@dataclass
class LostRecords:
    """What was found."""

    containers: list[Clue[Container]] = field(default_factory=list)
    images: list[Clue[ContainerImage]] = field(default_factory=list)


class _Silent(StoreReader):
    """Reads without a word: what is damaged in an old page is no gap."""

    def gap(self, artefact: str, error: str, place: Place | None = None, byte: int | None = None) -> None:
        """Nothing."""


def lost_records(database: LostDatabase, filesystems: Mapping[int, Filesystem]) -> LostRecords:
    """Everything that a lost file tells of containers and images, whichever engine's it was."""
    found = LostRecords()
    fs = filesystems.get(database.partition)
    if fs is not None:
        _containerd(database, Place(database.partition, fs, fs.root, b""), found)
    found.containers += _snapshotters(database)
    found.containers += _libpod(database)
    known = ((each.key, each.basis) for each in database.keys if each.key.bucket in (BUCKET, ()) and not each.missing)
    for container_id, name, key, basis in attached(known):
        source = database.provenance(key.offset, ", sandbox of its network")
        made = Container("docker", None, container_id, name, source=source)
        found.containers.append(Clue(made, _sure(database, basis != "page"), PAGES, "docker"))
    return found


def _sure(database: LostDatabase, names_itself: bool) -> str:
    """How sure a record is, by where it stood and whether it names itself."""
    own = database.confidence or PROBABLE
    return max(own, CERTAIN if names_itself else POSSIBLE, key=RANK.__getitem__)


def _containerd(database: LostDatabase, place: Place, found: LostRecords) -> None:
    """The records of a meta.db."""
    reader = _Silent()
    context = Context(place, MetaDb(), {}, SnapshotLayers(), {}, {}, Tasks(), Nerdctl())
    names: dict[tuple[str, str], list[OldRecord]] = {}
    for old in old_records(database.keys):
        record = old.record
        engine = "docker" if record.namespace == MOBY else "containerd"
        if isinstance(record, containerd_meta.Container | containerd_meta.Sandbox):
            clue = container_clue(reader, context, record, old, engine, None)
            source = database.provenance(record.offset, ", its bucket told by its content" if old.inferred else "")
            sure = _sure(database, _names_itself(clue.record, record))
            made = replace(clue.record, source=source)
            found.containers.append(Clue(made, sure, PAGES, engine, ENVIRONMENT if engine == "docker" else frozenset()))
        elif isinstance(record, containerd_meta.Image):
            if record.digest is not None:
                names.setdefault((record.namespace, record.digest), []).append(old)
        elif (own := reference_of(record)) is not None:
            parent = record.parent if isinstance(record, containerd_meta.Snapshot) else None
            source = database.provenance(record.offset, f", record of its {type(record).__name__.lower()}")
            found.containers.append(referred_clue(context, record.namespace, own, parent, source, engine, None))
    found.images += [_image(database, *where, each) for where, each in sorted(names.items())]


def _names_itself(made: Container, record: containerd_meta.Container | containerd_meta.Sandbox) -> bool:
    """Whether what a record holds is of the id that its bucket has: its spec, its snapshot, the CRI plugin's metadata."""
    if made.hostconfig is not None and f'"{record.id}"' in made.hostconfig:
        return True
    told = record.spec.value if record.spec is not None else b""
    snapshot = record.snapshot_key if isinstance(record, containerd_meta.Container) else None
    return snapshot == record.id or (bool(_WHOLE_ID.fullmatch(record.id)) and record.id.encode() in told)


def _image(database: LostDatabase, namespace: str, digest: str, names: list[OldRecord]) -> Clue[ContainerImage]:
    """The image with a digest, and all names that it had."""
    records = [each.record for each in names if isinstance(each.record, containerd_meta.Image)]
    docker = namespace == MOBY
    made = ContainerImage(
        engine="docker" if docker else "containerd",
        namespace=None if docker else namespace,
        image_id=digest,
        refs=tuple(sorted({each.name for each in records})),
        created_ns=None,
        size_bytes=None,
        layers=(),
        labels={key: value for each in records for key, value in each.labels.items()},
        updated_ns=max((each.updated_ns for each in records if each.updated_ns is not None), default=None),
        source=database.provenance(records[0].offset),
    )
    return Clue(made, _sure(database, True), PAGES, made.engine)


def _snapshotters(database: LostDatabase) -> Iterator[Clue[Container]]:
    """The containers that the snapshots in a snapshotter's metadata.db were of."""
    known = [each.key for each in database.keys if each.basis != "page" and not each.missing]
    in_order = sorted(known, key=lambda key: ((*key.bucket, key.key), key.value is not None))
    for snapshot in parse_snapshots(key for key in in_order if (*key.bucket, key.key)[:2] == SNAPSHOTS):
        namespace, own = split_name(snapshot.name)
        if snapshot.kind in ("committed", "view") or not is_a_containers(namespace, own):
            continue
        source = database.provenance(snapshot.offset, ", record of its snapshot")
        engine = "docker" if namespace == MOBY else "containerd"
        name = own if not _WHOLE_ID.fullmatch(own) else None
        made = Container(engine, None if engine == "docker" else namespace, own, name, source=source)
        yield Clue(made, POSSIBLE, "reference", engine)


def _libpod(database: LostDatabase) -> Iterator[Clue[Container]]:
    """The containers of a bolt_state.db: bucket `ctr`, a bucket for each id, key `config`."""
    for each in database.keys:
        config = _libpod_config(each)
        if config is not None and config.id is not None and _WHOLE_ID.fullmatch(config.id):
            named = each.key.bucket == (b"ctr", config.id.encode())
            if named or each.basis == "page":
                made = replace(libpod_record(config), source=database.provenance(each.key.offset))
                yield Clue(made, _sure(database, True), PAGES, "podman", ENVIRONMENT | CREATED)


def _libpod_config(each: Deleted) -> LibpodContainer | None:
    if each.key.key != b"config" or each.missing or not each.key.value or not each.key.value.startswith(b'{"spec":'):
        return None
    try:
        return parse_container(each.key.value)
    except FormatError:
        return None
