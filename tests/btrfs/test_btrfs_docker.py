"""Docker's btrfs driver on a Btrfs filesystem that the kernel wrote, its subvolumes made as the driver makes them."""

import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

from forensics.filesystems.btrfs.reader import open_btrfs
from forensics.pipeline import CarveOptions, carve
from forensics.progress import Silent
from forensics.stores.docker.discover import DockerRoot
from forensics.stores.docker.store import read_docker
from forensics.stores.reading import Place
from support.disks import run
from support.kernel_views import mounted
from support.xfs_images import Image

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
CID, OWN, BASE, DIFF = "c" * 64, "1" * 64, "2" * 64, "e" * 64


def write(directory, **files):
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(text)


def subvolume(*words):
    subprocess.run(["btrfs", "subvolume", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A data-root in a subvolume of its own, and a snapshot of that, which takes no layer along."""
    place = tmp_path_factory.mktemp("docker")
    path = place / "fs.img"
    with path.open("wb") as file:
        file.truncate(256 << 20)
    run("mkfs.btrfs", "-q", path)
    with mounted(path, place / "m"):
        root = place / "m" / "docker"
        subvolume("create", root)
        config = json.dumps({"ID": CID, "Name": "/web", "Driver": "btrfs"})
        write(root / "containers" / CID, **{"config.v2.json": config, "hostconfig.json": "{}"})
        db = root / "image" / "btrfs" / "layerdb"
        write(db / "sha256" / DIFF, **{"cache-id": BASE, "diff": f"sha256:{DIFF}", "size": "7"})
        write(db / "mounts" / CID, **{"mount-id": OWN, "init-id": f"{OWN}-init", "parent": f"sha256:{DIFF}"})
        layers = root / "btrfs" / "subvolumes"
        layers.mkdir(parents=True)
        subvolume("create", layers / BASE)
        (layers / BASE / "old").write_text("of the image")
        subvolume("snapshot", layers / BASE, layers / f"{OWN}-init")
        subvolume("snapshot", layers / f"{OWN}-init", layers / OWN)
        (layers / OWN / "old").unlink()
        (layers / OWN / "new").write_text("of the container")
        subvolume("snapshot", root, place / "m" / "snapshot")
    yield Image(path)
    path.unlink()


def read(disk, name):
    fs = open_btrfs(disk)
    root = fs.find(fs.root, name)
    assert root is not None
    return fs, read_docker(DockerRoot(Place(1, fs, root, b"/" + name), b"/" + name, "default"))


def test_each_layer_is_whole(disk):
    fs, contents = read(disk, b"docker")
    assert contents.gaps == ()
    layers = {layer.name: layer for layer in contents.layers}
    assert {name: (layer.kind, layer.stacked, layer.marks) for name, layer in layers.items()} == {
        OWN: ("container", False, "none"), f"{OWN}-init": ("init", False, "none"), BASE: ("image", False, "none"),
    }  # fmt: skip
    assert layers[OWN].compared_with == f"btrfs/{OWN}-init"
    seen = {name: {each.name: fs.read(each.inode) for each in fs.entries(layer.directory)} for name, layer in layers.items()}
    assert seen == {
        OWN: {b"new": b"of the container"}, f"{OWN}-init": {b"old": b"of the image"}, BASE: {b"old": b"of the image"},
    }  # fmt: skip


def test_layers_that_a_snapshot_left_behind_are_not_empty_ones(disk):
    _, contents = read(disk, b"snapshot")
    assert [gap.artefact for gap in contents.gaps] == ["graph driver"]
    assert {layer.name for layer in contents.layers} >= {OWN, BASE}
    assert {layer.directory for layer in contents.layers} == {None}


def test_a_container_that_was_removed(tmp_path):
    """Its subvolumes are gone: what it changed comes back, on what the container image has."""
    path, root = tmp_path / "fs.img", tmp_path / "m" / "var" / "lib" / "docker"
    with path.open("wb") as file:
        file.truncate(256 << 20)
    run("mkfs.btrfs", "-q", path)
    with mounted(path, tmp_path / "m", "commit=300") as top:
        write(top / "etc", hostname="a-host\n")
        config = json.dumps({"ID": CID, "Name": "/web", "Driver": "btrfs", "Created": "2026-11-27T10:00:00Z"})
        write(root / "containers" / CID, **{"config.v2.json": config, "hostconfig.json": "{}"})
        db = root / "image" / "btrfs" / "layerdb"
        write(db / "sha256" / DIFF, **{"cache-id": BASE, "diff": f"sha256:{DIFF}", "size": "7"})
        write(db / "mounts" / CID, **{"mount-id": OWN, "init-id": f"{OWN}-init", "parent": f"sha256:{DIFF}"})
        layers = root / "btrfs" / "subvolumes"
        layers.mkdir(parents=True)
        subvolume("create", layers / BASE)
        write(layers / BASE / "etc", **{f"file{number}": f"of the image, {number}" for number in range(300)})
        subvolume("snapshot", layers / BASE, layers / f"{OWN}-init")
        subvolume("snapshot", layers / f"{OWN}-init", layers / OWN)
        (layers / OWN / "etc" / "file7").write_text("of the container")
        write(layers / OWN / "opt", new="new")
        subprocess.run(["btrfs", "filesystem", "sync", top], check=True)
        subvolume("delete", layers / OWN)
        subvolume("delete", layers / f"{OWN}-init")
        shutil.rmtree(root / "containers" / CID)
        shutil.rmtree(db / "mounts" / CID)
    case = tmp_path / "case.db"
    carve([path], case, CarveOptions(findings="none"), Silent())
    with closing(sqlite3.connect(case)) as db:
        found = db.execute("SELECT name, origin, rootfs FROM containers").fetchall()
        changes = db.execute("SELECT kind, path FROM changes WHERE container_id = ? ORDER BY path", (CID,)).fetchall()
        names = {name for (name,) in db.execute("SELECT path FROM files WHERE container_id = ?", (CID,))}
        layer = db.execute("SELECT kind, origin FROM layers WHERE layer = ?", (OWN,)).fetchall()
    assert found == [("web", "recovered", "partial")]
    assert layer == [("container", "recovered")]
    assert changes == [("C", "/etc"), ("C", "/etc/file7"), ("A", "/opt"), ("A", "/opt/new")]
    assert names >= {"/etc/file0", "/etc/file7", "/etc/file299", "/opt/new"}
