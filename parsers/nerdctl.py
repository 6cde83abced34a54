"""What nerdctl keeps of its containers: labels of their records, and small JSON files.

Source of the names: nerdctl v0.8 to v2.1: pkg/labels/labels.go, pkg/ocihook/state/state.go (lifecycle.json),
pkg/logging/logging.go (log-config.json), pkg/mountutil/mountutil.go (the label nerdctl/mounts), pkg/dnsutil/hostsstore
(etchosts/<namespace>/<id>/meta.json).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from parsers.json_fields import parse_object

PREFIX = "nerdctl/"
NAME, STATE_DIR, LOG_URI, HOSTNAME = "nerdctl/name", "nerdctl/state-dir", "nerdctl/log-uri", "nerdctl/hostname"
MOUNTS, NETWORKS, POD = "nerdctl/mounts", "nerdctl/networks", "nerdctl/pod-sandbox-id"
RESTART_POLICY, RESTART_COUNT, STATUS = (
    "containerd.io/restart.policy",
    "containerd.io/restart.count",
    "containerd.io/restart.status",
)


@dataclass(frozen=True, slots=True)
class NerdctlMount:
    """One of the label nerdctl/mounts."""

    type: str
    name: str | None
    source: str | None
    destination: str
    driver: str | None
    mode: str | None
    rw: bool | None


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """lifecycle.json: when the runtime last started the container, and whether creating it failed."""

    started_ns: int | None
    create_error: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hosts:
    """meta.json of etchosts: there from the start of a container's task until its end, or longer, where the host went down first.

    networks: the name of each, and the interface, address and MAC that CNI gave on it. extra: host names with addresses.
    """

    name: str | None
    hostname: str | None
    networks: tuple[tuple[str, str | None, str | None, str | None], ...]
    extra: Mapping[str, str]
    problems: tuple[str, ...]


def parse_hosts(data: bytes, source: str = "") -> Hosts:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    networks = []
    for name, result in top.each("Networks"):
        address = next(filter(None, (each.text("address") for each in result.items("ips"))), None)
        own = next((each for each in result.items("interfaces") if each.text("sandbox")), None)
        networks.append((name, own.text("name") if own else None, address, own.text("mac") if own else None))
    return Hosts(
        name=top.text("Name") or None,
        hostname=top.text("Hostname") or None,
        networks=tuple(networks),
        extra=top.text_map("ExtraHosts") or {},
        problems=tuple(top.problems),
    )


def parse_lifecycle(data: bytes, source: str = "") -> Lifecycle:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    return Lifecycle(top.time("started_at"), bool(top.flag("create_error")), tuple(top.problems))


def parse_log_driver(data: bytes, source: str = "") -> str | None:
    """The log driver in log-config.json. Raises FormatError where the document is no JSON object."""
    return parse_object(data, source).text("driver") or None


def parse_mounts(label: str) -> tuple[NerdctlMount, ...]:
    """The mounts that the user asked for. Raises FormatError where the label is no JSON array."""
    top = parse_object(b'{"mounts":' + label.encode("utf-8", "replace") + b"}")
    return tuple(
        NerdctlMount(
            type=mount.text("Type") or "bind",
            name=mount.text("Name") or None,
            source=mount.text("Source") or None,
            destination=mount.text("Destination") or "",
            driver=mount.text("Driver") or None,
            mode=mount.text("Mode") or None,
            rw=mount.flag("RW"),
        )
        for mount in top.items("mounts")
    )
