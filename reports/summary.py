"""What a person wants to know at the end of a carve, read back from the case file."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from forensics.case.told import SANDBOX, STATE
from forensics.text import counted

LISTED_GAPS = 5
LISTED_CONTAINERS = 30
LISTED_FINDINGS = 5
STORE_WHERE_SEVERAL = """iif((SELECT max(n) FROM (SELECT count(DISTINCT store_id) AS n FROM container GROUP BY engine)) > 1,
    (SELECT s.root || iif((SELECT count(DISTINCT partition) FROM store) > 1, ' (p' || s.partition || ')', '')
    FROM store s WHERE s.id = c.store_id), NULL)"""
"""The store of a container `c`, where the containers of one engine are in several of them."""


@dataclass(frozen=True, slots=True)
class Summary:
    """facts: labelled lines above the containers; containers: a table, its header first; after: labelled lines below it."""

    facts: tuple[tuple[str, str], ...]
    containers: tuple[tuple[str | int | None, ...], ...]
    after: tuple[tuple[str, str], ...]


def summarise(db: sqlite3.Connection, case: Path) -> Summary:
    """The summary of the case file `case`, open as `db`."""
    facts = [*_hosts(db), *_evidence(db), *_partitions(db), *_stores(db), *_layers(db), *_counts(db), *_recovered(db)]
    return Summary(tuple(facts), _containers(db), (*_unlisted(db), *_findings(db), *_gaps(db), *_next(db, case)))


def _hosts(db: sqlite3.Connection) -> list[tuple[str, str]]:
    rows = db.execute("SELECT hostname, os, kernel, timezone, partition FROM host ORDER BY partition").fetchall()
    named = ("", "", "kernel ", "time zone ")
    return [
        ("host", ", ".join([name + value for name, value in zip(named, row[:4], strict=True) if value] or ["nothing is known"]))
        for row in rows
    ] or [("host", "no Linux host was found")]


def _evidence(db: sqlite3.Connection) -> list[tuple[str, str]]:
    found = []
    for files, size, kind, sha256, details in db.execute("SELECT files, size, format, sha256, details FROM disk_images"):
        first, *others = json.loads(files)
        more = f" and {counted(len(others), 'more file')}" if others else ""
        found.append(("disk image", f"{first}{more}, {'' if kind == 'raw' else f'{kind}, '}{size:,} bytes"))
        found += [("sha256", sha256)] if sha256 else []
        found += [(name, value) for name, value in json.loads(details).items() if name.startswith("stored ")]
    return found


def _partitions(db: sqlite3.Connection) -> list[tuple[str, str]]:
    rows = db.execute("SELECT name, number, filesystem, state, mount_point FROM partitions ORDER BY number")
    return [
        ("volume", ", ".join(part for part in (name or f"p{number}", kind, state, point and f"mounted at {point}") if part))
        for name, number, kind, state, point in rows
    ]


def _stores(db: sqlite3.Connection) -> list[tuple[str, str]]:
    rows = db.execute("SELECT engine, version, driver, root, partition, origin FROM stores ORDER BY key").fetchall()
    return [
        (
            "store",
            f"{' '.join(part for part in (engine, version, driver) if part)} in {root or 'an unknown place'} (p{partition})"
            f"{'' if origin == 'allocated' else ', not there any more'}",
        )
        for engine, version, driver, root, partition, origin in rows
    ] or [("store", "no container store was found")]


def _layers(db: sqlite3.Connection) -> list[tuple[str, str]]:
    rows = db.execute(
        "SELECT iif(kind = 'orphan' AND origin = 'recovered' AND entries <= 1, 'removed and empty', kind) AS what, count(*),"
        " sum(entries) FROM layers GROUP BY what ORDER BY what = 'removed and empty', what"
    ).fetchall()
    if not rows:
        return []
    kinds = ", ".join(f"{count} {kind}" for kind, count, _entries in rows)
    entries = counted(sum(row[2] for row in rows), "entry", "entries")
    return [("layers", f"{sum(row[1] for row in rows)} ({kinds}), {entries}")]


def _counts(db: sqlite3.Connection) -> list[tuple[str, str]]:
    found = [
        (db.execute(f"SELECT count(*) FROM {view}").fetchone()[0], name)
        for view, name in (("images", "container image"), ("container_volumes", "volume"), ("networks", "network"))
    ]
    told = ", ".join(counted(count, name) for count, name in found if count)
    return [("also", told)] if told else []


def _recovered(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """What came back, how sure that is, and what of the documents that were tried did not."""
    told = []
    for view, name in (("containers", "container"), ("images", "container image")):
        rows = db.execute(
            f"SELECT confidence, count(*) FROM {view} WHERE origin = 'recovered' GROUP BY confidence ORDER BY confidence"
        ).fetchall()
        if rows:
            sure = ", ".join(f"{count} {confidence}" for confidence, count in rows)
            told.append(f"{counted(sum(count for _confidence, count in rows), name)} ({sure})")
    lines = [("recovered", ", ".join(told))] if told else []
    documents = db.execute("SELECT kind, seen, lost FROM recovery WHERE what = 'documents' AND lost ORDER BY kind")
    failed = ", ".join(f"{count} of {tried} {kind}" for kind, tried, count in documents)
    return [*lines, *_deleted(db), *([("not recoverable", failed)] if failed else [])]


def _deleted(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Deleted files that had a content: of how many it came back, and why the rest is lost."""
    seen, whole, partial, lost = db.execute(
        "SELECT coalesce(sum(seen), 0), sum(whole), sum(partial), sum(lost) FROM recovery WHERE what = 'deleted files'"
    ).fetchone()
    if not seen:
        return []
    rows = db.execute("SELECT kind, seen FROM recovery WHERE what = 'lost content' ORDER BY seen DESC, kind")
    why = "; ".join(f"{kind}: {count:,}" for kind, count in rows)
    parts = [(whole, "whole"), (partial, "in part"), (lost, "without content")]
    told = ", ".join(f"{count:,} {how}" for count, how in parts if count)
    return [("deleted files", f"{seen:,}: {told}{f' ({why})' if why else ''}")]


def _containers(db: sqlite3.Connection) -> tuple[tuple[str | int | None, ...], ...]:
    """The first ones, with the columns that tell anything: the engine, namespace and store where containers have several."""
    rows = db.execute(
        f"SELECT substr(c.container_id, 1, 12), iif(c.pod IS NULL, c.name, iif({SANDBOX}, c.pod, c.pod || '/' || c.name)),"
        " iif((SELECT count(DISTINCT engine) FROM container) > 1, c.engine, NULL),"
        " iif((SELECT count(DISTINCT namespace) FROM container) > 1, c.namespace, NULL),"
        f" {STORE_WHERE_SEVERAL},"
        " iif(c.image GLOB 'sha256:*', substr(c.image, 1, 19), c.image),"
        f" {STATE} || iif(c.privileged, ', privileged', ''),"
        " (SELECT group_concat(kind || ' ' || n, ', ') FROM (SELECT kind, count(*) AS n FROM container_change"
        " WHERE container = c.id GROUP BY kind ORDER BY kind)),"
        " nullif(c.rootfs, 'complete'), nullif(c.origin, 'allocated')"
        " FROM container c ORDER BY c.origin, c.engine, c.created_ns, c.container_id LIMIT ?",
        (LISTED_CONTAINERS,),
    ).fetchall()
    names = ("id", "container", "engine", "namespace", "store", "image", "state", "changes", "rootfs", "origin")
    told = [n for n in range(len(names)) if any(row[n] is not None for row in rows)]
    return tuple(tuple(row[n] for n in told) for row in (names, *rows))


def _unlisted(db: sqlite3.Connection) -> list[tuple[str, str]]:
    (count,) = db.execute("SELECT count(*) FROM containers").fetchone()
    more = count - LISTED_CONTAINERS
    return [("containers", f"{count} in all, {more} more than are listed here")] if more > 0 else []


def _findings(db: sqlite3.Connection) -> list[tuple[str, str]]:
    if not db.execute("SELECT EXISTS (SELECT 1 FROM rules)").fetchone()[0]:
        return [("findings", "not looked for")]
    number = dict(db.execute("SELECT severity, count(*) FROM findings GROUP BY severity").fetchall())
    told = ", ".join(f"{number[severity]} {severity}" for severity in ("high", "medium", "low", "info") if severity in number)
    rows = db.execute(
        "SELECT severity, coalesce(container, substr(container_id, 1, 12)), title, path FROM findings"
        " WHERE severity IN ('high', 'medium') ORDER BY severity, container_number, finding_number LIMIT ?",
        (LISTED_FINDINGS,),
    ).fetchall()
    lines = [(row[0], ": ".join(part for part in (row[1], row[2]) if part) + (f" ({row[3]})" if row[3] else "")) for row in rows]
    if db.execute("SELECT value FROM run WHERE key = 'findings'").fetchone() == ("settings",):
        lines.append(("", "files that containers changed were not looked into; carve --findings does"))
    return [("findings", told or "none"), *lines]


def _gaps(db: sqlite3.Connection) -> list[tuple[str, str]]:
    (count,) = db.execute("SELECT count(*) FROM gaps").fetchone()
    if not count:
        return [("gaps", "none: everything that was found could be read")]
    rows = db.execute(
        "SELECT artefact, path, error FROM gaps ORDER BY partition, path, artefact LIMIT ?", (LISTED_GAPS,)
    ).fetchall()
    lines = [(str(number), ": ".join(part for part in row if part)) for number, row in enumerate(rows, 1)]
    return [("gaps", f"{counted(count, 'thing')} could not be read{', the first ones are' if count > len(rows) else ''}"), *lines]


def _next(db: sqlite3.Connection, case: Path) -> list[tuple[str, str]]:
    (gaps,) = db.execute("SELECT count(*) FROM gaps").fetchone()
    rows = db.execute(
        "SELECT name, container_id FROM containers c ORDER BY origin, (SELECT count(*) FROM findings f"
        " WHERE f.container_number = c.container_number AND f.severity = 'high') DESC, changes DESC, created_ns"
    ).fetchall()
    file = quote(str(case))
    commands = [f"containers {file}"] if len(rows) > LISTED_CONTAINERS else []
    if rows:
        name, container_id = rows[0]
        plain = name is not None and re.fullmatch(r"[\w.][\w.-]*", name, re.ASCII) and [n for n, _id in rows].count(name) == 1
        container = name if plain else container_id[:12]
        commands += [f"show {file} {container}", f"diff {file} {container}", f"ls {file} {container} / -l"]
        commands += [f"export {file} {container} -o {container}.tar"]
    if db.execute("SELECT EXISTS (SELECT 1 FROM findings)").fetchone()[0]:
        commands.append(f"findings {file}")
    if gaps > LISTED_GAPS:
        commands.append(f"gaps {file}")
    lines = [("" if number else "next", f"ctrforensics {command}") for number, command in enumerate(commands)]
    return [("case file", str(case)), *lines]
