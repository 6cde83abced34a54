"""Removed networks of Docker that old pages of its local-kv.db still hold; the database is an engine's own."""

import json
import lzma
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from forensics.recovery.containers.docker_network import removed_networks
from forensics.recovery.limits import Limits
from forensics.stores.reading import Place
from parsers.go_time import parse_rfc3339
from support.memory_filesystem import MemoryFilesystem

DATA = Path(__file__).resolve().parent.parent / "data/docker_network"
RAW = lzma.decompress((DATA / "local-kv.db.xz").read_bytes())
TRUTH = json.loads((DATA / "truth.json").read_text())
REMOVED = {each["Id"]: each for each in TRUTH["removed"]}


def found_in(raw, there=frozenset(TRUTH["live"])):
    fs = MemoryFilesystem({"local-kv.db": raw})
    ((_, number),) = [(entry.name, entry.inode) for entry in fs.entries(fs.root)]
    return removed_networks(Place(1, fs, number, b"/local-kv.db"), there, Limits())


def as_told(network):
    return network.network_id, network.name, network.driver, network.subnets, network.created_ns, network.labels


def as_inspected(own):
    subnets = tuple(config["Subnet"] for config in own["IPAM"]["Config"])
    return own["Id"], own["Name"], own["Driver"], subnets, parse_rfc3339(own["Created"]), own["Labels"]


def test_a_removed_network_comes_back_as_docker_inspected_it():
    found = found_in(RAW)
    standing = [own for own in REMOVED if f'"id":"{own}"'.encode() in RAW]
    assert [as_told(each) for each in found] == [as_inspected(REMOVED[own]) for own in sorted(standing)]
    assert standing
    for each in found:
        assert (each.engine, each.origin, each.source.how) == ("docker", "recovered", "previous tree, record of a network")


def test_what_is_there_is_not_told_again():
    assert found_in(RAW, frozenset(TRUTH["live"]) | REMOVED.keys()) == []


@given(st.integers(0, len(RAW) - 1), st.integers(1, 255), st.booleans())
def test_damage_makes_up_no_network(at, change, cut):
    raw = RAW[:at] if cut else RAW[:at] + bytes([RAW[at] ^ change]) + RAW[at + 1 :]
    assert {each.network_id for each in found_in(raw)} <= REMOVED.keys() | set(TRUTH["live"])


def test_a_record_that_does_not_name_itself_as_its_key_does_is_none():
    (network,) = found_in(RAW)
    mark = b'"id":"'
    assert found_in(RAW.replace(mark + network.network_id.encode(), mark + b"f" * 64)) == []
