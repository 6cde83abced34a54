"""The commands that list a view of the case file: containers, images, layers, mounts and so on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from forensics.case.lookup import Case, evidence_files, open_case
from forensics.case.told import STATE
from forensics.commands.output import Destination, ForceOption, Format, FormatOption, OutputOption, say, write_rows
from forensics.text import utc

CaseArgument = Annotated[Path, typer.Argument(metavar="CASE", help="The case file that carve made.", show_default=False)]


@dataclass(frozen=True, slots=True)
class Listing:
    """A command that lists a view. shown: what a table shows of it, as SQL; the other formats have every column."""

    name: str
    help: str
    view: str
    order: str
    shown: str


LISTINGS = (
    Listing(
        "containers",
        "Every container, with its image, state and times.",
        "containers c",
        "engine, namespace, created_ns, container_id",
        "substr(container_id, 1, 12) AS id, name, pod, engine, namespace,"
        " iif((SELECT max(n) FROM (SELECT count(DISTINCT store_id) AS n FROM container GROUP BY engine)) > 1, store, NULL)"
        " AS store, image,"
        f" {STATE} AS state,"
        " seconds(created_ns) AS created, seconds(finished_ns) AS finished, iif(privileged, 'yes', NULL) AS privileged, changes,"
        " nullif(rootfs, 'complete') AS rootfs, nullif(origin, 'allocated') AS origin",
    ),
    Listing(
        "images",
        "Every container image.",
        "images",
        "engine, namespace, created_ns, image_id",
        "substr(replace(image_id, 'sha256:', ''), 1, 12) AS id, list(refs) AS refs, engine, namespace,"
        " seconds(created_ns) AS created, size_bytes AS size, json_array_length(layers) AS layers, architecture,"
        " nullif(origin, 'allocated') AS origin",
    ),
    Listing(
        "layers",
        "Every layer of every store, orphans too.",
        "layers",
        "store, layer_number",
        "'#' || layer_number AS number, engine, kind, '#' || (SELECT lower_id FROM layer WHERE id = layer_number) AS lower,"
        " entries, integrity, path, nullif(origin, 'allocated') AS origin",
    ),
    Listing(
        "mounts",
        "What was mounted into each container.",
        "mounts",
        "container, container_id, destination",
        "substr(container_id, 1, 12) AS id, container, type, source, destination,"
        " CASE rw WHEN 1 THEN 'rw' WHEN 0 THEN 'ro' END AS mode, volume, options",
    ),
    Listing(
        "volumes",
        "Named and anonymous volumes, and who used them.",
        "container_volumes",
        "engine, name",
        "name, engine, driver, path, (SELECT group_concat(coalesce(c.name, substr(u.value, 1, 12)), ', ')"
        " FROM json_each(used_by) u LEFT JOIN containers c ON u.value = c.container_id) AS used_by,"
        " seconds(created_ns) AS created, nullif(origin, 'allocated') AS origin",
    ),
    Listing(
        "builds",
        "What was built, and the steps that the build cache keeps.",
        "build_records",
        "engine, store_id, created_ns, record_id",
        "record_id AS id, engine, kind, seconds(created_ns) AS created, seconds(coalesce(completed_ns, last_used_ns)) AS ended,"
        " description, '#' || layer_number AS layer, size_bytes AS size, usage_count AS used, parent,"
        " CASE WHEN kind != 'build' AND mutable THEN 'mutable' WHEN shared THEN 'shared' END AS state,"
        " nullif(origin, 'allocated') AS origin",
    ),
    Listing(
        "networks",
        "Container networks with their subnets.",
        "networks",
        "engine, name, network_id",
        "name, substr(network_id, 1, 12) AS id, engine, driver, list(subnets) AS subnets,"
        " json_array_length(endpoints) AS endpoints, seconds(created_ns) AS created, nullif(origin, 'allocated') AS origin",
    ),
    Listing(
        "deleted",
        "Deleted files, with what is left of them.",
        "deleted_files",
        "container IS NULL, container, layer, path, deleted_number",
        "deleted_number AS number, container, substr(layer, 1, 12) AS layer, type, path, size,"
        " iif(recovered_bytes < size, size - recovered_bytes, NULL) AS lost, seconds(deleted_ns) AS deleted,"
        " nullif(deleted_means, 'at') AS means, method, confidence, substr(sha256, 1, 12) AS sha256",
    ),
    Listing(
        "stores",
        "The engines' stores that were found.",
        "stores",
        "key",
        "engine, version, driver, root, partition, nullif(origin, 'allocated') AS origin",
    ),
    Listing(
        "partitions",
        "The disk image's volumes and their filesystems.",
        "partitions",
        "number",
        "number, name, scheme, offset, length, filesystem, label, state, mount_point",
    ),
    Listing(
        "gaps",
        "What could not be read, where, and why.",
        "gaps",
        "partition, path, artefact",
        "artefact, partition, path, offset, error",
    ),
)  # fmt: skip


def listing_command(listing: Listing) -> Callable[..., None]:
    """The command for one listing."""

    def command(
        case: CaseArgument,
        format: FormatOption = Format.TABLE,
        output: OutputOption = None,
        force: ForceOption = False,
    ) -> None:
        with open_case(case) as opened:
            columns = listing.shown if format is Format.TABLE else "*"
            sql = f"SELECT {columns} FROM {listing.view} ORDER BY {listing.order}"
            select(opened, sql, format, destination(opened, output, force))

    command.__name__ = listing.name
    command.__doc__ = f"{listing.help}\n\nExample: ctrforensics {listing.name} disk.img.case.db --format jsonl"
    return command


def select(case: Case, sql: str, form: Format, to: Destination, values: Sequence[Any] | Mapping[str, Any] = ()) -> None:
    """Write what a SELECT of ours gives; in a table, columns without a single value are left out."""
    case.db.create_function("seconds", 1, _seconds, deterministic=True)
    case.db.create_function("list", 1, _list, deterministic=True)
    cursor = case.db.execute(sql, values)
    columns = [column[0] for column in cursor.description]
    if form is not Format.TABLE:
        write_rows(cursor, columns, form, to)
        return
    rows = cursor.fetchall()
    if not rows:
        say("there is none in this case")
    filled = [n for n in range(len(columns)) if not rows or any(row[n] is not None for row in rows)]
    write_rows(([row[n] for n in filled] for row in rows), [columns[n] for n in filled], form, to)


def destination(case: Case, output: Path | None, force: bool, images: Sequence[Path] | None = None) -> Destination:
    """Where a command's output goes: never onto the case file or the evidence, wherever that is now."""
    return Destination(output, force, (case.path, *evidence_files(case), *(images or ())))


def _seconds(ns: int | None) -> str | None:
    """A time to the second, as tables have room for."""
    return None if ns is None else utc(ns).partition(".")[0].replace("T", " ") + "Z"


def _list(text: str | None) -> str | None:
    """A JSON array of texts as a person would write it; None where it is empty."""
    return ", ".join(str(item) for item in json.loads(text)) or None if text else None
