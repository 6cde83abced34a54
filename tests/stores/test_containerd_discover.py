"""Where containerd keeps its things: data directories, snapshotters and state directories, wherever they are."""

import pytest

from forensics.stores.containerd.store import containerd_contents, read_containerd
from parsers.containerd_config import ContainerdOptions, containerd_options
from support.bolt_files import bolt_bytes
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


@pytest.mark.parametrize("path", ["/var/lib/soci-snapshotter-grpc", "/var/lib/containerd-stargz-grpc", "/opt/nobody/knows"])
def test_the_snapshots_are_those_of_the_inner_of_two_databases(path):
    """As soci and stargz lay it out: beside `snapshotter` is a metadata.db that tells of no snapshots."""
    overlayfs = data_directory()[OVERLAYFS]
    tree = host(path, {"metadata.db": bolt_bytes("one-bucket"), "snapshotter": overlayfs})
    tree["etc"]["containerd"] = {
        "config.toml": f'[proxy_plugins.overlayfs]\naddress = "/run/{path.split("/")[-1]}/x.sock"\n'.encode()
    }
    tree.setdefault("srv", {})["c"] = {META: data_directory()[META]}
    tree["etc"]["containerd"]["config.toml"] = b'root = "/srv/c"\n' + tree["etc"]["containerd"]["config.toml"]
    contents = contents_of(tree)
    assert {layer.path for layer in contents.layers if layer.kind == "container"} == {
        f"{path}/snapshotter/snapshots/{number}/fs" for number in (3, 5, 12, 13, 14)
    }
    assert not any(gap.artefact == "snapshotter" for gap in contents.gaps)


def test_of_two_directories_that_may_be_a_snapshotters_none_is_read():
    overlayfs = data_directory()[OVERLAYFS]
    tree = host("/srv/c", {META: data_directory()[META]}, one={"x": overlayfs}, two={"y": overlayfs})
    contents = contents_of(tree)
    assert "the snapshots of overlayfs may be in any of /one/x, /two/y; none is read" in [gap.error for gap in contents.gaps]


UNIT = b"[Service]\nExecStart=/usr/bin/containerd\n"
FAST = b'[plugins."io.containerd.snapshotter.v1.overlayfs"]\nroot_path = "/fast"\n'


@pytest.mark.parametrize(("files", "root", "how"), [
    ({"etc/systemd/system/containerd.service": b"[Service]\nExecStart=/usr/bin/containerd --config /etc/cd/c.toml\n",
      "etc/cd/c.toml": b'version = 2\nroot = "/data/c"\n' + FAST}, "/data/c", "/etc/cd/c.toml"),
    ({"usr/lib/systemd/system/containerd.service": UNIT,
      "etc/systemd/system/containerd.service.d/10-root.conf":
          b"[Service]\nEnvironment=OPTS=--root=/data/c\nExecStart=\nExecStart=/usr/bin/containerd -c=/etc/cd/c.toml $OPTS\n",
      "etc/cd/c.toml": b'root = "/nowhere"\n' + FAST}, "/data/c", "ExecStart in containerd.service"),
    ({"etc/conf.d/containerd": b'command_args="--root=/data/c --config /etc/cd/c.toml"\n', "etc/cd/c.toml": FAST},
     "/data/c", "command_args in /etc/conf.d/containerd"),
    ({"etc/containerd/config.toml": b'root = "/old"\nimports = ["/etc/cd/*/[ab].toml"]\n',
      "etc/cd/x/a.toml": b'root = "/data/c"\nimports = ["../y/z.toml"]\n', "etc/cd/x/c.toml": b'root = "/no"\n',
      "etc/cd/y/z.toml": b"[plugins.overlayfs]\nroot_path = '/fast'\n"}, "/data/c", "/etc/containerd/config.toml"),
    ({"etc/rancher/k3s/config.yaml": b"write-kubeconfig-mode: '644'\ndata-dir: /data/k3s\n",
      "data/k3s/agent/etc/containerd/config.toml": FAST}, "/data/k3s/agent/containerd", "default"),
    ({"etc/systemd/system/rke2-server.service": b"[Service]\nExecStart=/usr/local/bin/rke2 server --data-dir=/data/r\n",
      "data/r/agent/etc/containerd/config.toml": FAST}, "/data/r/agent/containerd", "default"),
])  # fmt: skip
def test_what_starts_a_daemon_tells_its_config_and_that_the_places(files, root, how):
    tree = host(root, {META: data_directory()[META]}, fast=data_directory()[OVERLAYFS])
    for path, content in files.items():
        *above, last = path.split("/")
        here = tree
        for part in above:
            here = here.setdefault(part, {})
        here[last] = content
    (found,), reader = roots_of(tree)
    assert reader.gaps == []
    assert (found.host_path.decode(), found.how) == (root, how)
    assert {name: place.path for name, place in found.snapshotters.items()} == {"overlayfs": b"/fast"}


@pytest.mark.parametrize(("argv", "told"), [
    (["--config", "/c", "--root=/r", "-state", "/s"], ContainerdOptions("/c", "/r", "/s")),
    (["-c", "/a", "-c=/b", "--address", "/run/x.sock"], ContainerdOptions(config="/b")),
    (["config", "--root", "relative", "--state"], ContainerdOptions()),
])  # fmt: skip
def test_options_of_a_command_line(argv, told):
    assert containerd_options(argv) == told


def test_snapshots_whose_files_are_not_read_are_an_inventory_and_a_gap():
    """blockfile keeps files in the place of directories; its views have none of their own."""
    snapshotter = {
        "metadata.db": bolt_bytes("containerd-2.1-overlayfs"),
        "snapshots": {str(number): b"image" for number in (1, 2, 3, 5, 12, 13, 14)},
    }
    tree = host("/srv/c", {META: data_directory()[META], "io.containerd.snapshotter.v1.blockfile": snapshotter})
    contents = contents_of(tree)
    layers = [layer for layer in contents.layers if layer.key.startswith("blockfile/")]
    assert len(layers) == 7 and all(layer.directory is None for layer in layers)
    assert {layer.path for layer in layers} == {
        f"/srv/c/io.containerd.snapshotter.v1.blockfile/snapshots/{number}" for number in (1, 2, 3, 5, 12, 13, 14)
    }
    (gap,) = [gap for gap in contents.gaps if "blockfile" in gap.error]
    assert gap.error.startswith("7 snapshots of blockfile: each is a disk image of its own")
