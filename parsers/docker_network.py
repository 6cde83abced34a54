"""The values of libnetwork's local-kv.db: networks, endpoints and sandboxes.

Source: moby v1.9 to v29: libnetwork/datastore, libnetwork/network.go, endpoint.go, sandbox_store.go (MarshalJSON of each). A key
is `docker/network/v1.0/<kind>/<id>.../`; a value is an index of 8 bytes, little-endian, and JSON behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.errors import FormatError
from parsers.json_fields import Fields, parse_object

PREFIX = b"docker/network/v1.0/"
INDEX_SIZE = 8


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """kind `network`. subnets: CIDR texts, IPv4 first."""

    id: str | None
    name: str | None
    driver: str | None
    created_ns: int | None
    labels: dict[str, str]
    subnets: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """kind `endpoint`. name: the container's; address: CIDR text."""

    id: str | None
    network: str
    name: str | None
    sandbox: str | None
    address: str | None
    mac: str | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SandboxRecord:
    """kind `sandbox`: what a running container's network namespace is. endpoints: (endpoint id, network id)."""

    id: str | None
    container_id: str | None
    endpoints: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]


def split_key(key: bytes) -> tuple[str, ...]:
    """The kind and the ids of a key; FormatError where it is none of libnetwork's."""
    if not key.startswith(PREFIX):
        raise FormatError(f"{key[:80]!r} is no key of libnetwork's")
    return tuple(key[len(PREFIX) :].decode("utf-8", "replace").rstrip("/").split("/"))


def parse_network(value: bytes, source: str = "") -> NetworkRecord:
    """Raises FormatError where the value holds no JSON object."""
    top = parse_object(value[INDEX_SIZE:], source)
    return NetworkRecord(
        id=top.text("id") or None,
        name=top.text("name") or None,
        driver=top.text("networkType") or None,
        created_ns=top.time("created"),
        labels=top.text_map("labels") or {},
        subnets=(*_subnets(top, "4"), *_subnets(top, "6")),
        problems=tuple(top.problems),
    )


def parse_endpoint(value: bytes, network: str, source: str = "") -> EndpointRecord:
    """network: the id in the key, which the value does not repeat. Raises FormatError where the value holds no JSON object."""
    top = parse_object(value[INDEX_SIZE:], source)
    interface = top.fields("ep_iface")
    return EndpointRecord(
        id=top.text("id") or None,
        network=network,
        name=top.text("name") or None,
        sandbox=top.text("sandbox") or None,
        address=interface.text("addr") or interface.text("addrv6") or None,
        mac=interface.text("mac") or None,
        problems=tuple(top.problems),
    )


def parse_sandbox(value: bytes, source: str = "") -> SandboxRecord:
    """Raises FormatError where the value holds no JSON object."""
    top = parse_object(value[INDEX_SIZE:], source)
    endpoints = ((pair.text("Eid"), pair.text("Nid")) for pair in top.items("Eps"))
    return SandboxRecord(
        id=top.text("ID") or None,
        container_id=top.text("Cid") or None,
        endpoints=tuple((endpoint, network) for endpoint, network in endpoints if endpoint and network),
        problems=tuple(top.problems),
    )


def _subnets(top: Fields, version: str) -> tuple[str, ...]:
    """The pools in use, else those that were asked for; both stand as JSON inside JSON."""
    pools = [_inner(info, "IPAMData").text("Pool") for info in _inner(top, f"ipamV{version}Info").items("array")]
    if not any(pools):
        pools = [config.text("PreferredPool") for config in _inner(top, f"ipamV{version}Config").items("array")]
    return tuple(pool for pool in pools if pool)


def _inner(outer: Fields, name: str) -> Fields:
    """The document in a text field: the object that it is, or an object that holds its array as `array`."""
    text = outer.text(name)
    if not text:
        return Fields({})
    try:
        return parse_object(b'{"array":%s}' % text.encode() if text.lstrip().startswith("[") else text.encode())
    except FormatError as error:
        outer.problem(f"{name}: {error}")
        return Fields({})
