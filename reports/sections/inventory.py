"""Every container that was on the host: what it was, how it was started, what of it is left."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.redact import hidden, is_secret_name
from reports.scope import SHORT_ID, Scope, objects, pairs, read, words

MAX_CONTAINERS = 500  # that are told one by one


@dataclass(frozen=True, slots=True)
class Address:
    """A container in a network."""

    network: str
    address: str | None
    mac: str | None


@dataclass(frozen=True, slots=True)
class Container:
    """One container. command: its words; env, labels: names and values; added, changed, deleted: paths, as docker diff counts.

    known_changes: all of them; None where nothing could be compared: its layer or its container image is gone.
    """

    number: int
    container_id: str
    name: str | None
    pod: str | None
    engine: str
    namespace: str | None
    image: str | None
    image_id: str | None
    state: str | None
    exit_code: int | None
    error: str | None
    created_ns: int | None
    started_ns: int | None
    finished_ns: int | None
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    privileged: bool | None
    restart_count: int | None
    restart_policy: str | None
    hostname: str | None
    user: str | None
    working_dir: str | None
    log_driver: str | None
    layer: str | None
    rootfs: str
    origin: str
    confidence: str | None
    source: str | None
    added: int
    changed: int
    deleted: int
    high: int
    medium: int
    findings: int
    log_lines: int
    addresses: tuple[Address, ...]
    known_changes: int | None

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or self.container_id[:SHORT_ID]

    @property
    def changes(self) -> int:
        """How many paths differ from its container image."""
        return self.added + self.changed + self.deleted

    @property
    def state_text(self) -> str:
        """Its state, with the exit code of one that ended; of a removed one, what its record said last."""
        state = self.state or "unknown"
        if self.exit_code is not None and state in ("exited", "dead"):
            state = f"{state} ({self.exit_code})"
        if self.origin == "allocated":
            return state
        return "removed" if self.state in (None, "removing", "dead") else f"removed; last known {state}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """The containers of the report, oldest first. left_out: how many more there are.

    states: how many are in each state, as their engines have it; removed: how many their engines no longer know.
    """

    containers: tuple[Container, ...]
    left_out: int
    states: tuple[tuple[str | None, int], ...]
    removed: int


@dataclass(frozen=True, slots=True)
class _Row:
    container_number: int
    container_id: str
    name: str | None
    pod: str | None
    engine: str
    namespace: str | None
    image: str | None
    image_id: str | None
    state: str | None
    exit_code: int | None
    error: str | None
    created_ns: int | None
    started_ns: int | None
    finished_ns: int | None
    command: str | None
    env: str | None
    config: str | None
    labels: str | None
    privileged: int | None
    restart_count: int | None
    restart_policy: str | None
    hostname: str | None
    user: str | None
    working_dir: str | None
    log_driver: str | None
    layer: str | None
    rootfs: str
    origin: str
    confidence: str | None
    source: str | None
    changes: int | None


def read_inventory(scope: Scope, show_secrets: bool) -> Inventory:
    """The containers that the report is about."""
    rows = read(
        scope,
        _Row,
        f"FROM containers WHERE {scope.only()} ORDER BY origin, created_ns, engine, namespace, container_id"
        f" LIMIT {MAX_CONTAINERS}",
    )
    addresses = _addresses(scope)
    return Inventory(
        tuple(_container(scope, row, addresses.get(row.container_id, ()), show_secrets) for row in rows),
        scope.count("containers", scope.only()) - len(rows),
        tuple(
            scope.db.execute(
                f"SELECT state, count(*) FROM containers WHERE origin = 'allocated' AND {scope.only()}"
                " GROUP BY state ORDER BY 2 DESC, 1"
            ).fetchall()
        ),
        scope.count("containers", f"origin <> 'allocated' AND {scope.only()}"),
    )


def _container(scope: Scope, row: _Row, addresses: tuple[Address, ...], show_secrets: bool) -> Container:
    number = row.container_number
    changes = dict(
        scope.db.execute("SELECT kind, count(*) FROM changes WHERE container_number = ? GROUP BY kind", (number,)).fetchall()
    )
    found = dict(
        scope.db.execute(
            "SELECT severity, count(*) FROM findings WHERE container_number = ? GROUP BY severity", (number,)
        ).fetchall()
    )
    return Container(
        number, row.container_id, row.name, row.pod, row.engine, row.namespace, row.image, row.image_id, row.state, row.exit_code,
        row.error, row.created_ns, row.started_ns, row.finished_ns, words(row.command),
        _env(words(row.env), secret_variables(row.config), show_secrets),
        hidden_values(pairs(row.labels), show_secrets), None if row.privileged is None else bool(row.privileged),
        row.restart_count, row.restart_policy, row.hostname, row.user, row.working_dir, row.log_driver, row.layer, row.rootfs,
        row.origin, row.confidence, row.source, changes.get("A", 0), changes.get("C", 0), changes.get("D", 0),
        found.get("high", 0), found.get("medium", 0), sum(found.values()), scope.count("logs", f"container_number = {number}"),
        addresses, row.changes,
    )  # fmt: skip


def hidden_values(named: tuple[tuple[str, str], ...], show_secrets: bool) -> tuple[tuple[str, str], ...]:
    """Names and values, without the values that are secrets."""
    return tuple((name, hidden(value) if value and is_secret_name(name) and not show_secrets else value) for name, value in named)


def secret_variables(config: str | None) -> frozenset[str]:
    """The variables that Podman set from its secrets, whatever their names: `secret_env` in libpod's config of a container."""
    return frozenset(name for name, _secret in pairs(dict(pairs(config)).get("secret_env")))


def _env(env: tuple[str, ...], secret: frozenset[str], show_secrets: bool) -> tuple[tuple[str, str], ...]:
    split = [each.partition("=") for each in env]
    named = ((name, hidden(value) if name in secret and not show_secrets else value) for name, _equals, value in split)
    return hidden_values(tuple(named), show_secrets)


def _addresses(scope: Scope) -> dict[str, tuple[Address, ...]]:
    found: dict[str, list[Address]] = {}
    for name, endpoints in scope.db.execute("SELECT name, endpoints FROM networks ORDER BY name, network_id"):
        for endpoint in objects(endpoints):
            container = endpoint.get("container_id")
            if isinstance(container, str):
                address, mac = endpoint.get("address"), endpoint.get("mac")
                found.setdefault(container, []).append(
                    Address(name, address if isinstance(address, str) else None, mac if isinstance(mac, str) else None)
                )
    return {container: tuple(each) for container, each in found.items()}
