"""Disks as a power cut leaves them, written by the running kernel, and what it shows of them at its next mount."""

import os
import random
import shutil
import stat
import subprocess

import pytest

from forensics.filesystems.ext4.journal import REPLAYED, replay
from forensics.filesystems.ext4.mount import open_ext4
from forensics.filesystems.ext4.reader import Ext4
from support import ext4_images as lab
from support.kernel_views import mounted
from support.tree_from_directory import tree_from_directory

CUTS = {  # kind, mke2fs options, mount options
    "ext4": ("ext4", (), ""),
    "1k-wrapped": ("ext4", ("-b", "1024", "-J", "size=1"), ""),
    "ext3": ("ext3", ("-b", "1024"), ""),
    "ext3-data": ("ext3", ("-b", "1024"), "data=journal"),
    "ext4-data": ("ext4", ("-b", "1024"), "data=journal"),
    "no-checksums": ("ext4", ("-O", "^metadata_csum,^64bit"), ""),
    "checksum-v1": ("ext4", ("-O", "^metadata_csum"), "journal_checksum"),
    "async": ("ext4", (), "journal_async_commit,data=writeback"),
    "async-v1": ("ext4", ("-O", "^metadata_csum"), "journal_async_commit,data=writeback"),
    "inline": ("ext4", ("-O", "inline_data,orphan_file", "-I", "256"), ""),
}
FAST = {
    "1k": ("-b", "1024", "-O", "fast_commit"),
    "4k": ("-b", "4096", "-O", "fast_commit,^metadata_csum"),
    "bigalloc": ("-b", "4096", "-O", "fast_commit,bigalloc", "-C", "16384"),
}


def fsync(path):
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.close(file)


class Host:
    """Random work on a mounted filesystem. Of what a fast commit cannot hold it does nothing if `fast`."""

    def __init__(self, top, seed, fast):
        self.top, self.rng, self.fast = top, random.Random(seed), fast
        self.files, self.directories, self.count = [], [top], 0

    def name(self):
        self.count += 1
        return self.rng.choice(self.directories) / f"{self.rng.choice(['n', 'a longer name ', 'new' + chr(10)])}{self.count}"

    def step(self):
        rng = self.rng
        work = [self.create] * 4 + [self.change] * 6 + [self.rename, self.link, self.unlink, self.mkdir, self.rmdir]
        work += [] if self.fast else [self.symlink, self.mark, self.device]
        try:
            rng.choice(work)()
            if rng.random() < 0.3:
                fsync(rng.choice(self.files))
        except (OSError, IndexError):
            pass  # no such file any more, or no room

    def create(self):
        path = self.name()
        path.write_bytes(self.rng.randbytes(self.rng.choice([0, 50, 3000, 20_000])))
        self.files.append(path)

    def change(self):
        with self.rng.choice(self.files).open("r+b") as file:
            file.seek(self.rng.choice([0, 100, 4096, 50_000]))
            kind = self.rng.randrange(4)
            if kind == 0:
                file.truncate()
            elif kind == 1:
                os.posix_fallocate(file.fileno(), 4096, 30_000)
            else:
                file.write(lab.MAGIC + self.rng.randbytes(5000))

    def rename(self):
        path, new = self.rng.choice(self.files), self.name()
        if self.rng.random() < 0.3:
            new = self.rng.choice(self.files)
        path.rename(new)
        self.files = [f for f in self.files if f not in (path, new)] + [new]

    def link(self):
        path = self.name()
        path.hardlink_to(self.rng.choice(self.files))
        self.files.append(path)

    def unlink(self):
        path = self.rng.choice(self.files)
        path.unlink()
        self.files.remove(path)

    def mkdir(self):
        path = self.name()
        path.mkdir()
        self.directories.append(path)

    def rmdir(self):
        path = self.rng.choice(self.directories[1:])
        path.rmdir()
        self.directories.remove(path)

    def symlink(self):
        self.name().symlink_to("t" * self.rng.choice([5, 100]))

    def mark(self):
        os.setxattr(self.rng.choice(self.directories), "trusted.overlay.opaque", b"y" * self.rng.choice([1, 300]))

    def device(self):
        os.mknod(self.name(), stat.S_IFCHR, os.makedev(0, 0))


def power_cut(path, where, options, seed, fast=False):
    """A copy of the disk while it is mounted, with changes that only the journal holds."""
    with mounted(path, where / "m", "noatime", f"commit=300,{options}".rstrip(",")) as top:
        host = Host(top, seed, fast)
        for _ in range(60):
            host.step()
        subprocess.run(["sync", "-f", top], check=True)
        for _ in range(150):
            host.step()
        fsync(host.files[-1])
        cut = where / "cut.img"
        shutil.copyfile(path, cut)
    return cut


def of_kernel(cut, where):
    copy = where / "mounted.img"
    shutil.copyfile(cut, copy)
    with mounted(copy, where / "m", "noatime") as top:
        return rows(tree_from_directory(top), lambda _, path: (top / os.fsdecode(path)).read_bytes())


def rows(tree, read):
    """Every entry by path; of directories no size, which is the layout's own affair."""
    paths = [b"."]
    seen = {}
    for row in range(len(tree)):
        if row:
            paths.append(paths[tree.parent[row]] + b"/" + tree.names[row])
        kind = chr(tree.type[row])
        numbers = [tree.mode, tree.uid, tree.gid, tree.nlink, tree.atime_ns, tree.rdev_major, tree.rdev_minor]
        seen[paths[row]] = {
            "inode": (kind, int(tree.inode[row]), *(int(column[row]) for column in numbers)),
            "times": (int(tree.mtime_ns[row]), int(tree.ctime_ns[row])),
            "size": None if kind == "d" else int(tree.size[row]),
            "rest": (tree.targets.get(row), tree.xattrs.get(row, {})),
            "content": read(int(tree.inode[row]), paths[row]) if kind == "f" else None,
        }
    return seen


@pytest.mark.parametrize("layout", CUTS)
def test_a_power_cut(layout, tmp_path):
    kind, options, mount_options = CUTS[layout]
    path = lab.make(tmp_path / "fs.img", *options, kind=kind, size=32 * lab.MIB)
    cut = power_cut(path, tmp_path, mount_options, layout)
    fs = open_ext4(lab.image(cut))
    assert (fs.state, fs.problems) == (REPLAYED, [])
    assert replay(Ext4(lab.image(cut))).transactions > 1
    assert rows(fs.tree(fs.root), lambda number, _: fs.read(number)) == of_kernel(cut, tmp_path)
    assert fs.problems == []


@pytest.mark.skipif(
    "REPLAY_FAST_COMMITS_IN_THE_KERNEL" not in os.environ,
    reason="Linux 6.18 can crash in its replay of fast commits; set the variable on a machine that may be lost",
)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("layout", FAST)
def test_a_power_cut_with_fast_commits(layout, seed, tmp_path):
    path = lab.make(tmp_path / "fs.img", *FAST[layout], "-J", "size=8", size=48 * lab.MIB)
    cut = power_cut(path, tmp_path, "", f"{layout}{seed}", fast=True)
    disk = lab.image(cut)
    fs = open_ext4(disk)
    seen, truth = rows(fs.tree(fs.root), lambda number, _: fs.read(number)), of_kernel(cut, tmp_path)
    done = replay(Ext4(disk))
    changed = {*done.changes.entries, *(number for number in done.changes.inodes if fs.inode(number).type == "d")}
    for entry in [*seen.values(), *truth.values()]:
        if entry["inode"][1] in changed:
            entry["times"] = None  # the kernel sets directories' times when it replays
    assert done.fast_commits > 0
    assert seen == truth
