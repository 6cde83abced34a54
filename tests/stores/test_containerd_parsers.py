"""containerd's records, OCI documents, CRI's and nerdctl's JSON: against files that the engines wrote, and against damage."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers import containerd_config, cri, nerdctl
from parsers.bbolt_tree import Key
from parsers.containerd_meta import Container, Image, Lease, Namespace, Sandbox, Snapshot, parse_records
from parsers.containerd_snapshots import SNAPSHOTS, parse_snapshots, split_name
from parsers.errors import FormatError
from parsers.oci_image import Index, Manifest, parse_index_or_manifest
from parsers.oci_spec import parse_spec
from parsers.protobuf_any import ProtobufAny, parse_any, parse_message, parse_uvarint, parse_varint
from support.bolt_files import bolt_bytes, opened

SPEC_URL = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
POD = "54c459963a92a63c93debd30e25778e155da0eb35fa5f920783c74d9bf7b56ce"
WEB = "bb3947df9d5c8f6f9fb40de66ae9879ac2aa4290b0ceb9252cb759d47972df0d"
TIME = bytes.fromhex("010000000ee292d55a077f2345ffff")  # 2026-11-20T23:57:14.125772613Z
TIME_NS = 1795219034125772613


def records(name, kind):
    return [record for record in parse_records(opened(bolt_bytes(name)).walk()) if isinstance(record, kind)]


def keys(*rows):
    """A walk: (path, value), None for a bucket; names are split at slashes."""
    for path, value in rows:
        *bucket, key = (part.encode() for part in path.split("/"))
        yield Key(tuple(bucket), key, value, 3, 100)


# -- protobuf


def test_varints_as_the_engines_write_them():
    assert parse_varint(bytes.fromhex("c00b"))[0] == 736
    assert parse_varint(bytes.fromhex("8080f501"))[0] == 2007040
    assert [parse_varint(bytes([byte]))[0] for byte in (0x06, 0x08, 0x01)] == [3, 4, -1]
    assert parse_uvarint(b"\x04") == (4, 1)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 10, b"\xff" * 9 + b"\x7f"])
def test_no_varint(data):
    with pytest.raises(FormatError):
        parse_uvarint(data)


@given(st.integers(min_value=0, max_value=(1 << 64) - 1))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_varints_of_any_size(number):
    data, rest = bytearray(), number
    while rest >= 0x80:
        data.append(rest & 0x7F | 0x80)
        rest >>= 7
    data.append(rest)
    assert parse_uvarint(bytes(data)) == (number, len(data))


def test_an_any():
    assert parse_any(b"\x0a\x03a.b\x12\x02{}") == ProtobufAny("a.b", b"{}")
    assert parse_any(b"\x0a\x03a.b") == ProtobufAny("a.b", b"")


@given(st.binary(max_size=40))
@settings(deadline=None, derandomize=True, max_examples=500)
def test_other_bytes_are_fields_or_a_format_error(data):
    try:
        list(parse_message(data))
        parse_any(data)
    except FormatError:
        pass


# -- meta.db


def test_containers_of_kubernetes():
    found = {each.id: each for each in records("cri-2.1-meta", Container)}
    assert len(found) == 4
    web = found[WEB]
    assert (web.namespace, web.image, web.snapshotter, web.snapshot_key) == ("k8s.io", "registry.test/tiny:1", "overlayfs", WEB)
    assert (web.sandbox_id, web.runtime, web.created_ns) == (POD, "io.containerd.runc.v2", 1795225860437699450)
    assert web.labels["io.kubernetes.container.name"] == "web"
    assert web.spec.type_url == SPEC_URL
    assert web.problems == ()
    (sandbox,) = [each for each in records("cri-2.1-meta", Sandbox) if each.id == POD]
    assert (sandbox.sandboxer, list(sandbox.extensions)) == ("podsandbox", ["metadata"])


def test_a_record_of_docker_has_no_image_and_no_snapshot():
    (running,) = records("docker-26-meta", Container)
    assert (running.namespace, running.image, running.snapshotter, running.snapshot_key) == ("moby", None, None, None)
    assert parse_spec(running.spec.value).args


def test_snapshots_lead_to_the_snapshotters_own():
    by_name = {each.name: each for each in records("containerd-2.1-meta", Snapshot)}
    stored = {each.name: each for each in parse_snapshots(opened(bolt_bytes("containerd-2.1-overlayfs")).walk(start=SNAPSHOTS))}
    assert by_name.keys() == stored.keys()
    for name, snapshot in by_name.items():
        parent = stored[name].parent
        assert (snapshot.namespace, snapshot.key) == split_name(name)
        assert snapshot.parent == (split_name(parent)[1] if parent is not None else None)
    assert (stored["default/3/redis"].id, stored["default/3/redis"].kind) == (3, "active")


def test_names_with_slashes_stay_whole():
    names = {each.name for each in records("cri-2.1-meta", Image)}
    assert "registry.k8s.io/pause:3.10" in names
    assert split_name("ns/12/a/b/c") == ("ns", "a/b/c")


def test_records_of_every_kind_and_version():
    rows = [
        ("v1", None), ("v1/n", None), ("v1/n/labels", None), ("v1/n/labels/tier", b"back"), ("v1/n/leases", None),
        ("v1/n/leases/l", None), ("v1/n/leases/l/createdat", TIME), ("v1/n/leases/l/snapshots", None),
        ("v1/n/leases/l/snapshots/overlayfs", None), ("v1/n/leases/l/snapshots/overlayfs/k", b""), ("n", None),
        ("n/sandboxes", None), ("n/sandboxes/s", None), ("n/sandboxes/s/createdat", TIME),
    ]  # fmt: skip
    labels, lease, sandbox = parse_records(keys(*rows))
    assert isinstance(labels, Namespace)
    assert (labels.namespace, labels.labels) == ("n", {"tier": "back"})
    assert isinstance(lease, Lease)
    assert (lease.id, lease.snapshots, lease.created_ns) == ("l", (("overlayfs", "k"),), TIME_NS)
    assert isinstance(sandbox, Sandbox)
    assert (sandbox.namespace, sandbox.id, sandbox.created_ns) == ("n", "s", TIME_NS)


def test_a_damaged_value_costs_itself():
    rows = [
        ("v1", None),
        ("v1/n", None),
        ("v1/n/images", None),
        ("v1/n/images/a", None),
        ("v1/n/images/a/createdat", b"\1\2"),
        ("v1/n/images/a/target", None),
        ("v1/n/images/a/target/digest", b"sha256:1"),
        ("v1/n/images/a/target/size", b"\x80"),
    ]
    (image,) = parse_records(keys(*rows))
    assert (image.name, image.digest, image.created_ns, image.size) == ("a", "sha256:1", None, None)
    assert len(image.problems) == 2


# -- OCI


def test_a_spec_of_a_privileged_container():
    spec = {
        "process": {"args": ["sh"], "cwd": "/srv", "user": {"uid": 1, "gid": 2},
                    "capabilities": {"bounding": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}},
        "linux": {"namespaces": [{"type": "network", "path": "/proc/1/ns/net"}, {"type": "pid"}],
                  "resources": {"devices": [{"allow": False}, {"allow": True, "access": "rwm"}]},
                  "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]},
        "mounts": [{"destination": "/host", "source": "/", "type": "bind", "options": ["rbind", "ro"]}],
    }  # fmt: skip
    found = parse_spec(json.dumps(spec).encode())
    assert (found.args, found.env, found.cwd, found.user) == (("sh",), (), "/srv", "1:2")
    assert found.privileged is True
    assert found.confinement.all_devices is True
    assert found.confinement.namespaces == (("network", "/proc/1/ns/net"), ("pid", None))
    assert (found.mounts[0].is_bind, found.mounts[0].rw) == (True, False)
    spec["linux"]["maskedPaths"] = ["/proc/kcore"]
    assert parse_spec(json.dumps(spec).encode()).privileged is False
    assert parse_spec(b"{}").privileged is None


def test_index_and_manifest():
    digest = "sha256:" + "a" * 64
    index = parse_index_or_manifest(
        json.dumps(
            {"manifests": [{"digest": digest, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}]}
        ).encode()
    )
    assert isinstance(index, Index)
    assert index.manifests[0].platform == "linux/arm/v7"
    manifest = parse_index_or_manifest(
        json.dumps({"config": {"digest": digest, "size": 3}, "layers": [{"digest": "sha256:no"}, {"digest": digest}]}).encode()
    )
    assert isinstance(manifest, Manifest)
    assert (manifest.config.size, len(manifest.layers), len(manifest.problems)) == (3, 1, 1)
    with pytest.raises(FormatError):
        parse_index_or_manifest(b'{"architecture": "amd64"}')


# -- CRI and nerdctl


def test_metadata_of_the_cri_plugin():
    (web,) = [each for each in records("cri-2.1-meta", Container) if each.id == WEB]
    metadata = cri.parse_metadata(web.extensions["io.cri-containerd.container.metadata"].value)
    assert (metadata.short_name, metadata.sandbox_id, metadata.image, metadata.privileged) == (
        "web",
        POD,
        "registry.test/tiny:1",
        False,
    )
    assert metadata.log_path == "/var/log/pods/default_shop_11111111-aaaa-bbbb-cccc-000000000001/web/0.log"
    (pod,) = [each for each in records("cri-2.1-meta", Container) if each.id == POD]
    sandbox = cri.parse_metadata(pod.extensions["io.cri-containerd.sandbox.metadata"].value)
    assert (sandbox.short_name, sandbox.pod_namespace, sandbox.sandbox_id) == ("shop", "default", None)


@pytest.mark.parametrize(("fields", "state"), [
    ({"CreatedAt": 1}, "created"), ({"CreatedAt": 1, "StartedAt": 2, "FinishedAt": 0}, "running"),
    ({"CreatedAt": 1, "StartedAt": 2, "FinishedAt": 3}, "exited"), ({"CreatedAt": 1, "FinishedAt": 3}, "exited"),
    ({"CreatedAt": 1, "StartedAt": 2, "Unknown": True}, None), ({}, None),
])  # fmt: skip
def test_state_of_a_status_file(fields, state):
    assert cri.parse_status(json.dumps(fields).encode()).state == state


def test_what_nerdctl_says():
    mounts = nerdctl.parse_mounts('[{"Type":"volume","Name":"v","Source":"/s","Destination":"/d","Driver":"local","RW":true}]')
    assert mounts == (nerdctl.NerdctlMount("volume", "v", "/s", "/d", "local", None, True),)
    assert nerdctl.parse_lifecycle(b'{"started_at":"2026-11-20T23:57:14.125772613Z"}').started_ns == TIME_NS
    assert nerdctl.parse_log_driver(b'{"driver":"json-file"}') == "json-file"
    with pytest.raises(FormatError):
        nerdctl.parse_mounts("[")


def test_config_toml_of_every_version():
    old = containerd_config.parse_config(b'root = "/data/c"\n[plugins.overlayfs]\nroot_path = "/fast"\n')
    assert (old.root, old.root_paths) == ("/data/c", {"overlayfs": "/fast"})
    new = containerd_config.parse_config(
        b'version = 3\nimports = ["/c/*.toml"]\n[plugins."io.containerd.snapshotter.v1.native"]\nroot_path = "/n"\n'
    )
    assert (new.root, new.imports, new.root_paths) == (None, ("/c/*.toml",), {"native": "/n"})
    for damaged in (b"\xff", b"root = ", b"[[["):
        with pytest.raises(FormatError):
            containerd_config.parse_config(damaged)
