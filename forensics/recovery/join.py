"""Clues to one and the same container or container image, joined into one record.

Each column is taken from the source that is surest of it and, of two that are as sure, from the newer state. What another source
says otherwise is kept beside it, in `differs`. The record is as sure as the least sure source that gave a column; a probable one
is certain where a source of another kind, which an engine's own file is, names the same id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from forensics.records import Container, ContainerImage, RecordSource
from forensics.recovery.clues import CERTAIN, MENTIONS, POSSIBLE, PROBABLE, RANK, Clue, Recovered

MAX_SOURCES = 64  # of one record; the surest are kept
MAX_DIFFERENT = 400  # characters of what another source says of a column
ENGINES = ("docker", "podman", "crio", "buildah", "containerd")
"""Which engine a container is, where two know it: Docker's and CRI's are containerd's, too."""

STATES = ("created", "initialized", "running", "paused", "restarting", "stopped", "exited", "removing", "dead")
ENDED = frozenset(("created", "stopped", "exited", "removing", "dead"))
"""States in which a container has no process."""

_NOT_SAID = frozenset(("engine", "namespace", "container_id", "image_id", "origin", "source", "confidence", "sources"))
_MAY_BE_EMPTY = frozenset(("env", "command"))
_WHOLE_ID = re.compile(r"[0-9a-f]{64}")


def join_containers(clues: Iterable[Clue[Container]]) -> list[tuple[Container, str | None]]:
    """One record for each container, with the key of its store; sorted by engine, namespace and id."""
    found = [_join(group, _container_order, {"image_id"}) for group in _groups(clues, _container_key)]
    return sorted(found, key=lambda each: (each[0].engine, each[0].namespace or "", each[0].container_id))


def join_images(clues: Iterable[Clue[ContainerImage]]) -> list[tuple[ContainerImage, str | None]]:
    """One record for each container image, with the key of its store; sorted by engine, namespace and id."""
    found = [_join(group, _image_order, set()) for group in _groups(clues, _image_key)]
    return sorted(found, key=lambda each: (each[0].engine, each[0].namespace or "", each[0].image_id))


def container_key(container: Container) -> tuple[str, ...]:
    """What makes two records one container: a random id alone, any other id within its engine and namespace."""
    if _WHOLE_ID.fullmatch(container.container_id):
        return (container.container_id,)
    return container.engine, container.namespace or "", container.container_id


def image_key(image: ContainerImage) -> tuple[str, ...]:
    """What makes two records one container image: its id, within its engine and namespace."""
    return image.engine, image.namespace or "", image.image_id.removeprefix("sha256:")


def _container_key(clue: Clue[Container]) -> tuple[str, ...]:
    return container_key(clue.record)


def _image_key(clue: Clue[ContainerImage]) -> tuple[str, ...]:
    return image_key(clue.record)


def _groups(clues: Iterable[Clue[Recovered]], key: Callable[[Clue[Recovered]], tuple[str, ...]]) -> list[list[Clue[Recovered]]]:
    """The clues to each thing; one that was read twice at the same place counts once."""
    groups: dict[tuple[str, ...], dict[object, Clue[Recovered]]] = {}
    for clue in clues:
        source = clue.record.source
        place = (source.partition, source.offset) if source is not None and source.offset is not None else id(clue)
        known = groups.setdefault(key(clue), {})
        if place not in known or RANK[clue.confidence] < RANK[known[place].confidence]:
            known[place] = clue
    return [list(group.values()) for group in groups.values()]


def _container_order(clue: Clue[Container]) -> tuple[Any, ...]:
    """Newest state first."""
    record = clue.record
    latest = max((time for time in (record.started_ns, record.finished_ns, record.created_ns) if time is not None), default=0)
    state = STATES.index(record.state) if record.state in STATES else -1
    return -latest, -state, -(clue.written_ns or 0)


def _image_order(clue: Clue[ContainerImage]) -> tuple[Any, ...]:
    return (-(clue.record.updated_ns or clue.record.created_ns or 0),)


def _join(
    group: Sequence[Clue[Recovered]], order: Callable[[Clue[Recovered]], tuple[Any, ...]], also_said: set[str]
) -> tuple[Recovered, str | None]:
    raised = _raised(group)
    ordered = sorted(zip(group, raised, strict=True), key=lambda pair: (RANK[pair[1]], *order(pair[0]), _place(pair[0].record)))
    columns = [field.name for field in fields(group[0].record) if field.name not in _NOT_SAID - also_said]
    joined: dict[str, Any] = {}
    gives: list[list[str]] = [[] for _ in ordered]
    for column in columns:
        saying = [at for at, (clue, _) in enumerate(ordered) if _says(column, getattr(clue.record, column))]
        if saying:
            at = min(saying, key=lambda at: (column in ordered[at][0].weak, at))
            joined[column] = getattr(ordered[at][0].record, column)
            gives[at].append(column)
    if joined.get("state") in ENDED and "pid" in joined:
        joined["pid"] = None  # an older state's: its source says so in `differs`
        gives = [[column for column in given if column != "pid"] for given in gives]
    sources = [
        RecordSource(clue.record.source, confidence, tuple(gives[at]), _differences(clue.record, joined, gives[at]))
        for at, (clue, confidence) in enumerate(ordered)
        if clue.record.source is not None
    ]
    giving = [confidence for (_, confidence), given in zip(ordered, gives, strict=True) if given] or [ordered[0][1]]
    first = min((clue for clue, _ in ordered), key=lambda clue: _engine(clue.record))
    record = replace(
        first.record,
        **joined,
        origin="recovered",
        confidence=max(giving, key=RANK.__getitem__),
        source=ordered[0][0].record.source,
        sources=tuple(sources[:MAX_SOURCES]),
    )
    stores = [clue.store for clue, _ in ordered if clue.store is not None and clue.record.engine == record.engine]
    return record, next(iter(stores), None)


def _raised(group: Sequence[Clue[Recovered]]) -> list[str]:
    """Each clue's confidence; a probable one is certain where a source of another kind names the same id for certain.

    A mere mention is probable where a source of another kind names the same id.
    """
    certain = {clue.kind for clue in group if clue.confidence == CERTAIN}
    kinds = {clue.kind for clue in group}
    raised = []
    for clue in group:
        if clue.confidence == PROBABLE and certain - {clue.kind}:
            raised.append(CERTAIN)
        elif clue.confidence == POSSIBLE and clue.kind in MENTIONS and kinds - {clue.kind}:
            raised.append(PROBABLE)
        else:
            raised.append(clue.confidence)
    return raised


def _differences(record: Recovered, joined: Mapping[str, Any], given: Sequence[str]) -> dict[str, object]:
    """What a source says otherwise than the record does."""
    found: dict[str, object] = {}
    for column, value in joined.items():
        own = getattr(record, column)
        if column not in given and _says(column, own) and own != value and column not in ("config", "hostconfig"):
            found[column] = own if isinstance(own, int) else str(own)[:MAX_DIFFERENT]
    return found


def _says(column: str, value: object) -> bool:
    """Whether a source tells a column. Of a container, no environment is told to be none; of the rest, empty is not told."""
    return value is not None and (column in _MAY_BE_EMPTY or value not in ((), {}, ""))


def _engine(record: Container | ContainerImage) -> int:
    return ENGINES.index(record.engine) if record.engine in ENGINES else len(ENGINES)


def _place(record: Container | ContainerImage) -> tuple[int, int, str]:
    """For the same order in every run."""
    source = record.source
    return (source.partition, source.offset or 0, source.path) if source is not None else (0, 0, "")
