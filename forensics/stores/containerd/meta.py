"""meta.db as a whole: its records, by what they are looked up by."""

from __future__ import annotations

from dataclasses import dataclass, field

from forensics.file_source import FileSource
from forensics.records import Provenance
from forensics.stores.bolt import key_provenance, open_database, walk_once
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.bbolt import Bolt
from parsers.containerd_meta import Blob, Container, Image, Ingest, Lease, Namespace, Sandbox, Snapshot, parse_records

ARTEFACT = "containerd's meta.db"


@dataclass
class MetaDb:
    """What meta.db holds. snapshots: by namespace, snapshotter and key; blobs: by digest, then namespace.

    bolt: the file, None where it cannot be opened. whole: no part of it is lost.
    """

    source: FileSource | None = None
    bolt: Bolt | None = None
    partition: int = 0
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)
    containers: list[Container] = field(default_factory=list)
    snapshots: dict[tuple[str, str, str], Snapshot] = field(default_factory=dict)
    blobs: dict[str, dict[str, Blob]] = field(default_factory=dict)
    ingests: list[Ingest] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    sandboxes: list[Sandbox] = field(default_factory=list)
    whole: bool = False

    def names(self) -> tuple[str, ...]:
        """Every namespace that any record is in, sorted."""
        lists = (self.images, self.containers, self.snapshots.values(), self.leases, self.sandboxes, self.namespaces.values())
        return tuple(sorted({record.namespace for records in lists for record in records}))

    def provenance(self, offset: int, how: str = "allocated") -> Provenance | None:
        """Where a record came from. offset: in the file."""
        if self.source is None:
            return None
        return key_provenance(self.source, self.partition, offset, how)


def read_meta(reader: StoreReader, place: Place | None) -> MetaDb:
    """All records; an empty one, and a gap, where the file is missing or damaged."""
    if place is None:
        return MetaDb()
    bolt = open_database(reader, place, ARTEFACT)
    meta = MetaDb(FileSource(place.fs, place.inode, readable(place.path)), bolt, place.partition)
    if bolt is None:
        return meta
    for record in parse_records(walk_once(reader, place, ARTEFACT, bolt)):
        for problem in record.problems:
            reader.gap(ARTEFACT, f"{_what(record)}: {problem}", place, record.offset)
        _add(meta, record)
    meta.whole = not bolt.problems
    return meta


def _what(record: object) -> str:
    name = type(record).__name__.lower()
    told = (getattr(record, field, None) for field in ("name", "id", "key", "digest", "ref"))
    return f"{name} {next((text for text in told if text), '')}"


def _add(meta: MetaDb, record: Namespace | Image | Container | Snapshot | Blob | Ingest | Lease | Sandbox) -> None:
    match record:
        case Image():
            meta.images.append(record)
        case Container():
            meta.containers.append(record)
        case Snapshot():
            meta.snapshots[record.namespace, record.snapshotter, record.key] = record
        case Blob():
            meta.blobs.setdefault(record.digest, {})[record.namespace] = record
        case Ingest():
            meta.ingests.append(record)
        case Lease():
            meta.leases.append(record)
        case Sandbox():
            meta.sandboxes.append(record)
        case Namespace():
            meta.namespaces[record.namespace] = record
