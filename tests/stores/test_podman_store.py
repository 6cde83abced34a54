"""Stores of containers/storage made in memory: what no engine at hand leaves behind."""

import base64
import hashlib
import json
import sqlite3

import pytest

from forensics.stores.host_tree import HostTree
from forensics.stores.podman.config import Configured
from forensics.stores.podman.discover import GraphRoot
from forensics.stores.podman.store import read_graph_root
from forensics.stores.reading import Place
from parsers.storage_conf import StorageConf
from support.docker_stores import stack
from support.memory_filesystem import MemoryFilesystem, Node
from support.storage_trees import BASE, CID, IMAGE, LINKS, OWN, POD, SECOND, document, graph_root, layer


def read(tree, conf=None):
    fs = MemoryFilesystem(tree)
    place = Place(1, fs, fs.root, b"/")
    return read_graph_root(GraphRoot(place, b"/var/lib/containers/storage", "default", None, Configured(b"/x", "default", conf)))


def kinds(contents):
    return {each.name: each.kind for each in contents.layers}


def conf(**values):
    names = ("driver", "graph_root", "run_root", "image_store", "rootless_path")
    known = {**dict.fromkeys(names), "additional_stores": (), "mount_program": None, "mount_options": None, "transient": False}
    return StorageConf(**{**known, **values})


def test_a_stack():
    contents = read(graph_root())
    (container,) = contents.containers
    assert (container.name, container.engine, container.image_id, container.state) == ("web", "podman", IMAGE, None)
    assert stack(contents, container.layer) == [OWN, SECOND, BASE]
    assert kinds(contents) == {BASE: "image", SECOND: "image", OWN: "container"}
    assert contents.images[0].refs == ("localhost/x:1",)
    assert {each.marks for each in contents.layers} == {"trusted"}


def test_directories_beside_diff_are_below_it():
    tree = graph_root(**{f"overlay__{SECOND}__diff1": {}, f"overlay__{SECOND}__diff2": {}, f"overlay__{SECOND}__diff4": {}})
    tree["overlay-layers"] |= {f"{name}.tar-split.gz": b"x" for name in (BASE, SECOND)}
    contents = read(tree)
    assert stack(contents, contents.containers[0].layer) == [OWN, SECOND, f"{SECOND}/diff1", f"{SECOND}/diff2", BASE]
    assert [each.name for each in contents.layers if each.archive is not None] == [BASE]  # the others' is of all three


def test_lost_lower_files_and_links():
    tree = graph_root()
    del tree["overlay"][OWN]["lower"]
    tree["overlay"]["l"] = {}
    for name in LINKS:
        del tree["overlay"][name]["link"]
    contents = read(tree)
    assert stack(contents, contents.containers[0].layer) == [OWN, SECOND, BASE]
    assert contents.gaps


def test_circles_end():
    tree = graph_root(**{"overlay-layers__layers.json": document({"id": BASE, "parent": OWN}, {"id": OWN, "parent": BASE})})
    contents = read(tree)
    assert kinds(contents)[OWN] == "container"
    assert all(each.chain_id is None for each in contents.layers)


def test_unfinished_and_removed_layers():
    removed = {"temp-dir-1": {"0-" + BASE: layer(BASE)}, "temp-dir-1.lock": b""}
    tree = graph_root(overlay__tempdirs=removed, overlay__staging={"123": {"dir": {}}, "lock": b""})
    tree["overlay-layers"]["layers.json"] = document(
        {"id": BASE}, {"id": SECOND, "parent": BASE, "flags": {"incomplete": True}}, {"id": OWN, "parent": SECOND}
    )
    contents = read(tree)
    orphans = {each.name: each.path for each in contents.layers if each.kind == "orphan"}
    assert orphans == {
        f"tempdirs/temp-dir-1/0-{BASE}": f"/overlay/tempdirs/temp-dir-1/0-{BASE}/diff",
        "staging/123": "/overlay/staging/123/dir",
    }
    assert f"{SECOND} is incomplete: its unpacking never ended" in {gap.error for gap in contents.gaps}


def test_composefs_is_told_and_not_merged():
    tree = graph_root(**{f"overlay__{BASE}__composefs-data": {"composefs.blob": b"x"}})
    contents = read(tree)
    assert {each.name: each.directory is None for each in contents.layers} == {BASE: True, SECOND: False, OWN: False}
    assert [gap.artefact for gap in contents.gaps if BASE in gap.error] == ["composefs"]


def test_what_no_record_names_is_an_orphan():
    tree = graph_root(**{"overlay-containers__containers.json": b"[]", "overlay-images__images.json": b"[]"})
    assert set(kinds(read(tree)).values()) == {"orphan"}


def test_marks_by_what_the_driver_noted():
    assert {each.marks for each in read(graph_root(**{"overlay__.has-mount-program": b"true"})).layers} == {"fuse"}
    fuse = conf(mount_program="/usr/bin/fuse-overlayfs")
    assert {each.marks for each in read(graph_root(), fuse).layers} == {"trusted"}  # as it was at the last mount
    tree = graph_root()
    del tree["overlay"][".has-mount-program"]
    assert {each.marks for each in read(tree, fuse).layers} == {"fuse"}
    assert {each.marks for each in read(tree).layers} == {"trusted"}
    tree["overlay"][SECOND]["diff"] = {"usr": {".wh.gone": b""}}
    assert {each.marks for each in read(tree).layers} == {"fuse"}


def test_marks_by_what_the_kernel_wrote():
    tree = graph_root()
    tree["overlay"][OWN]["diff"] = Node({}, xattrs={b"user.overlay.origin": b"\0"})
    assert {each.marks for each in read(tree).layers} == {"user"}


def test_volatile_records_count():
    tree = graph_root()
    tree["overlay-layers"]["volatile-layers.json"] = document({"id": IMAGE, "parent": SECOND})
    tree["overlay-containers"]["volatile-containers.json"] = document({"id": POD, "names": ["fleeting"], "layer": IMAGE})
    contents = read(tree)
    assert {container.name for container in contents.containers} == {"web", "fleeting"}
    assert kinds(contents)[IMAGE] == "container"


CRIO = {
    "pod-name": "k8s_web_default_0b1d_0", "pod-id": POD, "image-name": "quay.io/x/web:1", "image-id": IMAGE,
    "name": "k8s_nginx_web_default_0b1d_2", "metadata-name": "nginx", "uid": "0b1d", "namespace": "default", "attempt": 2,
    "created-at": 1795225851,
}  # fmt: skip
SPEC = {
    "process": {"args": ["nginx"], "env": ["A=1"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
    "mounts": [
        {
            "destination": "/etc/hosts",
            "type": "bind",
            "source": "/var/lib/kubelet/pods/0b1d/etc-hosts",
            "options": ["rw", "rbind"],
        },
        {"destination": "/run/.containerenv", "type": "bind", "source": "/run/x", "options": ["bind", "ro"]},
    ],
    "annotations": {
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.Image": "1" * 64,
        "io.kubernetes.cri-o.ImageName": "quay.io/x/web:1",
        "io.kubernetes.cri-o.LogPath": "/var/log/pods/default_web_0b1d/nginx/2.log",
        "io.kubernetes.cri-o.Labels": json.dumps({"io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "default"}),
        "io.kubernetes.cri-o.Volumes": json.dumps([{"container_path": "/etc/hosts", "host_path": "/x"}]),
    },
}
STATE = {
    "status": "stopped", "pid": 77, "created": "2026-11-21T01:50:51Z", "started": "2026-11-21T01:50:52Z",
    "finished": "2026-11-21T01:50:53Z", "exitCode": 137, "oomKilled": True,
}  # fmt: skip


def crio(metadata=CRIO, **changes):
    """CRI-O has no database: containers.json's metadata, and userdata."""
    userdata = {"config.json": json.dumps(SPEC).encode(), "state.json": json.dumps(STATE).encode(), **changes}
    record = {"id": CID, "names": [CRIO["name"]], "layer": OWN, "image": IMAGE, "metadata": json.dumps(metadata)}
    tree = graph_root(**{"overlay-containers__containers.json": document(record)})
    tree["overlay-containers"][CID] = {"userdata": userdata}
    return read(tree)


def test_cri_o():
    contents = crio()
    (container,) = contents.containers
    assert {gap.artefact for gap in contents.gaps} == {"container image config"}  # which this tree has not
    assert (contents.store.engine, container.engine, container.pod) == ("crio", "crio", "default/web")
    assert (container.name, container.image, container.restart_count) == (CRIO["name"], "quay.io/x/web:1", 2)
    assert (container.state, container.exit_code, container.oom_killed) == ("exited", 137, True)
    assert (container.created_ns, container.finished_ns) == (1795225851000000000, 1795225853000000000)
    assert (container.command, container.env, container.log_driver) == (("nginx",), ("A=1",), "k8s-file")
    assert [(mount.type, mount.destination, mount.rw) for mount in container.mounts] == [
        ("bind", "/etc/hosts", True),
        ("engine", "/run/.containerenv", False),
    ]


@pytest.mark.parametrize(("kind", "privileged"), [("container", True), ("sandbox", False)])
def test_a_pod_of_privileged_containers_has_no_privileged_sandbox(kind, privileged):
    process = {**SPEC["process"], "capabilities": {"bounding": ["CAP_KILL"]}}
    annotations = {**SPEC["annotations"], "io.kubernetes.cri-o.ContainerType": kind}
    spec = {**SPEC, "process": process, "annotations": annotations}
    (container,) = crio({**CRIO, "privileged": True}, **{"config.json": json.dumps(spec).encode()}).containers
    assert container.privileged is privileged


def test_cri_o_was_ended_before_it_wrote_that_a_container_had():
    """conmon leaves the exit code in userdata; what state.json says of an end counts first."""
    running = {name: value for name, value in STATE.items() if name not in ("exitCode", "finished")} | {"status": "running"}
    late = Node(b"9", mtime_ns=1795225999000000000)
    (container,) = crio(**{"state.json": json.dumps(running).encode(), "exit": late}).containers
    assert (container.state, container.exit_code, container.finished_ns) == ("exited", 9, 1795225999000000000)
    (container,) = crio(exit=late).containers
    assert (container.exit_code, container.finished_ns) == (137, 1795225853000000000)
    contents = crio(**{"state.json": json.dumps(running).encode(), "exit": b"no code"})
    assert (contents.containers[0].state, contents.containers[0].exit_code) == ("running", None)
    assert "exit file" in {gap.artefact for gap in contents.gaps}


@pytest.mark.parametrize(("text", "version"), [(b'"1.33.0"', "1.33.0"), (b"", None), (b"{", None)])
def test_the_version_of_cri_o(text, version):
    record = {"id": CID, "names": [CRIO["name"]], "layer": OWN, "metadata": json.dumps(CRIO)}
    tree = {"var": {"lib": {"crio": {"version": text}}}}
    tree["g"] = graph_root(**{"overlay-containers__containers.json": document(record)})
    assert read_host(tree).store.version == version
    assert read_host({}).store.version is None


def test_cri_o_leaves_out_an_attempt_of_zero():
    (container,) = crio({name: value for name, value in CRIO.items() if name != "attempt"}).containers
    assert container.restart_count == 0


def test_cri_o_with_a_damaged_spec():
    (container,) = crio(**{"config.json": b"\0" * 99, "state.json": b"{"}).containers
    assert (container.engine, container.pod, container.image) == ("crio", "default/web", "quay.io/x/web:1")
    assert (container.state, container.command) == (None, None)


def test_a_working_container_of_buildah():
    tree = graph_root(**{"overlay-containers__containers.json": document({"id": CID, "names": ["x-working"], "layer": OWN})})
    tree["overlay-containers"][CID] = {"userdata": {"buildah.json": b'{"type": "buildah 0.0.1", "image": "localhost/x:1"}'}}
    (container,) = read(tree).containers
    assert (container.engine, container.name, container.image) == ("buildah", "x-working", "localhost/x:1")


def test_a_list_of_manifests_has_no_config_to_miss():
    record = {"id": POD, "names": ["localhost/list:1"], "digest": f"sha256:{BASE}", "big-data-names": ["manifest"]}
    tree = graph_root(**{"overlay-images__images.json": document(record)})
    contents = read(tree)
    assert [(image.image_id, image.top, image.layers) for image in contents.images] == [(POD, None, ())]
    assert contents.gaps == ()


def test_secrets_are_told_without_their_values():
    told = {"secrets": {"id1": {"name": "key", "id": "id1", "driver": "file", "createdAt": "2026-11-21T01:50:51Z"}}}
    tree = graph_root(
        secrets={"secrets.json": json.dumps(told).encode(), "filedriver": {"secretsdata.json": b'{"id1": "aHVudGVy"}'}}
    )
    (secret,) = read(tree).artefacts
    assert (secret.kind, secret.name, secret.time_ns, secret.details) == (
        "secret", "key", 1795225851000000000, {"id": "id1", "driver": "file"},
    )  # fmt: skip


def read_host(tree, **configured):
    """A graphroot on a host that has other things elsewhere."""
    fs = MemoryFilesystem({"g": graph_root(), **tree})
    top = Place(1, fs, fs.root, b"/")
    place = Place(1, fs, fs.find(fs.root, b"g"), b"/g")
    root = GraphRoot(place, b"/g", "default", HostTree({b"/": top}), Configured(b"/g", "default", **configured))
    return read_graph_root(root)


def database(configs):
    """A db.sql with some containers' configs, by id."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for table in ("ContainerConfig (ID TEXT, JSON TEXT)", "ContainerState (ID TEXT, JSON TEXT)", "PodConfig (ID TEXT, JSON TEXT)",
                  "VolumeConfig (Name TEXT, JSON TEXT)", "ContainerExitCode (ID TEXT, ExitCode INTEGER)",
                  "DBConfig (GraphRoot TEXT, VolumeDir TEXT, GraphDriver TEXT)"):  # fmt: skip
        connection.execute(f"CREATE TABLE {table}")
    connection.executemany(
        "INSERT INTO ContainerConfig VALUES (?, ?)", [(own, json.dumps(each)) for own, each in configs.items()]
    )
    image = connection.serialize()
    connection.close()
    return image


def test_the_database_and_the_volumes_may_be_elsewhere():
    config = {"name": "web", "namedVolumes": [{"volumeName": "v", "dest": "/data", "options": ["ro"]}]}
    tree = {"srv": {"libpod": {"db.sql": database({CID: config})}, "volumes": {"v": {"_data": {}}, "w": {"_data": {}}}}}
    contents = read_host(tree, databases=(b"/srv/libpod",), volumes=b"/srv/volumes")
    (mount,) = contents.containers[0].mounts
    assert (mount.type, mount.source, mount.destination, mount.rw) == ("volume", "/srv/volumes/v/_data", "/data", False)
    assert [(volume.name, volume.path, volume.used_by) for volume in contents.volumes] == [
        ("v", "/srv/volumes/v/_data", (CID,)),
        ("w", "/srv/volumes/w/_data", ()),
    ]


def test_networks_of_cni_and_netavark():
    netavark = {"name": "shop", "id": "1" * 64, "driver": "bridge", "subnets": [{"subnet": "10.1.0.0/24"}]}
    cni = {"name": "podman", "plugins": [{"type": "bridge", "ipam": {"ranges": [[{"subnet": "10.88.0.0/16"}]]}}]}
    files = {
        "shop.json": json.dumps(netavark).encode(),
        "87.conflist": json.dumps(cni).encode(),
        "broken.json": b"\0",
        "x.txt": b"",
    }
    contents = read_host({"etc": {"networks": files}}, networks=(b"/etc/networks",))
    default = "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9"
    assert [(each.name, each.network_id, each.subnets) for each in contents.networks] == [
        ("podman", default, ("10.88.0.0/16",)),
        ("shop", "1" * 64, ("10.1.0.0/24",)),
    ]
    assert "network" in {gap.artefact for gap in contents.gaps}


def test_layers_below_may_be_in_an_additional_store():
    """The links there have names of their own; a layer that is needed from here is one of this store's."""
    shared, own = graph_root(), graph_root()
    del own["overlay"][BASE], own["overlay"][SECOND], own["overlay"]["l"][LINKS[BASE]], own["overlay"]["l"][LINKS[SECOND]]
    own["overlay-layers"]["layers.json"] = document({"id": OWN, "parent": SECOND})
    own["overlay-images"]["images.json"] = b"[]"
    fs = MemoryFilesystem({"g": own, "shared": shared})
    top = Place(1, fs, fs.root, b"/")
    place = Place(1, fs, fs.find(fs.root, b"g"), b"/g")
    configured = Configured(b"/g", "default", stores=(b"/shared", b"/nowhere"))
    contents = read_graph_root(GraphRoot(place, b"/g", "default", HostTree({b"/": top}), configured))
    assert stack(contents, contents.containers[0].layer) == [OWN, SECOND, BASE]
    assert {each.name: each.path.split("/")[1] for each in contents.layers} == {OWN: "g", SECOND: "shared", BASE: "shared"}
    assert [gap.artefact for gap in contents.gaps] == ["additional image store"]


def test_a_container_on_a_directory_of_the_host():
    configs = {own: {"name": own[:3], "rootfs": rootfs} for own, rootfs in ((CID, "/srv/root"), (POD, "/srv/gone"))}
    tree = {"srv": {"root": {"etc": {}}, "libpod": {"db.sql": database(configs)}}}
    contents = read_host(tree, databases=(b"/srv/libpod",))
    layers = {layer.key: layer for layer in contents.layers}
    own = {container.container_id: container for container in contents.containers}
    assert own[CID].image == "/srv/root"
    assert (layers[own[CID].layer].path, layers[own[CID].layer].stacked) == ("/srv/root", False)
    assert own[POD].layer is None
    assert "rootfs" in {gap.artefact for gap in contents.gaps}


def test_what_was_written_to_an_overlay_on_a_directory():
    """--rootfs /srv/root:O, and --rootfs of a directory that only a running host has."""
    configs = {CID: {"rootfs": "/srv/root", "rootfs_overlay": True}, POD: {"rootfs": "/run/gone", "rootfs_overlay": True}}
    tree = {"srv": {"root": {"etc": {}}, "libpod": {"db.sql": database(configs)}}}
    tree["g"] = graph_root(**{f"overlay-containers__{own}": {"rootfs": {"upper": {}, "work": {}}} for own in configs})
    contents = read_host(tree, databases=(b"/srv/libpod",))
    own = {container.container_id: container.layer for container in contents.containers}
    layers = {layer.key: layer for layer in contents.layers}
    upper, lower, alone = layers[own[CID]], layers[f"rootfs/{CID}/lower"], layers[own[POD]]
    assert (upper.path, upper.lower, upper.marks, upper.kind) == (
        f"/g/overlay-containers/{CID}/rootfs/upper", lower.key, "trusted", "container",
    )  # fmt: skip
    assert (lower.path, lower.kind) == ("/srv/root", "image")
    assert alone.lower not in layers
    assert [gap.error for gap in contents.gaps if gap.artefact == "rootfs"] == [
        f"/run/gone, the root filesystem of {POD}, is not on the disk"
    ]


UTS = {"linux": {"namespaces": [{"type": "uts"}]}}


@pytest.mark.parametrize(
    ("config", "hostname"),
    [
        ({"spec": UTS}, CID[:12]),
        ({"spec": {**UTS, "hostname": "web"}}, "web"),
        ({"spec": {}}, None),  # the host's own
        ({"spec": UTS, "utsNsCtr": POD}, "pod"),
        ({"spec": UTS, "utsNsCtr": CID}, CID[:12]),
        ({}, None),
    ],
)
def test_host_names(config, hostname):
    configs = {CID: config, POD: {"spec": {"hostname": "pod"}}}
    tree = {"srv": {"libpod": {"db.sql": database(configs)}}}
    contents = read_host(tree, databases=(b"/srv/libpod",))
    assert {container.container_id: container.hostname for container in contents.containers}[CID] == hostname


def test_copies_for_user_namespaces_count_as_the_images():
    config = b"{}"
    image = hashlib.sha256(config).hexdigest()
    layers = [
        {"id": BASE, "diff-size": 10},
        {"id": SECOND, "diff-size": 100, "uidmap": [{"container_id": 0, "host_id": 5, "size": 9}]},
    ]
    record = {"id": image, "layer": BASE, "mapped-layers": [SECOND], "big-data-sizes": {f"sha256:{image}": 2}}
    files = {f"={base64.b64encode(f'sha256:{image}'.encode()).decode()}": config}
    tree = graph_root(**{
        "overlay-layers__layers.json": document(*layers), "overlay-images__images.json": document(record),
        f"overlay-images__{image}": files, "overlay-containers__containers.json": b"[]",
    })  # fmt: skip
    contents = read(tree)
    assert [each.size_bytes for each in contents.images] == [112]
    assert kinds(contents)[SECOND] == "image"
