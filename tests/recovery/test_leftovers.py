"""Removed containers of which containerd's directory still has something: the records are an engine's own, of CRI 2.1 and ctr."""

import json
import lzma
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from forensics.recovery.containers.containerd import containerd_clues
from forensics.recovery.containers.leftovers import leftover_clues, root_directory_clues, storage_clues
from forensics.recovery.recover import recover
from forensics.stores.all import FoundStore
from forensics.stores.containerd.discover import find_containerd_roots
from forensics.stores.containerd.store import containerd_contents, read_containerd
from forensics.stores.reading import StoreReader
from parsers.bbolt_free import Deleted
from parsers.bbolt_tree import Key
from samples.unpack import SAMPLES
from support.bolt_files import bolt_bytes
from support.cli import ask
from support.containerd_stores import META, OVERLAYFS
from support.surveys import survey_of

GONE, LOST = "a1" * 32, "b2" * 32
STATUS = {"Version": "v1", "CreatedAt": 10, "StartedAt": 20, "FinishedAt": 30, "ExitCode": 137}
CRI = "io.containerd.grpc.v1.cri"
TASK = "io.containerd.runtime.v2.task"


def store_of(**more):
    snapshots = {str(number): {"fs": {}, "work": {}} for number in range(1, 20)}
    tree = {META: {"meta.db": bolt_bytes("cri-2.1-meta")},
            OVERLAYFS: {"metadata.db": bolt_bytes("cri-2.1-overlayfs"), "snapshots": snapshots}, **more}  # fmt: skip
    found, _ = survey_of({"var": {"lib": {"containerd": tree}}, "etc": {"hostname": b"h\n"}})
    (root,) = find_containerd_roots(found, StoreReader())
    return read_containerd(root)


def gone(store, claimed=frozenset(), engine="containerd"):
    """What is told of containers without a record."""
    there = {each.id for records in (store.meta.containers, store.meta.sandboxes) for each in records}
    clues = leftover_clues(store, claimed, engine, "key")
    return {clue.record.container_id: clue for clue in clues if clue.record.container_id not in there}


def test_nothing_of_a_whole_store_is_left_over():
    assert gone(store_of()) == {}


def test_directories_of_the_cri_plugin_and_of_shims():
    store = store_of(**{
        CRI: {"containers": {GONE: {"status": json.dumps(STATUS).encode()}, "short": {}}, "sandboxes": {LOST: {}}},
        TASK: {"default": {"redis": {}}, "buildkit": {GONE: {}}},
    })  # fmt: skip
    found = gone(store)
    assert found.keys() == {GONE, LOST, "redis"}
    assert (found[GONE].record.namespace, found[GONE].record.state, found[GONE].record.exit_code) == ("k8s.io", "exited", 137)
    assert (found["redis"].record.namespace, found["redis"].record.name) == ("default", "redis")
    assert {clue.confidence for clue in found.values()} == {"certain"}


def test_a_snapshot_whose_container_is_gone_brings_its_layers():
    """The record of one container is taken away: a crash between the two removals."""
    store = store_of()
    lost = next(each for each in store.meta.containers if each.id == each.snapshot_key)
    store.meta.containers.remove(lost)
    store.meta.sandboxes[:] = [each for each in store.meta.sandboxes if each.id != lost.id]
    found = gone(store)
    assert found.keys() == {lost.id}
    record = found[lost.id].record
    assert (record.namespace, found[lost.id].confidence, record.created_ns is not None) == ("k8s.io", "possible", True)
    layers = {layer.key: layer for layer in containerd_contents(store).layers}
    assert layers[record.layer].directory is not None
    recovery = recover([FoundStore(containerd_contents(store), store.root.place, store)])
    assert any(each.container_id == lost.id and each.layer == record.layer for each in recovery.stores[0].containers)


@pytest.mark.parametrize(("key", "is_told"), [("job-1", True), ("/mnt", False), ("extract-7", False)])
def test_a_snapshot_that_only_its_snapshotter_still_knows(key, is_told):
    """ctr names its containers as it likes; a snapshot of `ctr images mount` bears the path that it was mounted at."""
    store = store_of()
    at, each = next(item for item in store.layers.by_key.items() if len(item[0][2]) == 64)
    store.layers.by_key[at[0], at[1], key] = replace(each, key=key)
    found = gone(store)
    assert found.keys() == ({key} if is_told else set())
    assert all((clue.record.name, clue.record.layer) == (key, each.layer.key) for clue in found.values())


def test_what_is_dockers_is_listed_with_docker_only():
    store = store_of(**{TASK: {"moby": {GONE: {}, "no-id": {}}, "default": {LOST: {}}}})
    assert gone(store, {"moby"}, "docker").keys() == {GONE}
    (clue,) = gone(store, {"moby"}, "docker").values()
    assert (clue.record.engine, clue.record.namespace) == ("docker", None)
    assert gone(store, {"moby"}, "containerd").keys() == {LOST}


def test_a_mount_point_of_docker():
    _, place = survey_of({"var": {"lib": {"docker": {"rootfs": {"overlayfs": {GONE: {}, "x": {}}, "f": b""}}}}})
    (clue,) = root_directory_clues(place("/var/lib/docker"), "key")
    assert (clue.record.container_id, clue.confidence, clue.store) == (GONE, "certain", "key")


@pytest.mark.parametrize("status", [b"{" * 9999, b"", b'{"CreatedAt":"x","ExitCode":[]}', b"\xff" * 99])
def test_a_damaged_status_leaves_the_id(status):
    found = gone(store_of(**{CRI: {"containers": {GONE: {"status": status}}}}))
    assert (found[GONE].record.state, found[GONE].record.started_ns) in ((None, None), ("created", None))


@pytest.mark.parametrize(
    ("name", "found"), [(".tmp-containers.json123", 2), (".tmp-volatile-containers.json9", 2), ("x.json", 0)]
)
def test_a_write_of_containers_json_that_was_cut_off(name, found):
    records = [{"id": own, "names": [own[:4]], "image": "i", "layer": LOST, "metadata": "{}", "created": "2026-01-01T00:00:00Z"}
               for own in (GONE, LOST)]  # fmt: skip
    whole = json.dumps(records).encode()
    _, place = survey_of({"g": {"overlay-containers": {name: whole + b"garbage", "y": b""}, "overlay": {name: whole}}})
    clues = list(storage_clues(place("/g"), "key"))
    assert [clue.record.container_id for clue in clues] == [GONE, LOST][:found]
    assert {(clue.record.engine, clue.record.layer, clue.store) for clue in clues} <= {("podman", f"overlay/{LOST}", "key")}


def test_docker_containers_whose_snapshots_were_collected_are_on_the_list_of_their_image(carved):
    """Docker 26 on its own containerd store: a removed container's network tells the same id, so it is probable."""
    case = carved("snapshots")
    told = {row["container_id"]: row for row in ask(case, "SELECT * FROM containers WHERE sources LIKE '%listed as made on%'")}
    live = {each["Id"]: each for each in json.loads((SAMPLES / "snapshots/truth/docker-containers.json").read_text())}
    assert told
    assert not told.keys() & live.keys()
    images = {row["image_id"] for row in ask(case, "SELECT image_id FROM images WHERE engine = 'docker'")}
    for row in told.values():
        assert (row["engine"], row["origin"], row["confidence"]) == ("docker", "recovered", "probable")
        assert row["image_id"] in images
        assert "sandbox of its network" in row["sources"]


@pytest.mark.parametrize(("told", "is_container"), [((), False), ((b"image", b"createdat"), True)])
def test_a_snapshotters_bucket_that_an_old_page_of_containers_leads_to_is_no_container(told, is_container):
    """A page that was given to the snapshots since: its keys are snapshotters', whose buckets have none of a container's keys."""
    path = (b"v1", b"default", b"containers")
    inside = [Key((*path, b"overlayfs"), name, b"docker.io/library/redis:7" if name == b"image" else b"", 5, 40) for name in told]
    keys = [
        Key(path, b"overlayfs", None, 5, 32, 0, 0),
        *inside,
        Key((*path, b"overlayfs"), b"sha256:" + b"c" * 64, None, 5, 64, 0, 0),
    ]
    store = store_of()
    store.meta.bolt = SimpleNamespace(deleted=lambda: [Deleted(key, "stale", 7, "pointer") for key in keys])
    found = containerd_clues(store, (), "containerd", "key")
    assert found.keys == len(keys)
    assert any(clue.record.container_id == "overlayfs" for clue in found.containers) is is_container


def test_a_view_that_was_collected_is_no_container():
    """The old record in meta.db tells no kind; that of the snapshotter does."""
    files = Path(__file__).parent.parent / "data" / "containerd"
    meta, native = (lzma.decompress((files / f"views-1.7-{name}.db.xz").read_bytes()) for name in ("meta", "native"))
    parts = {META: {"meta.db": meta}, "io.containerd.snapshotter.v1.native": {"metadata.db": native}}
    found, _ = survey_of({"var": {"lib": {"containerd": parts}}, "etc": {"hostname": b"h\n"}})
    (root,) = find_containerd_roots(found, StoreReader())
    clues = containerd_clues(read_containerd(root), (), "containerd", "key")
    told = {clue.record.container_id for clue in clues.containers}
    assert "view-native" not in told
    assert "view-stargz" in told  # of which the snapshotter's record is not there
