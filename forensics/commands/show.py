"""show: everything that the case file knows about one container."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from shlex import quote
from typing import Any

from forensics.case.lookup import Case, FoundContainer, find_container, open_case
from forensics.commands.browse import ContainerName
from forensics.commands.log_place import log_options
from forensics.commands.output import ForceOption, Format, FormatOption, OutputOption, decoded, write_lines
from forensics.commands.tables import CaseArgument, destination, select
from forensics.text import counted, utc

MAX_SHOWN = 40  # of one kind of fact, in the table form
MAX_CHARACTERS = 2000  # of one fact, in the table form
NOT_ENDED = ("created", "running", "paused")  # states in which the engine's exit code says nothing
_LABEL = 16

_LAYERS = """SELECT l.layer, l.kind, l.path, l.entries, l.integrity, l.diff_id FROM containers c
    JOIN container k ON k.id = c.container_number JOIN chain h ON h.top = k.layer_id JOIN layers l ON l.layer_number = h.layer_id
    WHERE c.container_number = :number ORDER BY h.depth"""
_MOUNTS = """SELECT type, source, destination, rw, name AS volume, driver, options FROM container_mount WHERE container = :number
    ORDER BY type = 'engine', destination, id"""
_NETWORKS = """SELECT n.name, n.driver, json_extract(e.value, '$.address') AS address, json_extract(e.value, '$.mac') AS mac
    FROM networks n, json_each(n.endpoints) e WHERE json_extract(e.value, '$.container_id') = :id
    UNION ALL SELECT j.key, (SELECT n.driver FROM networks n WHERE n.engine = c.engine AND n.name = j.key LIMIT 1),
    nullif(json_extract(j.value, '$.IPAddress'), ''), nullif(json_extract(j.value, '$.MacAddress'), '')
    FROM containers c, json_each(CASE WHEN json_valid(c.config) THEN c.config END,
    iif(c.engine = 'docker', '$.NetworkSettings.Networks', '$.newNetworks')) j
    WHERE c.container_number = :number AND j.type = 'object' AND typeof(j.key) = 'text' AND j.key NOT IN (
    SELECT n.name FROM networks n, json_each(n.endpoints) e WHERE json_extract(e.value, '$.container_id') = :id)
    ORDER BY name"""
_CHANGES = "SELECT kind, count(*) AS count FROM container_change WHERE container = :number GROUP BY kind ORDER BY kind"
_FINDINGS = """SELECT severity, rule, title, path, offset FROM findings WHERE container_number = :number
    ORDER BY CASE severity WHEN 'high' THEN 0 WHEN 'medium' THEN 1 WHEN 'low' THEN 2 ELSE 3 END, finding_number"""
_GAPS = """SELECT artefact, path, error FROM gaps WHERE instr(path, :id) OR instr(error, :id) OR instr(path, :layer)
    ORDER BY path, artefact"""


def show(
    case: CaseArgument,
    container: ContainerName,
    format: FormatOption = Format.TABLE,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Show everything about one container.

    Example: ctrforensics show disk.img.case.db web
    """
    with open_case(case) as opened:
        found = find_container(opened, container)
        to = destination(opened, output, force)
        if format is Format.TABLE:
            write_lines(_lines(opened, found), to)
        else:
            select(opened, _record(), format, to, _keys(opened, found))


def _keys(case: Case, container: FoundContainer) -> dict[str, Any]:
    (layer,) = case.db.execute("SELECT layer FROM containers WHERE container_number = ?", (container.number,)).fetchone()
    return {"number": container.number, "id": container.container_id, "layer": layer}


def _record() -> str:
    """One row: the container's columns, and what belongs to it as JSON arrays."""
    parts = (
        ("mounts", _MOUNTS, ("type", "source", "destination", "rw", "volume", "driver", "options")),
        ("networks", _NETWORKS, ("name", "driver", "address", "mac")),
        ("layer_chain", _LAYERS, ("layer", "kind", "path", "entries", "integrity", "diff_id")),
        ("change_counts", _CHANGES, ("kind", "count")),
        ("findings", _FINDINGS, ("severity", "rule", "title", "path", "offset")),
        ("gaps", _GAPS, ("artefact", "path", "error")),
    )
    columns = []
    for name, query, fields in parts:
        members = ", ".join(f"'{each}', {each}" for each in fields)
        columns.append(f"(SELECT json_group_array(json_object({members})) FROM ({query})) AS {name}")
    return f"SELECT containers.*, {', '.join(columns)} FROM containers WHERE container_number = :number"


def _lines(case: Case, container: FoundContainer) -> Iterator[str]:
    from forensics.commands.privileges import privileges

    keys = _keys(case, container)
    row = _one(case, "SELECT * FROM containers WHERE container_number = :number", keys)
    config, hostconfig = _object(row["config"]), _object(row["hostconfig"])
    sections: tuple[tuple[str, Iterable[tuple[str, str | None]]], ...] = (
        ("identity", _identity(row)),
        ("process", _process(row)),
        ("state", _state(row)),
        ("privileges", privileges(row, config, hostconfig)),
        ("mounts", map(_mount, _all(case, _MOUNTS, keys))),
        ("networks", map(_network, _all(case, _NETWORKS, keys))),
        ("layers, the container's own first", _layers(_all(case, _LAYERS, keys), row)),
        ("changes", map(_change, _all(case, _CHANGES, keys))),
        ("logs", _logs(row)),
        ("findings, the gravest first", map(_finding, _all(case, _FINDINGS, keys))),
        ("sources, the surest first", map(_source, _sources(row))),
        ("could not be read", map(_gap, _all(case, _GAPS, keys))),
    )
    whole = f"ctrforensics show {quote(str(case.path))} {container.container_id} -f json"
    yield f"{row['name'] or container.container_id[:12]} ({row['engine']} container {container.container_id})"
    for title, facts in sections:
        yield from _section(title, facts, whole)


def _section(title: str, facts: Iterable[tuple[str, str | None]], whole: str) -> Iterator[str]:
    """A title and a line for each fact that is known; nothing at all where none is. whole: the command that shows all of them."""
    lines = []
    known = ((label, value) for label, value in facts if value is not None)
    for label, group in groupby(known, key=itemgetter(0)):
        values = [value for _label, value in group]
        lines += [f"  {label:<{_LABEL}}{_cut(value, whole)}" for value in values[:MAX_SHOWN]]
        if len(values) > MAX_SHOWN:
            lines.append(f"  {label:<{_LABEL}}and {len(values) - MAX_SHOWN:,} more: {whole}")
    if lines:
        yield from ("", title, *lines)


def _cut(value: str, whole: str) -> str:
    if len(value) <= MAX_CHARACTERS:
        return value
    return f"{value[:MAX_CHARACTERS]} ... and {len(value) - MAX_CHARACTERS:,} characters more: {whole}"


def _identity(row: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    yield "id", row["container_id"]
    yield "name", row["name"]
    yield "pod", row["pod"]
    yield "image", row["image"]
    yield "image id", row["image_id"]
    yield "namespace", row["namespace"]
    yield "hostname", row["hostname"]
    yield from (("label", f"{key}={value}") for key, value in sorted(_object(row["labels"]).items()))
    yield "origin", _joined(row["origin"], row["confidence"])
    yield "read from", row["source"]


def _process(row: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    yield "command", row["command"]
    yield "user", row["user"] or None
    yield "directory", row["working_dir"] or None
    yield from (("environment", str(each)) for each in _array(row["env"]))


def _state(row: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    removed = row["origin"] != "allocated"
    last = None if row["state"] in (None, "removing", "dead") else f"last known {row['state']}"
    yield "state", _joined("removed", last, by="; ") if removed else row["state"]
    yield "exit code", _text(row["exit_code"]) if row["state"] not in NOT_ENDED else None
    yield "error", row["error"] or None
    yield "out of memory", "killed" if row["oom_killed"] else None
    yield "health", _health(row)
    yield "pid", _text(row["pid"] or None)
    yield "created", _time(row["created_ns"])
    yield "started", _time(row["started_ns"])
    yield "finished", _time(row["finished_ns"])
    yield "removed", _time(row["removed_ns"])
    yield "restarts", _joined(_text(row["restart_count"]), row["restart_policy"] and f"policy {row['restart_policy']}")


def _health(row: Mapping[str, Any]) -> str | None:
    """What Docker's record has; the daemon writes it at starts and stops, and keeps later checks in its memory."""
    state = _object(row["config"]).get("State")
    health = state.get("Health") if isinstance(state, dict) else None
    status = health.get("Status") if isinstance(health, dict) else None
    return f"{status}, when the record was written" if isinstance(status, str) and status else None


def _logs(row: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    yield "driver", row["log_driver"]
    yield "options", log_options(row["hostconfig"])
    yield "path", row["log_path"]


def _mount(mount: Mapping[str, Any]) -> tuple[str, str | None]:
    mode = None if mount["rw"] is None else "rw" if mount["rw"] else "ro"
    source = mount["source"] or mount["volume"] or ""
    return mount["type"], _joined(_joined(source, f"on {mount['destination']}", by=" "), mode, mount["options"])


def _network(network: Mapping[str, Any]) -> tuple[str, str | None]:
    return network["name"], _joined(network["driver"], network["address"], network["mac"]) or ""


def _change(change: Mapping[str, Any]) -> tuple[str, str | None]:
    return {"A": "added", "C": "changed", "D": "deleted"}.get(change["kind"], change["kind"]), str(change["count"])


def _sources(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every source of a recovered container."""
    return [each for each in _array(row["sources"]) if isinstance(each, dict)]


def _source(source: Mapping[str, Any]) -> tuple[str, str | None]:
    otherwise = "; ".join(f"{column} {value}" for column, value in source["differs"].items())
    place = f"p{source['partition']}:{source['path']}, byte {source['offset']}"
    return source["confidence"], _joined(f"{source['how']}, {place}", f"says otherwise: {otherwise}" if otherwise else None)


def _finding(finding: Mapping[str, Any]) -> tuple[str, str | None]:
    return finding["severity"], _joined(finding["title"], finding["path"] and f"({finding['path']})", by=" ")


def _gap(gap: Mapping[str, Any]) -> tuple[str, str | None]:
    return gap["artefact"], _joined(gap["path"], gap["error"], by=": ")


def _layers(layers: list[dict[str, Any]], row: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    yield "root filesystem", row["rootfs"]
    for layer in layers:
        yield layer["kind"], _joined(layer["path"], counted(layer["entries"], "entry", "entries"), layer["integrity"])


def _all(case: Case, sql: str, keys: Mapping[str, Any]) -> list[dict[str, Any]]:
    cursor = case.db.execute(sql, keys)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _one(case: Case, sql: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    return _all(case, sql, keys)[0]


def _object(text: str | None) -> dict[str, Any]:
    """A JSON object out of evidence; empty where it is none."""
    value = decoded(text) if text else None
    return value if isinstance(value, dict) else {}


def _array(text: str | None) -> list[Any]:
    value = decoded(text) if text else None
    return value if isinstance(value, list) else []


def _joined(*parts: str | None, by: str = ", ") -> str | None:
    return by.join(part for part in parts if part) or None


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _time(ns: int | None) -> str | None:
    return None if ns is None else utc(ns)
