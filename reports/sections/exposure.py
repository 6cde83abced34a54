"""What containers could reach and what they knew: mounts, published ports, secrets in their settings."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.redact import hidden, is_secret_name, without_secrets
from reports.scope import Scope, objects, pairs, read, words
from reports.sections.inventory import Container, secret_variables

MAX_MOUNTS = 1_000
MAX_SECRETS = 500
# Mounted from the host, these give a way out of a container or show what others keep there.
_SENSITIVE = (
    "/", "/boot", "/dev", "/etc", "/home", "/lib/modules", "/proc", "/root", "/run", "/sys", "/usr", "/var", "/var/lib",
    "/var/lib/containerd", "/var/lib/containers", "/var/lib/docker", "/var/lib/kubelet", "/var/log", "/var/run",
)  # fmt: skip
_SOCKETS = ("docker.sock", "containerd.sock", "crio.sock", "podman.sock", "dockershim.sock")


@dataclass(frozen=True, slots=True)
class Mount:
    """Something mounted into a container. sensitive: it is a part of the host that containers usually do not get."""

    container: str
    container_number: int
    type: str
    source: str | None
    destination: str
    rw: bool | None
    volume: str | None
    sensitive: bool


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that looks like a secret. place: where it stands."""

    holder: str
    place: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Exposure:
    """mounts: those of the host's directories first."""

    mounts: tuple[Mount, ...]
    mounts_left_out: int
    secrets: tuple[Secret, ...]
    secrets_left_out: int


@dataclass(frozen=True, slots=True)
class _Row:
    container: str
    container_number: int
    type: str
    source: str | None
    destination: str
    rw: int | None
    volume: str | None


def read_exposure(scope: Scope, containers: tuple[Container, ...], show_secrets: bool) -> Exposure:
    """Mounts and secrets of the containers."""
    rows = read(
        scope,
        _Row,
        f"FROM mounts WHERE {scope.only()} ORDER BY container_number, destination LIMIT {MAX_MOUNTS}",
        spelled={"container": "coalesce(container, substr(container_id, 1, 12))"},
    )
    mounts = tuple(
        Mount(row.container, row.container_number, row.type, row.source, row.destination,
              None if row.rw is None else bool(row.rw), row.volume, _is_sensitive(row))
        for row in rows
    )  # fmt: skip
    secrets = list(dict.fromkeys(_secrets(scope, containers, show_secrets)))
    return Exposure(
        tuple(sorted(mounts, key=lambda mount: not mount.sensitive)),
        scope.count("mounts", scope.only()) - len(rows),
        tuple(secrets[:MAX_SECRETS]),
        max(0, len(secrets) - MAX_SECRETS),
    )


def _is_sensitive(row: _Row) -> bool:
    if row.source is None or row.volume is not None:
        return False
    source = row.source.rstrip("/") or "/"
    return source in _SENSITIVE or source.endswith(_SOCKETS)


def _secrets(scope: Scope, containers: tuple[Container, ...], show_secrets: bool) -> list[Secret]:
    found: list[Secret] = []
    for container in containers:
        (env, labels, config) = scope.db.execute(
            "SELECT env, labels, config FROM containers WHERE container_number = ?", (container.number,)
        ).fetchone()
        given = secret_variables(config)
        split = [each.partition("=") for each in words(env)]
        variables = tuple((name, value) for name, _equals, value in split)
        for place, named in (("environment", variables), ("label", pairs(labels))):
            for name, value in named:
                if value and (is_secret_name(name) or name in given or without_secrets(value) != value):
                    found.append(Secret(container.title, place, name, value if show_secrets else hidden(value)))
        command = " ".join(container.command)
        if without_secrets(command) != command:
            found.append(Secret(container.title, "command line", "", command if show_secrets else without_secrets(command)))
    images = "SELECT image_id FROM containers WHERE " + scope.only()
    for refs, history in scope.db.execute(f"SELECT refs, history FROM images WHERE image_id IN ({images}) ORDER BY image_id"):
        holder = next(iter(words(refs)), "an image without a name")
        for step in objects(history):
            made_by = str(step.get("created_by") or "")
            if without_secrets(made_by) != made_by:
                found.append(Secret(holder, "image history", "", made_by if show_secrets else without_secrets(made_by)))
    return found
