"""Every field of every entry, as the kernel shows it, on the layouts that mkfs makes."""

import pytest

from forensics.filesystems.ext4.mount import open_ext4
from support.disks import MIB
from support.ext4_images import image, make
from support.kernel_views import differences, fill, in_bulk, mounted, noise, of_directory, one_by_one

LAYOUTS = {
    "defaults": (),
    "1k": ("-b", "1024"),
    "2k-flex": ("-b", "2048", "-G", "4"),
    "128-byte-inodes": ("-b", "1024", "-I", "128"),
    "512-byte-inodes": ("-I", "512"),
    "meta-bg": ("-b", "1024", "-O", "meta_bg,^resize_inode"),
    "no-checksums": ("-O", "^metadata_csum,uninit_bg,^64bit"),
    "seed-orphan-file": ("-O", "metadata_csum_seed,orphan_file"),
    "sparse-super2": ("-b", "1024", "-O", "sparse_super2,large_dir"),
    "inline": ("-O", "inline_data", "-I", "256"),
    "inline-1k-inodes": ("-O", "inline_data", "-I", "1024"),
    "ea-inode": ("-O", "ea_inode,inline_data"),
    "bigalloc": ("-O", "bigalloc", "-C", "16384"),
    "ext3": ("-b", "1024",),
    "ext2": ("-b", "1024",),
}  # fmt: skip
SIZE = 48 * MIB


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request, tmp_path_factory):
    """A filled filesystem, and what the kernel shows in it."""
    place = tmp_path_factory.mktemp(request.param)
    kind = request.param if request.param in ("ext2", "ext3") else "ext4"
    path = make(place / "fs.img", "-N", "4096", *LAYOUTS[request.param], size=SIZE, kind=kind)
    with mounted(path, place / "m") as top:
        fill(top, noise())
    with mounted(path, place / "m", "ro", "noatime") as top:
        truth = of_directory(top)
    assert len(truth) > 900
    return image(path), truth, kind


def test_one_by_one(layout):
    source, truth, kind = layout
    fs = open_ext4(source)
    assert differences(one_by_one(fs), truth) == {}
    assert (fs.kind, fs.state, fs.problems) == (kind, "clean", [])


def test_a_tree_alone(layout):
    source, truth, _ = layout
    fs = open_ext4(source)
    assert differences(in_bulk(fs), truth) == {}
    assert fs.problems == []


def test_trees_after_all_directories_were_read(layout):
    source, truth, _ = layout
    fs = open_ext4(source)
    told = dict(fs.directories())
    assert set(told) == {entry["inode"] for entry in truth.values() if entry["type"] == "d"}
    for path, entry in truth.items():
        if entry["type"] == "d":
            below = {other[len(path) :]: seen for other, seen in truth.items() if other == path or other.startswith(path + b"/")}
            children = {name[1:]: seen["inode"] for name, seen in below.items() if name.count(b"/") == 1 and seen["type"] == "d"}
            assert dict(told[entry["inode"]]) == children
            if len(below) < 200:
                assert differences(in_bulk(fs, entry["inode"]), below) == {}
    assert differences(in_bulk(fs), truth) == {}
    assert fs.problems == []
