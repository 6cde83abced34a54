"""info: what a disk image holds, without making a case file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from forensics.commands.carve import ImageArgument, JournalOption, SnapshotOption
from forensics.commands.output import GAPS, Destination, ForceOption, Format, FormatOption, OutputOption, open_output, write_rows
from forensics.commands.secrets import KeyOption, PassphraseOption, secrets
from forensics.records import Gap
from forensics.text import counted

if TYPE_CHECKING:
    from forensics.evidence import Evidence
    from forensics.records import StoreContents
    from forensics.stores.reading import StoreReader
    from forensics.survey import Survey

_COLUMNS = (
    "number", "name", "scheme", "type", "offset", "length", "filesystem", "label", "uuid", "state", "mount_point", "host",
    "stores", "gaps",
)  # fmt: skip
_HOST = ("hostname", "os", "kernel", "timezone", "machine_id")
LISTED_GAPS = 10
_SHOWN = ("number", "name", "scheme", "offset", "length", "filesystem", "label", "state", "mount_point")


def info(
    image: ImageArgument,
    no_journal: JournalOption = False,
    snapshot: SnapshotOption = None,
    passphrase_file: PassphraseOption = None,
    key_file: KeyOption = None,
    format: FormatOption = Format.TABLE,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Show a disk image's volumes, hosts and container stores.

    Example: ctrforensics info disk.img
    """
    from forensics.evidence import open_evidence
    from forensics.stores.all import read_stores
    from forensics.stores.reading import StoreReader
    from forensics.survey import survey

    with open_evidence(image, snapshot) as disk:
        found = survey(disk, not no_journal, secrets(passphrase_file, key_file))
        reader = StoreReader()
        stores = tuple(read_stores(found, reader))
        gaps = [*_disk_gaps(disk), *_gaps(found, reader, stores)]
        to = Destination(output, force, disk.paths)
        if format is Format.TABLE:
            _write_tables(disk, found, stores, gaps, to)
        else:
            write_rows(_rows(found, stores, gaps), _COLUMNS, format, to)
    if gaps:
        raise typer.Exit(GAPS)


def _disk_gaps(evidence: Evidence) -> list[Gap]:
    return [Gap("disk image", problem, path=disk.name) for disk in evidence.disks for problem in disk.problems]


def _gaps(found: Survey, reader: StoreReader, stores: Sequence[StoreContents]) -> list[Gap]:
    problems = [
        Gap(problem.what, problem.error, partition.volume.number, problem.where, problem.offset)
        for partition in found.partitions
        if partition.filesystem is not None
        for problem in partition.filesystem.problems
    ]
    return [*found.gaps, *reader.gaps, *(gap for store in stores for gap in store.gaps), *problems]


def _rows(found: Survey, stores: Sequence[StoreContents], gaps: Sequence[Gap]) -> Iterator[tuple[str | int | None, ...]]:
    """A row for each volume, with what stands on it as JSON."""
    for partition in found.partitions:
        volume, fs = partition.volume, partition.filesystem
        host = found.hosts.get(volume.number)
        known = {} if host is None else {name: getattr(host, name) for name in _HOST}
        on_it = [_counted(each) for each in stores if each.store.partition == volume.number]
        yield (
            volume.number, volume.name, volume.scheme, volume.type, volume.offset, volume.length, partition.kind,
            (fs.label if fs else None) or volume.label, (fs.uuid if fs else None) or volume.uuid, partition.state,
            found.mount_points.get(volume.number), json.dumps(known) if known else None, json.dumps(on_it),
            json.dumps([asdict(gap) for gap in gaps if gap.partition == volume.number]),
        )  # fmt: skip


def _counted(contents: StoreContents) -> dict[str, str | int | None]:
    store = contents.store
    return {
        "engine": store.engine, "version": store.version, "driver": store.driver, "root": store.root,
        "containers": len(contents.containers), "images": len(contents.images), "layers": len(contents.layers),
    }  # fmt: skip


def _write_tables(
    evidence: Evidence, found: Survey, stores: Sequence[StoreContents], gaps: Sequence[Gap], to: Destination
) -> None:
    from forensics.commands.table import write_table

    facts = []
    for disk in evidence.disks:
        facts.append(("disk image", f"{disk.name}, {'' if disk.format == 'raw' else f'{disk.format}, '}{disk.size:,} bytes"))
        facts += disk.details.items()
    for _number, host in sorted(found.hosts.items()):
        facts.append(("host", ", ".join(value for name in _HOST if (value := getattr(host, name)))))
    for contents in stores:
        store = contents.store
        what = " ".join(part for part in (store.engine, store.version, store.driver) if part)
        parts = ((contents.containers, "container"), (contents.images, "container image"), (contents.layers, "layer"))
        numbers = ", ".join(counted(len(records), name) for records, name in parts)
        facts.append(("store", f"{what} in {store.root} (p{store.partition}): {numbers}"))
    if not stores:
        facts.append(("store", "no container store was found"))
    facts += [("gap", ": ".join(part for part in (gap.artefact, gap.path, gap.error) if part)) for gap in gaps[:LISTED_GAPS]]
    if len(gaps) > LISTED_GAPS:
        facts.append(("", f"and {len(gaps) - LISTED_GAPS} more"))
    shown = [_COLUMNS.index(name) for name in _SHOWN]
    with open_output(to) as stream:
        write_table([[row[n] for n in shown] for row in _rows(found, stores, gaps)], _SHOWN, stream, to.is_terminal)
        stream.write(b"\n")
        write_table(facts, (), stream, to.is_terminal)
