"""A Podman network's file: netavark's JSON, or CNI's conflist before it.

Source of the fields: containers/common v0.44 to v0.64, libnetwork/types/network.go; containernetworking/cni, libcni/conf.go, and
the ranges of its plugin host-local.
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.json_fields import parse_object


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """One network. id: None for CNI, which has none. subnets: CIDR texts."""

    name: str | None
    id: str | None
    driver: str | None
    created_ns: int | None
    subnets: tuple[str, ...]
    labels: dict[str, str]
    problems: tuple[str, ...]


def parse_network(data: bytes, source: str = "") -> NetworkFile:
    """netavark's file. Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    return NetworkFile(
        name=top.text("name") or None,
        id=top.text("id") or None,
        driver=top.text("driver") or None,
        created_ns=top.time("created"),
        subnets=tuple(subnet for each in top.items("subnets") if (subnet := each.text("subnet"))),
        labels=top.text_map("labels") or {},
        problems=tuple(top.problems),
    )


def parse_conflist(data: bytes, source: str = "") -> NetworkFile:
    """CNI's file; its driver is the first plugin's type. Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    plugins = list(top.items("plugins")) or [top]
    subnets = []
    for plugin in plugins:
        ipam = plugin.fields("ipam")
        subnets += [subnet for subnet in [ipam.text("subnet")] if subnet]
        for ranges in ipam.arrays("ranges"):
            subnets += [subnet for each in ranges if (subnet := each.text("subnet"))]
    return NetworkFile(
        name=top.text("name") or None,
        id=None,
        driver=next((kind for plugin in plugins if (kind := plugin.text("type"))), None),
        created_ns=None,
        subnets=tuple(subnets),
        labels=top.fields("args").text_map("podman_labels") or {},
        problems=tuple(top.problems),
    )
