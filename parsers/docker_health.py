"""The results of a container's health checks, in Docker's config.v2.json: the last five of its last run.

Source: moby 29.0, api/types/container/health.go (HealthcheckResult), daemon/health.go (maxLogEntries).
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.json_fields import parse_object

MAX_CHECKS = 100


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check. exit_code: 0 is healthy. output: what it printed, at most 4 KiB."""

    started_ns: int | None
    ended_ns: int | None
    exit_code: int | None
    output: str | None


def parse_health(data: bytes, source: str = "") -> tuple[HealthCheck, ...]:
    """The checks in a config.v2.json, oldest first; none where it has no `State.Health`. Raises FormatError."""
    health = parse_object(data, source).fields("State").fields("Health")
    checks = (HealthCheck(e.time("Start"), e.time("End"), e.integer("ExitCode"), e.text("Output")) for e in health.items("Log"))
    return tuple(checks)[:MAX_CHECKS]
