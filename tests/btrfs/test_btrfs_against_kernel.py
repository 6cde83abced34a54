"""Every field of every entry, as the kernel shows it."""

import os
import subprocess

import pytest

from forensics.filesystems.btrfs.reader import open_btrfs
from support.disks import run
from support.kernel_views import differences, fill, in_bulk, mounted, noise, of_directory, one_by_one
from support.xfs_images import Image

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
LAYOUTS = {
    "defaults": ((), ()),
    "mixed": (("--mixed",), ()),
    "dup": (("-d", "dup", "-n", "4096"), ()),
    "zlib": ((), ("compress-force=zlib",)),
    "lzo": ((), ("compress-force=lzo",)),
    "zstd": ((), ("compress-force=zstd",)),
    "xxhash": (("--csum", "xxhash"), ()),
    "blake2": (("--csum", "blake2", "-n", "32768", "-O", "^no-holes"), ()),
    "sha256": (("--csum", "sha256", "-n", "65536"), ()),
}


def make(path, *options, size=256 << 20):
    with path.open("wb") as file:
        file.truncate(size)
    run("mkfs.btrfs", "-q", *options, path)
    return path


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request, tmp_path_factory):
    """A filled filesystem, and what the kernel shows in it."""
    place = tmp_path_factory.mktemp(request.param)
    mkfs, mount = LAYOUTS[request.param]
    path = make(place / "fs.img", *mkfs)
    with mounted(path, place / "m", *mount) as top:
        fill(top, noise())
        (place / "m" / "text").write_bytes(b"the same words again and again " * 40_000)
    with mounted(path, place / "m", "ro", "noatime") as top:
        truth = of_directory(top)
    assert len(truth) > 900
    yield Image(path), truth
    path.unlink()


def test_one_by_one(layout):
    source, truth = layout
    fs = open_btrfs(source)
    assert differences(one_by_one(fs), truth) == {}
    assert (fs.kind, fs.state, fs.problems) == ("btrfs", "clean", [])


def test_in_bulk(layout):
    source, truth = layout
    fs = open_btrfs(source)
    assert differences(in_bulk(fs), truth) == {}
    assert fs.problems == []


def test_subvolumes_snapshots_and_shared_extents(tmp_path):
    path = make(tmp_path / "fs.img")

    def btrfs(*words):
        subprocess.run(["btrfs", *map(str, words)], check=True, capture_output=True)

    with mounted(path, tmp_path / "m") as top:
        btrfs("subvolume", "create", tmp_path / "m" / "one")
        (tmp_path / "m" / "one" / "file").write_bytes(b"first" * 9000)
        btrfs("subvolume", "create", tmp_path / "m" / "one" / "inner")
        (tmp_path / "m" / "one" / "inner" / "deep").write_text("deep")
        btrfs("subvolume", "snapshot", tmp_path / "m" / "one", tmp_path / "m" / "two")
        (tmp_path / "m" / "one" / "file").write_bytes(b"second" * 9000)
        run("cp", "--reflink=always", tmp_path / "m" / "two" / "file", tmp_path / "m" / "shared")
        btrfs("subvolume", "create", tmp_path / "m" / "gone")
        btrfs("subvolume", "delete", "-c", tmp_path / "m" / "gone")
    with mounted(path, tmp_path / "m", "ro", "noatime") as top:
        truth = of_directory(top)
    fs = open_btrfs(Image(path))
    assert fs.problems == []
    seen = one_by_one(fs)
    for view in (seen, truth):  # the kernel gives each subvolume numbers of its own, and an unlinked one times of now
        for name, entry in list(view.items()):
            entry.pop("inode")
            if name == b"/two/inner":
                view.pop(name)
    assert differences(seen, truth) == {}
    assert (b"/one/inner/deep" in seen, b"/two/inner/deep" in seen) == (True, False)
