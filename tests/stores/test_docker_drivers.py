"""Docker's other graph drivers: the layers of each, what is below them, and what the daemon compares a container with."""

import json

import pytest

from forensics.stores.docker.discover import DockerRoot
from forensics.stores.docker.store import read_docker
from forensics.stores.reading import Place
from parsers.docker_devicemapper import parse_device_set, parse_thin_device
from parsers.docker_layer import parse_parents
from parsers.errors import FormatError
from support.docker_stores import stack
from support.memory_filesystem import DamagedFilesystem, MemoryFilesystem

CID = "c" * 64
OWN, BASE, LEFT = "1" * 64, "2" * 64, "3" * 64
DIFF = "sha256:" + "e" * 64


def store(driver, **directory):
    """A data-root with one container on an image of one layer."""
    config = json.dumps({"ID": CID, "Name": "/web", "Driver": driver}).encode()
    return {
        "containers": {CID: {"config.v2.json": config, "hostconfig.json": b"{}"}},
        "image": {driver: {"layerdb": {
            "sha256": {"e" * 64: {"cache-id": BASE.encode(), "diff": DIFF.encode(), "size": b"7"}},
            "mounts": {CID: {"mount-id": OWN.encode(), "init-id": f"{OWN}-init".encode(), "parent": DIFF.encode()}},
        }}},
        driver: directory,
    }  # fmt: skip


def read(tree, damage=None):
    fs = MemoryFilesystem(tree)
    whole = Place(1, fs, fs.root, b"/")
    place = whole if damage is None else Place(1, damage(fs), fs.root, b"/")
    return read_docker(DockerRoot(place, b"/var/lib/docker", "default"))


def upper(below):
    return {"upper": {}, "work": {}, "merged": {}, "lower-id": below.encode()}


OVERLAY = {OWN: upper(BASE), f"{OWN}-init": upper(BASE), BASE: {"root": {"etc": {}}}}
AUFS = {
    "diff": {OWN: {}, f"{OWN}-init": {}, BASE: {}, LEFT: {}},
    "layers": {OWN: f"{OWN}-init\n{BASE}\n".encode(), f"{OWN}-init": f"{BASE}\n".encode(), BASE: b"", LEFT: f"{BASE}\n".encode()},
    "mnt": {OWN: {}},
}  # fmt: skip


def by_name(contents):
    return {layer.name: layer for layer in contents.layers}


def test_overlay():
    contents = read(store("overlay", **OVERLAY))
    assert contents.gaps == ()
    assert stack(contents, contents.containers[0].layer) == [OWN, BASE]
    layers = by_name(contents)
    assert {name: (each.kind, each.stacked, each.marks) for name, each in layers.items()} == {
        OWN: ("container", True, "trusted"), f"{OWN}-init": ("init", True, "trusted"), BASE: ("image", False, "none"),
    }  # fmt: skip
    assert layers[OWN].compared_with == f"overlay/{OWN}-init"
    assert [layers[name].path for name in (OWN, BASE)] == [f"/overlay/{OWN}/upper", f"/overlay/{BASE}/root"]


def test_overlay_without_lower_id():
    contents = read(store("overlay", **{**OVERLAY, OWN: {"upper": {}, "lower-id": b"\0" * 64}}))
    assert stack(contents, contents.containers[0].layer) == [OWN, BASE], "layerdb tells"
    assert [gap.artefact for gap in contents.gaps] == ["overlay lower-id"]


def test_aufs():
    contents = read(store("aufs", **AUFS))
    assert contents.gaps == ()
    assert stack(contents, contents.containers[0].layer) == [OWN, f"{OWN}-init", BASE]
    assert {each.marks for each in contents.layers} == {"aufs"}
    left = by_name(contents)[LEFT]
    assert (left.kind, left.lower, left.path) == ("orphan", f"aufs/{BASE}", f"/aufs/diff/{LEFT}")


def test_aufs_before_content_addresses():
    base, top = "a" * 64, "b" * 64
    tree = {
        "containers": {CID: {"config.json": json.dumps({"ID": CID, "Name": "/old", "Image": top, "Driver": "aufs"}).encode(),
                             "hostconfig.json": b"{}"}},
        "graph": {base: {"json": json.dumps({"id": base}).encode(), "layersize": b"5"},
                  top: {"json": json.dumps({"id": top, "parent": base}).encode(), "layersize": b"2"}},
        "aufs": {
            "diff": {name: {} for name in (CID, f"{CID}-init", top, base)},
            "layers": {CID: f"{CID}-init\n{top}\n{base}\n".encode(), f"{CID}-init": f"{top}\n{base}\n".encode(),
                       top: f"{base}\n".encode(), base: b""},
        },
    }  # fmt: skip
    contents = read(tree)
    assert contents.gaps == ()
    assert stack(contents, contents.containers[0].layer) == [CID, f"{CID}-init", top, base]
    assert {name: (each.kind, each.chain_id, each.parent) for name, each in by_name(contents).items()} == {
        CID: ("container", None, top),
        f"{CID}-init": ("init", None, top),
        top: ("image", None, base),
        base: ("image", None, None),
    }  # fmt: skip
    assert [image.top for image in contents.images] == [f"aufs/{base}", f"aufs/{top}"]


def test_vfs():
    contents = read(store("vfs", dir={OWN: {}, f"{OWN}-init": {}, BASE: {}, LEFT: {}}))
    assert contents.gaps == ()
    layers = by_name(contents)
    assert {(each.stacked, each.marks) for each in contents.layers} == {(False, "none")}
    assert {name: each.kind for name, each in layers.items()} == {
        OWN: "container", f"{OWN}-init": "init", BASE: "image", LEFT: "orphan",
    }  # fmt: skip
    assert layers[OWN].compared_with == f"vfs/{OWN}-init"


def test_fuse_overlayfs():
    short = {name: letter * 26 for name, letter in ((OWN, "A"), (f"{OWN}-init", "B"), (BASE, "C"))}
    lower = {OWN: [f"{OWN}-init", BASE], f"{OWN}-init": [BASE], BASE: []}
    directory = {name: {"diff": {}, "link": link.encode()} for name, link in short.items()}
    for name, below in lower.items():
        if below:
            directory[name]["lower"] = ":".join(f"l/{short[each]}" for each in below).encode()
    contents = read(store("fuse-overlayfs", l={link: f"../{name}/diff" for name, link in short.items()}, **directory))
    assert contents.gaps == ()
    assert stack(contents, contents.containers[0].layer) == [OWN, f"{OWN}-init", BASE]
    assert {each.marks for each in contents.layers} == {"fuse"}


@pytest.mark.parametrize(
    ("driver", "directory", "path"),
    [
        ("btrfs", {"subvolumes": {OWN: {}, BASE: {}, LEFT: {}}}, f"/btrfs/subvolumes/{LEFT}"),
        ("devicemapper", {"metadata": {"deviceset-metadata": b"{}", OWN: b"{}", BASE: b"{}", LEFT: b"{}"}}, None),
        ("zfs", {"graph": {OWN: {}, BASE: {}, LEFT: {}}}, f"/zfs/graph/{LEFT}"),
    ],
)
def test_what_is_not_read_is_listed_and_told_once(driver, directory, path):
    contents = read(store(driver, **directory))
    assert [gap.artefact for gap in contents.gaps] == ["graph driver"]
    layers = by_name(contents)
    assert {name: each.kind for name, each in layers.items()} == {OWN: "container", BASE: "image", LEFT: "orphan"} | (
        {f"{OWN}-init": "init"} if f"{OWN}-init" in layers else {}
    )
    assert {each.directory for each in contents.layers} == {None}
    assert path is None or layers[LEFT].path == path


def test_the_thin_devices_of_devicemapper():
    device = {"device_id": 12, "size": 10737418240, "transaction_id": 30, "initialized": False, "deleted": False}
    devices = {BASE: {**device, "device_id": 2, "initialized": True}, OWN: device, LEFT: {**device, "device_id": -1, "size": "x"}}
    metadata = {name: json.dumps(each).encode() for name, each in devices.items()}
    base = {"next_device_id": 13, "BaseDeviceUUID": "6a5f", "BaseDeviceFilesystem": "xfs"}
    metadata |= {"deviceset-metadata": json.dumps(base).encode(), "transaction-metadata": b"{}", "9" * 64: b"{"}
    contents = read(store("devicemapper", metadata=metadata, devicemapper={"data": bytes(100), "metadata": bytes(20)}, mnt={}))
    told = {(each.kind, each.name): each.details for each in contents.artefacts}
    assert told["thin pool", "devicemapper"] == {
        "next device id": "13", "base device": "6a5f", "filesystem": "xfs",
        "data file": "/devicemapper/devicemapper/data, 100 bytes",
        "metadata file": "/devicemapper/devicemapper/metadata, 20 bytes",
    }  # fmt: skip
    own = {"device id": "12", "size in bytes": "10737418240", "transaction": "30", "initialized": "false"}
    assert told["thin device", OWN] == own
    assert told["thin device", BASE] == {**own, "device id": "2", "initialized": "true"}
    assert "size in bytes" not in told["thin device", LEFT]
    assert sorted(gap.artefact for gap in contents.gaps) == ["graph driver", "thin device", "thin device"]


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"device_id": 1'])
def test_no_thin_device(data):
    for parse in (parse_thin_device, parse_device_set):
        with pytest.raises(FormatError):
            parse(data)


@pytest.mark.parametrize(("driver", "directory"), [("overlay", OVERLAY), ("aufs", AUFS)])
@pytest.mark.parametrize("junk", [b"", bytes(64), b"\xff" * 300, b"l/" + b"A" * 26])
def test_any_damaged_file_costs_itself_only(driver, directory, junk):
    tree = store(driver, **directory)
    whole = MemoryFilesystem(tree)
    for number in (number for number, node in whole.nodes.items() if node.type == "f"):
        contents = read(tree, lambda fs, number=number: DamagedFilesystem(fs, contents={number: junk}))
        assert [each.container_id for each in contents.containers] == [CID]
        assert {OWN, f"{OWN}-init", BASE} <= by_name(contents).keys()


def test_lines_of_aufs():
    assert parse_parents(b"") == ()
    assert parse_parents(f"{OWN}-init\n{BASE}".encode()) == (f"{OWN}-init", BASE)
    for bad in (b"\n", f"{BASE}\n\n".encode(), BASE.encode()[:-1], f"{BASE}\n".encode() * 502):
        with pytest.raises(FormatError):
            parse_parents(bad)
