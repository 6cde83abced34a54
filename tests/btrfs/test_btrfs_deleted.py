"""Deleted files, held against what was there when they were deleted."""

import hashlib
import os
import random
import subprocess

import pytest

from forensics.filesystems.btrfs.reader import open_btrfs
from forensics.recovery.files.btrfs_deleted import find_btrfs_deleted
from forensics.recovery.files.content import examine
from support.disks import run
from support.kernel_views import mounted
from support.xfs_images import Image

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
LAYOUTS = (
    ((), ()), (("-n", "4096"), ()), (("--mixed",), ()), (("--csum", "sha256", "-d", "dup"), ("max_inline=0",)),
    ((), ("compress-force=zstd",)), (("-O", "^no-holes"), ("nodatacow",)),
)  # fmt: skip


def make(path, *options):
    with path.open("wb") as file:
        file.truncate(256 << 20)
    run("mkfs.btrfs", "-q", *options, path)
    return path


def btrfs(*words):
    subprocess.run(["btrfs", *map(str, words)], check=True, capture_output=True)


class Work:
    """Files that come, change, are renamed and go. dead: path and SHA-256 that each deleted one had at its last commit."""

    def __init__(self, top, rng):
        self.top, self.rng = top, rng
        self.content, self.name, self.committed = {}, {}, {}
        self.dead = set()
        self.ever = set()

    def write(self, path):
        if self.rng.random() < 0.7:
            data = self.rng.randbytes(self.rng.choice((0, 30, 1500, 4096, 40_000, 300_000)))
        else:
            data = b"the same line\n" * self.rng.randrange(1, 4000)
        (self.top / path).parent.mkdir(exist_ok=True)
        (self.top / path).write_bytes(data)
        self.content[path] = hashlib.sha256(data).hexdigest()
        self.name.setdefault(path, len(self.name) + len(self.dead) * 1_000_000)

    def forget(self, path):
        del self.content[path]
        self.dead |= {self.committed[number] for number in (self.name.pop(path),) if number in self.committed}

    def remove(self, path):
        (self.top / path).unlink()
        self.forget(path)

    def rename(self, path):
        new = f"{path}r"
        if new not in self.content:
            os.rename(self.top / path, self.top / new)
            self.content[new], self.name[new] = self.content.pop(path), self.name.pop(path)

    def commit(self):
        btrfs("filesystem", "sync", self.top)
        self.committed |= {self.name[path]: (path, sha256) for path, sha256 in self.content.items()}
        self.ever |= set(self.content.items())

    def run(self, rounds):
        for number in range(200):
            self.write(f"{self.rng.choice(('one', 'two', 'sub'))}/f{number}")
        self.commit()
        for number in range(rounds):
            for _ in range(self.rng.randrange(1, 25)):
                path = self.rng.choice(sorted(self.content))
                what = self.rng.random()
                if what < 0.5:
                    self.remove(path)
                elif what < 0.85:
                    self.write(path if what < 0.7 else f"one/g{number}-{self.rng.randrange(100)}")
                else:
                    self.rename(path)
            self.commit()


@pytest.mark.parametrize("seed", range(len(LAYOUTS)))
def test_what_was_deleted(seed, tmp_path):
    rng = random.Random(seed)
    mkfs, options = LAYOUTS[seed]
    path = make(tmp_path / "fs.img", *mkfs)
    with mounted(path, tmp_path / "m", "commit=300", *options) as top:
        btrfs("subvolume", "create", top / "sub")
        work = Work(top, rng)
        work.run(rng.choice((1, 3, 8)))
        if seed % 2:
            btrfs("subvolume", "delete", top / "sub")
            for each in [each for each in work.content if each.startswith("sub/")]:
                work.forget(each)
    fs = open_btrfs(Image(path))
    found = [each for each in find_btrfs_deleted(fs) if each.type == "f"]
    told = {((each.path or b"").decode().lstrip("/"), examine(fs, each).sha256): each for each in found}
    certain = {key for key, each in told.items() if each.confidence == "certain"}
    assert certain <= work.dead
    assert all(each.method == "transaction" for each in found)
    assert len(work.dead & told.keys()) > 0.6 * len(work.dead)
    assert {key for key in told if key[1] is not None} <= work.dead | work.ever | {("", hashlib.sha256(b"").hexdigest())} or (
        "nodatacow" in options
    )
    for each in found:
        assert (each.deleted_ns is None) == (not each.no_later)
        assert each.deleted_ns is None or each.deleted_ns >= each.mtime_ns
    assert fs.problems == []
    path.unlink()


def test_files_that_a_process_held_open(tmp_path):
    """One of them committed and unlinked, one unlinked by the log alone."""
    path, cut = make(tmp_path / "fs.img"), tmp_path / "cut.img"
    contents = {"committed": b"c" * 50_000, "logged": b"l" * 60_000, "never": b"n"}
    with mounted(path, tmp_path / "m", "commit=300") as top:
        (top / "d").mkdir()
        for name in ("committed", "logged"):
            (top / "d" / name).write_bytes(contents[name])
        btrfs("filesystem", "sync", top)
        held = [os.open(top / "d" / name, os.O_RDWR) for name in ("committed", "logged")]
        (top / "d" / "committed").unlink()
        btrfs("filesystem", "sync", top)
        (top / "d" / "logged").unlink()
        (top / "d" / "kept").write_bytes(b"kept")
        for name in ("d", "d/kept"):
            file = os.open(top / name, os.O_RDONLY)
            os.fsync(file)
            os.close(file)
        run("cp", "--sparse=always", path, cut)
        for file in held:
            os.close(file)
    fs = open_btrfs(Image(cut))
    assert fs.state == "journal replayed"
    found = {each.path: each for each in find_btrfs_deleted(fs)}
    assert set(found) == {b"/d/committed", b"/d/logged"}
    assert {each.method for each in found.values()} == {"orphan"}
    assert {each.reuse for each in found.values()} == {"none"}
    for name in ("committed", "logged"):
        each = found[b"/d/" + name.encode()]
        assert examine(fs, each).sha256 == hashlib.sha256(contents[name]).hexdigest()
        assert each.deleted_ns == each.ctime_ns
    assert found[b"/d/logged"].confidence == "certain"  # its name is that of the last commit
    assert found[b"/d/committed"].confidence == "probable"  # its name is the last one known
