"""Removed containers in deleted files: by what their paths say."""

import hashlib
import json

import pytest

from forensics.filesystem import Extent
from forensics.recovery.containers.deleted_clues import deleted_clues
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.deleted_file import DeletedFile
from support.cli import ask
from support.memory_filesystem import MemoryFilesystem

ID, OTHER = "a1" * 32, "b2" * 32
ROOT = b"/var/lib/docker"


def deleted(path, content=b"", confidence="certain", number=1, type="f", **more):
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    inline = content if type == "f" else None
    file = DeletedFile(
        path, 20 + number, type, 0o600, 0, 0, len(content), "journal", confidence, inline=inline, offset=512 * number, **more
    )
    return Numbered(number, 1, file)


def clues(*files):
    return deleted_clues({1: MemoryFilesystem({})}, files)


def config(cid=ID, name="web"):
    return {"ID": cid, "Name": f"/{name}", "Path": "sh", "Args": [], "Config": {"Env": ["A=1"], "Image": "shop:1"}}


def in_containers(name, cid=ID):
    return ROOT + b"/containers/" + cid.encode() + b"/" + name


def test_a_deleted_config_is_a_certain_container():
    (clue,) = clues(deleted(in_containers(b"config.v2.json"), config())).containers
    assert (clue.record.name, clue.record.env, clue.confidence) == ("web", ("A=1",), "certain")
    assert (clue.record.source.path, clue.record.source.offset) == (in_containers(b"config.v2.json").decode(), 512)
    assert clue.record.source.how == "deleted file, journal"


def test_it_is_no_surer_than_the_file():
    (clue,) = clues(deleted(in_containers(b".tmp-config.v2.json123"), config(), "probable")).containers
    assert clue.confidence == "probable"
    (cut,) = clues(deleted(in_containers(b"config.v2.json"), json.dumps(config()).encode()[:-5])).containers
    assert cut.confidence == "possible"


def test_a_config_in_another_containers_directory_is_not_believed():
    (clue,) = clues(deleted(in_containers(b"config.v2.json"), config(OTHER))).containers
    assert (clue.record.container_id, clue.record.name) == (ID, None)


def test_hostconfig_belongs_to_the_directory_that_it_is_in():
    (clue,) = clues(
        deleted(in_containers(b"hostconfig.json"), {"Privileged": True, "RestartPolicy": {"Name": "always"}})
    ).containers
    assert (clue.record.container_id, clue.record.privileged, clue.record.restart_policy) == (ID, True, "always")


@pytest.mark.parametrize(
    "path",
    [in_containers(b"hostname"), in_containers(b"")[:-1], ROOT + b"/image/overlay2/layerdb/mounts/" + ID.encode() + b"/mount-id"],
)
def test_a_name_alone_tells_that_there_was_one(path):
    (clue,) = clues(deleted(path, b"x"), deleted(path, b"y", number=2)).containers
    assert (clue.record.engine, clue.record.container_id, clue.record.name) == ("docker", ID, None)


def test_a_directory_tells_when_it_was_made_and_went_and_what_is_lost():
    own = deleted(in_containers(b"")[:-1], type="d", crtime_ns=5, deleted_ns=9)
    config_file = deleted(in_containers(b"config.v2.json"), None, number=2)
    log = deleted(in_containers(ID.encode() + b"-json.log"), b"x", number=3)
    (clue,) = clues(config_file, own, log).containers
    record = clue.record
    assert (record.created_ns, record.removed_ns, record.log_driver, record.source.offset) == (5, 9, "json-file", 512)
    assert record.source.how == "deleted file, journal; the content of config.v2.json is lost"
    (later,) = clues(deleted(in_containers(b"")[:-1], type="d", crtime_ns=5, deleted_ns=9, no_later=True)).containers
    assert later.record.removed_ns is None


@pytest.mark.parametrize(
    "layer", [b"/overlay2/x1/diff", b"/vfs/dir/x1", b"/aufs/diff/x1", b"/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs"]
)
def test_a_file_of_a_container_is_no_evidence_of_one(layer):
    """Docker in Docker: the same paths, below a layer's directory."""
    extent = Extent(0, 8192, 4096)
    file = deleted(ROOT + layer + in_containers(b"config.v2.json"), config(), extents=(extent,))
    found = clues(file)
    assert found.containers == []
    assert [found.is_containers_own(1, offset) for offset in (8191, 8192, 12287, 12288)] == [False, True, True, False]
    assert not found.is_containers_own(2, 8192)


def test_what_is_known_to_have_been_below_a_layer_only_is_a_containers_own():
    file = deleted(None, b"x", within=ROOT + b"/overlay2/x1/diff", extents=(Extent(0, 0, 4096),))
    assert clues(file).is_containers_own(1, 0)


def test_the_directory_of_a_shim_tells_of_a_container_and_when_it_was_started():
    root = b"/var/lib/containerd/io.containerd.runtime.v2.task"
    made = clues(
        deleted(root + b"/default/doomed", type="d", crtime_ns=8),
        deleted(root + b"/k8s.io/" + ID.encode(), type="d", number=2),
        deleted(root + b"/moby/" + OTHER.encode(), type="d", number=3, crtime_ns=7),
        deleted(root + b"/moby-1000.1000/" + OTHER.encode(), type="d", number=4),
        deleted(root + b"/moby/no-id", type="d", number=5),
        deleted(root + b"/buildkit/x", type="d", number=6),
        deleted(root + b"/default/fifo", number=7),
        deleted(root + b"/default/a\nb", type="d", number=8),
    )
    told = [(each.record.engine, each.record.namespace, each.record.container_id, each.record.name, each.record.started_ns)
            for each in made.containers]  # fmt: skip
    assert told == [
        ("containerd", "default", "doomed", "doomed", 8), ("containerd", "k8s.io", ID, None, None),
        ("docker", None, OTHER, None, 7), ("docker", None, OTHER, None, None),
    ]  # fmt: skip
    assert [each.store for each in made.containers] == ["containerd:/var/lib/containerd"] * 2 + [None] * 2


def test_images_by_their_names_and_by_their_configs():
    document = json.dumps({"os": "linux", "rootfs": {"diff_ids": [f"sha256:{OTHER}"]}}).encode()
    own = hashlib.sha256(document).hexdigest()
    image = ROOT + b"/image/overlay2"
    found = clues(
        deleted(image + b"/imagedb/content/sha256/" + own.encode(), document),
        deleted(image + b"/imagedb/content/sha256/" + ID.encode(), document, number=2),
        deleted(image + b"/repositories.json", {"Repositories": {"shop": {"shop:1": f"sha256:{own}", "x": "y"}}}, number=3),
    )
    assert [(clue.record.image_id, clue.record.refs, clue.record.layers) for clue in found.images] == [
        (f"sha256:{own}", (), (f"sha256:{OTHER}",)),
        (f"sha256:{own}", ("shop:1",), ()),
    ]


def test_kubernetes_tells_by_a_link_and_a_status():
    status = {"Version": "v1", "Pid": 5, "CreatedAt": 1, "StartedAt": 2, "FinishedAt": 3, "ExitCode": 137}
    root = b"/var/lib/containerd/io.containerd.grpc.v1.cri/containers/" + ID.encode() + b"/status"
    link = b"/var/log/containers/shop-1_default_web-" + OTHER.encode() + b".log"
    first, second = clues(deleted(root, status), deleted(link, type="l", number=2)).containers
    assert (first.record.container_id, first.record.state, first.record.exit_code) == (ID, "exited", 137)
    assert (second.record.container_id, second.record.name, second.record.pod) == (OTHER, "web", "default/shop-1")


@pytest.mark.parametrize("kind", [b"containers", b"sandboxes"])
def test_the_directory_of_the_cri_plugin_is_no_data_root_of_docker(kind):
    path = b"/var/lib/containerd/io.containerd.grpc.v1.cri/" + kind + b"/" + ID.encode()
    (clue,) = clues(deleted(path, type="d")).containers
    assert (clue.record.engine, clue.record.namespace, clue.record.container_id) == ("containerd", "k8s.io", ID)
    assert clue.store == "containerd:/var/lib/containerd"


def test_nerdctl_tells_by_a_directory_and_by_a_name():
    root = b"/var/lib/nerdctl/1935db59/"
    found = clues(
        deleted(root + b"containers/dev/" + ID.encode(), type="d"),
        deleted(root + b"names/dev/web", ID.encode() + b"\n", number=2),
        deleted(root + b"names/dev/short", ID[:12].encode(), number=3),
    )
    told = [(clue.record.namespace, clue.record.container_id, clue.record.name) for clue in found.containers]
    assert told == [("dev", ID, None), ("dev", ID, "web")]


HOSTILE = [b"{" * 100_000, b"", b"\xff" * 100, b'{"ID":"' + b"a" * 100_000, b'{"ID":' + b"9" * 10_000 + b"}"]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("name", [b"config.v2.json", b"hostconfig.json"])
def test_hostile_content_is_survived(name, content):
    (clue,) = clues(deleted(in_containers(name), content)).containers  # its path names it in any case
    assert (clue.record.container_id, clue.record.name, clue.record.privileged) == (ID, None, None)


def test_removed_containers_of_a_sample_are_certain_by_their_files(carved):
    rows = ask(carved("webshop"), "SELECT confidence, sources, hostconfig FROM containers WHERE name IN ('scan-1', 'scan-2')")
    assert [row["confidence"] for row in rows] == ["certain", "certain"]
    for row in rows:
        assert json.loads(row["hostconfig"])["NetworkMode"]
        sources = json.loads(row["sources"])
        assert any(source["how"] == "deleted file, journal" and source["path"].endswith("config.v2.json") for source in sources)
        places = [(source["partition"], source["offset"]) for source in sources]
        assert len(places) == len(set(places))
