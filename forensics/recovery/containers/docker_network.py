"""What Docker's local-kv.db still knows: removed networks, and removed containers by their sandboxes and endpoints.

It keeps the latter while a container runs. A live sandbox of a container that is gone was left by a crash; old pages hold those
of containers that stopped or were removed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import chain

from forensics.file_source import FileSource
from forensics.records import Container, Network
from forensics.recovery.clues import CERTAIN, PROBABLE, Clue
from forensics.recovery.limits import Limits
from forensics.stores.bolt import MAX_VALUE, key_provenance, open_database
from forensics.stores.docker.networks import BUCKET
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.bbolt_tree import Key
from parsers.docker_network import EndpointRecord, SandboxRecord, parse_endpoint, parse_network, parse_sandbox, split_key
from parsers.errors import FormatError

MAX_KEYS = 1_000_000

_WHOLE_ID = re.compile(r"[0-9a-f]{64}")


def network_clues(database: Place, store: str, limits: Limits | None = None) -> Iterator[Clue[Container]]:
    """A clue for every container that a sandbox, live or old, belongs to. store: the key of Docker's store."""
    bolt = open_database(StoreReader(), database, "local-kv.db")  # whoever read the store told what is wrong with it
    if bolt is None:
        return
    source = FileSource(database.fs, database.inode, readable(database.path))
    live = ((key, "allocated") for key in bolt.walk(start=BUCKET, deep=False))
    old = (
        (each.key, "previous tree" if each.state == "previous" else "stale page") for each in bolt.deleted() if not each.missing
    )
    keys = (limits or Limits()).first(chain(live, old), MAX_KEYS, "keys", database.partition, source.name)
    for container_id, name, key, how in attached(keys):
        where = key_provenance(source, database.partition, key.offset, f"{how}, sandbox of its network")
        made = Container("docker", None, container_id, name, source=where)
        yield Clue(made, PROBABLE if how == "stale page" else CERTAIN, "network", store)


def removed_networks(database: Place, there: Collection[str], limits: Limits) -> list[Network]:
    """The networks of which old pages hold a record, by id. there: the ids of those that are not gone."""
    bolt = open_database(StoreReader(), database, "local-kv.db")
    if bolt is None:
        return []
    source = FileSource(database.fs, database.inode, readable(database.path))
    found: dict[str, Network] = {}
    whole = (each for each in bolt.deleted() if not each.missing)
    in_order = sorted(
        limits.first(whole, MAX_KEYS, "keys", database.partition, source.name),
        key=lambda each: (each.state != "previous", each.key.offset),
    )
    for each in in_order:
        network = _network(each.key)
        if network is None or network.network_id in there or network.network_id in found:
            continue
        how = "previous tree" if each.state == "previous" else "stale page"
        where = key_provenance(source, database.partition, each.key.offset, f"{how}, record of a network")
        found[network.network_id] = replace(network, source=where)
    return [network for _, network in sorted(found.items())]


def _network(key: Key) -> Network | None:
    """The network that a record tells of, which names itself as its key does; None for all others."""
    if key.value is None or len(key.value) > MAX_VALUE:
        return None
    try:
        kind, *ids = split_key(key.key)
        told = parse_network(key.value) if kind == "network" and len(ids) == 1 and _WHOLE_ID.fullmatch(ids[0]) else None
    except FormatError:  # an old page has no claim to be whole
        return None
    if told is None or told.id != ids[0] or told.problems:
        return None
    return Network(
        "docker", told.name or "", ids[0], told.driver, told.subnets, (), told.created_ns, told.labels, origin="recovered"
    )


def attached(keys: Iterable[tuple[Key, str]]) -> Iterator[tuple[str, str | None, Key, str]]:
    """The id and the name of each container that a sandbox is of, with the sandbox's key, and what came with that."""
    sandboxes: list[tuple[SandboxRecord, Key, str]] = []
    names: dict[str, str] = {}
    for key, how in keys:
        record = _parse(key)
        if isinstance(record, SandboxRecord):
            sandboxes.append((record, key, how))
        elif record is not None and record.sandbox is not None and record.name is not None:
            names.setdefault(record.sandbox, record.name)
    for sandbox, key, how in sandboxes:
        if sandbox.container_id is not None and _WHOLE_ID.fullmatch(sandbox.container_id):
            yield sandbox.container_id, names.get(sandbox.id or ""), key, how


def _parse(key: Key) -> SandboxRecord | EndpointRecord | None:
    """A sandbox or an endpoint; None for what is neither, or is damaged."""
    if key.value is None or len(key.value) > MAX_VALUE:
        return None
    try:
        kind, *ids = split_key(key.key)
        if kind == "sandbox" and len(ids) == 1:
            return parse_sandbox(key.value)
        return parse_endpoint(key.value, ids[0]) if kind == "endpoint" and len(ids) == 2 else None
    except FormatError:  # an old page has no claim to be whole
        return None
