"""BuildKit's databases: cache records (metadata_v2.db), snapshots of a graph driver (snapshots.db), the builds (history.db).

Sources: buildkit v0.8 to v0.25: cache/metadata.go (keys of a record, each value JSON `{"value": ..., "index": ...}`),
api/services/control/control.proto (BuildHistoryRecord), solver/llbsolver/history.go; moby v19.03 to v28,
builder/builder-next/adapters/snapshot/snapshot.go (buckets of snapshots.db).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from parsers.errors import FormatError
from parsers.protobuf_any import parse_message

MAIN = (b"_main",)
RECORDS = (b"_records",)

_T = TypeVar("_T")
_SECOND = 10**9
_MAX_SECONDS = 253_402_300_800  # the year 10000, where protobuf's Timestamp ends
_PARENTS = ("cache.parent", "cache.mergeParents", "cache.lowerDiffParent", "cache.upperDiffParent")


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """One record of the build cache. type: regular, source.local, exec.cachemount ... parents: several of a merged one.

    snapshot: its name; mutable: the record that it was made from and shares its files with. committed: False where it can still
    be written to. merged: it is its parents, one on the other. refs: images that were pulled for it.
    """

    id: str
    type: str
    description: str | None
    created_ns: int | None
    last_used_ns: int | None
    usage_count: int | None
    parents: tuple[str, ...]
    snapshot: str
    mutable: str | None
    committed: bool
    size: int | None
    blob: str | None
    chain_id: str | None
    diff_id: str | None
    merged: bool
    refs: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BuildHistory:
    """One build. attributes: of the frontend: filename, context, target, build-arg:NAME ... result: what the exporter told."""

    ref: str
    frontend: str | None
    attributes: dict[str, str]
    error: str | None
    created_ns: int | None
    completed_ns: int | None
    result: dict[str, str] = field(default_factory=dict)
    cached_steps: int | None = None
    total_steps: int | None = None
    completed_steps: int | None = None


@dataclass(frozen=True, slots=True)
class GraphSnapshot:
    """A snapshot of a graph driver. committed: the snapshot whose directory it has; chain_id: of the layer that it became."""

    parent: str | None
    committed: str | None
    chain_id: str | None
    size: int | None


def parse_cache_record(record_id: str, values: Mapping[bytes, bytes]) -> CacheRecord:
    """A record from the keys of its bucket; what is damaged in it is a problem, and unknown."""
    problems: list[str] = []
    known = {name.decode("utf-8", "replace"): _value(name, data, problems) for name, data in values.items() if data}

    def text(name: str) -> str | None:
        return _typed(known, name, str, problems) or None

    def number(name: str) -> int | None:
        found = _typed(known, name, int, problems)
        return found if found is None or found >= 0 else None

    parents: list[str] = []
    for name in _PARENTS:
        found = known.get(name)
        several = found if isinstance(found, list) else [found] if found else []
        parents += [each for each in several if isinstance(each, str) and each]
    refs = _typed(known, "cache.imageRefs", list, problems) or []
    return CacheRecord(
        id=record_id,
        type=text("cache.recordType") or "regular",
        description=text("cache.description"),
        created_ns=number("cache.createdAt"),
        last_used_ns=number("cache.lastUsedAt"),
        usage_count=number("cache.usageCount"),
        parents=tuple(parents),
        snapshot=text("cache.snapshot") or record_id,  # which BuildKit before v0.9 did not write where it is the same
        mutable=text("cache.equalMutable"),
        committed=known.get("snapshot.committed") is True,
        size=number("snapshot.size"),
        blob=text("cache.blob"),
        chain_id=text("cache.chainID"),
        diff_id=text("cache.diffID"),
        merged=bool(known.get("cache.mergeParents")),
        refs=tuple(each for each in refs if isinstance(each, str)),
        problems=tuple(problems),
    )


def parse_graph_snapshot(values: Mapping[bytes, bytes]) -> GraphSnapshot:
    """A snapshot from the keys of its bucket in snapshots.db."""

    def text(name: bytes) -> str | None:
        return values.get(name, b"").decode("utf-8", "replace") or None

    size = values.get(b"size", b"")
    return GraphSnapshot(
        text(b"parent"), text(b"committed"), text(b"chainid"), int(size) if size.isdigit() and len(size) < 20 else None
    )


def parse_history(data: bytes) -> BuildHistory:
    """A BuildHistoryRecord. Raises FormatError where the bytes are no protobuf, or tell of no build."""
    texts: dict[int, str] = {}
    maps: dict[int, dict[str, str]] = {3: {}, 9: {}}
    times: dict[int, int | None] = {}
    numbers: dict[int, int] = {}
    error = None
    for number, content in parse_message(data):
        if isinstance(content, int):
            numbers[number] = content
        elif number in (1, 2):
            texts[number] = content.decode("utf-8", "replace")
        elif number in maps:
            entry = _texts(content)
            maps[number][entry.get(1, "")] = entry.get(2, "")
        elif number == 5:
            error = _texts(content).get(2)
        elif number in (6, 7):
            times[number] = _timestamp(content)
    if not texts.get(1):
        raise FormatError("a BuildHistoryRecord without Ref", offset=0)
    return BuildHistory(
        ref=texts[1],
        frontend=texts.get(2) or None,
        attributes=maps[3],
        error=error or None,
        created_ns=times.get(6),
        completed_ns=times.get(7),
        result=maps[9],
        cached_steps=numbers.get(15),
        total_steps=numbers.get(16),
        completed_steps=numbers.get(17),
    )


def _value(name: bytes, data: bytes, problems: list[str]) -> object:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        problems.append(f"{name[:40]!r}: no JSON")
        return None
    return document.get("value") if isinstance(document, dict) else None


def _typed(known: Mapping[str, object], name: str, kind: type[_T], problems: list[str]) -> _T | None:
    found = known.get(name)
    if found is None:
        return None
    if not isinstance(found, kind) or isinstance(found, bool):
        problems.append(f"{name}: {str(found)[:40]!r} instead of {kind.__name__}")
        return None
    return found


def _texts(data: bytes) -> dict[int, str]:
    return {number: content.decode("utf-8", "replace") for number, content in parse_message(data) if isinstance(content, bytes)}


def _timestamp(data: bytes) -> int | None:
    """google.protobuf.Timestamp: 1 seconds, 2 nanos."""
    fields = {number: content for number, content in parse_message(data) if isinstance(content, int)}
    seconds, nanos = fields.get(1, 0), fields.get(2, 0)
    return seconds * _SECOND + nanos if 0 < seconds < _MAX_SECONDS and nanos < _SECOND else None
