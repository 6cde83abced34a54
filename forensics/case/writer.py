"""The only writer of a case file.

A case file is built under a temporary name beside its own and renamed when it is complete, so that a crash leaves no half case.
Until then it needs no journal and no fsync: the rename comes after one.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from forensics.case.entries import LayerEntries, entry_rows, far_time_rows
from forensics.case.schema import INDEXES, SCHEMA_VERSION, TABLES, VIEWS
from forensics.hashing import Hashed
from forensics.host import Host
from forensics.layers import NumberedLayer
from forensics.overlay import Delta
from forensics.records import Artefact, BoltKey, BuildRecord, Container, ContainerImage, Gap, Network, Provenance, Store, Volume
from forensics.survey import Partition
from forensics.text import raw_if_unequal, readable
from parsers.errors import CaseError

_INT64 = range(-(1 << 63), 1 << 63)


class CaseWriter:
    """A case file under construction; used as a context manager, it is there when the block ends without an error."""

    def __init__(self, path: Path) -> None:
        self.path, self.gap_count = path, 0
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            self._partial.unlink(missing_ok=True)
            self._db = sqlite3.connect(self._partial, isolation_level=None)
            self._db.executescript(
                "PRAGMA page_size = 8192; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;"
                "PRAGMA locking_mode = EXCLUSIVE;"
            )
            self._db.executescript(TABLES)
            self._db.execute("BEGIN")
        except (sqlite3.Error, OSError) as error:
            raise CaseError(f"{path}: the case file cannot be written ({error}); choose another place with -o") from error

    def __enter__(self) -> CaseWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._db.close()
            self._partial.unlink(missing_ok=True)
            if isinstance(error, sqlite3.Error):
                raise CaseError(f"{self.path}: the case file cannot be written ({error}); is the disk full?") from error
            return
        try:
            self._finish()
        except (sqlite3.Error, OSError) as failure:
            self._partial.unlink(missing_ok=True)
            raise CaseError(f"{self.path}: the case file cannot be completed ({failure})") from failure

    def _finish(self) -> None:
        self._db.execute("COMMIT")
        self._db.executescript(INDEXES)
        self._db.executescript(VIEWS)
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.close()
        with self._partial.open("rb") as partial:
            os.fsync(partial.fileno())
        self._partial.replace(self.path)

    # -- the case and its evidence

    def run_facts(self, facts: Mapping[str, str | None]) -> None:
        """What is true of this run only: versions, times, options."""
        self._db.executemany("INSERT OR REPLACE INTO run VALUES (?, ?)", [(k, _text(v)) for k, v in facts.items()])

    def evidence(self, path: Path, position: int, size: int) -> None:
        """One file of the disk image."""
        self._insert("evidence", {"position": position, "path": str(path), "size": size})

    def evidence_hash(self, sha256: str) -> None:
        """The SHA-256 of the disk image, over all its files in their order."""
        self._db.execute("UPDATE evidence SET sha256 = ?", (sha256,))

    def partition(self, partition: Partition, mount_point: str | None) -> None:
        """One volume and what stands on it."""
        volume, fs = partition.volume, partition.filesystem
        self._insert("partition", {
            "number": volume.number, "scheme": volume.scheme, "name": volume.name, "type": volume.type, "offset": volume.offset,
            "length": volume.length, "filesystem": partition.kind, "label": (fs.label if fs else None) or volume.label,
            "uuid": (fs.uuid if fs else None) or volume.uuid, "state": partition.state, "mount_point": mount_point,
        })  # fmt: skip

    def host(self, host: Host, partition: int) -> None:
        """What an installed system says of itself."""
        self._insert("host_facts", {
            "hostname": host.hostname, "os": host.os, "kernel": host.kernel, "timezone": host.timezone,
            "machine_id": host.machine_id, "partition": partition,
        })  # fmt: skip

    def gaps(self, gaps: Iterable[Gap]) -> None:
        """What could not be read; counted in `gap_count`."""
        for gap in gaps:
            self.gap_count += 1
            self._insert("gap", asdict(gap))

    # -- stores

    def store(self, store: Store) -> int:
        """A store; answers its number in the case."""
        return self._insert("store", asdict(store))

    def layer(self, store_id: int, numbered: NumberedLayer, first_entry: int | None, entries: int) -> None:
        """A layer and its chain; first_entry: None where its directory could not be read."""
        layer = numbered.layer
        row = {k: getattr(layer, k) for k in (
            "key", "name", "kind", "path", "partition", "directory", "diff_id", "chain_id", "parent", "size_bytes", "stacked",
            "marks", "origin")}  # fmt: skip
        self._insert("layer", {
            "id": numbered.number, "store_id": store_id, **row, "lower_id": numbered.lower, "first_entry": first_entry,
            "entries": entries, **_source(layer.source),
        })  # fmt: skip
        chain = [(numbered.number, depth, number) for depth, number in enumerate(numbered.chain)]
        self._db.executemany("INSERT INTO chain VALUES (?, ?, ?)", chain)

    def container_image(self, store_id: int, image: ContainerImage, top: int | None) -> None:
        """A container image; top: the number of its top layer."""
        self._insert("container_image", {
            **{k: getattr(image, k) for k in (
                "engine", "namespace", "image_id", "created_ns", "updated_ns", "size_bytes", "architecture", "os",
                "parent_image", "config", "origin")},
            "store_id": store_id, "refs": _json(list(image.refs)), "layers": _json(list(image.layers)), "top": top,
            "labels": _json(dict(image.labels)), "history": _json([asdict(step) for step in image.history]),
            **_source(image.source),
        })  # fmt: skip

    def container(self, store_id: int, container: Container, layer: int | None, rootfs: str) -> int:
        """A container with its mounts; answers its number in the case. layer: the number of its own layer."""
        row = {k: getattr(container, k) for k in (
            "engine", "namespace", "container_id", "name", "image", "image_id", "state", "created_ns", "started_ns",
            "finished_ns", "exit_code", "pid", "pod", "privileged", "restart_count", "restart_policy", "error", "oom_killed",
            "hostname", "user", "working_dir", "log_path", "log_driver", "config", "hostconfig", "origin")}  # fmt: skip
        number = self._insert("container", {
            **row, "store_id": store_id, "command": _json_list(container.command), "env": _json_list(container.env),
            "labels": None if container.labels is None else _json(dict(container.labels)), "layer_id": layer, "rootfs": rootfs,
            **_source(container.source),
        })  # fmt: skip
        for mount in container.mounts:
            self._insert("container_mount", {"container": number, **asdict(mount)})
        return number

    def volume(self, store_id: int, volume: Volume) -> None:
        """A volume."""
        self._insert("volume", {
            **{k: getattr(volume, k) for k in ("engine", "name", "driver", "path", "created_ns", "origin")},
            "store_id": store_id, "used_by": _json(list(volume.used_by)),
            "labels": None if volume.labels is None else _json(dict(volume.labels)),
            "options": None if volume.options is None else _json(dict(volume.options)), **_source(volume.source),
        })  # fmt: skip

    def network(self, store_id: int, network: Network) -> None:
        """A container network."""
        self._insert("network", {
            **{k: getattr(network, k) for k in ("engine", "name", "network_id", "driver", "created_ns", "origin")},
            "store_id": store_id, "subnets": _json(list(network.subnets)),
            "endpoints": _json([asdict(endpoint) for endpoint in network.endpoints]),
            "labels": None if network.labels is None else _json(dict(network.labels)), **_source(network.source),
        })  # fmt: skip

    def artefact(self, store_id: int, artefact: Artefact) -> None:
        """Something of a store that has no table of its own."""
        self._insert("artefact", {
            **{k: getattr(artefact, k) for k in ("engine", "kind", "name", "namespace", "path", "time_ns", "origin")},
            "store_id": store_id, "details": _json(dict(artefact.details)), **_source(artefact.source),
        })  # fmt: skip

    def build_record(self, store_id: int, build: BuildRecord, layer: int | None) -> None:
        """A build or a record of the build cache; layer: the number of the one with its files."""
        self._insert("build_record", {
            **{k: getattr(build, k) for k in (
                "engine", "record_id", "kind", "description", "created_ns", "last_used_ns", "completed_ns", "parent", "snapshot",
                "size_bytes", "usage_count", "origin")},
            "store_id": store_id, "layer_id": layer, "details": _json(dict(build.details)), **_source(build.source),
        })  # fmt: skip

    def bolt_keys(self, keys: Iterable[BoltKey]) -> None:
        """Keys of a store's bbolt files."""
        for key in keys:
            text = readable(key.key)
            self._insert("bolt_key", {
                "file": key.file, "bucket": _json([readable(b) for b in key.bucket]), "key": text,
                "key_raw": raw_if_unequal(key.key, text), "value": key.value, "page": key.page, "offset": key.offset,
                "state": key.state, "txid": key.txid,
            })  # fmt: skip

    # -- layers' content

    def entries(self, entries: LayerEntries) -> None:
        """All rows of a layer's tree."""
        for rows in entry_rows(entries):
            marks = ", ".join("nullif(?, '')" if name in rows.sparse else "?" for name in rows.columns)
            self._db.executemany(f"INSERT INTO entry ({', '.join(rows.columns)}) VALUES ({marks})", rows.values)
        self._db.executemany("INSERT INTO far_time VALUES (?, ?, ?)", far_time_rows(entries))

    def delta(self, layer_id: int, delta: Delta) -> None:
        """What a layer changes in the view below it."""
        self._db.executemany("INSERT INTO hidden VALUES (?, ?, ?, ?)", [(layer_id, *row) for row in delta.hidden])
        self._db.executemany(
            "INSERT INTO placement VALUES (?, ?, ?, ?, ?)",
            [(number, layer_id, entry, *_path(path)) for number, entry, path in delta.placed],
        )
        self._db.executemany("INSERT INTO unplaced VALUES (?, ?, ?, ?)", [(layer_id, *row) for row in delta.unplaced])
        self._db.executemany("INSERT INTO metacopy_data VALUES (?, ?, ?)", [(layer_id, *row) for row in delta.data])

    def anomaly(self, entry: int, kind: str, text: str) -> None:
        """Something odd about an entry that the merge met."""
        self._insert("anomaly", {"entry_id": entry, "kind": kind, "text": text})

    def contents(self, partition: int, hashed: Iterable[Hashed]) -> None:
        """SHA-256 and place of files' contents, by inode."""
        rows = [(partition, h.inode, h.sha256, h.content_offset) for h in hashed if h.sha256 is not None]
        self._db.executemany("INSERT INTO content VALUES (?, ?, ?, ?)", sorted(rows))

    def changes(self, container: int, changes: Iterable[tuple[str, bytes]]) -> None:
        """What `docker diff` would say, as (kind, path)."""
        rows = [(container, kind, *_path(path)) for kind, path in changes]
        self._db.executemany("INSERT INTO container_change VALUES (?, ?, ?, ?)", rows)

    def _insert(self, table: str, row: Mapping[str, Any]) -> int:
        """Insert one row, whatever evidence put into it; a number that no column can hold is a gap."""
        values = [self._storable(f"{table}.{name}", value) for name, value in row.items()]
        columns, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        return self._db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values).lastrowid or 0

    def _storable(self, where: str, value: Any) -> Any:
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, int) and value not in _INT64:
            self.gaps([Gap(where, f"the number {value} is too large to be kept")])
            return None
        return value


def _text(value: str | None) -> str | None:
    """Text that SQLite takes: a lone surrogate (JSON allows them) is spelled out."""
    return None if value is None else value.encode("utf-8", "backslashreplace").decode("utf-8")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json_list(values: Sequence[str] | None) -> str | None:
    return None if values is None else _json(list(values))


def _path(raw: bytes) -> tuple[str, bytes | None]:
    text = readable(raw)
    return text, raw_if_unequal(raw, text)


def _source(source: Provenance | None) -> dict[str, Any]:
    if source is None:
        return {}
    return {f"source_{name}": value for name, value in asdict(source).items()}
