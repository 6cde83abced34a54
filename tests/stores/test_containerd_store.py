"""containerd's stores: what they hold, joined with Docker's parts, and damaged file by file."""

import hashlib
import json
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from forensics.layers import number_layers
from forensics.records import Mount
from forensics.stores.containerd.artefacts import containerd_artefacts
from forensics.stores.containerd.discover import find_containerd_roots
from forensics.stores.containerd.layers import snapshot_layers
from forensics.stores.containerd.meta import MetaDb
from forensics.stores.containerd.mounts import kubelet_volume, spec_mounts
from forensics.stores.containerd.rebuilt import with_rebuilt
from forensics.stores.containerd.snapshotters import SnapshotDirectory, Snapshotter
from forensics.stores.containerd.store import read_containerd
from forensics.stores.docker.containerd_images import EngineNamespace, claim_namespaces, familiar, own_layers
from forensics.stores.docker.discover import DockerRoot, find_docker_roots
from forensics.stores.docker.store import read_docker
from forensics.stores.reading import Place, StoreReader
from parsers.containerd_meta import Ingest, Snapshot
from parsers.containerd_snapshots import StoredSnapshot
from parsers.oci_spec import parse_spec
from support.bolt_files import bolt_bytes
from support.containerd_hosts import UID, contents_of, data_directory, host
from support.containerd_stores import META, OVERLAYFS, containerd_root, metadata_files, read_all
from support.memory_filesystem import DamagedFilesystem, MemoryFilesystem
from support.on_disk import survey_of

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


def test_a_bundle_on_the_disk_tells_the_process():
    bundle = {"io.containerd.runtime.v2.task": {"default": {"redis": {"init.pid": b"4711"}}}}
    tree = host("/var/lib/containerd", data_directory(), run={"containerd": bundle})
    redis = next(each for each in contents_of(tree).containers if each.container_id == "redis")
    assert (redis.state, redis.pid) == ("running", 4711)


def test_a_task_is_told_with_what_its_bundle_and_its_shim_left():
    """As containerd 1.7 and 2.1 leave it on a disk that has the state directory."""
    bundle = {"init.pid": b"125", "shim-binary-path": b"/usr/bin/containerd-shim-runc-v2", "options.json": b"{}\n",
              "address": b"unix:///run/containerd/s/2dd3", "log.json": b"", "config.json": b"{}"}  # fmt: skip
    name = "io.containerd.runtime.v2.task"
    tree = host("/var/lib/containerd", data_directory(**{name: {"default": {"redis": {}, "gone": {}}}}),
                run={"containerd": {name: {"default": {"redis": bundle}}}})  # fmt: skip
    tasks = {each.name: each for each in contents_of(tree).artefacts if each.kind == "task"}
    assert tasks.keys() == {"redis", "gone"}
    assert tasks["redis"].path == f"/run/containerd/{name}/default/redis"
    assert tasks["redis"].details == {
        "pid": "125", "shim-binary-path": "/usr/bin/containerd-shim-runc-v2", "options.json": "{}",
        "address": "unix:///run/containerd/s/2dd3",
        "directories": f"/var/lib/containerd/{name}/default/redis /run/containerd/{name}/default/redis",
    }  # fmt: skip
    assert tasks["gone"].details == {"directories": f"/var/lib/containerd/{name}/default/gone"}


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


# -- mounts


def test_mounts_are_told_apart():
    source = f"/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~secret/db"
    spec = parse_spec(json.dumps({"mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755", "size=65536k"]},
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=64m"]},
        {"destination": "/etc/hosts", "type": "bind", "source": "/c/io.containerd.grpc.v1.cri/sandboxes/1/hosts"},
        {"destination": "/secret", "type": "bind", "source": source, "options": ["rbind", "rprivate", "ro"]},
    ]}).encode())  # fmt: skip
    mounts = {mount.destination: mount for mount in spec_mounts(spec, {})}
    kinds = {destination: mount.type for destination, mount in mounts.items()}
    assert kinds == {"/secret": "bind", "/scratch": "tmpfs", "/proc": "engine", "/dev": "engine", "/etc/hosts": "engine"}
    assert mounts["/secret"] == Mount("bind", source, "/secret", False, "db", "kubernetes.io/secret", "rbind,rprivate,ro")
    assert mounts["/dev"] == Mount("engine", "tmpfs", "/dev", True, driver="tmpfs", options="mode=755,size=65536k")
    assert mounts["/scratch"].options == "size=64m"
    assert kubelet_volume("/var/lib/kubelet/pods/u/volume-subpaths/conf/web/0") == ("conf", "subpath")
    assert kubelet_volume("/etc") is None


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


def docker_root(number, ids):
    """A data-root that has these containers."""
    configs = {cid: json.dumps({"ID": cid, "Name": f"/of{number}", "Driver": "overlayfs"}).encode() for cid in ids}
    tree = {"containers": {cid: {"config.v2.json": text, "hostconfig.json": b"{}"} for cid, text in configs.items()}}
    fs = MemoryFilesystem(tree)
    return DockerRoot(Place(number, fs, fs.root, b"/"), b"/srv/docker%d" % number, "default")


def test_two_daemons_share_a_namespace(sample):
    """Each has the containers that its own directory tells of, with their layers; none is told twice, nor as lost."""
    with containerd_root(sample("snapshots")) as (root, _):
        store = read_containerd(root)
        ids = sorted(EngineNamespace(store, "moby").keys())
        assert len(ids) > 2
        roots = [docker_root(8, ids[:1]), docker_root(9, ids[1:]), docker_root(10, ids)]
        claimed = claim_namespaces(StoreReader(), roots, [store])
        ours, theirs, copy = (read_docker(each, claimed.get((each.place.partition, each.place.inode))) for each in roots)
        assert [each.container_id for each in ours.containers] == ids[:1]
        assert [each.container_id for each in theirs.containers] == ids[1:]
        keys = {layer.key: layer for contents in (ours, theirs) for layer in contents.layers}
        assert all(keys[each.layer].kind == "container" for contents in (ours, theirs) for each in contents.containers)
        assert not [gap for contents in (ours, theirs) for gap in contents.gaps if "only what containerd has" in gap.error]
        assert [each.layer for each in copy.containers] == [None] * len(ids), "a copy of both data-roots shares nothing"


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


@pytest.mark.parametrize(("name", "told"), [("native", False), ("blockfile", False), ("overlayfs", True)])
def test_a_view_of_native_has_no_directory_to_miss(name, told):
    """Of native and blockfile a view is its parent's."""
    place = Place(1, MemoryFilesystem({}), 2, b"/s")
    base = StoredSnapshot("default/1/sha256:a", 1, "committed", None, 1, 1, None, None, {}, 0, ())
    view = replace(base, name="default/2/v", id=2, kind="view", parent=base.name)
    directories = {"1": SnapshotDirectory(place, place)}
    snapshotter = Snapshotter(name, place, None, {each.name: each for each in (base, view)}, directories, False, "none", place)
    reader = StoreReader()
    layers = {each.key: each.layer for each in snapshot_layers(reader, MetaDb(), {name: snapshotter}, {}, {}).all}
    assert layers["v"].directory is None
    assert layers["v"].path == f"/s/snapshots/{2 if told else 1}"
    assert [gap.error for gap in reader.gaps] == (["default/2/v: its directory 2 is missing"] if told else [])


def test_two_records_after_one_directory_decide_nothing():
    directories = {str(number): SnapshotDirectory(Place(1, None, number, b"/"), None) for number in (1, 2, 3)}
    births = {1: 10, 2: 20, 3: 30}
    reader = SimpleNamespace(inode=lambda place: SimpleNamespace(crtime_ns=births[place.inode]), gaps=[])
    reader.gap = lambda *told: reader.gaps.append(told)
    place = Place(1, None, 9, b"/")
    snapshotter = Snapshotter("overlayfs", place, None, {}, directories, True, "trusted", place)
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


@pytest.mark.parametrize("on_disk", [True, False])
def test_an_unfinished_content_whose_files_never_reached_the_disk_has_its_name_from_meta_db(on_disk):
    """Right after a power cut its files are empty, and so is `ref`; its directory's name is the digest of that."""
    files = dict.fromkeys(("ref", "startedat", "updatedat", "data"), b"")
    number = hashlib.sha256(b"default/1/upload-1").hexdigest()
    record = Ingest("default", "upload-1", "default/1/upload-1", "sha256:" + "c" * 64, None, 0, ())
    fs = MemoryFilesystem({"ingest": {number: files} if on_disk else {}})
    reader = StoreReader()
    layers = SimpleNamespace(by_key={})
    found = list(containerd_artefacts(reader, MetaDb(ingests=[record]), layers, Place(1, fs, fs.root, b"/"), {}, ()))
    assert [(each.kind, each.namespace, each.name, each.time_ns) for each in found] == [("ingest", "default", "upload-1", None)]
    assert found[0].details == {"expected": record.expected, **({"written": "0"} if on_disk else {})}
    assert reader.gaps == []
