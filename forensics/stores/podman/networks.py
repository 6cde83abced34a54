"""Podman's networks: a file for each in /etc/containers/networks, or a rootless graphroot's networks/, or in /etc/cni/net.d."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from forensics.records import Endpoint, Network
from forensics.stores.podman.libpod import Libpod
from forensics.stores.reading import Place, StoreReader
from parsers.podman_network import parse_conflist, parse_network

DEFAULT = "podman"
MAX_FILE = 4 << 20
MAX_FILES = 10_000


def storage_networks(reader: StoreReader, directories: Iterable[Place], libpod: Libpod) -> tuple[Network, ...]:
    """Every network that has a file, and those that only containers name: `podman` itself has none before it is changed."""
    endpoints = _endpoints(libpod)
    records: dict[str, Network] = {}
    for directory in directories:
        for place in reader.children(directory, "f", MAX_FILES):
            netavark = place.name.endswith(b".json")
            if not netavark and not place.name.endswith(b".conflist"):
                continue
            network = reader.load(place, "network", parse_network if netavark else parse_conflist, MAX_FILE)
            if network is None:
                continue
            reader.tell("network", network.problems, place)
            name = network.name or place.name.rpartition(b".")[0].decode("utf-8", "replace")
            records.setdefault(
                name,
                Network(
                    engine="podman",
                    name=name,
                    network_id=network.id or _id_of(name),
                    driver=network.driver,
                    subnets=network.subnets,
                    endpoints=endpoints.get(name, ()),
                    created_ns=network.created_ns,
                    labels=network.labels,
                    source=reader.provenance(place),
                ),
            )
    for _, told in sorted(libpod.containers.items()):
        names = {*told.config.networks} if told.config is not None else set()
        names.update(each.network for each in (told.state.attachments if told.state is not None else ()))
        for name in sorted(names - records.keys()):
            own = _id_of(name) if name == DEFAULT else ""
            records[name] = Network("podman", name, own, None, endpoints=endpoints.get(name, ()), source=told.source)
    return tuple(records[name] for name in sorted(records))


def _id_of(name: str) -> str:
    """The id that Podman gives a network without one, which CNI's are and its default one: SHA-256 of its name."""
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()


def _endpoints(libpod: Libpod) -> dict[str, tuple[Endpoint, ...]]:
    """The interfaces of containers that ran when the host stopped, by network. libpod has no ids for them."""
    found: dict[str, list[Endpoint]] = {}
    for cid, told in sorted(libpod.containers.items()):
        for each in told.state.attachments if told.state is not None else ():
            found.setdefault(each.network, []).append(Endpoint(cid, each.interface, each.address, each.mac))
    return {network: tuple(endpoints) for network, endpoints in found.items()}
