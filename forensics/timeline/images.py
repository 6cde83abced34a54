"""Container images and builds: when their configs say that they were made, and when they came here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

from forensics.records import Event
from forensics.timeline.record import Told, rows, short

_IMAGES = "engine, image_id, refs, created_ns, updated_ns, history"
_BUILDS = "engine, kind, description, record_id, created_ns, completed_ns, last_used_ns"
_Step = tuple[int, str, str, str]  # time, engine, what it did, its comment


def image_events(db: sqlite3.Connection) -> Iterator[Event]:
    """Images and the steps of their histories; a step that several images share is one event."""
    steps: dict[_Step, tuple[Told, list[str]]] = {}
    for told, row in rows(db, "container_image", _IMAGES):
        engine, image_id, refs, created, updated, history = row
        called = _called(json.loads(refs), image_id)
        if created is not None:
            yield _event(told, engine, created, "image created", f"{called}: its config's time", "probable")
        if updated is not None:
            yield _event(told, engine, updated, "image tagged", f"{called}: {_updated(engine)}")
        for step in json.loads(history or "[]"):
            if step["created_ns"] is not None:
                key = (step["created_ns"], engine, step["created_by"] or "", step["comment"] or "")
                steps.setdefault(key, (told, []))[1].append(called)
    for (time_ns, engine, made_by, comment), (told, images) in steps.items():
        what = " | ".join(short(part) for part in (made_by, comment) if part) or "a step without a command"
        yield _event(told, engine, time_ns, "image history step", f"{short(', '.join(images))}: {what}", "probable")


def build_events(db: sqlite3.Connection) -> Iterator[Event]:
    """Builds, and the steps that the build cache keeps."""
    for told, row in rows(db, "build_record", _BUILDS):
        engine, kind, description, record_id, created, completed, used = row
        called = short(description) or record_id
        is_build = kind == "build"
        if created is not None:
            yield _event(told, engine, created, "build started" if is_build else "build step", f"{kind}: {called}")
        if completed is not None:
            yield _event(told, engine, completed, "build completed", f"{kind}: {called}")
        if used is not None:
            yield _event(told, engine, used, "build cache used", f"{kind}: {called}")


def _called(refs: list[str], image_id: str) -> str:
    """An image's tags, else its other names, else the beginning of its id."""
    tags = [ref for ref in refs if "@" not in ref and not ref.startswith("sha256:")]
    return ", ".join(tags or refs) or image_id.removeprefix("sha256:")[:12]


def _event(told: Told, engine: str, time_ns: int, event: str, message: str, confidence: str = "certain") -> Event:
    return Event(
        time_ns, event, told.source(engine), message + told.note,
        confidence=told.confidence(confidence), partition=told.partition, offset=told.offset,
    )  # fmt: skip


def _updated(engine: str) -> str:
    if engine == "docker":
        return "the last time that it was pulled, loaded, built, committed or tagged here"
    return "the last time that its record changed: pulled, imported, tagged or labelled"
