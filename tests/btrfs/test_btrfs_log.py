"""Tree logs, applied in memory: what the kernel shows after its own replay of a copy."""

import os
import random
import subprocess
import time

import pytest

from forensics.filesystems.btrfs.reader import open_btrfs
from support.btrfs_workload import Work
from support.disks import run
from support.kernel_views import differences, in_bulk, mounted, of_directory, one_by_one
from support.xfs_images import Image

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
LAYOUTS = (
    ((), ()), (("-n", "4096"), ()), (("--mixed",), ()), (("-O", "^no-holes"), ()), (("-m", "single"), ("compress-force=zstd",)),
    ((), ("compress-force=lzo",)), (("-R", "^free-space-tree"), ("max_inline=0",)), (("--csum", "sha256"), ("nodatacow",)),
)  # fmt: skip


def make(path, *options):
    with path.open("wb") as file:
        file.truncate(160 << 20)
    run("mkfs.btrfs", "-q", *options, path)
    return path


def kernels(path, place):
    """What the kernel shows once it has replayed the log, without the times that it set while it did so."""
    copy = place / "replayed.img"
    run("cp", "--sparse=always", path, copy)
    now = time.time_ns()
    with mounted(copy, place / "m"):
        pass
    with mounted(copy, place / "m", "ro", "noatime") as top:
        truth = of_directory(top)
    copy.unlink()
    for entry in truth.values():
        entry.pop("inode")  # each subvolume has numbers of its own
        for name in ("mtime", "ctime"):
            if entry[name] >= now:
                entry.pop(name)
    return truth


@pytest.mark.parametrize("seed", range(8))
def test_as_the_kernel_replays_it(seed, tmp_path):
    rng = random.Random(seed)
    mkfs, options = LAYOUTS[seed % len(LAYOUTS)]
    path = make(tmp_path / "fs.img", *mkfs)
    cut = tmp_path / "cut.img"
    with mounted(path, tmp_path / "m", "commit=300", *options) as top:
        subprocess.run(["btrfs", "subvolume", "create", top / "inner"], check=True, capture_output=True)
        works = [Work(top, rng), Work(top / "inner", rng)]
        for work in works:
            work.run(rng.choice((0, 30, 150)))
        subprocess.run(["btrfs", "filesystem", "sync", top], check=True)
        for work in works:
            work.run(rng.choice((20, 80, 200)))
        run("cp", "--sparse=always", path, cut)
        for work in works:
            work.close()
    fs = open_btrfs(Image(cut))
    assert fs.state == "journal replayed"
    truth = kernels(cut, tmp_path)
    assert differences(in_bulk(fs), truth) == {}
    assert differences(one_by_one(fs), truth) == {}
    assert fs.problems == []
    for each in (path, cut):
        each.unlink()


@pytest.fixture(scope="module")
def synced(tmp_path_factory):
    """One file that was committed and removed since, one that only the log has, and one that was written and not synced."""
    place = tmp_path_factory.mktemp("log")
    path, cut = make(place / "fs.img"), place / "cut.img"
    with mounted(path, place / "m", "commit=300") as top:
        (top / "old").write_text("old")
        subprocess.run(["btrfs", "filesystem", "sync", top], check=True)
        (top / "new").write_text("new")
        (top / "old").unlink()
        (top / "later").write_text("later")
        for each in (top / "new", top):
            file = os.open(each, os.O_RDONLY)
            os.fsync(file)
            os.close(file)
        (top / "unsynced").write_text("unsynced")
        run("cp", "--sparse=always", path, cut)
    return cut


def names(fs):
    return [entry.name for entry in fs.entries(fs.root)]


def test_with_and_without_the_log(synced):
    fs = open_btrfs(Image(synced))
    assert (fs.state, fs.problems, names(fs)) == ("journal replayed", [], [b"later", b"new"])
    fs = open_btrfs(Image(synced), replay_journal=False)
    assert (fs.state, fs.problems, names(fs)) == ("journal not replayed", [], [b"old"])


def test_a_log_that_is_damaged_is_told(synced):
    root = int.from_bytes(Image(synced).read((64 << 10) + 0x60, 8), "little")
    clean = open_btrfs(Image(synced))
    places, _ = clean.verified.logical.places(root)
    fs = open_btrfs(Image(synced, {place + 200: b"\xff\xff" for ((_, place),) in places}))
    assert (fs.state, names(fs)) == ("journal not replayed", [b"old"])
    assert "cannot be applied" in fs.problems[0].error
