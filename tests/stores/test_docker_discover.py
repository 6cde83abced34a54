"""Docker's data-root is found wherever it is, once."""

import json
from types import SimpleNamespace

import pytest

from forensics.host import Host
from forensics.stores.docker.discover import find_docker_roots
from forensics.stores.reading import StoreReader
from forensics.survey import Partition, Survey
from forensics.text import readable
from forensics.volume import Volume
from parsers.host_files import fstab
from support.memory_filesystem import MemoryFilesystem

ROOT = {"containers": {}, "image": {"overlay2": {"layerdb": {"sha256": {}}}}, "overlay2": {"l": {}}, "volumes": {}, "network": {}}


def roots_on(*trees, table=""):
    """The data-roots on a disk of these filesystems, the first being the host's own, and what could not be read."""
    partitions = []
    for number, tree in enumerate(trees, 1):
        fs = MemoryFilesystem(tree, uuid=f"0000-{number:04d}")
        volume = Volume(number, "gpt", f"p{number}", 0, 0, None, None, None, fs.source)
        partitions.append(Partition(volume, fs, "memory", "clean"))
    host = Host(1, "host", None, None, None, None, fstab(table))
    reader = StoreReader()
    found = find_docker_roots(Survey(SimpleNamespace(), tuple(partitions), {1: host}, {}, ()), reader)
    told = [
        (root.place.partition, readable(root.place.path), root.host_path and readable(root.host_path), root.how) for root in found
    ]
    return told, reader.gaps


def only(*trees, table=""):
    roots, gaps = roots_on(*trees, table=table)
    assert gaps == []
    (root,) = roots
    return root


def config(**options):
    return json.dumps(options).encode()


def test_default():
    assert only({"var": {"lib": {"docker": ROOT}}}) == (1, "/var/lib/docker", "/var/lib/docker", "default")


def test_no_docker():
    tree = {"var": {"lib": {"containers": {"storage": {"overlay-containers": {}}}, "docker": {}}}, "containers": {}, "image": {}}
    assert roots_on(tree) == ([], [])


@pytest.mark.parametrize("path", ["srv/d", "./srv//d/", "/opt/../srv/./d", "../../srv/d"])
def test_a_data_root_that_is_written_in_another_way(path):
    tree = {"etc": {"docker": {"daemon.json": config(**{"data-root": path})}}, "srv": {"d": ROOT}, "opt": {}}
    assert only(tree) == (1, "/srv/d", "/srv/d", "/etc/docker/daemon.json")


@pytest.mark.parametrize("target", ["/data/docker", "../../data/docker", "/links/loop/../../data/./docker"])
def test_symlink(target):
    tree = {"var": {"lib": {"docker": target}}, "data": {"docker": ROOT}, "links": {"loop": "/var/lib"}}
    assert only(tree)[:2] == (1, "/data/docker")


def test_a_symlink_in_a_circle_leads_nowhere():
    assert roots_on({"var": {"lib": {"docker": "/var/lib/docker"}}}) == ([], [])


@pytest.mark.parametrize(
    ("etc", "how"),
    [
        ({"docker": {"daemon.json": config(**{"data-root": "/srv/d"})}}, "/etc/docker/daemon.json"),
        ({"docker": {"daemon.json": config(graph="/srv/d")}}, "/etc/docker/daemon.json"),
        ({"default": {"docker": b'DOCKER_OPTS="-g /srv/d"\n'}}, "DOCKER_OPTS in /etc/default/docker"),
        ({"sysconfig": {"docker": b"OPTIONS='--selinux-enabled --data-root=/srv/d'\n"}}, "OPTIONS in /etc/sysconfig/docker"),
        (
            {"systemd": {"system": {"docker.service": b"[Service]\nExecStart=/usr/bin/dockerd \\\n  --data-root '/srv/d'\n"}}},
            "ExecStart in docker.service",
        ),
        (
            {"systemd": {"system": {"docker.service.d": {"1.conf": b"[Service]\nExecStart=\nExecStart=/bin/dockerd -g /srv/d"}}}},
            "ExecStart in docker.service",
        ),
        (
            {
                "systemd": {"system": {"docker.service": b"[Service]\nExecStart=/usr/bin/dockerd --config-file=/etc/d.json"}},
                "d.json": config(**{"data-root": "/srv/d"}),
            },
            "/etc/d.json",
        ),
        (
            {"systemd": {"system": {"docker.service": b"[Service]\nEnvironmentFile=-/etc/env\nExecStart=/usr/bin/dockerd $OPTS"}},
             "env": b"OPTS='--data-root /srv/d'"},
            "ExecStart in docker.service",
        ),
    ],
)  # fmt: skip
def test_configured(etc, how):
    assert only({"etc": etc, "srv": {"d": ROOT}}) == (1, "/srv/d", "/srv/d", how)


def test_a_unit_in_etc_hides_the_packages():
    units = {"system": {"docker.service": b"[Service]\nExecStart=/usr/bin/dockerd --data-root /srv/d"}}
    old = {"system": {"docker.service": b"[Service]\nExecStart=/usr/bin/dockerd --data-root /old"}}
    tree = {"etc": {"systemd": units}, "usr": {"lib": {"systemd": old}}, "lib": "usr/lib", "srv": {"d": ROOT}, "old": ROOT}
    roots, _ = roots_on(tree)
    assert roots == [(1, "/srv/d", "/srv/d", "ExecStart in docker.service"), (1, "/old", "/old", "shape")]


def test_rootless_and_snap():
    tree = {
        "etc": {"passwd": b"root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/people/ann:/bin/sh\nbroken\n"},
        "people": {"ann": {".local": {"share": {"docker": ROOT}}}},
        "home": {"bob": {".config": {"docker": {"daemon.json": config(**{"data-root": "/home/bob/d"})}}, "d": ROOT}},
        "var": {"snap": {"docker": {"common": {"var-lib-docker": ROOT}}}},
    }
    roots, gaps = roots_on(tree)
    assert {(host_path, how) for _, _, host_path, how in roots} == {
        ("/people/ann/.local/share/docker", "rootless"),
        ("/home/bob/d", "/home/bob/.config/docker/daemon.json"),
        ("/var/snap/docker/common/var-lib-docker", "snap"),
    }
    assert gaps == []


def test_a_filesystem_that_is_the_data_root():
    mounted = "UUID=0000-0002 /var/lib/docker ext4 defaults 0 2\n"
    assert only({"var": {"lib": {"docker": {}}}}, ROOT, table=mounted) == (2, "/", "/var/lib/docker", "default")
    assert only({"var": {"lib": {"docker": {}}}}, ROOT) == (2, "/", None, "shape"), "no fstab, but the shape tells"


def test_mounts_and_binds_on_the_way():
    table = "UUID=0000-0002 /data ext4 defaults 0 2\n/data/engine /var/lib/docker none bind 0 0\n"
    assert only({"var": {"lib": {"docker": {}}}, "data": {}}, {"engine": ROOT}, table=table) == (
        2,
        "/engine",
        "/var/lib/docker",
        "default",
    )


def test_user_namespaces():
    remapped = {**ROOT, "100000.100000": {name: child for name, child in ROOT.items() if name != "image"}}
    roots, _ = roots_on({"var": {"lib": {"docker": remapped}}})
    assert roots == [
        (1, "/var/lib/docker", "/var/lib/docker", "default"),
        (1, "/var/lib/docker/100000.100000", "/var/lib/docker/100000.100000", "userns-remap"),
    ]


def test_any_place_by_shape():
    tree = {"backup": {"2024": {b"d\xff": {"containers": {}, "image": {"vfs": {"layerdb": {}}}}}}}
    assert only(tree) == (1, "/backup/2024/d\\xff", "/backup/2024/d\\xff", "shape")


def test_the_containerd_image_store_leaves_no_layerdb():
    root = {"containers": {}, "network": {}, "volumes": {}, "buildkit": {}, "swarm": {}, "rootfs": {}}
    assert only({"x": root})[3] == "shape"


def test_damaged_configuration_is_told():
    roots, gaps = roots_on({"etc": {"docker": {"daemon.json": bytes(100)}}, "var": {"lib": {"docker": ROOT}}})
    assert [root[3] for root in roots] == ["default"]
    assert [(gap.artefact, gap.path) for gap in gaps] == [("daemon.json", "/etc/docker/daemon.json")]


def test_layers_alone():
    layers = {"overlay2": {"ab" * 32: {"diff": {}}, "l": {}}}
    assert only({"srv": {"engine": layers}}) == (1, "/srv/engine", "/srv/engine", "shape")
    assert only({"var": {"lib": {"docker": {"overlay2": {}}}}}) == (1, "/var/lib/docker", "/var/lib/docker", "default")


@pytest.mark.parametrize(
    "layers",
    [{"fuse-overlayfs": {"1" * 64: {}}}, {"aufs": {"diff": {"1" * 64: {}}}}, {"vfs": {"dir": {"1" * 64 + "-init": {}}}}],
)
def test_layers_of_any_driver_may_be_all_that_is_left(layers):
    assert only({"old": {"d": layers}})[:2] == (1, "/old/d")


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_storage_of_others_is_none_of_dockers(driver):
    layers = {"1" * 64: {}}
    inside = {driver: {"dir": layers} if driver == "vfs" else layers, f"{driver}-layers": {}}
    assert roots_on({"home": {"u": {".local": {"share": {"containers": {"storage": inside}}}}}}) == ([], [])
