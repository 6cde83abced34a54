"""Where a container's lines are if the case has none of them: what its engine was told of its log driver."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from forensics.case.lookup import Case, FoundContainer
from forensics.commands.output import decoded

NO_LOG = "none"
JOURNAL, PASSED_ON = "journald", ("passthrough", "passthrough-tty")
FILES = ("json-file", "local", "k8s-file")


def log_options(hostconfig: str | None) -> str | None:
    """The options of Docker's log driver as `docker run --log-opt` takes them."""
    document = decoded(hostconfig) if hostconfig else None
    config = document.get("LogConfig") if isinstance(document, dict) else None
    options = config.get("Config") if isinstance(config, dict) else None
    if not isinstance(options, dict) or not options:
        return None
    return ", ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in sorted(options.items())
    )


def why_no_lines(case: Case, container: FoundContainer) -> str | None:
    """One line for people, where the case has no line of a container; None where it has some."""
    (lines,) = case.db.execute("SELECT count(*) FROM logs WHERE container_number = ?", (container.number,)).fetchone()
    if lines:
        return None
    if case.db.execute("SELECT 1 FROM run WHERE key = 'logs' AND value = 'false'").fetchone():
        return "the case has no lines: it was carved with --no-logs"
    query = "SELECT name, container_id, log_driver, log_path, hostconfig FROM containers WHERE container_number = ?"
    cursor = case.db.execute(query, (container.number,))
    row = dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))
    return f"{row['name'] or row['container_id'][:12]}: the case has no line of it; {_place(row)}"


def _place(row: Mapping[str, Any]) -> str:
    driver, options = row["log_driver"], log_options(row["hostconfig"])
    if driver is None:
        return "how it was logged is not known"
    if driver == NO_LOG:
        return "its log driver is none: what it wrote was kept nowhere"
    if driver == JOURNAL:
        return f"its log driver is {driver}: its lines went to systemd's journal, and none of them is in a journal on this disk"
    if driver in PASSED_ON:
        return f"its log driver is {driver}: its lines went where those of Podman itself went; of a unit, to systemd's journal"
    if driver in FILES:
        return f"its log driver is {driver}, its file {row['log_path'] or 'not known'}"
    return f"its log driver is {driver}: its lines went to where that sends them{f' ({options})' if options else ''}"
