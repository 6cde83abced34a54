"""What BuildKit built: its cache records and its builds, and which layers hold the records' files.

<root>/metadata_v2.db or metadata.db              the cache records of Docker's own worker with a graph driver
<root>/<executor>-<snapshotter>/metadata_v2.db    those of any other worker
<root>/snapshots.db                               graph driver: which directory each snapshot has
<root>/history.db, history_c8d.db                 the builds
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from forensics.file_source import FileSource
from forensics.records import BuildRecord, ContainerImage, Layer, Provenance
from forensics.stores.bolt import open_database, walk_database
from forensics.stores.buildkit.shared import shared_records
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.buildkit import (
    MAIN,
    RECORDS,
    BuildHistory,
    CacheRecord,
    GraphSnapshot,
    parse_cache_record,
    parse_graph_snapshot,
    parse_history,
)
from parsers.containerd_records import Node, Path, gather
from parsers.docker_layer import chain_ids
from parsers.errors import FormatError

METADATA = (b"metadata_v2.db", b"metadata.db")
HISTORY = (b"history.db", b"history_c8d.db")
VIEW = "-view"  # the end of the name of a snapshot that is another's, mounted read-only


def read_builds(
    reader: StoreReader, engine: str, root: Place, layers: Sequence[Layer], images: Iterable[ContainerImage] | None = None
) -> tuple[BuildRecord, ...]:
    """Every cache record and every build under BuildKit's directory, oldest first.

    layers: all that may hold records' files. images: the engine's; None where they are not known.
    """
    snapshots = _graph_snapshots(reader, root)
    layer_of = _layer_finder(snapshots, layers)
    chains = {chain for image in images for chain in chain_ids(image.layers)} if images is not None else None
    found = []
    for directory in (root, *(place for place in reader.children(root, "d") if b"-" in place.name)):
        for name in METADATA:
            records = list(_cache_records(reader, reader.child(directory, name)))
            shared = shared_records([record for record, _ in records], snapshots, chains) if chains is not None else None
            sizes = {record.mutable: record.size for record, _ in records}
            for record, where in records:
                known = record if record.size is not None else replace(record, size=sizes.get(record.id))
                found.append(
                    _cache_record(engine, known, layer_of(record), None if shared is None else record.id in shared, where)
                )
    for name in HISTORY:
        for build, where in _history(reader, reader.child(root, name)):
            found.append(_build(engine, build, where))
    return tuple(sorted(found, key=lambda each: (each.created_ns or 0, each.record_id)))


def built_layers(builds: Iterable[BuildRecord], layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The same layers, those of the build cache and all below them being no orphans."""
    by_key = {layer.key: layer for layer in layers}
    snapshots = {build.snapshot for build in builds if build.snapshot is not None}
    pending = [build.layer for build in builds if build.layer is not None]
    pending += [layer.key for layer in layers if layer.name.removesuffix(VIEW) in snapshots]
    built = set()
    while pending:
        layer = by_key.get(pending.pop())
        if layer is not None and layer.key not in built:
            built.add(layer.key)
            pending += [layer.lower] if layer.lower is not None else []
    # containerd keeps a snapshot that is being written under a lease of its name, as it does a container's
    return tuple(
        replace(layer, kind="image")
        if layer.key in built and (layer.kind == "orphan" or layer.name.removesuffix(VIEW) in snapshots)
        else layer
        for layer in layers
    )


def _cache_records(reader: StoreReader, database: Place | None) -> Iterator[tuple[CacheRecord, Provenance]]:
    for node, where in _nodes(reader, database, "BuildKit's cache records", MAIN, lambda path: 2 if path[:1] == MAIN else None):
        record = parse_cache_record(readable(node.path[-1]), node.values)
        for problem in (*node.problems, *record.problems):
            reader.gap("BuildKit's cache records", f"{record.id}: {problem}", database, node.offset)
        yield record, where


def _graph_snapshots(reader: StoreReader, root: Place) -> dict[str, GraphSnapshot]:
    nodes = _nodes(reader, reader.child(root, b"snapshots.db"), "BuildKit's snapshots", (), lambda path: 1 if path else None)
    return {readable(node.path[0]): parse_graph_snapshot(node.values) for node, _ in nodes}


def _nodes(
    reader: StoreReader,
    database: Place | None,
    artefact: str,
    bucket: Path,
    depth_of: Callable[[Path], int | None],
) -> Iterator[tuple[Node, Provenance]]:
    bolt = open_database(reader, database, artefact) if database is not None else None
    if bolt is None or database is None:
        return
    source = FileSource(database.fs, database.inode, readable(database.path))
    for node in gather(walk_database(reader, database, artefact, bolt, bucket), depth_of):
        yield node, Provenance(database.partition, source.name, database.inode, source.locate(node.offset))


def _history(reader: StoreReader, database: Place | None) -> Iterator[tuple[BuildHistory, Provenance]]:
    artefact = "BuildKit's history"
    bolt = open_database(reader, database, artefact) if database is not None else None
    if bolt is None or database is None:
        return
    source = FileSource(database.fs, database.inode, readable(database.path))
    for key in walk_database(reader, database, artefact, bolt, RECORDS):
        if key.value is None or key.bucket != RECORDS:
            continue
        try:
            build = parse_history(key.value)
        except FormatError as error:
            reader.gap(artefact, f"{readable(key.key)}: {error.what}", database, key.offset)
            continue
        yield build, Provenance(database.partition, source.name, database.inode, source.locate(key.offset))


def _layer_finder(snapshots: Mapping[str, GraphSnapshot], layers: Sequence[Layer]) -> Callable[[CacheRecord], str | None]:
    by_name = {layer.name: layer.key for layer in reversed(layers)}
    by_chain = {layer.chain_id: layer.key for layer in reversed(layers) if layer.chain_id is not None}

    def layer_of(record: CacheRecord) -> str | None:
        for name in (record.snapshot, record.mutable):  # a record may have its files in the directory of its mutable twin
            snapshot = snapshots.get(name) if name is not None else None
            names = (name, *((snapshot.committed,) if snapshot is not None else ()))
            chains = (record.chain_id, *((snapshot.chain_id,) if snapshot is not None else ()))
            found = next((by_chain[chain] for chain in chains if chain in by_chain), None)
            found = found or next((by_name[each] for each in names if each in by_name), None)
            if found is not None:
                return found
        return None

    return layer_of


def _cache_record(engine: str, record: CacheRecord, layer: str | None, shared: bool | None, where: Provenance) -> BuildRecord:
    details = {
        "parents": " ".join(record.parents[1:]),
        "mutable": record.mutable or "",
        "blob": record.blob or "",
        "chain_id": record.chain_id or "",
        "refs": " ".join(record.refs),
    }
    return BuildRecord(
        engine=engine,
        record_id=record.id,
        kind=record.type,
        description=record.description,
        created_ns=record.created_ns,
        last_used_ns=record.last_used_ns,
        parent=record.parents[0] if record.parents else None,
        snapshot=record.snapshot,
        layer=layer,
        size_bytes=record.size,
        usage_count=record.usage_count,
        mutable=not record.committed,
        shared=shared,
        details={name: text for name, text in details.items() if text},
        source=where,
    )


def _build(engine: str, build: BuildHistory, where: Provenance) -> BuildRecord:
    told = (build.attributes.get(name) for name in ("context", "vcs:source", "target"))
    what = " ".join((build.attributes.get("filename") or build.frontend or "build", *(text for text in told if text)))
    steps = (("steps", build.total_steps), ("completed steps", build.completed_steps), ("cached steps", build.cached_steps))
    details = {
        **{name: str(count) for name, count in steps if count is not None},
        **({"frontend": build.frontend} if build.frontend else {}),
        **({"error": build.error} if build.error else {}),
        **{f"attribute {name}": text for name, text in sorted(build.attributes.items())},
        **{f"result {name}": text for name, text in sorted(build.result.items())},
    }
    return BuildRecord(
        engine=engine,
        record_id=build.ref,
        kind="build",
        description=what,
        created_ns=build.created_ns,
        completed_ns=build.completed_ns,
        details=details,
        source=where,
    )
