"""What is free, held against what the kernel discards; and what is found there."""

import itertools
import json
import os
import random
import shutil
import subprocess

import numpy as np
import pytest

from forensics.filesystems.btrfs.free import free_space, without
from forensics.filesystems.btrfs.reader import open_btrfs
from forensics.filesystems.btrfs.subvolumes import Leaf
from parsers.btrfs import DATA, EXTENT_TREE
from support.cli import ask, run_cli
from support.disks import run
from support.kernel_views import mounted
from support.xfs_images import Image

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
LAYOUTS = (
    ((), ()), (("--mixed",), ()), (("-d", "dup", "-n", "4096"), ("max_inline=0",)),
    (("-R", "^free-space-tree"), ("compress-force=zstd",)),
)  # fmt: skip
MARK = bytes(range(1, 256)) * 16
GRAIN = 4096


def commit(top):
    """A transaction of this filesystem alone: others are in use by other tests."""
    subprocess.run(["btrfs", "filesystem", "sync", str(top)], check=True, capture_output=True)


def work(top, rng, rounds):
    """Files come and go, so that what is free lies in many pieces."""
    names = []
    for number in range(rounds):
        name = top / f"f{number}"
        name.write_bytes(rng.randbytes(rng.choice((4096, 9000, 60_000, 400_000))))
        names.append(name)
        if rng.random() < 0.5:
            names.pop(rng.randrange(len(names))).unlink()
        if number % 20 == 19:
            commit(top)


@ROOT
@pytest.mark.parametrize(("options", "mount"), LAYOUTS)
def test_it_is_what_the_kernel_discards(tmp_path, options, mount):
    path = tmp_path / "fs.img"
    with path.open("wb") as file:
        file.truncate(256 << 20)
    run("mkfs.btrfs", "-q", *options, path)
    with mounted(path, tmp_path / "m", *mount):
        work(tmp_path / "m", random.Random(str(options)), 150)
    # What is free gets bytes that are no zeros, behind the kernel's back, and then the kernel discards what it knows to be free.
    with path.open("r+b") as file:
        for _, starts, ends in free_space(open_btrfs(Image(path))):
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
                file.seek(start)
                file.write((MARK * ((end - start) // len(MARK) + 1))[: end - start])
    used = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, GRAIN).any(axis=1)
    with mounted(path, tmp_path / "m", "noatime", *mount):
        subprocess.run(["fstrim", str(tmp_path / "m")], check=True)
    data = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, GRAIN)
    discarded = used & ~data.any(axis=1)
    fs = open_btrfs(Image(path))
    free = np.zeros(len(data), bool)
    for _, starts, ends in free_space(fs):
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            free[start // GRAIN : end // GRAIN] = True
    assert fs.problems == []
    left = np.flatnonzero(free & ~discarded & data.any(axis=1)) * GRAIN
    # The kernel leaves the first MiB of a device, and the copies of the superblock, as they are.
    kept = [int(place) for place in left if place >= 1 << 20 and not 64 << 20 <= place < (64 << 20) + 65536]
    assert len(kept) * GRAIN < 1 << 20, kept[:20]
    assert (discarded & free).sum() > 1000
    # What was metadata is not carved but read as tree nodes; of two copies one is read.
    elsewhere = [(at, at + c.length) for c in fs.reader.logical.chunks for _, at in c.stripes[(0 if not c.type & DATA else 1) :]]
    stays = np.flatnonzero(discarded & ~free) * GRAIN
    assert all(any(low <= place < high for low, high in elsewhere) for place in stays.tolist())


@ROOT
def test_a_removed_container_is_carved(tmp_path):
    """Its old leaves are written over, so that nothing but the free space of data has its settings."""
    path, top = tmp_path / "fs.img", tmp_path / "m"
    identity = "ab" * 32
    config = {
        "ID": identity, "Created": "2026-01-01T00:00:00.5Z", "Path": "/bin/sh", "Args": ["-c", "x" * 3000], "Name": "/gone",
        "State": {"Running": True, "Pid": 5, "StartedAt": "2026-01-01T00:00:01Z"}, "Image": "sha256:" + "1" * 64,
        "Driver": "btrfs",
        "Config": {"Hostname": identity[:12], "Env": ["A=b"], "Image": "shop:1", "Cmd": ["/bin/sh"], "Labels": {}},
    }  # fmt: skip
    with path.open("wb") as file:
        file.truncate(256 << 20)
    run("mkfs.btrfs", "-q", path)
    with mounted(path, top):
        containers = top / "var/lib/docker/containers"
        (containers / identity).mkdir(parents=True)
        (top / "var/lib/docker/image/btrfs").mkdir(parents=True)
        (containers / identity / "config.v2.json").write_text(json.dumps(config, separators=(",", ":")))
        commit(top)
        shutil.rmtree(containers / identity)
        commit(top)
        for number in range(12):
            (top / f"d{number}").mkdir()
            for name in range(300):
                (top / f"d{number}" / str(name)).write_bytes(b"x" * 10)
            commit(top)
            if number % 2:
                shutil.rmtree(top / f"d{number - 1}")
    run_cli("carve", path, "-o", tmp_path / "case.db", "--hash", "none")
    assert ask(tmp_path / "case.db", "SELECT container_id, name, image, state, origin FROM containers") == [
        {"container_id": identity, "name": "gone", "image": "shop:1", "state": "running", "origin": "recovered"}
    ]


@ROOT
def test_what_a_damaged_extent_tree_tells_of_is_not_free(tmp_path):
    path = tmp_path / "fs.img"
    with path.open("wb") as file:
        file.truncate(256 << 20)
    run("mkfs.btrfs", "-q", "-n", "4096", "-m", "single", path)
    with mounted(path, tmp_path / "m"):
        work(tmp_path / "m", random.Random(3), 400)
    before = {
        run for _, starts, ends in free_space(open_btrfs(Image(path))) for run in zip(starts.tolist(), ends.tolist(), strict=True)
    }
    fs = open_btrfs(Image(path))
    root = fs.forest.own[EXTENT_TREE]
    assert root.level > 0
    leaf = next(itertools.islice(Leaf(0, fs.reader.node(root.address, root.level)).pointers(), 1, None))[3]
    with path.open("r+b") as file:
        file.seek(fs.source.locate(leaf) + 200)
        file.write(b"damage")
    fs = open_btrfs(Image(path))
    after = [run for _, starts, ends in free_space(fs) for run in zip(starts.tolist(), ends.tolist(), strict=True)]
    (problem,) = fs.problems
    assert (problem.what, problem.where) == ("free space", "extent tree")
    assert "is not known" in problem.error
    lows = sorted(before)
    for low, high in after:
        assert any(first <= low and high <= last for first, last in lows)
    assert sum(high - low for low, high in after) < sum(high - low for low, high in before)


def test_runs_that_nothing_uses():
    def told(runs, used):
        starts, ends = without(runs, used)
        return list(zip(starts.tolist(), ends.tolist(), strict=True))

    assert told([], []) == []
    assert told([(0, 10)], []) == [(0, 10)]
    assert told([(0, 10), (10, 20)], []) == [(0, 20)]
    assert told([(0, 10), (5, 20)], [(3, 4), (3, 7), (18, 30)]) == [(0, 3), (7, 18)]
    assert told([(5, 5)], [(0, 1)]) == []
    rng = random.Random(5)
    for _ in range(200):
        runs, used = ([(a, a + rng.randrange(9)) for a in (rng.randrange(60) for _ in range(rng.randrange(9)))] for _ in range(2))
        has = {b for low, high in runs for b in range(low, high)} - {b for low, high in used for b in range(low, high)}
        assert {b for low, high in told(runs, used) for b in range(low, high)} == has
