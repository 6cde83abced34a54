"""What stores hold besides containers and images: layers, volumes, networks, leases, contents."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping

from forensics.records import Event
from forensics.timeline.record import Told, rows, short

_SOURCE_LABEL = "containerd.io/distribution.source."
_ARTEFACTS: Mapping[str, tuple[str, str, str]] = {
    "content": ("content ingested", "a blob of an image came here, or into this namespace", "certain"),
    "forgotten blob": ("content written", "content that no image has; the file's time of modification", "certain"),
    "image name": ("image registered", "the image was first pulled, imported, built or tagged under this name", "certain"),
    "ingest": ("content ingest started", "never finished", "certain"),
    "lease": ("lease created", "keeps contents and snapshots from being collected", "certain"),
    "lock": ("store written", "the last time that a process changed what the lock guards", "certain"),
    "pod": ("pod created", "", "certain"),
    "pulled layer": ("image layer pulled", "the last pull or push of the layer; stays when the image is removed", "probable"),
    "runtime spec": ("container task created", "the engine made it ready to run", "certain"),
    "secret": ("secret created", "", "certain"),
    "snapshot": ("snapshot created", "prepared, or committed when its content was complete", "certain"),
    "static pod": ("static pod written", "the manifest's time of modification", "probable"),
    "task": ("shim started", "the birth of its directory, as the container's task was made", "certain"),
}
"""Kinds of artefacts: what the event is called, what its time means, and how sure that is."""


def layer_events(db: sqlite3.Connection) -> Iterator[Event]:
    """Each layer's creation: the birth of its directory."""
    for number, kind, name, partition, born, offset, engine, container in db.execute(
        "SELECT l.id, l.kind, l.name, l.partition, e.crtime_ns, e.offset, s.engine,"
        " (SELECT c.id FROM container c WHERE c.layer_id = l.id ORDER BY c.id LIMIT 1)"
        " FROM layer l JOIN store s ON s.id = l.store_id JOIN entry e ON e.id = l.first_entry AND e.layer_id = l.id"
        " WHERE e.crtime_ns IS NOT NULL ORDER BY l.id"
    ).fetchall():
        message = f"{engine} layer #{number} {name}: the birth of its directory"
        yield Event(born, f"{kind} layer created", "birth", message, container, partition=partition, offset=offset)


def volume_events(db: sqlite3.Connection) -> Iterator[Event]:
    """Volumes."""
    for told, (engine, name, path, created) in rows(db, "volume", "engine, name, path, created_ns", "created_ns IS NOT NULL"):
        yield _event(told, engine, created, "volume created", f"{name}{f' in {path}' if path else ''}")


def network_events(db: sqlite3.Connection) -> Iterator[Event]:
    """Container networks; where their configuration tells no time, its file's does."""
    for told, (engine, name, driver, created) in rows(
        db, "network", "engine, name, driver, created_ns", "created_ns IS NOT NULL"
    ):
        certain = engine in ("docker", "podman")
        note = "" if certain else "; when its configuration was last written"
        message = f"{name}{f', {driver}' if driver else ''}{note}"
        yield _event(told, engine, created, "network created", message, "certain" if certain else "possible")


def artefact_events(db: sqlite3.Connection) -> Iterator[Event]:
    """Leases, pods, unfinished contents and the like."""
    numbers = dict(db.execute("SELECT container_id, id FROM container ORDER BY id DESC"))
    columns = "engine, kind, name, namespace, path, time_ns, details"
    for told, (engine, kind, name, namespace, path, time_ns, details) in rows(db, "artefact", columns, "time_ns IS NOT NULL"):
        event, means, confidence = _ARTEFACTS.get(kind, (f"{kind} written", "", "probable"))
        where = f" in {path}" if path else ""
        called = f"{namespace}/{name}" if namespace else name
        message = f"{short(called)}{where}{_registries(details)}{f': {means}' if means else ''}"
        yield _event(told, engine, time_ns, event, message, confidence, numbers.get(name))


def _registries(details: str) -> str:
    """Where a layer or a blob came from, as Docker's `distribution` or containerd's labels tell."""
    if "repositories" not in details and _SOURCE_LABEL not in details:  # nearly all have neither
        return ""
    told = json.loads(details)
    sources = [
        f"{name.removeprefix(_SOURCE_LABEL)}/{value}" for name, value in sorted(told.items()) if name.startswith(_SOURCE_LABEL)
    ]
    found = " ".join((told.get("repositories", ""), *sources)).strip()
    return f" from {short(found)}" if found else ""


def _event(
    told: Told, engine: str, time_ns: int, event: str, message: str, confidence: str = "certain", container: int | None = None
) -> Event:
    return Event(
        time_ns, event, told.source(engine), message + told.note, container,
        confidence=told.confidence(confidence), partition=told.partition, offset=told.offset,
    )  # fmt: skip
