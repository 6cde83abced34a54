"""show: everything that the case file knows about one container."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from forensics.case.lookup import Case, FoundContainer, find_container, open_case
from forensics.commands.browse import ContainerName
from forensics.commands.output import ForceOption, Format, FormatOption, OutputOption, decoded, write_lines
from forensics.commands.tables import CaseArgument, destination, select
from forensics.text import utc

MAX_LAYERS = 40  # layers that are listed one by one
_LABEL = 16

_LAYERS = """SELECT l.layer, l.kind, l.path, l.entries, l.integrity, l.diff_id FROM containers c
    JOIN container k ON k.id = c.container_number JOIN chain h ON h.top = k.layer_id JOIN layers l ON l.layer_number = h.layer_id
    WHERE c.container_number = :number ORDER BY h.depth"""
_MOUNTS = """SELECT type, source, destination, rw, name AS volume, options FROM container_mount WHERE container = :number
    ORDER BY destination, id"""
_NETWORKS = """SELECT n.name, n.driver, json_extract(e.value, '$.address') AS address, json_extract(e.value, '$.mac') AS mac
    FROM networks n, json_each(n.endpoints) e WHERE json_extract(e.value, '$.container_id') = :id ORDER BY n.name"""
_CHANGES = "SELECT kind, count(*) AS count FROM container_change WHERE container = :number GROUP BY kind ORDER BY kind"
_GAPS = """SELECT artefact, path, error FROM gaps WHERE instr(path, :id) OR instr(error, :id) OR instr(path, :layer)
    ORDER BY path, artefact"""

# What stands out in a hostconfig, by Docker's own names (api/types/container, HostConfig), with what says nothing.
_HOSTCONFIG = (
    ("Privileged", (False,)),
    ("CapAdd", ()),
    ("CapDrop", ()),
    ("Devices", ()),
    ("DeviceCgroupRules", ()),
    ("DeviceRequests", ()),
    ("SecurityOpt", ()),
    ("PidMode", ()),
    ("IpcMode", ("private", "shareable")),
    ("NetworkMode", ("default", "bridge")),
    ("UTSMode", ()),
    ("UsernsMode", ()),
    ("CgroupnsMode", ("private",)),
    ("ReadonlyRootfs", (False,)),
    ("Binds", ()),
    ("VolumesFrom", ()),
    ("PortBindings", ()),
    ("ExtraHosts", ()),
    ("GroupAdd", ()),
    ("Sysctls", ()),
    ("OomScoreAdj", (0,)),
    ("Runtime", ("runc",)),
)


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
        ("mounts", _MOUNTS, ("type", "source", "destination", "rw", "volume", "options")),
        ("networks", _NETWORKS, ("name", "driver", "address", "mac")),
        ("layer_chain", _LAYERS, ("layer", "kind", "path", "entries", "integrity", "diff_id")),
        ("change_counts", _CHANGES, ("kind", "count")),
        ("gaps", _GAPS, ("artefact", "path", "error")),
    )
    columns = []
    for name, query, fields in parts:
        members = ", ".join(f"'{each}', {each}" for each in fields)
        columns.append(f"(SELECT json_group_array(json_object({members})) FROM ({query})) AS {name}")
    return f"SELECT containers.*, {', '.join(columns)} FROM containers WHERE container_number = :number"


def _lines(case: Case, container: FoundContainer) -> Iterator[str]:
    keys = _keys(case, container)
    row = _one(case, "SELECT * FROM containers WHERE container_number = :number", keys)
    yield f"{row['name'] or container.container_id[:12]} ({row['engine']} container {container.container_id})"
    yield from _section("identity", _identity(row))
    yield from _section("process", _process(row))
    yield from _section("state", _state(row))
    yield from _section("privileges", _privileges(row))
    yield from _section("mounts", map(_mount, _all(case, _MOUNTS, keys)))
    yield from _section("networks", map(_network, _all(case, _NETWORKS, keys)))
    yield from _section("layers, the container's own first", _layers(_all(case, _LAYERS, keys), row))
    yield from _section("changes", map(_change, _all(case, _CHANGES, keys)))
    yield from _section("logs", (("driver", row["log_driver"]), ("path", row["log_path"])))
    yield from _section("sources, the surest first", map(_source, _sources(row)))
    yield from _section("could not be read", map(_gap, _all(case, _GAPS, keys)))


def _section(title: str, facts: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    """A title and a line for each fact that is known; nothing at all where none is."""
    lines = [f"  {label:<{_LABEL}}{value}" for label, value in facts if value is not None]
    if lines:
        yield from ("", title, *lines)


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
    yield "state", row["state"]
    yield "exit code", _text(row["exit_code"])
    yield "error", row["error"] or None
    yield "out of memory", "killed" if row["oom_killed"] else None
    yield "pid", _text(row["pid"] or None)
    yield "created", _time(row["created_ns"])
    yield "started", _time(row["started_ns"])
    yield "finished", _time(row["finished_ns"])
    yield "removed", _time(row["removed_ns"])
    yield "restarts", _joined(_text(row["restart_count"]), row["restart_policy"] and f"policy {row['restart_policy']}")


def _privileges(row: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    if row["privileged"]:
        yield "privileged", "yes: all capabilities, all devices, no seccomp, no AppArmor"
    config = _object(row["hostconfig"])
    for key, usual in _HOSTCONFIG:
        value = config.get(key)
        if value and value not in usual and key != "Privileged":
            yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    for key in ("MaskedPaths", "ReadonlyPaths"):
        if config.get(key) == []:
            yield key, "none: /proc and /sys are open"


def _mount(mount: Mapping[str, Any]) -> tuple[str, str | None]:
    mode = None if mount["rw"] is None else "rw" if mount["rw"] else "ro"
    source = mount["source"] or mount["volume"] or ""
    return mount["type"], _joined(f"{source} on {mount['destination']}", mode, mount["options"])


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


def _gap(gap: Mapping[str, Any]) -> tuple[str, str | None]:
    return gap["artefact"], _joined(gap["path"], gap["error"], by=": ")


def _layers(layers: list[dict[str, Any]], row: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    yield "root filesystem", row["rootfs"]
    for layer in layers[:MAX_LAYERS]:
        yield layer["kind"], _joined(layer["path"], f"{layer['entries']} entries", layer["integrity"])
    if len(layers) > MAX_LAYERS:
        yield "", f"and {len(layers) - MAX_LAYERS} more"


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
