"""Removed containers that the kubelet, CNI, nerdctl or a unit still names."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.records import Container, Store, StoreContents
from forensics.recovery.containers.host_traces import host_clues
from forensics.recovery.recover import Clues, with_recovered
from forensics.stores.host_tree import host_trees
from parsers.cni import parse_cached_result
from parsers.errors import FormatError
from parsers.kubelet import parse_cpu_manager_state, parse_sandbox_checkpoint
from support.surveys import survey_of

ID, OTHER = "a1" * 32, "b2" * 32
UID = "11111111-aaaa-bbbb-cccc-000000000001"
RESULT = {
    "kind": "cniCacheV1", "containerId": ID, "ifName": "eth0", "networkName": "cbr0",
    "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", "default"], ["K8S_POD_NAME", "shop"]], "result": {},
}  # fmt: skip


def at(path, content):
    for name in reversed(path.strip("/").split("/")):
        content = {name: content}
    return content


def clues(tree, *engines):
    found, _ = survey_of(tree)
    return list(host_clues(host_trees(found), engines or ("containerd",)))


def told(clue):
    record = clue.record
    return record.engine, record.namespace, record.container_id, record.name, record.pod, clue.confidence


@pytest.mark.parametrize(
    ("path", "content", "engines", "expected"),
    [
        (f"/var/log/containers/shop-1_default_web-{ID}.log", "../pods/x", ("containerd",),
         ("containerd", "k8s.io", ID, "web", "default/shop-1", "certain")),
        (f"/var/log/containers/shop_default_web-{ID}.log", "../pods/x", ("crio",),
         ("crio", None, ID, "web", "default/shop", "certain")),
        (f"/var/log/pods/default_shop_{UID}/web/0.log", f"/var/lib/docker/containers/{ID}/{ID}-json.log", ("docker",),
         ("docker", None, ID, "web", "default/shop", "certain")),
        (f"/var/lib/cri-dockerd/sandbox/{ID}", b'{"version":"v1","name":"shop","namespace":"default"}', ("docker",),
         ("docker", None, ID, None, "default/shop", "certain")),
        ("/var/lib/cni/networks/podman/10.88.0.5", f"{ID}\r\neth0".encode(), ("podman",),
         ("podman", None, ID, None, None, "possible")),
        ("/var/lib/cni/networks/bridge/10.4.0.2", f"default-{ID}\r\neth0".encode(), ("containerd",),
         ("containerd", "default", ID, None, None, "possible")),
        (f"/var/lib/cni/results/cbr0-{ID}-eth0", json.dumps(RESULT).encode(), ("containerd",),
         ("containerd", "k8s.io", ID, None, "default/shop", "possible")),
        ("/var/lib/kubelet/cpu_manager_state", json.dumps({"policyName": "static", "entries": {ID: "1-2", "x": "3"}}).encode(),
         ("containerd",), ("containerd", "k8s.io", ID, None, None, "possible")),
        (f"/var/lib/nerdctl/1935db59/containers/dev/{ID}/hostname", b"x", ("containerd",),
         ("containerd", "dev", ID, None, None, "certain")),
        (f"/var/lib/nerdctl/1935db59/etchosts/dev/{ID}/hosts", b"", ("containerd",),
         ("containerd", "dev", ID, None, None, "certain")),
        ("/home/eve/.local/share/nerdctl/1935db59/names/dev/redis", ID.encode(), ("containerd",),
         ("containerd", "dev", ID, "redis", None, "certain")),
        ("/var/lib/nerdctl/1935db59/names/dev/redis", ID.encode(), ("containerd",),
         ("containerd", "dev", ID, "redis", None, "certain")),
        ("/etc/systemd/system/container-web.service", f"[Service]\nExecStart=/usr/bin/podman start {ID}\n".encode(), ("podman",),
         ("podman", None, ID, None, None, "possible")),
    ],
)  # fmt: skip
def test_who_names_it_tells_what_it_is(path, content, engines, expected):
    (clue,) = clues(at(path, content), *engines)
    assert told(clue) == expected
    assert clue.record.source.path.startswith(path.rsplit("/", 1)[0])


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/var/log/containers/shop_default_web-a1a1a1a1a1a1.log", "x"),
        (f"/var/log/containers/shop_default_web-{ID}.log", b"no link"),
        (f"/var/log/pods/default_shop_{UID}/web/0.log", f"/x/{ID}/{OTHER}-json.log"),
        ("/var/lib/cni/networks/podman/10.88.0.5", b"a1a1a1a1a1a1\r\neth0"),
        ("/var/lib/cni/networks/podman/last_reserved_ip.0", b"10.88.0.5"),
        ("/etc/systemd/system/x.service", f"Description=podman {ID}\n".encode()),
        ("/var/lib/nerdctl/1935db59/names/dev/redis", ID[:12].encode()),
    ],
)
def test_a_short_id_or_a_mere_text_makes_no_container(path, content):
    assert clues(at(path, content)) == []


def recovered(*found, there=()):
    (contents,) = with_recovered(
        [StoreContents(Store("k", "containerd", "/r", None, None, 1), containers=there)], Clues([*found])
    )
    return [each for each in contents.containers if each.origin == "recovered"]


def test_two_that_name_the_same_one_make_it_probable():
    cni = clues(at(f"/var/lib/cni/results/cbr0-{ID}-eth0", json.dumps(RESULT).encode()))
    cpu = clues(at("/var/lib/kubelet/cpu_manager_state", json.dumps({"entries": {ID: "1"}}).encode()))
    assert [each.confidence for each in recovered(*cni)] == ["possible"]
    assert [each.confidence for each in recovered(*cni, *cni)] == ["possible"]
    (both,) = recovered(*cni, *cpu)
    assert (both.confidence, both.pod, len(both.sources)) == ("probable", "default/shop", 2)


def test_what_is_there_is_not_recovered():
    found = clues(at(f"/var/log/containers/shop_default_web-{ID}.log", "x"))
    assert recovered(*found, there=(Container("docker", None, ID, "web"),)) == []


@given(st.binary(max_size=200))
def test_parsers_take_any_bytes(data):
    for parse in (parse_cached_result, parse_cpu_manager_state, parse_sandbox_checkpoint):
        with contextlib.suppress(FormatError):
            parse(data)


@pytest.mark.parametrize("content", [b"{" * 5000, b'{"cniArgs":[[[1]],"x",["K8S_POD_NAME",null]]}', b"\xff\x00" * 90, b""])
def test_hostile_files_are_survived(content):
    tree = {"var": {"lib": {"cni": {"results": {"a": content}, "networks": {"n": {"10.0.0.1": content}}},
                            "kubelet": {"cpu_manager_state": content}, "cri-dockerd": {"sandbox": {ID: content}},
                            "nerdctl": {"00000000": {"names": {"x": {"y": content}}}}}},
            "etc": {"systemd": {"system": {"a.service": content}}}}  # fmt: skip
    assert [told(clue)[2] for clue in clues(tree)] in ([], [ID])
