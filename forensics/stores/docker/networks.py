"""The networks of a data-root: network/files/local-kv.db, bucket `libnetwork`.

Endpoints and sandboxes are recorded only while a container is attached, so they tell which one was running and where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forensics.records import Endpoint, Gap, Network, Provenance
from forensics.stores.bolt import live_keys
from forensics.stores.docker.containers import StoredContainer
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.docker_network import (
    EndpointRecord,
    NetworkRecord,
    SandboxRecord,
    parse_endpoint,
    parse_network,
    parse_sandbox,
    split_key,
)
from parsers.errors import FormatError

ARTEFACT = "local-kv.db"
BUCKET = (b"libnetwork",)
KINDS = {"network": 2, "endpoint": 3, "sandbox": 2}  # parts of a key


@dataclass(frozen=True, slots=True)
class StoredNetworks:
    """The records of local-kv.db with their places. names: what endpoints call their containers, by container id."""

    networks: tuple[tuple[NetworkRecord, Provenance], ...]
    endpoints: tuple[EndpointRecord, ...]
    sandboxes: tuple[SandboxRecord, ...]
    names: dict[str, str]


def read_networks(reader: StoreReader, database: Place | None) -> StoredNetworks:
    """All live records of local-kv.db."""
    networks: list[tuple[NetworkRecord, Provenance]] = []
    endpoints: list[EndpointRecord] = []
    sandboxes: list[SandboxRecord] = []
    for key, value, where in live_keys(reader, database, ARTEFACT, BUCKET):
        try:
            kind, *ids = split_key(key)
            if len(ids) + 1 != KINDS.get(kind):
                continue
            if kind == "network":
                networks.append((parse_network(value), where))
            elif kind == "endpoint":
                endpoints.append(parse_endpoint(value, ids[0]))
            else:
                sandboxes.append(parse_sandbox(value))
        except FormatError as error:
            reader.gaps.append(Gap(ARTEFACT, f"{readable(key[:200])}: {error.what}", where.partition, where.path, where.offset))
    records: list[NetworkRecord | EndpointRecord | SandboxRecord] = [
        *(network for network, _ in networks),
        *endpoints,
        *sandboxes,
    ]
    for record in records:
        reader.tell(ARTEFACT, record.problems, database)
    owner = {sandbox.id: sandbox.container_id for sandbox in sandboxes}
    names = {cid: e.name for e in endpoints if e.name is not None and (cid := owner.get(e.sandbox)) is not None}
    return StoredNetworks(tuple(networks), tuple(endpoints), tuple(sandboxes), names)


def docker_networks(
    reader: StoreReader, stored: StoredNetworks, containers: Mapping[str, StoredContainer]
) -> tuple[Network, ...]:
    """The records of all networks; those that only containers' configs still name are gone, or their record is damaged."""
    attached = _endpoints(stored, containers)
    records = {
        network.id or where.path: Network(
            engine="docker",
            name=network.name or "",
            network_id=network.id or "",
            driver=network.driver,
            subnets=network.subnets,
            endpoints=attached.get(network.id or "", ()),
            created_ns=network.created_ns,
            labels=network.labels,
            source=where,
        )
        for network, where in stored.networks
    }
    for _, container in sorted(containers.items()):
        for told in container.config.networks if container.config is not None else ():
            if told.network_id is not None and told.network_id not in records:
                records[told.network_id] = Network(
                    engine="docker",
                    name=told.network,
                    network_id=told.network_id,
                    driver=None,
                    endpoints=attached.get(told.network_id, ()),
                    source=reader.provenance(container.config_place or container.place),
                )
    return tuple(record for _, record in sorted(records.items()))


def _endpoints(stored: StoredNetworks, containers: Mapping[str, StoredContainer]) -> dict[str, tuple[Endpoint, ...]]:
    """What is attached to each network, by its id: the live endpoints, and what running containers' own configs say."""
    owner = {sandbox.id: sandbox.container_id for sandbox in stored.sandboxes}
    live = {endpoint.id for endpoint in stored.endpoints}
    attached: dict[str, dict[str, Endpoint]] = {}
    for cid, container in sorted(containers.items()):
        config = container.config
        running = config is not None and config.state is not None and config.state.running
        for a in config.networks if config is not None else ():
            if a.network_id is not None and a.endpoint_id is not None and (running or a.endpoint_id in live):
                attached.setdefault(a.network_id, {})[a.endpoint_id] = Endpoint(cid, a.endpoint_id, a.address, a.mac)
    for e in stored.endpoints:
        if e.id is not None:
            known = attached.setdefault(e.network, {}).get(e.id, Endpoint(None, e.id, None, None))
            attached[e.network][e.id] = Endpoint(
                owner.get(e.sandbox) or known.container_id, e.id, e.address or known.address, e.mac or known.mac
            )
    return {network: tuple(endpoint for _, endpoint in sorted(inside.items())) for network, inside in attached.items()}
