"""The files of containers/storage, libpod and CRI-O, whole and damaged."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.container_storage import (
    big_data_name,
    layer_id,
    parse_containers,
    parse_images,
    parse_layers,
    parse_lock,
)
from parsers.crio import parse_annotations
from parsers.crio import parse_state as parse_crio_state
from parsers.errors import FormatError
from parsers.libpod import STATES, parse_container, parse_pod, parse_state, parse_volume
from parsers.podman_network import parse_conflist, parse_network
from parsers.storage_conf import parse_containers_conf, parse_storage_conf

A, B, C = "a" * 64, "b" * 64, "c" * 64
LAYERS = json.dumps(
    [
        {"id": A, "created": "2026-11-21T01:50:51.410089968Z", "diff-digest": f"sha256:{C}", "diff-size": 10},
        {"id": B, "names": ["web-layer"], "parent": A, "created": "2026-11-21T01:50:52Z", "flags": {"incomplete": True}},
        {"id": C, "parent": B},
    ],
    separators=(",", ":"),
).encode()


def test_layers():
    layers, problems = parse_layers(LAYERS)
    assert problems == ()
    assert [layer.id for layer in layers] == [A, B, C]
    assert layers[0].created_ns == 1795225851410089968
    assert (layers[0].diff_digest, layers[0].diff_size, layers[0].incomplete) == (f"sha256:{C}", 10, False)
    assert (layers[1].names, layers[1].parent, layers[1].incomplete) == (("web-layer",), A, True)


def test_null_is_an_empty_store():
    assert parse_layers(b"null") == ((), ())
    assert parse_images(b"[]") == ((), ())


def test_records_around_a_damage_are_read():
    middle = LAYERS.index(B.encode())
    damaged = LAYERS[: middle + 80] + bytes(30) + LAYERS[middle + 110 :]
    layers, problems = parse_layers(damaged)
    assert [layer.id for layer in layers] == [A, C]
    assert len(problems) == 1


def test_a_cut_off_document_gives_what_is_whole():
    for size in range(len(LAYERS)):
        try:
            layers, problems = parse_layers(LAYERS[:size])
        except FormatError:
            assert size < LAYERS.index(B.encode())
            continue
        assert [layer.id for layer in layers] == [A, B, C][: len(layers)]
        assert problems


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.integers(0, len(LAYERS)), st.integers(0, 60))
def test_overwritten_documents_raise_nothing_else(noise, at, gone):
    for parse in (parse_layers, parse_images, parse_containers):
        try:
            records, _ = parse(LAYERS[:at] + noise + LAYERS[at + gone :])
        except FormatError:
            continue
        assert len(records) <= len(LAYERS)


def test_an_id_that_is_none_is_told():
    layers, problems = parse_layers(b'[{"id":"../../etc"},{"id":"' + A.encode() + b'","parent":"x/y"}]')
    assert [(layer.id, layer.parent) for layer in layers] == [(A, None)]
    assert len(problems) == 2


def test_containers_and_their_metadata():
    metadata = {"image-name": "localhost/x:1", "image-id": B, "name": "web", "created-at": 1795225851}
    record = {"id": A, "names": ["web"], "image": B, "layer": C, "metadata": json.dumps(metadata)}
    (container,), problems = parse_containers(json.dumps([record]).encode())
    assert problems == ()
    assert (container.image, container.layer, container.metadata.image_name) == (B, C, "localhost/x:1")
    assert container.metadata.pod_id is None
    (container,), problems = parse_containers(json.dumps([{**record, "metadata": "{"}]).encode())
    assert container.metadata is None
    assert problems


def test_names_of_big_data_and_layers():
    """As a real store has them."""
    assert big_data_name("manifest") == b"manifest"
    assert big_data_name("sha256:a7")[:1] == b"="
    assert (
        layer_id(
            "1506a5aab9a682a1bdcbcf060c1f0cee13c2b10322bfe8d6045ba86b093cfc0c",
            "sha256:e8949895bbb9e9dae655e71102c0eba0d8201b228563672973a327f32a7c6f33",
        )
        == "d4200e7726fe552af275c0684dd5582c7000967e4713b068520c37bc6a2e1986"
    )
    assert layer_id(None, f"sha256:{A}") == A


def test_lock_files():
    lock = parse_lock(bytes.fromhex("e67b2dd462e6e9180b000000000000009b4c0000") + bytes(44))
    assert (lock.written_ns, lock.counter, lock.pid) == (1795219238624787430, 11, 19611)
    assert parse_lock(b"") is None
    assert parse_lock(bytes(64)) is None
    assert parse_lock(b"0123456789abcdef" * 4) is None
    with pytest.raises(FormatError):
        parse_lock(b"x")


def test_storage_conf():
    conf = parse_storage_conf(
        b'[storage]\ndriver = "overlay"\ngraphroot = "/srv/pods"\nrunroot = "/run/pods"\nrootless_storage_path = "$HOME/.pods"\n'
        b'transient_store = true\n[storage.options]\nadditionalimagestores = ["/usr/lib/images", 7, ""]\n'
        b'[storage.options.overlay]\nmount_program = "/usr/bin/fuse-overlayfs"\nmountopt = "nodev,metacopy=on"\n'
    )
    assert (conf.graph_root, conf.run_root, conf.rootless_path) == ("/srv/pods", "/run/pods", "$HOME/.pods")
    assert conf.additional_stores == ("/usr/lib/images",)
    assert (conf.mount_program, conf.mount_options, conf.transient) == ("/usr/bin/fuse-overlayfs", "nodev,metacopy=on", True)
    assert parse_storage_conf(b"").graph_root is None
    assert parse_storage_conf(b"storage = 3\n").graph_root is None


@pytest.mark.parametrize("data", [b"[storage", b"\xff\xfe", b"a = " + b"[" * 5000])
def test_what_is_no_toml(data):
    for parse in (parse_storage_conf, parse_containers_conf):
        with pytest.raises(FormatError):
            parse(data)


def test_containers_conf():
    conf = parse_containers_conf(
        b'[engine]\nstatic_dir="/srv/libpod"\nvolume_path="/srv/v"\n[network]\nnetwork_config_dir="/n"\n'
    )
    assert (conf.static_dir, conf.volume_path, conf.network_dir) == ("/srv/libpod", "/srv/v", "/n")


def test_states_are_named_as_podman_inspect_does():
    assert [STATES[n] for n in (1, 2, 3, 6)] == ["created", "initialized", "running", "exited"]
    assert parse_state(b'{"state": 99}').name is None
    assert parse_state(b"{}").name is None
    state = parse_state(b'{"state": 3, "pid": 7, "startedTime": "2026-11-21T01:50:51Z", "finishedTime": "0001-01-01T00:00:00Z"}')
    assert (state.name, state.pid, state.finished_ns, state.exit_code) == ("running", 7, None, 0)


def test_networks_of_a_running_container():
    status = {"shopnet": {"interfaces": {"eth0": {"mac_address": "aa:bb", "subnets": [{"ipnet": "10.0.0.2/24"}]}}}}
    (attachment,) = parse_state(json.dumps({"networkStatus": status}).encode()).attachments
    assert (attachment.network, attachment.interface, attachment.address) == ("shopnet", "eth0", "10.0.0.2/24")
    assert parse_container(b'{"newNetworks": {"b": {}, "a": {}}}').networks == ("a", "b")
    assert parse_container(b'{"networks": ["cni"]}').networks == ("cni",)


def test_fields_of_the_wrong_type_are_told():
    container = parse_container(
        b'{"id": 7, "name": "web", "spec": [], "namedVolumes": [3], "labels": {"a": 1}, "privileged": "yes"}'
    )
    assert (container.id, container.name, container.privileged, container.labels) == (None, "web", None, {})
    assert len(container.problems) >= 4
    assert parse_pod(b'{"labels": []}').problems
    assert parse_volume(b'{"createdAt": "yesterday"}').problems


def test_network_files():
    network = parse_network(b'{"name": "n", "id": "i", "driver": "bridge", "subnets": [{"subnet": "10.1.0.0/24"}, {}]}')
    assert (network.name, network.subnets) == ("n", ("10.1.0.0/24",))
    ranges = [[{"subnet": "10.88.0.0/16"}], 7]
    plugins = [{"type": "bridge", "ipam": {"ranges": ranges}}, {"type": "portmap"}]
    cni = parse_conflist(json.dumps({"name": "podman", "plugins": plugins}).encode())
    assert (cni.driver, cni.subnets, len(cni.problems)) == ("bridge", ("10.88.0.0/16",), 1)


def test_annotations_of_cri_o():
    assert parse_annotations({"io.container.manager": "libpod"}) is None
    told = parse_annotations(
        {
            "io.kubernetes.cri-o.ContainerType": "container",
            "io.kubernetes.cri-o.Labels": '{"io.kubernetes.pod.name": "web"}',
            "io.kubernetes.cri-o.Volumes": '[{"container_path": "/data", "host_path": "/srv"}]',
        }
    )
    assert (told.type, told.labels, told.volumes) == ("container", {"io.kubernetes.pod.name": "web"}, ("/data",))
    broken = parse_annotations({"io.kubernetes.cri-o.Labels": "{", "io.kubernetes.cri-o.Volumes": "x"})
    assert (broken.labels, broken.volumes, len(broken.problems)) == (None, (), 2)
    state = parse_crio_state(b'{"status": "stopped", "exitCode": 2, "finished": "2026-11-21T01:50:51Z"}')
    assert (state.status, state.exit_code, state.finished_ns) == ("stopped", 2, 1795225851000000000)
