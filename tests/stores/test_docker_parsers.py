"""Docker's small formats, against what real engines wrote."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.docker_container import MountPoint, parse_config, parse_hostconfig
from parsers.docker_daemon import DaemonOptions, daemon_options, parse_daemon_json
from parsers.docker_image import parse_image_config, parse_repositories
from parsers.docker_layer import (
    chain_id,
    chain_ids,
    parse_digest,
    parse_directory,
    parse_link,
    parse_link_target,
    parse_lower,
    parse_size,
)
from parsers.docker_network import parse_endpoint, parse_network, parse_sandbox, split_key
from parsers.errors import FormatError
from parsers.gzip_check import unpacked_size

DIFF_IDS = (
    "sha256:1506a5aab9a682a1bdcbcf060c1f0cee13c2b10322bfe8d6045ba86b093cfc0c",
    "sha256:e8949895bbb9e9dae655e71102c0eba0d8201b228563672973a327f32a7c6f33",
    "sha256:e958b4144289468c3f2bdb8c23d618fe8feffed940f91b890ab94b8c4bda0265",
)
NAME = "1b55da4b564be34cf7137de9b25e8087bd335af3073c6ccede81c77629cb5c9b"
LINKS = ("HZF2AVEQODM4ZPGIWIDVDRPX35", "OUWKTQTEN73V46RX24MTJVHOHZ", "GYQJW5NR5GR4IO7VYY5KM7OGGL")
STOPPED = {"Running": False, "Paused": False, "Restarting": False, "RemovalInProgress": False, "Dead": False}
STARTED = "2026-11-21T01:48:59.225667408Z"


def test_chain_ids():
    assert chain_ids(DIFF_IDS) == (
        DIFF_IDS[0],
        "sha256:6787a5c5f6ad2e3d9f1b386245d947e78cdbcb8bc8e6c8c551dbc243368586bd",
        "sha256:e41899334c6e72dbd97ba5b80d470ff2195292f393852be7d6fee34d2cb57070",
    )
    assert chain_id(None, DIFF_IDS[0]) == DIFF_IDS[0]
    assert chain_ids(()) == ()


def test_layer_texts():
    lower = b":".join(b"l/" + link.encode() for link in LINKS)
    assert parse_lower(lower) == LINKS
    assert parse_link(LINKS[0].encode()) == LINKS[0]
    assert parse_link_target(f"../{NAME}-init/diff".encode()) == f"{NAME}-init"
    assert parse_directory(NAME.encode()) == NAME
    assert parse_directory(b"k4bq8bb1cgv1nc8pv8xlz8y4g") == "k4bq8bb1cgv1nc8pv8xlz8y4g", "BuildKit's"
    assert parse_digest(DIFF_IDS[0].encode()) == DIFF_IDS[0]
    assert (parse_size(b"0"), parse_size(b"2158617")) == (0, 2158617)


@pytest.mark.parametrize(
    ("parse", "whole"),
    [
        (parse_digest, DIFF_IDS[0].encode()),
        (parse_directory, NAME.encode()),
        (parse_link, LINKS[0].encode()),
        (parse_lower, b":".join(b"l/" + link.encode() for link in LINKS[:2])),
        (parse_link_target, f"../{NAME}/diff".encode()),
    ],
)
def test_damaged_layer_texts(parse, whole):
    valid = {parse_lower: 28, parse_directory: 25}  # cut there, it is a shorter list, or a name as BuildKit's are
    cut = [whole[:size] for size in range(len(whole)) if valid.get(parse) != size]
    for damaged in (*cut, bytes(len(whole)), whole + b"\n", whole.swapcase(), b"\xff" * len(whole), whole * 2):
        with pytest.raises(FormatError):
            parse(damaged)


def test_lower_lists_no_more_than_the_kernel_mounts():
    with pytest.raises(FormatError):
        parse_lower(b":".join([b"l/" + LINKS[0].encode()] * 600))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"Running": True}, "running"),
        ({"Running": True, "Paused": True, "Restarting": True}, "paused"),
        ({"Running": True, "Restarting": True, "Dead": True}, "restarting"),
        ({"RemovalInProgress": True, "Dead": True}, "removing"),
        ({"Dead": True}, "dead"),
        ({}, "exited"),
        ({"StartedAt": "0001-01-01T00:00:00Z"}, "created"),
    ],
)
def test_state_has_dockers_precedence(changes, name):
    state = parse_config(json.dumps({"State": {**STOPPED, "StartedAt": STARTED, **changes}}).encode()).state
    assert state.name == name


def test_container_without_state_has_none():
    config = parse_config(b'{"ID": "x"}')
    assert (config.state, config.env, config.labels, config.mount_points, config.path) == (None, None, None, None, None)


def test_what_is_left_of_a_container_is_found():
    whole = json.dumps({
        "State": {"Running": True}, "Image": "sha256:" + "a" * 64, "MountPoints": {"/v": {"Name": "v"}}, "Name": "/web",
    }, separators=(",", ":")).encode()  # fmt: skip
    left = parse_config(bytes(10) + whole[10:])
    assert (left.name, left.image, left.state, left.mount_points) == ("web", "sha256:" + "a" * 64, None, None)
    assert "only what can be found" in left.problems[0]
    with pytest.raises(FormatError):
        parse_config(bytes(10) + whole[10:-10])


def test_mount_points_of_all_versions():
    volume = {"Name": "v", "Driver": "local", "Source": "", "Destination": "/v", "RW": True, "Relabel": "z"}
    bind = {"Type": "bind", "Source": "/etc", "RW": False, "Relabel": "ro", "Propagation": "rprivate"}
    config = parse_config(json.dumps({
        "MountPoints": {"/v": volume, "/b": bind, "/bad": 7},
        "Volumes": {"/v": "/elsewhere", "/old": "/var/lib/docker/vfs/dir/x"},
        "VolumesRW": {"/old": True},
    }).encode())  # fmt: skip
    by_destination = {point.destination: point for point in config.mount_points}
    assert by_destination["/v"] == MountPoint("volume", None, "/v", "v", "local", "z", True, None)
    assert by_destination["/b"] == MountPoint("bind", "/etc", "/b", None, None, "ro", False, "rprivate")
    assert by_destination["/old"] == MountPoint("bind", "/var/lib/docker/vfs/dir/x", "/old", None, None, None, True, None)
    assert config.problems == ("MountPoints./bad: expected an object, found a number",)


def test_hostconfig():
    host = parse_hostconfig(json.dumps({
        "Binds": ["/etc:/hostetc:ro", "data:/data", "/anonymous", "/a:/b:rw,z", "nonsense"],
        "Mounts": [
            {"Type": "volume", "Source": "named", "Target": "/named", "ReadOnly": True}, {"Type": "tmpfs", "Target": "/t"},
        ],
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "LogConfig": {"Type": "local", "Config": {}},
        "Privileged": True,
        "Tmpfs": {"/run": "size=1m"},
    }).encode())  # fmt: skip
    assert [(m.type, m.source, m.destination, m.name, m.rw) for m in host.mounts] == [
        ("bind", "/etc", "/hostetc", None, False),
        ("volume", None, "/data", "data", True),
        ("volume", None, "/anonymous", None, True),
        ("bind", "/a", "/b", None, True),
        ("volume", None, "/named", "named", False),
        ("tmpfs", None, "/t", None, True),
    ]
    assert (host.privileged, host.restart_policy, host.log_driver, host.tmpfs) == (
        True,
        "on-failure:3",
        "local",
        {"/run": "size=1m"},
    )


def test_the_hostconfig_that_stands_before_a_container_is_made_tells_no_privileges():
    empty = {"LogConfig": {"Type": "", "Config": None}, "NetworkMode": "", "RestartPolicy": {"Name": ""}, "Privileged": False}
    host = parse_hostconfig(json.dumps(empty).encode())  # as Docker 20.10 to 28 first write it
    assert (host.privileged, host.restart_policy, host.log_driver) == (None, None, None)
    assert parse_hostconfig(b'{"Privileged": false}').privileged is False  # Docker before 1.6 had no LogConfig


def test_the_size_and_mode_of_a_tmpfs():
    mount = {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 67108864, "Mode": 0o1770}}
    (asked,) = parse_hostconfig(json.dumps({"Mounts": [mount]}).encode()).mounts
    point = {"Type": "tmpfs", "Destination": "/t", "RW": True, "Spec": mount}
    (known,) = parse_config(json.dumps({"ID": "x", "MountPoints": {"/t": point}}).encode()).mount_points
    assert asked.tmpfs == known.tmpfs == "mode=1770,size=67108864"


def test_repositories():
    digest = "sha256:" + "a" * 64
    refs = parse_repositories(json.dumps({"Repositories": {
        "tiny": {"tiny@sha256:" + "b" * 64: digest, "tiny:2": digest, "tiny:1": "x", "tiny:3": None, "tiny:4": 1},
        "old": {"latest": "y"},
    }}).encode())  # fmt: skip
    assert refs.refs == {digest: ("tiny:2", "tiny@sha256:" + "b" * 64), "x": ("tiny:1",), "y": ("old:latest",)}
    assert len(refs.problems) == 1


def test_an_image_with_one_bad_diff_id_has_none():
    config = parse_image_config(json.dumps({"rootfs": {"diff_ids": [DIFF_IDS[0], "sha256:short"]}, "os": "linux"}).encode())
    assert (config.diff_ids, config.os) == ((), "linux")
    assert "rootfs.diff_ids" in config.problems[0]


def test_network_values():
    info = json.dumps([{"IPAMData": json.dumps({"Pool": "172.17.0.0/16", "Gateway": "172.17.0.1/16"}), "PoolID": "x"}])
    value = bytes(8) + json.dumps({
        "id": "n", "name": "bridge", "networkType": "bridge", "created": STARTED, "labels": None, "ipamV4Info": info,
        "ipamV6Config": json.dumps([{"PreferredPool": "fd00::/64"}]), "ipamV6Info": "broken",
    }).encode()  # fmt: skip
    network = parse_network(value)
    assert (network.id, network.driver, network.subnets, network.labels) == ("n", "bridge", ("172.17.0.0/16", "fd00::/64"), {})
    assert [problem.partition(":")[0] for problem in network.problems] == ["ipamV6Info"]
    endpoint = parse_endpoint(
        bytes(8) + b'{"id":"e","name":"web","sandbox":"s","ep_iface":{"addr":"172.17.0.2/16","mac":"02:42"}}', "n"
    )
    assert (endpoint.address, endpoint.mac, endpoint.sandbox, endpoint.network) == ("172.17.0.2/16", "02:42", "s", "n")
    sandbox = parse_sandbox(bytes(8) + b'{"ID":"s","Cid":"c","Eps":[{"Eid":"e","Nid":"n"},{"Eid":1},7]}')
    assert (sandbox.container_id, sandbox.endpoints) == ("c", (("e", "n"),))
    assert split_key(b"docker/network/v1.0/endpoint/n/e/") == ("endpoint", "n", "e")
    for bad in (b"", b"docker/", b"\xff"):
        with pytest.raises(FormatError):
            split_key(bad)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--data-root", "/srv/docker"], DaemonOptions("/srv/docker")),
        (["--data-root=/srv/docker", "-H", "fd://"], DaemonOptions("/srv/docker")),
        (["daemon", "-g", "/old"], DaemonOptions("/old")),
        (["-g/old"], DaemonOptions("/old")),
        (["--graph=/a", "--data-root=/b", "--config-file", "/c.json"], DaemonOptions("/b", "/c.json")),
        (["--data-root"], DaemonOptions()),
        ([], DaemonOptions()),
    ],
)
def test_daemon_options(argv, expected):
    assert daemon_options(argv) == expected


def test_daemon_json():
    assert parse_daemon_json(b'{"graph": "/old"}').data_root == "/old"
    assert parse_daemon_json(b'{"graph": "/old", "data-root": "/new", "x": []}').data_root == "/new"
    assert parse_daemon_json(b'{"data-root": ["/new"]}').problems != ()


def test_gzip():
    packed = gzip.compress(b"text" * 10_000)
    assert unpacked_size(packed, 40_000) == 40_000
    assert unpacked_size(gzip.compress(b""), 0) == 0
    for damaged in (*(packed[:size] for size in range(len(packed))), bytes(len(packed)), packed[:-8] + bytes(8)):
        with pytest.raises(FormatError):
            unpacked_size(damaged, 1 << 20)
    with pytest.raises(FormatError, match="more than"):
        unpacked_size(gzip.compress(bytes(1 << 24)), 1 << 20)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=100), st.binary(max_size=3), st.integers(0, 90))
def test_gzip_garbage(content, damage, at):
    packed = bytearray(gzip.compress(content))
    packed[at : at + len(damage)] = damage
    try:
        assert unpacked_size(bytes(packed), 1 << 16) <= 1 << 16
    except FormatError:
        return
