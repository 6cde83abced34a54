"""What else a containerd tells: its namespaces, leases, content whose writing never ended, and content that nobody knows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256

from forensics.records import Artefact
from forensics.stores.containerd.layers import SnapshotLayers
from forensics.stores.containerd.meta import MetaDb
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.go_time import parse_rfc3339

MAX_TEXT = 4096


def containerd_artefacts(
    reader: StoreReader,
    meta: MetaDb,
    layers: SnapshotLayers,
    content: Place | None,
    blobs: Mapping[str, Place],
    namespaces: Collection[str],
) -> tuple[Artefact, ...]:
    """The namespaces that are asked for and what is in them, every ingest, and the blobs that no namespace has."""
    return (
        *_namespaces(meta, namespaces),
        *namespace_artefacts("containerd", meta, layers, namespaces),
        *_ingests(reader, meta, content),
        *_forgotten(reader, meta, blobs),
    )


def namespace_artefacts(engine: str, meta: MetaDb, layers: SnapshotLayers, namespaces: Collection[str]) -> Iterator[Artefact]:
    """The leases, snapshots, names of images and contents that namespaces have records of; engine: whose the namespaces are."""
    yield from _leases(engine, meta, namespaces)
    alike: dict[tuple[str, str | None, str | None], Mapping[str, str]] = {}  # most have no labels, and are above few images
    for where, snapshot in sorted(meta.snapshots.items()):
        if snapshot.namespace in namespaces:
            layer = layers.by_key.get(where)
            kind = layer.stored.kind if layer is not None and layer.stored is not None else None
            told = {"snapshotter": snapshot.snapshotter, "kind": kind or "", "parent": snapshot.parent or "", **snapshot.labels}
            details: Mapping[str, str] = {name: text for name, text in told.items() if text}
            if not snapshot.labels:
                details = alike.setdefault((snapshot.snapshotter, kind, snapshot.parent), details)
            known = layer.layer.source if layer is not None and layer.stored is None else None  # its record is the same
            source = known or meta.provenance(snapshot.offset)
            yield Artefact(
                engine, "snapshot", snapshot.key, snapshot.namespace, None, snapshot.created_ns, details, source=source
            )
    for image in meta.images:
        if image.namespace in namespaces:
            details = {"digest": image.digest or "", **image.labels}
            source = meta.provenance(image.offset)
            yield Artefact(engine, "image name", image.name, image.namespace, None, image.created_ns, details, source=source)
    for digest, by_namespace in sorted(meta.blobs.items()):
        for blob in (each for name, each in sorted(by_namespace.items()) if name in namespaces):
            size = {} if blob.size is None else {"size": str(blob.size)}
            source = meta.provenance(blob.offset)
            yield Artefact(
                engine, "content", digest, blob.namespace, None, blob.created_ns, {**size, **blob.labels}, source=source
            )


def _namespaces(meta: MetaDb, namespaces: Collection[str]) -> Iterator[Artefact]:
    for name in sorted(namespaces):
        record = meta.namespaces.get(name)
        labels = record.labels if record is not None else {}
        source = meta.provenance(record.offset) if record is not None else None
        yield Artefact("containerd", "namespace", name, name, details=labels, source=source)


def _leases(engine: str, meta: MetaDb, namespaces: Collection[str]) -> Iterator[Artefact]:
    for lease in meta.leases:
        if lease.namespace not in namespaces:
            continue
        details = {
            **lease.labels,
            "snapshots": " ".join(f"{snapshotter}/{key}" for snapshotter, key in lease.snapshots),
            "content": " ".join(lease.content),
            "ingests": " ".join(lease.ingests),
            "images": " ".join(lease.images),
        }
        told = {name: text for name, text in details.items() if text}
        source = meta.provenance(lease.offset)
        yield Artefact(engine, "lease", lease.id, lease.namespace, None, lease.created_ns, told, source=source)


def _ingests(reader: StoreReader, meta: MetaDb, content: Place | None) -> Iterator[Artefact]:
    """ingest/<SHA-256 of ref>/{ref,data,startedat,updatedat,total}: `ref` is `<namespace>/<number>/<the writer's own name>`.

    After a power cut these files may be empty: then meta.db tells the name. Of what it knows more, no byte was written.
    """
    known = {sha256((record.stored_ref or record.ref).encode()).hexdigest(): record for record in meta.ingests}
    for directory in reader.children(reader.child(content, b"ingest") if content is not None else None, "d"):
        told = {name: _text(reader, directory, name) for name in ("ref", "startedat", "updatedat", "total")}
        record = known.pop(readable(directory.name), None)
        data = reader.child(directory, b"data")
        inode = reader.inode(data) if data is not None else None
        ref = told["ref"] or (record.stored_ref if record is not None else None) or ""
        namespace, _, rest = ref.partition("/")
        name = rest.partition("/")[2] or ref or readable(directory.name)
        details = {key: text for key, text in told.items() if text and key != "ref"}
        if inode is not None:
            details["written"] = str(inode.size)
        record = record or next((each for each in meta.ingests if (each.namespace, each.ref) == (namespace, name)), None)
        if record is not None and record.expected:
            details["expected"] = record.expected
        path = readable((data or directory).path)
        started = reader.load(reader.child(directory, b"startedat"), "ingest", _time, MAX_TEXT) if told["startedat"] else None
        source = reader.provenance(directory)
        yield Artefact("containerd", "ingest", name, namespace or None, path, started, details, source=source)
    for _, record in sorted(known.items()):
        details = {"expected": record.expected} if record.expected else {}
        where = meta.provenance(record.offset)
        yield Artefact("containerd", "ingest", record.ref, record.namespace, None, None, details, source=where)


def _forgotten(reader: StoreReader, meta: MetaDb, blobs: Mapping[str, Place]) -> Iterator[Artefact]:
    """Blobs of images that are gone already, or were not yet there."""
    for digest, place in sorted(blobs.items()):
        if meta.whole and digest not in meta.blobs:
            inode = reader.inode(place)
            details = {"size": str(inode.size)} if inode is not None else {}
            written = inode.mtime_ns if inode is not None else None
            path = readable(place.path)
            yield Artefact("containerd", "forgotten blob", digest, None, path, written, details, source=reader.provenance(place))


def _text(reader: StoreReader, directory: Place, name: str) -> str | None:
    return reader.load(reader.child(directory, name.encode()), "ingest", lambda data: readable(data.strip()), MAX_TEXT)


def _time(data: bytes) -> int | None:
    return parse_rfc3339(data.decode("ascii", "replace").strip())
