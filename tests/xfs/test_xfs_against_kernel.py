"""Every field of every entry, as the kernel shows it, on the layouts that mkfs.xfs makes."""

import os
import shutil

import pytest

from forensics.filesystems.xfs.mount import open_xfs
from support.kernel_views import differences, fill, in_bulk, mounted, noise, of_directory, one_by_one
from support.xfs_images import Image, make

LAYOUTS = {
    "defaults": (),
    "1k": ("-b", "size=1024"),
    "64k": ("-b", "size=65536"),
    "8k-directories": ("-n", "size=8192", "-i", "size=1024,nrext64=1", "-m", "rmapbt=1"),
    "64k-directories": ("-b", "size=2048", "-n", "size=65536"),
    "without": ("-m", "bigtime=0,finobt=0,reflink=0", "-i", "sparse=0"),
    "4k-sectors": ("-s", "size=4096"),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request, tmp_path_factory):
    """A filled filesystem, and what the kernel shows in it."""
    place = tmp_path_factory.mktemp(request.param)
    path = make(place / "fs.img", *LAYOUTS[request.param])
    with mounted(path, place / "m") as top:
        fill(top, noise())
    with mounted(path, place / "m", "ro", "noatime") as top:
        truth = of_directory(top)
    assert len(truth) > 900
    yield Image(path), truth
    path.unlink()


def test_one_by_one(layout):
    source, truth = layout
    fs = open_xfs(source)
    assert differences(one_by_one(fs), truth) == {}
    assert (fs.kind, fs.state, fs.problems) == ("xfs", "clean", [])


def test_in_bulk(layout):
    source, truth = layout
    fs = open_xfs(source)
    assert differences(in_bulk(fs), truth) == {}
    told = dict(fs.directories())
    assert set(told) == {entry["inode"] for entry in truth.values() if entry["type"] == "d"}
    for path, entry in truth.items():
        if entry["type"] == "d":
            names = {other[len(path) + 1 :]: seen for other, seen in truth.items() if other.startswith(path + b"/")}
            inside = {name: seen["inode"] for name, seen in names.items() if b"/" not in name and seen["type"] == "d"}
            assert dict(told[entry["inode"]]) == inside
    assert differences(in_bulk(fs), truth) == {}
    assert fs.problems == []


@pytest.mark.parametrize("options", [(), ("-b", "size=1024", "-n", "size=4096", "-m", "bigtime=0")], ids=["defaults", "1k"])
def test_a_dirty_log_is_applied_as_the_kernel_applies_it(options, tmp_path):
    path = make(tmp_path / "fs.img", *options)
    with mounted(path, tmp_path / "m", "logbsize=256k") as top:
        fill(top, noise())
        shutil.rmtree(top / "few")
        (top / "deep").rename(top / "moved")
        (top / "sizes/4096").unlink()
        with (top / "last").open("wb") as file:
            file.write(b"last")
            file.flush()
            os.fsync(file.fileno())
        cut = tmp_path / "cut.img"
        shutil.copyfile(path, cut)
    replayed = tmp_path / "replayed.img"
    shutil.copyfile(cut, replayed)
    with mounted(replayed, tmp_path / "m", "nouuid"):
        pass
    with mounted(replayed, tmp_path / "m", "ro", "noatime", "nouuid") as top:
        truth = of_directory(top)
    fs = open_xfs(Image(cut))
    assert (fs.state, fs.problems) == ("journal replayed", [])
    assert differences(one_by_one(fs), truth) == {}
    lying = open_xfs(Image(cut), replay_journal=False)
    assert lying.state == "journal not replayed"
    assert differences(one_by_one(open_xfs(Image(replayed))), truth) == {}
