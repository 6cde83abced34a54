"""A container's life, from what its engine keeps of it: creation, the last start, the last end, health checks.

An engine keeps the last run only. Renaming leaves no trace in a container's record, removal none but a missing record.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from forensics.records import Event
from forensics.text import counted
from forensics.timeline.record import Told, rows, short
from parsers.docker_health import HealthCheck, parse_health
from parsers.errors import FormatError

_COLUMNS = (
    "id, engine, container_id, name, image, command, state, created_ns, started_ns, finished_ns, removed_ns,"
    " exit_code, oom_killed, error, restart_count, config"
)
_RUNNING = ("running", "paused", "restarting")


class _Container(NamedTuple):
    number: int
    engine: str
    container_id: str
    name: str | None
    image: str | None
    command: str | None
    state: str | None
    created_ns: int | None
    started_ns: int | None
    finished_ns: int | None
    removed_ns: int | None
    exit_code: int | None
    oom_killed: int | None
    error: str | None
    restart_count: int | None
    config: str | None

    @property
    def runs(self) -> bool:
        """Whether it ran when its record was written: the record's end, if any, is the one of an earlier run."""
        earlier = self.started_ns is None or self.finished_ns is None or self.finished_ns < self.started_ns
        return self.state in _RUNNING and earlier


def container_events(db: sqlite3.Connection) -> Iterator[Event]:
    """What the engines' records say of each container's life."""
    for told, row in rows(db, "container", _COLUMNS):
        container = _Container(*row)
        source, confidence = told.source(container.engine), told.confidence()
        for time_ns, event, message in _life(container):
            if time_ns is not None:
                text = f"{message}{told.note}"
                yield Event(
                    time_ns, event, source, text, container.number,
                    confidence=confidence, partition=told.partition, offset=told.offset,
                )  # fmt: skip
        yield from _health(container, told)


def _life(container: _Container) -> Iterator[tuple[int | None, str, str]]:
    called = container.name or container.container_id[:12]
    yield (
        container.created_ns,
        "container created",
        f"{called} from {container.image or 'an unknown image'}: {_command(container)}",
    )
    restarts = f", restarted {counted(container.restart_count, 'time')} by its policy" if container.restart_count else ""
    yield container.removed_ns, "container removed", f"{called}: its directory was deleted, or its engine says so"
    yield container.started_ns, "container started", f"{called}: its last run was seen to have started{restarts}"
    if container.runs:
        yield (
            container.finished_ns,
            "container exited",
            f"{called}: the end of the run before its last; its exit code is not kept",
        )
        return
    code = "an unknown exit code" if container.exit_code is None else f"exit code {container.exit_code}"
    why = f", {short(container.error)}" if container.error else ""
    yield container.finished_ns, "container exited", f"{called}: {code}{why}"
    if container.oom_killed:
        yield (
            container.finished_ns,
            "container out of memory",
            f"{called}: the kernel killed a process of its last run; ended here",
        )


def _command(container: _Container) -> str:
    if container.command is None and container.config is None:
        return "an unknown command"
    words = json.loads(container.command) if container.command else []
    return short(" ".join(words)) or "its image's command"


def _health(container: _Container, told: Told) -> Iterator[Event]:
    for check in _checks(container.config):
        if check.ended_ns is not None:
            result = {0: "healthy", None: "no result"}.get(check.exit_code, f"unhealthy, exit code {check.exit_code}")
            output = f": {short(check.output)}" if check.output else ""
            yield Event(
                check.ended_ns, "health check", told.source(container.engine), f"{result}{output}{told.note}", container.number,
                confidence=told.confidence(), partition=told.partition, offset=told.offset,
            )  # fmt: skip


def _checks(config: str | None) -> tuple[HealthCheck, ...]:
    if config is None or '"Health"' not in config:  # tens of thousands have none
        return ()
    try:
        return parse_health(config.encode("utf-8", "backslashreplace"))
    except FormatError:
        return ()  # the store's reader told it already
