"""Where containerd keeps its things: data directories, snapshotters and state directories, wherever they are."""

import pytest

from forensics.stores.containerd.store import containerd_contents, read_containerd
from support.containerd_hosts import contents_of, data_directory, host, roots_of
from support.containerd_stores import META, OVERLAYFS


@pytest.mark.parametrize("path", [
    "/var/lib/containerd", "/var/lib/rancher/k3s/agent/containerd", "/var/snap/microk8s/common/var/lib/containerd",
    "/var/lib/k0s/containerd",
    "/home/alice/.local/share/containerd", "/var/lib/docker/containerd/daemon", "/mnt/somewhere/else",
])  # fmt: skip
def test_a_data_directory_is_found_wherever_it_is(path):
    roots, reader = roots_of(host(path, data_directory()))
    assert [root.host_path.decode() for root in roots] == [path]
    assert reader.gaps == []


def test_config_toml_and_what_it_imports_tell_of_a_snapshotters_own_directory():
    overlayfs = data_directory()[OVERLAYFS]
    configs = {
        "config.toml": b'root = "/data/c"\nimports = ["conf.d/*.toml"]\n',
        "conf.d": {"fast.toml": b'[plugins."io.containerd.snapshotter.v1.overlayfs"]\nroot_path = "/fast"\n'},
    }
    tree = host("/data/c", {META: data_directory()[META]}, fast=overlayfs)
    tree["etc"]["containerd"] = configs
    (root,), _ = roots_of(tree)
    assert (root.host_path, root.how) == (b"/data/c", "/etc/containerd/config.toml")
    contents = containerd_contents(read_containerd(root))
    assert {layer.path for layer in contents.layers if layer.kind == "container"} == {
        f"/fast/snapshots/{number}/fs" for number in (3, 5, 12, 13, 14)
    }


@pytest.mark.parametrize(("config", "path"), [
    (b'[proxy_plugins.overlayfs]\ntype = "snapshot"\naddress = "/run/containerd-x-grpc/containerd-x-grpc.sock"\n',
     "/var/lib/containerd-x-grpc/snapshotter"),
    (b'[proxy_plugins.overlayfs]\ntype = "snapshot"\naddress = "/run/containerd-x.sock"\n', "/var/lib/containerd-x"),
    (b'[proxy_plugins.overlayfs]\ntype = "snapshot"\naddress = "/run/containerd/x.sock"\n'
     b'[proxy_plugins.overlayfs.exports]\nroot = "/data/x"\n', "/data/x"),
])  # fmt: skip
def test_a_snapshotter_that_is_a_process_of_its_own_is_found_where_its_socket_says(config, path):
    tree = host(path, data_directory()[OVERLAYFS])
    tree["etc"]["containerd"] = {"config.toml": config}
    tree["var"] = {
        **tree.get("var", {}),
        "lib": {**tree.get("var", {}).get("lib", {}), "containerd": {META: data_directory()[META]}},
    }
    (root,), _ = roots_of(tree)
    contents = containerd_contents(read_containerd(root))
    assert {layer.path for layer in contents.layers if layer.kind == "container"} == {
        f"{path}/snapshots/{number}/fs" for number in (3, 5, 12, 13, 14)
    }


@pytest.mark.parametrize("path", ["/run/k0s/containerd", "/run/docker/containerd/daemon", "/srv/state"])
def test_a_state_directory_is_found_by_its_shape_and_counts_for_the_store_that_has_its_containers(path):
    bundle = {"io.containerd.runtime.v2.task": {"default": {"redis": {"init.pid": b"4711"}, "stranger": {"init.pid": b"9"}}}}
    tree = host("/var/lib/k0s/containerd", data_directory())
    here = tree
    for part in path.strip("/").split("/"):
        here = here.setdefault(part, {})
    here |= bundle
    found = {each.container_id: (each.state, each.pid) for each in contents_of(tree).containers}
    assert found["redis"] == ("running", 4711)
    assert "stranger" not in found
