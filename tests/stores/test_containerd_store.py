"""containerd's stores: found wherever they are, joined with Docker's and Kubernetes' parts, and damaged file by file."""

import hashlib
import json
import random
from types import SimpleNamespace

import pytest

from forensics.layers import number_layers
from forensics.records import Container, Endpoint, Mount
from forensics.stores.containerd.discover import find_containerd_roots
from forensics.stores.containerd.meta import MetaDb
from forensics.stores.containerd.mounts import kubelet_volume, spec_mounts
from forensics.stores.containerd.nerdctl import nerdctl_volumes, read_nerdctl
from forensics.stores.containerd.networks import cni_networks
from forensics.stores.containerd.rebuilt import with_rebuilt
from forensics.stores.containerd.snapshotters import SnapshotDirectory, Snapshotter
from forensics.stores.containerd.store import containerd_contents, read_containerd
from forensics.stores.docker.containerd_images import claim_namespaces, familiar, own_layers
from forensics.stores.docker.discover import find_docker_roots
from forensics.stores.docker.store import read_docker
from forensics.stores.kubelet import find_kubelets, read_kubelet
from forensics.stores.reading import Place
from parsers.containerd_meta import Snapshot
from parsers.oci_spec import parse_spec
from support.bolt_files import bolt_bytes
from support.containerd_stores import META, OVERLAYFS, containerd_root, metadata_files, read_all
from support.memory_filesystem import DamagedFilesystem
from support.on_disk import survey_of

POD = "54c459963a92a63c93debd30e25778e155da0eb35fa5f920783c74d9bf7b56ce"
WEB = "bb3947df9d5c8f6f9fb40de66ae9879ac2aa4290b0ceb9252cb759d47972df0d"
SIDECAR = "dbecd4293f983ae26791a2e25e1a0f2d63ad043752fd47d0e3e1a88b728e9e56"
UID = "11111111-aaaa-bbbb-cccc-000000000001"
STATUS = {"Version": "v1", "Pid": 200, "CreatedAt": 10, "StartedAt": 20, "FinishedAt": 30, "ExitCode": 137, "Reason": "OOMKilled"}


def data_directory(**more):
    """What ctr left: namespaces default and k8s.io, with a directory for each of seven snapshots, and one that nobody knows."""
    snapshots = {str(number): {"fs": {}, "work": {}} for number in (1, 2, 3, 5, 12, 13, 14, 99)}
    snapshots["3"]["work"] = {"work": {}}
    return {
        META: {"meta.db": bolt_bytes("containerd-2.1-meta")},
        OVERLAYFS: {"metadata.db": bolt_bytes("containerd-2.1-overlayfs"), "snapshots": snapshots},
        **more,
    }


def host(path, tree, **more):
    """A host's tree with a directory at an absolute path."""
    top = {"etc": {"hostname": b"h\n", "os-release": b"ID=debian\n"}, **more}
    here = top
    *above, last = path.strip("/").split("/")
    for part in above:
        here = here.setdefault(part, {})
    here[last] = tree
    return top


def roots_of(*trees):
    found, reader = survey_of(*trees)
    return find_containerd_roots(found, reader), reader


def contents_of(*trees):
    (root,), _ = roots_of(*trees)
    return containerd_contents(read_containerd(root))


# -- where it is


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


# -- what it holds


def test_containers_have_the_stack_of_their_snapshots():
    contents = contents_of(host("/var/lib/containerd", data_directory()))
    numbered, gaps = number_layers(contents.layers, 1)
    assert gaps == ()
    by_key = {each.layer.key: each for each in numbered}
    paths = {each.number: each.layer.path.removeprefix(f"/var/lib/containerd/{OVERLAYFS}/snapshots/") for each in numbered}
    stacks = {each.container_id: [paths[n] for n in by_key[each.layer].chain] for each in contents.containers}
    assert stacks == {
        "redis": ["3/fs", "1/fs"], "spare5": ["12/fs", "1/fs"], "spare6": ["13/fs", "1/fs"], "spare7": ["14/fs", "1/fs"],
        "pod-app": ["5/fs", "2/fs"],
    }  # fmt: skip
    assert {layer.name for layer in contents.layers if layer.kind == "orphan"} == {"99"}


def test_a_state_is_told_only_where_it_is_sure():
    tasks = {"io.containerd.runtime.v2.task": {"default": {"spare6": {}}}}
    contents = contents_of(host("/var/lib/containerd", data_directory(**tasks)))
    states = {each.container_id: each.state for each in contents.containers}
    assert states == {"redis": None, "spare5": "created", "spare6": "running", "spare7": "created", "pod-app": "created"}


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


def test_a_bundle_on_the_disk_tells_the_process():
    bundle = {"io.containerd.runtime.v2.task": {"default": {"redis": {"init.pid": b"4711"}}}}
    tree = host("/var/lib/containerd", data_directory(), run={"containerd": bundle})
    redis = next(each for each in contents_of(tree).containers if each.container_id == "redis")
    assert (redis.state, redis.pid) == ("running", 4711)


@pytest.mark.parametrize("damage", [b"", bytes(4096), b"\xff" * 70000])
def test_without_meta_db_the_snapshots_still_tell_of_containers(damage):
    store = data_directory()
    store[META] = {"meta.db": damage}
    contents = contents_of(host("/var/lib/containerd", store))
    assert {each.container_id for each in contents.containers} == {"redis", "spare5", "spare6", "spare7", "pod-app"}
    assert all(each.layer is not None for each in contents.containers)
    assert contents.gaps


def test_without_metadata_db_the_layers_are_told_by_their_times(sample):
    with containerd_root(sample("snapshots")) as (root, docker_roots):
        whole = read_all(root, docker_roots)
        paths = {layer.key: layer.path for layer in whole.layers}
        for path, database, _ in list(metadata_files(root)):
            if not path.endswith("metadata.db"):
                continue
            told = read_all(root, docker_roots, DamagedFilesystem(root.place.fs, contents={database.inode: b""}))
            assert any("inference" in gap.error for gap in told.gaps)
            found = {layer.key: layer.path for layer in told.layers}
            own = {(each.namespace, each.container_id): paths[each.layer] for each in whole.containers}
            assert {(each.namespace, each.container_id): found[each.layer] for each in told.containers} == own
            lower = {layer.path: paths.get(layer.lower) for layer in whole.layers}
            assert {layer.path: found.get(layer.lower) for layer in told.layers} == lower


def test_without_metadata_db_and_times_the_directories_are_orphans():
    store = data_directory()
    store[OVERLAYFS]["metadata.db"] = b"no bbolt file"
    contents = contents_of(host("/var/lib/containerd", store))
    assert len(contents.containers) == 5
    assert len([layer for layer in contents.layers if layer.kind == "orphan" and layer.directory is not None]) == 8


def test_containers_of_kubernetes():
    status = json.dumps(STATUS).encode()
    store = {
        META: {"meta.db": bolt_bytes("cri-2.1-meta")},
        "io.containerd.grpc.v1.cri": {"containers": {WEB: {"status": status}, SIDECAR: {"status": b"{"}}},
        "io.containerd.runtime.v2.task": {"k8s.io": {POD: {}}},
    }
    contents = contents_of(host("/var/lib/containerd", store))
    found = {each.container_id: each for each in contents.containers}
    assert len(found) == 4
    web, pod = found[WEB], found[POD]
    assert (web.name, web.pod, web.state, web.exit_code, web.oom_killed) == ("web", "default/shop", "exited", 137, True)
    assert (web.started_ns, web.finished_ns, web.pid, web.restart_count) == (20, 30, None, 0)
    assert web.log_path == f"/var/log/pods/default_shop_{UID}/web/0.log"
    assert (pod.name, pod.pod, pod.state) == ("shop", "default/shop", "running")
    # Its pod was asked to run privileged containers; the sandbox's own process has 14 capabilities and masked paths.
    assert not any(each.privileged for each in found.values())
    assert found[SIDECAR].state is None
    assert any(gap.artefact == "CRI status" for gap in contents.gaps)


# -- mounts


def test_mounts_are_told_apart():
    source = f"/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~secret/db"
    spec = parse_spec(json.dumps({"mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=64m"]},
        {"destination": "/etc/hosts", "type": "bind", "source": "/c/io.containerd.grpc.v1.cri/sandboxes/1/hosts"},
        {"destination": "/secret", "type": "bind", "source": source, "options": ["rbind", "rprivate", "ro"]},
    ]}).encode())  # fmt: skip
    mounts = {mount.destination: mount for mount in spec_mounts(spec, {})}
    kinds = {destination: mount.type for destination, mount in mounts.items()}
    assert kinds == {"/secret": "bind", "/scratch": "tmpfs", "/proc": "engine", "/dev": "engine", "/etc/hosts": "engine"}
    assert mounts["/secret"] == Mount("bind", source, "/secret", False, "db", "kubernetes.io/secret", "rprivate")
    assert kubelet_volume("/var/lib/kubelet/pods/u/volume-subpaths/conf/web/0") == ("conf", "subpath")
    assert kubelet_volume("/etc") is None


@pytest.mark.parametrize("path", ["/var/lib/kubelet", "/var/snap/microk8s/common/var/lib/kubelet", "/var/lib/k0s/kubelet"])
def test_a_kubelet_is_found_where_its_distribution_keeps_it(path):
    found, reader = survey_of(host(path, {"pods": {UID: {"containers": {"web": {}}}}}))
    (root,) = find_kubelets(found, reader)
    assert root.host_path == path.encode()


def test_volumes_and_static_pods_of_a_kubelet():
    volumes = {"kubernetes.io~secret": {"db": {"password": b"x"}}, "kubernetes.io~empty-dir": {"cache": {}}}
    kubelet = {"pods": {UID: {"volumes": volumes, "containers": {"web": {}}}}, "config.yaml": b"staticPodPath: /srv/pods\n"}
    tree = host("/var/lib/kubelet", kubelet, srv={"pods": {"etcd.yaml": b"spec:\n  containers:\n  - image: etcd:3.5\n"}})
    found, reader = survey_of(tree)
    (root,) = find_kubelets(found, reader)
    base = f"/var/lib/kubelet/pods/{UID}/volumes"
    user = Container("containerd", "k8s.io", WEB, "web", pod="default/shop", labels={"io.kubernetes.pod.uid": UID},
                     mounts=(Mount("bind", f"{base}/kubernetes.io~secret/db", "/secret", False),))  # fmt: skip
    contents = read_kubelet(root, [user])
    assert {(each.name, each.driver, each.used_by) for each in contents.volumes} == {
        (f"{UID}/db", "kubernetes.io/secret", (WEB,)), (f"{UID}/cache", "kubernetes.io/empty-dir", ()),
    }  # fmt: skip
    pod, static = contents.artefacts
    assert (pod.kind, pod.name, pod.namespace) == ("pod", "shop", "default")
    assert (static.kind, static.name, static.details["images"]) == ("static pod", "etcd.yaml", "etcd:3.5")


HOSTS = {
    "Namespace": "default", "ID": "c" * 64, "Hostname": "shop-host", "ExtraHosts": {"db": "10.9.9.9"}, "Name": "shop",
    "Networks": {"bridge": {"cniVersion": "1.0.0", "ips": [{"address": "10.4.0.7/24"}],
                            "interfaces": [{"name": "nerdctl0", "mac": "aa:aa:aa:aa:aa:aa"},
                                           {"name": "eth0", "mac": "12:34:56:78:9a:bc", "sandbox": "/proc/7/ns/net"}]}},
}  # fmt: skip


@pytest.mark.parametrize(("base", "root"), [
    ("/var/lib/nerdctl", "/var/lib/containerd"),
    ("/srv/homes/eve/.local/share/nerdctl", "/srv/homes/eve/.local/share/containerd"),
])  # fmt: skip
def test_hosts_files_of_nerdctl_tell_names_and_addresses(base, root):
    cid = "c" * 64
    store = {"etchosts": {"default": {cid: {"hosts": b"", "meta.json": json.dumps(HOSTS).encode()}}},
             "containers": {"default": {cid: {}}}}  # fmt: skip
    tree = host(root, data_directory())
    here = tree
    for part in [*base.strip("/").split("/"), "1935db59"]:
        here = here.setdefault(part, {})
    here |= store
    tree["etc"]["passwd"] = b"eve:x:1001:1001::/srv/homes/eve:/bin/sh\n"
    conflist = {"name": "bridge", "nerdctlID": 1, "plugins": [{"type": "bridge"}]}
    configs = tree["etc"] if base.startswith("/var") else tree["srv"]["homes"]["eve"].setdefault(".config", {})
    configs["cni"] = {"net.d": {"nerdctl-bridge.conflist": json.dumps({**conflist, "nerdctlID": "ab"}).encode()}}
    (found_root,), reader = roots_of(tree)
    found = read_nerdctl(reader, found_root, [("default", cid)])
    assert (found.name("default", cid), found.hostname("default", cid)) == ("shop", "shop-host")
    assert found.hosts["default", cid].extra == {"db": "10.9.9.9"}
    user = Container("containerd", "default", cid, "shop")
    (network,) = cni_networks(reader, found_root, [user], found.hosts)
    assert network.endpoints == (Endpoint(cid, "eth0", "10.4.0.7/24", "12:34:56:78:9a:bc"),)
    assert reader.gaps == []


def test_nerdctl_names_logs_and_volumes():
    cid = "c" * 64
    own = {f"{cid}-json.log": b"", "log-config.json": b'{"driver":"json-file"}',
           "lifecycle.json": b'{"started_at":"2026-11-20T23:57:14.125772613Z"}'}  # fmt: skip
    store = {"1935db59": {"containers": {"default": {cid: own}}, "names": {"default": {"shop": cid.encode()}},
                          "volumes": {"default": {"data": {"_data": {}, "volume.json": b'{"Labels":{"a":"b"}}'}}}}}  # fmt: skip
    tree = host("/var/lib/containerd", data_directory())
    tree["var"]["lib"]["nerdctl"] = store
    (root,), reader = roots_of(tree)
    found = read_nerdctl(reader, root, [("default", cid)])
    assert found.name("default", cid) == "shop"
    assert found.log("default", cid) == (f"/var/lib/nerdctl/1935db59/containers/default/{cid}/{cid}-json.log", "json-file")
    assert found.lifecycle("default", cid).started_ns == 1795219034125772613
    path = "/var/lib/nerdctl/1935db59/volumes/default/data/_data"
    user = Container("containerd", "default", cid, "shop", mounts=(Mount("volume", path, "/data", True),))
    (volume,) = nerdctl_volumes(reader, found, [user])
    assert (volume.name, volume.path, volume.used_by, volume.labels) == ("data", path, (cid,), {"a": "b"})
    assert reader.gaps == []


# -- with Docker


def test_names_as_docker_prints_them():
    names = ("docker.io/library/tiny:1", "docker.io/me/app:2", "registry.example:5000/shop/web:1")
    assert [familiar(name) for name in names] == ["tiny:1", "me/app:2", "registry.example:5000/shop/web:1"]


def test_a_container_that_runs_on_a_graph_driver_stands_once():
    """Docker's container with layers in overlay2 has a record in containerd while it runs."""
    cid = "b995b6c2958d7c31d753ad6b6eaad8a056b4835ac055e57253b4ccbb36b449b8"
    config = json.dumps({"ID": cid, "Name": "/web", "Driver": "overlay2", "State": {"Running": True}}).encode()
    docker = {"containers": {cid: {"config.v2.json": config, "hostconfig.json": b"{}"}}, "image": {"overlay2": {"layerdb": {}}}}
    tree = host("/var/lib/containerd", {META: {"meta.db": bolt_bytes("docker-26-meta")}})
    tree["var"]["lib"]["docker"] = docker
    found, reader = survey_of(tree)
    (root,) = find_containerd_roots(found, reader)
    (docker_root,) = find_docker_roots(found, reader)
    told = read_all(root, [docker_root])
    assert [(each.engine, each.name, each.state) for each in told.containers] == [("docker", "web", "running")]
    store = read_containerd(root)
    docker["containers"].clear()  # a data-root that lost it
    found, reader = survey_of(tree)
    (docker_root,) = find_docker_roots(found, reader)
    (space,) = claim_namespaces(reader, [docker_root], [store]).values()
    (alone,) = read_docker(docker_root, space).containers
    assert (alone.engine, alone.namespace, alone.container_id, alone.state) == ("docker", None, cid, "running")
    assert alone.command
    assert own_layers(space, {}) == {}


# -- damage


def test_damage_to_any_one_file_leaves_all_containers(sample):
    rng = random.Random(5)
    with containerd_root(sample("snapshots")) as (root, docker_roots):
        whole = read_all(root, docker_roots)
        ids = {(each.engine, each.namespace, each.container_id) for each in whole.containers}
        assert len(ids) == 11
        cases = 0
        for path, place, kind in metadata_files(root):
            fs = root.place.fs
            if kind != "f":
                damaged = [DamagedFilesystem(fs, broken=[place.inode])]
            else:
                data = fs.read(place.inode, 0, 1 << 20)
                changed = [bytes(len(data)), b"", data[: len(data) // 2], rng.randbytes(len(data))]
                if path.endswith(".db"):
                    changed += [data[: rng.randrange(len(data))] for _ in range(10)]
                    for _ in range(20):
                        flipped = bytearray(data)
                        for _ in range(rng.choice((1, 5, 50))):
                            flipped[rng.randrange(len(data))] = rng.randrange(256)
                        changed.append(bytes(flipped))
                damaged = [DamagedFilesystem(fs, contents={place.inode: each}) for each in changed]
                damaged.append(DamagedFilesystem(fs, broken=[place.inode]))
            for other in damaged:
                told = read_all(root, docker_roots, other)
                found = {(each.engine, each.namespace, each.container_id) for each in told.containers}
                lost = {each for each in ids - found if each[0] == "docker"}
                assert not lost, path
                if not path.endswith(".db") and kind == "f":
                    assert found == ids, path
                cases += 1
        assert cases > 100


def test_networks_of_nerdctl_and_who_was_attached():
    conflist = {
        "name": "front", "nerdctlID": "n" * 64, "nerdctlLabels": {"tier": "front"},
        "plugins": [{"type": "bridge", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.4.1.0/24"}]]}}],
    }  # fmt: skip
    result = {
        "kind": "cniCacheV1", "networkName": "front", "containerId": "default-redis", "ifName": "eth0",
        "result": {"ips": [{"address": "10.4.1.7/24"}], "interfaces": [{"mac": "02:00:00:00:00:01"},
                   {"mac": "02:00:00:00:00:02", "sandbox": "/var/run/netns/x"}]},
    }  # fmt: skip
    other = {"name": "podnet", "plugins": [{"type": "bridge", "ipam": {"subnet": "10.5.0.0/16"}}]}
    tree = host("/var/lib/containerd", data_directory())
    files = {"front.conflist": json.dumps(conflist).encode(), "podnet.conflist": json.dumps(other).encode(), "x.conflist": b"{"}
    tree["etc"]["cni"] = {"net.d": files}
    tree["var"]["lib"]["cni"] = {"results": {"front-default-redis-eth0": json.dumps(result).encode()}}
    contents = contents_of(tree)
    (network,) = contents.networks
    assert (network.engine, network.name, network.driver, network.subnets) == ("nerdctl", "front", "bridge", ("10.4.1.0/24",))
    assert network.endpoints == (Endpoint("redis", "eth0", "10.4.1.7/24", "02:00:00:00:00:02"),)
    assert [gap.path for gap in contents.gaps if gap.artefact == "CNI network"] == ["/etc/cni/net.d/x.conflist"]


def test_images_whose_names_are_lost_are_listed_without(sample):
    with containerd_root(sample("snapshots")) as (root, docker_roots):
        whole = read_all(root, docker_roots)
        database = next(place for path, place, _ in metadata_files(root) if path.endswith("meta.db"))
        told = read_all(root, docker_roots, DamagedFilesystem(root.place.fs, contents={database.inode: b""}))
        assert {image.image_id for image in told.images} == {image.image_id for image in whole.images}
        assert {image.layers for image in told.images} == {image.layers for image in whole.images}
        assert all(image.refs == () and image.namespace is None for image in told.images)


def test_parts_of_a_data_directory_may_be_symlinks():
    store = data_directory()
    tree = host("/var/lib/containerd", {META: store[META], OVERLAYFS: "/data/overlay"}, data={"overlay": store[OVERLAYFS]})
    contents = contents_of(tree)
    paths = {layer.key: layer.path for layer in contents.layers}
    assert {paths[each.layer] for each in contents.containers} == {f"/data/overlay/snapshots/{n}/fs" for n in (3, 5, 12, 13, 14)}


def test_two_records_after_one_directory_decide_nothing():
    directories = {str(number): SnapshotDirectory(Place(1, None, number, b"/"), None) for number in (1, 2, 3)}
    births = {1: 10, 2: 20, 3: 30}
    reader = SimpleNamespace(inode=lambda place: SimpleNamespace(crtime_ns=births[place.inode]), gaps=[])
    reader.gap = lambda *told: reader.gaps.append(told)
    snapshotter = Snapshotter("overlayfs", Place(1, None, 9, b"/"), None, {}, directories, True, "trusted")
    meta = MetaDb()
    for key, created in (("a", 11), ("b", 21), ("c", 22), ("d", 31)):
        meta.snapshots["n", "overlayfs", key] = Snapshot("n", "overlayfs", key, f"n/1/{key}", None, {}, created, 0, ())
    found = with_rebuilt(reader, meta, {"overlayfs": snapshotter})["overlayfs"].snapshots
    assert {name: snapshot.id for name, snapshot in found.items()} == {"n/1/a": 1, "n/1/d": 3}
    assert "4 snapshots are lost; the directories of 2" in reader.gaps[0][1]


def test_unfinished_and_forgotten_content_is_listed():
    ingest = {
        "ref": b"default/1/layer-sha256:aa",
        "startedat": b"2026-11-20T23:57:14.125772613Z",
        "total": b"100",
        "data": b"half",
    }
    digest = hashlib.sha256(b"left over").hexdigest()
    blobs = {"sha256": {digest: b"left over", "b" * 64: b"altered"}}
    contents = contents_of(
        host(
            "/var/lib/containerd",
            data_directory(**{"io.containerd.content.v1.content": {"blobs": blobs, "ingest": {"1f": ingest}}}),
        )
    )
    found = {each.kind: each for each in contents.artefacts if each.kind in ("ingest", "forgotten blob")}
    unfinished = found["ingest"]
    assert (unfinished.namespace, unfinished.name, unfinished.time_ns) == ("default", "layer-sha256:aa", 1795219034125772613)
    assert (unfinished.details["written"], unfinished.details["total"]) == ("4", "100")
    assert {each.name for each in contents.artefacts if each.kind == "forgotten blob"} == {
        f"sha256:{digest}",
        "sha256:" + "b" * 64,
    }
    assert [gap.path for gap in contents.gaps if "altered" in gap.error] == [
        f"/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/{'b' * 64}"
    ]
