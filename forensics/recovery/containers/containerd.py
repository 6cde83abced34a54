"""Removed containers and images of a containerd: what old pages of its meta.db still hold of their records.

Of a container whose record is gone, its snapshot's may be left, in meta.db or in the snapshotter's metadata.db, or the lease with
which Docker kept it: these bear its id, and that is all they tell.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from forensics.file_source import FileSource
from forensics.records import Artefact, Container, ContainerImage, Provenance
from forensics.recovery.clues import CERTAIN, ENVIRONMENT, POSSIBLE, PROBABLE, Clue
from forensics.recovery.containers.old_records import MOBY, OldRecord, old_records
from forensics.recovery.containers.spec_identity import identity_of, layer_directory
from forensics.recovery.limits import Limits
from forensics.stores.bolt import key_provenance, open_database
from forensics.stores.containerd.containers import Context, container_record, sandbox_record
from forensics.stores.containerd.content import ContentStore
from forensics.stores.containerd.images import StoredImage, image_record, read_images
from forensics.stores.containerd.meta import MetaDb
from forensics.stores.containerd.mounts import with_own_files
from forensics.stores.containerd.store import ContainerdStore
from forensics.stores.reading import StoreReader
from forensics.text import readable
from parsers import containerd_meta
from parsers.bbolt_free import Deleted
from parsers.containerd_snapshots import SNAPSHOTS, StoredSnapshot, parse_snapshots, split_name
from parsers.errors import FormatError
from parsers.oci_spec import OciSpec, parse_spec

MAX_KEYS = 2_000_000  # old keys of one file that are looked at
DATABASE, REFERENCE = "database", "reference"

_WHOLE_ID = re.compile(r"[0-9a-f]{64}")
_NO_CONTAINER = re.compile(r"sha256:|extract-|.*-init(?:-key)?$|.*-key$|.*-parent-view-")
"""Keys of snapshots that are layers of images, or on the way to become some."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")  # containerd v2.1 pkg/identifiers/validate.go

NO_CONTAINERS = frozenset(("buildkit",))
"""Namespaces whose snapshots are no containers'."""

READ_ONLY = ("committed", "view")
"""Kinds of snapshots that no container writes to."""

SNAPSHOTTERS = frozenset(("overlayfs", "native", "btrfs", "zfs", "devmapper", "erofs", "blockfile", "stargz", "fuse-overlayfs"))


@dataclass
class ContainerdClues:
    """What was found. keys: how many old keys were looked at."""

    artefacts: list[Artefact] = field(default_factory=list)
    containers: list[Clue[Container]] = field(default_factory=list)
    images: list[Clue[ContainerImage]] = field(default_factory=list)
    keys: int = 0

    def counted(self, keys: Iterable[Deleted]) -> Iterator[Deleted]:
        """The keys, as they are looked at."""
        for each in keys:
            self.keys += 1
            yield each


def containerd_clues(
    store: ContainerdStore, claimed: Collection[str], engine: str, key: str, limits: Limits | None = None
) -> ContainerdClues:
    """The removed containers and images of one engine. claimed: namespaces that are Docker's; key: of the engine's store."""
    found, limits = ContainerdClues(), limits or Limits()
    meta = store.meta
    if meta.bolt is None:
        return found
    dockers = {*claimed, MOBY} if claimed else set()
    path = meta.source.name if meta.source is not None else None
    deleted = found.counted(limits.first(meta.bolt.deleted(), MAX_KEYS, "old keys", meta.partition, path))
    try:
        old = [each for each in old_records(deleted) if (each.record.namespace in dockers) == (engine == "docker")]
    except FormatError:
        return found  # told when the store was read
    reader = StoreReader()  # what is damaged in an old page is no gap
    past = MetaDb(meta.source, partition=meta.partition)
    images = {**_images(reader, store, past, old), **store.images}
    context = replace(store.context, meta=past, images=images)
    live = {(each.namespace, each.id) for records in (meta.containers, meta.sandboxes) for each in records}
    in_databases = list(_snapshotters_old(context, limits))
    read_only = {(name, each.name) for name, _, each in in_databases if each.kind in READ_ONLY}
    for each in old:
        record = each.record
        if isinstance(record, containerd_meta.Container | containerd_meta.Sandbox):
            if (record.namespace, record.id) not in live and not _is_a_snapshotters(record, context):
                clue = container_clue(reader, context, record, each, engine, key)
                found.containers.append(clue)
                found.artefacts += [_runtime_spec(record, clue)] if engine == "docker" and record.spec is not None else []
        elif isinstance(record, containerd_meta.Snapshot) and (record.snapshotter, record.name) in read_only:
            continue
        elif (reference := reference_of(record)) is not None and (record.namespace, reference) not in live:
            source = meta.provenance(record.offset, f"{each.how}, record of its {type(record).__name__.lower()}")
            parent = record.parent if isinstance(record, containerd_meta.Snapshot) else None
            found.containers.append(referred_clue(context, record.namespace, reference, parent, source, engine, key))
    found.containers += _snapshotter_clues(in_databases, live, dockers, engine, key, context)
    found.images += _image_clues(store, past, images, old, engine, key)
    return found


def _is_a_snapshotters(record: containerd_meta.Container | containerd_meta.Sandbox, context: Context) -> bool:
    """Whether it is a snapshotter's bucket, whose page an old page of containers points to: one without a container's keys."""
    told = isinstance(record, containerd_meta.Container) and (record.image or record.snapshot_key or record.spec)
    return not told and record.created_ns is None and (record.id in SNAPSHOTTERS or record.id in context.snapshotters)


def container_clue(
    reader: StoreReader,
    context: Context,
    record: containerd_meta.Container | containerd_meta.Sandbox,
    old: OldRecord,
    engine: str,
    key: str | None,
) -> Clue[Container]:
    """A container or a sandbox as an old record tells of it."""
    if isinstance(record, containerd_meta.Sandbox):
        made, spec, corroborated = sandbox_record(reader, context, record), None, False
    else:
        made, spec = container_record(reader, context, record), _spec(record)
        own = identity_of(spec) if spec is not None else None
        corroborated = record.id in (own.id if own is not None else None, record.snapshot_key)
    directory = layer_directory(spec) if spec is not None else None
    made = _of_engine(replace(made, layer=made.layer or directory), engine)
    sure = old.how == "previous tree" or (corroborated and not old.inferred)
    how = f"{old.how}, its bucket told by its content" if old.inferred else old.how
    return replace(
        _clue(made, CERTAIN if sure else PROBABLE, DATABASE, how, key), weak=ENVIRONMENT if engine == "docker" else frozenset()
    )


def _runtime_spec(record: containerd_meta.Container | containerd_meta.Sandbox, clue: Clue[Container]) -> Artefact:
    """What Docker had containerd run: kept as long as the container runs."""
    spec = record.spec.value.decode("utf-8", "replace") if record.spec is not None else ""
    where = clue.record.source
    return Artefact(
        "docker", "runtime spec", record.id, None, None, record.created_ns, {"spec": spec}, origin="recovered", source=where
    )


def reference_of(record: containerd_meta.Record) -> str | None:
    """The id of the container that a record belongs to, which is none itself: a snapshot's, a lease's of Docker's."""
    if isinstance(record, containerd_meta.Snapshot):
        return record.key if record.parent is not None and is_a_containers(record.namespace, record.key) else None
    if isinstance(record, containerd_meta.Lease) and any(key == record.id for _, key in record.snapshots):
        return record.id if _WHOLE_ID.fullmatch(record.id) else None
    return None


def is_a_containers(namespace: str, key: str) -> bool:
    """Whether a snapshot's key is a container's id."""
    if _WHOLE_ID.fullmatch(key):
        return True
    dockers = namespace.startswith(MOBY)  # it gives its containers such ids only
    return bool(_IDENTIFIER.fullmatch(key)) and not (dockers or namespace in NO_CONTAINERS or _NO_CONTAINER.match(key))


def referred_clue(
    context: Context, namespace: str, own: str, parent: str | None, source: Provenance | None, engine: str, key: str | None
) -> Clue[Container]:
    """A container of which no more is known than its id, and the snapshot that its own was made on."""
    fitting = context.index.by_top.get((namespace, parent or ""), [])
    name = own if not _WHOLE_ID.fullmatch(own) else None
    image_id = fitting[0] if len(fitting) == 1 else None
    made = Container("containerd", namespace, own, name, image_id=image_id, source=source)
    return Clue(_of_engine(made, engine), POSSIBLE, REFERENCE, key)


def _snapshotters_old(context: Context, limits: Limits) -> Iterator[tuple[str, Provenance, StoredSnapshot]]:
    """The old records of the snapshotters' own databases, each with its snapshotter and its place."""
    for snapshotter in context.snapshotters.values():
        database = snapshotter.database
        bolt = open_database(StoreReader(), database, "metadata.db") if database is not None else None
        if bolt is None or database is None:
            continue
        file = FileSource(database.fs, database.inode, readable(database.path))
        old = limits.first(bolt.deleted(), MAX_KEYS, "old keys", database.partition, file.name)
        known = [each.key for each in old if each.basis != "page" and not each.missing]
        in_order = sorted(known, key=lambda each: ((*each.bucket, each.key), each.value is not None))
        for snapshot in parse_snapshots(each for each in in_order if (*each.bucket, each.key)[:2] == SNAPSHOTS):
            source = key_provenance(file, database.partition, snapshot.offset, "old page, record of its snapshot")
            yield snapshotter.name, source, snapshot


def _snapshotter_clues(
    old: Iterable[tuple[str, Provenance, StoredSnapshot]],
    live: Collection[tuple[str, str]],
    dockers: Collection[str],
    engine: str,
    key: str,
    context: Context,
) -> Iterator[Clue[Container]]:
    """The containers that old records of the snapshotters' own databases refer to, with the directories that they had."""
    for name, source, snapshot in old:
        namespace, own = split_name(snapshot.name)
        mine = (namespace in dockers) == (engine == "docker") and (namespace, own) not in live
        if not mine or snapshot.kind in READ_ONLY or not is_a_containers(namespace, own):
            continue
        parent = split_name(snapshot.parent)[1] if snapshot.parent is not None else None
        clue = referred_clue(context, namespace, own, parent, source, engine, key)
        layer = f"{name}/{snapshot.id}" if snapshot.id is not None else None
        yield replace(clue, record=replace(clue.record, layer=layer))


def _spec(record: containerd_meta.Container) -> OciSpec | None:
    try:
        return parse_spec(record.spec.value) if record.spec is not None else None
    except FormatError:  # then it tells nothing
        return None


def _of_engine(made: Container, engine: str) -> Container:
    """Docker's containers have no namespace; their records in containerd are made anew at each start and tell of that one."""
    if engine == "containerd":
        return made
    mounts = with_own_files(made.mounts, made.container_id)
    own = replace(made, engine=engine, namespace=None, created_ns=None, labels=None, user=None, config=None)
    return replace(own, mounts=mounts, working_dir=made.working_dir if made.working_dir != "/" else None)  # none was asked for


def _clue(made: Container, confidence: str, kind: str, how: str, key: str | None) -> Clue[Container]:
    return Clue(replace(made, state=None, source=_told(made.source, how)), confidence, kind, key)


def _told(source: Provenance | None, how: str) -> Provenance | None:
    return replace(source, how=how) if source is not None else None


def _images(
    reader: StoreReader, store: ContainerdStore, past: MetaDb, old: list[OldRecord]
) -> dict[tuple[str, str], StoredImage]:
    """The images of which old records tell, with what is left of their content."""
    past.images = [each.record for each in old if isinstance(each.record, containerd_meta.Image)]
    return read_images(reader, past, ContentStore(store.blobs))


def _image_clues(
    store: ContainerdStore,
    past: MetaDb,
    images: dict[tuple[str, str], StoredImage],
    old: list[OldRecord],
    engine: str,
    key: str,
) -> Iterator[Clue[ContainerImage]]:
    """The images whose target no live name leads to."""
    how: dict[tuple[str, str], OldRecord] = {}
    for each in old:
        if isinstance(each.record, containerd_meta.Image) and each.record.digest is not None:
            how.setdefault((each.record.namespace, each.record.digest), each)
    for where, found in sorted(how.items()):
        if where in store.images or where not in images:
            continue
        made = image_record(past, images[where], store.layers)
        made = replace(made, source=_told(made.source, found.how))
        if engine != "containerd":
            made = replace(made, engine=engine, namespace=None)
        yield Clue(made, PROBABLE if found.inferred else CERTAIN, DATABASE, key)
