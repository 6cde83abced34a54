"""The only writer of a case file.

A case file is built under a temporary name beside its own and renamed when it is complete, so that a crash leaves no half case.
Until then it needs no journal and no fsync: the rename comes after one.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from forensics.case import bolt_keys, records, shown_ids
from forensics.case.database import CaseDatabase, create_database
from forensics.case.entries import LayerEntries, entry_slices, far_time_rows
from forensics.case.findings import FINDING_COLUMNS, finding_rows, rule_row
from forensics.case.logs import FILE_COLUMNS, LINE_COLUMNS, file_row
from forensics.case.parcel import ROWS, Parcel
from forensics.case.process import DatabaseProcess
from forensics.case.records import as_json
from forensics.case.schema import LAYER_INDEXES
from forensics.case.timeline import EVENT_COLUMNS, event_row
from forensics.evidence import DiskImage
from forensics.hashing import Hashed
from forensics.host import Host
from forensics.integrity import Verdict
from forensics.layers import NumberedLayer
from forensics.logs.lines import LogFile, LogLine
from forensics.overlay import Delta
from forensics.records import (
    Artefact,
    BoltKey,
    BuildRecord,
    Container,
    ContainerImage,
    Event,
    Finding,
    Gap,
    Network,
    RuleText,
    Store,
    Volume,
)
from forensics.survey import Partition
from forensics.text import raw_if_unequal, readable
from parsers.errors import CaseError

PARCEL_TEXT = 8 << 20  # characters of log lines that are handed over at a time


class CaseWriter:
    """A case file under construction; used as a context manager, it is there when the block ends without an error.

    own_process: rows are written by another process, which costs a quarter of a second of another CPU, and saves the time that
    writing takes. Until `analysis`, nothing can be read back.
    """

    def __init__(self, path: Path, own_process: bool = False) -> None:
        self.path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._numbers: Counter[str] = Counter()
        self._gaps = 0
        self._has_indexes = False
        self._process: DatabaseProcess | None = None
        try:
            create_database(self._partial)
            self._database = DatabaseProcess(self._partial) if own_process else CaseDatabase(self._partial)
            self._parcel = Parcel(self._database)
        except (sqlite3.Error, OSError) as error:
            self._partial.unlink(missing_ok=True)
            raise CaseError(f"{path}: the case file cannot be written ({error}); choose another place with -o") from error

    def __enter__(self) -> CaseWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            try:
                self._finish()
            except (sqlite3.Error, OSError) as failure:
                raise CaseError(f"{self.path}: the case file cannot be completed ({failure})") from failure
            finally:
                self._abandon()
            return
        self._abandon()
        if isinstance(error, sqlite3.Error):
            raise CaseError(f"{self.path}: the case file cannot be written ({error}); is the disk full?") from error

    def _abandon(self) -> None:
        self._database.abandon()
        if self._process is not None:
            self._process.abandon()
        self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        self._complete().close()
        with self._partial.open("rb") as partial:
            os.fsync(partial.fileno())
        self._partial.replace(self.path)

    def layers_complete(self) -> None:
        """Tell that all layers were written: another process, if there is one, indexes them while this one goes on."""
        self._parcel.hand_over(*LAYER_INDEXES)

    def complete_soon(self) -> None:
        """Tell the other process, if there is one, that it has all rows: it goes on to indexes and views. `analysis` waits."""
        self._parcel.hand_over()
        if isinstance(self._database, DatabaseProcess):
            self._database.end()

    def _complete(self) -> CaseDatabase:
        """The database with all rows, indexes and views, open in this process."""
        self._parcel.hand_over()
        if isinstance(self._database, DatabaseProcess):
            self._process = self._database
            self._gaps += self._process.complete()
            self._database = self._parcel.taker = CaseDatabase(self._partial)
        elif not self._has_indexes:
            self._database.complete()
        self._has_indexes = True
        return self._database

    @property
    def gap_count(self) -> int:
        """How many gaps there are so far; all of them only from `analysis` on."""
        return self._gaps + (self._database.gaps if isinstance(self._database, CaseDatabase) else 0)

    @contextmanager
    def analysis(self) -> Iterator[sqlite3.Connection]:
        """The case so far, to be read: all rows that were written are in it, with indexes and views.

        What is found out that way is written through this CaseWriter as before; it can be read when this is called again.
        """
        yield self._complete().db

    def insert_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add rows to a table, in the order of `columns`; they are handed over as they come, some at a time."""
        self._parcel.insert(table, columns, rows)

    def insert(self, table: str, row: Mapping[str, Any]) -> int:
        """Add a row to a table whose key is `id`; answers its id. Rows are counted: all of a table go in this way, or none."""
        number = self._number(table)
        self._row(table, {"id": number, **row})
        return number

    def _number(self, table: str) -> int:
        """The id of the next row of a table."""
        self._numbers[table] += 1
        return self._numbers[table]

    def _row(self, table: str, row: Mapping[str, Any]) -> None:
        self._parcel.insert_row(table, tuple(row), tuple(row.values()))

    # -- the case and its evidence

    def run_facts(self, facts: Mapping[str, str | None]) -> None:
        """What is true of this run only: versions, times, options."""
        self._parcel.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", facts.items())

    def disk_image(self, number: int, start: int, disk: DiskImage, first: int) -> None:
        """One disk image and its files. start: where its first byte stands in the evidence; first: how many files came before."""
        self._row("disk_image", {
            "number": number, "name": disk.name, "format": disk.format, "offset": start, "size": disk.size,
            "details": as_json(disk.details), "files": as_json([str(path.absolute()) for path in disk.paths]),
        })  # fmt: skip
        for position, (path, size) in enumerate(zip(disk.paths, disk.sizes, strict=True), first):
            self._row("evidence", {"position": position, "disk": number, "path": str(path.absolute()), "size": size})
        self.gaps(Gap("disk image", problem, path=disk.name) for problem in disk.problems)

    def disk_hash(self, number: int, sha256: str) -> None:
        """The SHA-256 of a disk image's content, whatever its format."""
        self._parcel.execute("UPDATE disk_image SET sha256 = ? WHERE number = ?", [(sha256, number)])

    def partition(self, partition: Partition, mount_point: str | None) -> None:
        """One volume and what stands on it."""
        volume, fs = partition.volume, partition.filesystem
        self._row("partition", {
            "number": volume.number, "scheme": volume.scheme, "name": volume.name, "type": volume.type, "offset": volume.offset,
            "length": volume.length, "filesystem": partition.kind, "label": (fs.label if fs else None) or volume.label,
            "uuid": (fs.uuid if fs else None) or volume.uuid, "state": partition.state, "mount_point": mount_point,
        })  # fmt: skip

    def host(self, host: Host, partition: int) -> None:
        """What an installed system says of itself."""
        self.insert("host_facts", {
            "hostname": host.hostname, "os": host.os, "kernel": host.kernel, "timezone": host.timezone,
            "machine_id": host.machine_id, "partition": partition, "path": readable(host.path),
        })  # fmt: skip

    def gaps(self, gaps: Iterable[Gap]) -> None:
        """What could not be read; counted in `gap_count`."""
        for gap in gaps:
            self._gaps += 1
            self._row("gap", asdict(gap))

    def rule(self, rule: RuleText, findings: Iterable[Finding]) -> None:
        """A rule that was looked for, and what it found."""
        self._row("rule", rule_row(rule))
        self.insert_rows("finding", FINDING_COLUMNS, finding_rows(rule, findings))

    # -- stores

    def store(self, store: Store) -> int:
        """A store; answers its number in the case."""
        return self.insert("store", asdict(store))

    def layer(self, store_id: int, numbered: NumberedLayer, first_entry: int | None, entries: int) -> None:
        """A layer and its chain; first_entry: None where its directory could not be read."""
        row = records.layer_row(store_id, numbered, first_entry, entries)
        self._parcel.insert_row("layer", records.LAYER_COLUMNS, row)
        for depth, number in enumerate(numbered.chain):
            self._parcel.insert_row("chain", ("top", "depth", "layer_id"), (numbered.number, depth, number))

    def container_image(self, store_id: int, image: ContainerImage, top: int | None) -> None:
        """A container image; top: the number of its top layer."""
        row = records.image_row(self._number("container_image"), store_id, image, top)
        self._parcel.insert_row("container_image", records.IMAGE_COLUMNS, row)

    def container(self, store_id: int, container: Container, layer: int | None, rootfs: str, compared: bool) -> int:
        """A container with its mounts; answers its number in the case. layer: the number of its own layer. compared: its changes
        are known."""
        number = self._number("container")
        row = records.container_row(number, store_id, container, layer, rootfs, compared)
        self._parcel.insert_row("container", records.CONTAINER_COLUMNS, row)
        if container.shown_ids is not None:
            self.insert_rows("shown_id", shown_ids.COLUMNS, shown_ids.rows(number, container.shown_ids))
        for mount in container.mounts:
            own = records.mount_row(self._number("container_mount"), number, mount)
            self._parcel.insert_row("container_mount", records.MOUNT_COLUMNS, own)
        return number

    def volume(self, store_id: int, volume: Volume) -> None:
        """A volume."""
        row = records.volume_row(self._number("volume"), store_id, volume)
        self._parcel.insert_row("volume", records.VOLUME_COLUMNS, row)

    def network(self, store_id: int, network: Network) -> None:
        """A container network."""
        row = records.network_row(self._number("network"), store_id, network)
        self._parcel.insert_row("network", records.NETWORK_COLUMNS, row)

    def artefact(self, store_id: int, artefact: Artefact) -> None:
        """Something of a store that has no table of its own."""
        row = records.artefact_row(self._number("artefact"), store_id, artefact)
        self._parcel.insert_row("artefact", records.ARTEFACT_COLUMNS, row)

    def build_record(self, store_id: int, build: BuildRecord, layer: int | None) -> None:
        """A build or a record of the build cache; layer: the number of the one with its files."""
        row = records.build_row(self._number("build_record"), store_id, build, layer)
        self._parcel.insert_row("build_record", records.BUILD_COLUMNS, row)

    def bolt_keys(self, keys: Iterable[BoltKey]) -> None:
        """Keys of a store's bbolt files."""
        self.insert_rows("bolt_key", bolt_keys.COLUMNS, map(bolt_keys.bolt_row, keys))

    def verdict(self, layer: int, verdict: Verdict) -> None:
        """Whether a layer is still what was unpacked, and where it is not."""
        changed = (verdict.state, verdict.reason, layer)
        self._parcel.execute("UPDATE layer SET integrity = ?, integrity_reason = ? WHERE id = ?", [changed])
        faults = ((layer, fault.kind, *_path(fault.path), fault.text) for fault in verdict.faults)
        self.insert_rows("layer_fault", ("layer_id", "kind", "path", "path_raw", "text"), faults)

    # -- layers' content

    def entries(self, entries: LayerEntries) -> None:
        """All rows of a layer's tree."""
        for part in entry_slices(entries):
            self._parcel.hand_over(part)
        self.insert_rows("far_time", ("entry_id", "field", "ns"), far_time_rows(entries))

    def delta(self, layer_id: int, delta: Delta) -> None:
        """What a layer changes in the view below it."""
        # what redirects show at several places may vanish from each of them
        hide = "INSERT OR IGNORE INTO hidden SELECT ?, id, ?, ? FROM entry WHERE id BETWEEN ? AND ?"
        self._parcel.execute(hide, ((layer_id, each.by, each.reason, each.first, each.last) for each in delta.hidden))
        placed = ((number, layer_id, entry, *_path(path)) for number, entry, path in delta.placed)
        self.insert_rows("placement", ("id", "layer_id", "entry_id", "path", "path_raw"), placed)
        unplaced = ((layer_id, *row) for row in delta.unplaced)
        self.insert_rows("unplaced", ("layer_id", "placement_id", "by_entry", "reason"), unplaced)
        data = ((layer_id, *row) for row in delta.data)
        self.insert_rows("metacopy_data", ("layer_id", "entry_id", "data_entry"), data)

    def anomaly(self, entry: int, kind: str, text: str) -> None:
        """Something odd about an entry that the merge met."""
        self._row("anomaly", {"entry_id": entry, "kind": kind, "text": text})

    def contents(self, partition: int, hashed: Iterable[Hashed]) -> None:
        """SHA-256 and place of files' contents, by inode."""
        rows = sorted((partition, h.inode, h.sha256, h.content_offset) for h in hashed if h.sha256 is not None)
        self.insert_rows("content", ("partition", "inode", "sha256", "offset"), rows)

    def changes(self, container: int, changes: Iterable[tuple[str, bytes]]) -> None:
        """What `docker diff` would say, as (kind, path)."""
        rows = ((container, kind, *_path(path)) for kind, path in changes)
        self.insert_rows("container_change", ("container", "kind", "path", "path_raw"), rows)

    # -- logs

    def logs(self, items: Iterable[LogFile | LogLine]) -> None:
        """Logs' files, each before its lines."""
        lines: list[LogLine] = []
        size = 0
        for item in items:
            if isinstance(item, LogFile):
                self.insert_rows("log_file", FILE_COLUMNS, [file_row(item)])
                continue
            lines.append(item)
            size += len(item.text)
            if len(lines) == ROWS or size > PARCEL_TEXT:
                self.insert_rows("log_line", LINE_COLUMNS, lines)
                self._parcel.hand_over()
                lines, size = [], 0
        self.insert_rows("log_line", LINE_COLUMNS, lines)

    # -- what is read from the case itself

    def events(self, events: Iterable[Event]) -> None:
        """What happened, when."""
        self.insert_rows("event", EVENT_COLUMNS, map(event_row, events))

    def lower_entries(self, entries: Iterable[tuple[int, int | None, str | None]]) -> None:
        """What entries of containers' layers stand for, as (entry, lower entry, how sure a copy-up is)."""
        self.insert_rows("lower_entry", ("entry_id", "lower", "copied"), entries)


def _path(raw: bytes) -> tuple[str, bytes | None]:
    text = readable(raw)
    return text, raw_if_unequal(raw, text)
