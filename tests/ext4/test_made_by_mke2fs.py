"""What mke2fs alone can make, and a running kernel may refuse to mount: large blocks, case folding. No root is needed."""

import os
import subprocess

import pytest

from forensics.filesystems.ext4.mount import open_ext4
from support.disks import MIB, run
from support.ext4_images import debugfs, image, make
from support.kernel_views import differences, fill, in_bulk, noise, of_directory, one_by_one

LAYOUTS = {
    "4k": (),
    "8k": ("-b", "8192"),
    "16k-128-byte-inodes": ("-b", "16384", "-I", "128"),
    "32k-meta-bg": ("-b", "32768", "-O", "meta_bg,^resize_inode"),
    "64k": ("-b", "65536"),
    "64k-inline": ("-b", "65536", "-O", "inline_data,^metadata_csum"),
    "64k-bigalloc": ("-b", "65536", "-O", "bigalloc", "-C", "262144"),
    "casefold": ("-O", "casefold", "-E", "encoding=utf8"),
    "encrypt-verity": ("-O", "encrypt,verity,quota,project"),
}
NOT_COPIED = ("inode", "mtime", "atime", "ctime", "crtime")  # mke2fs has its own ideas of times


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    top = tmp_path_factory.mktemp("top")
    fill(top, noise())
    return top


@pytest.fixture(scope="module")
def truth(directory):
    return copied(of_directory(directory))


def made(path, directory, *options, size=96 * MIB):
    # mke2fs says on stderr that blocks beyond 4 KiB may not be mounted
    return make(path, "-N", "4096", "-d", str(directory), *options, size=size)


CUT_BY_MKE2FS = {"64k-inline": (b"/holes", b"/unwritten")}  # 1.47.0 forgets the hole at their end; debugfs agrees with us


def of_all_but(left_out, told):
    return {path: seen for path, seen in told.items() if path not in left_out}


def copied(told):
    """All but the root directory and what mke2fs puts there itself."""
    return {path: seen for path, seen in told.items() if path not in (b"", b"/lost+found")}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("rebuilt", [False, True], ids=["as-made", "hashed-directories"])
def test_equals_the_directory(name, rebuilt, directory, truth, tmp_path):
    path = made(tmp_path / "fs.img", directory, *LAYOUTS[name])
    if rebuilt:
        run("sh", "-c", 'e2fsck -fyD "$0" || [ $? -le 1 ]', path)
    expected = of_all_but(CUT_BY_MKE2FS.get(name, ()), truth)
    for read in (one_by_one, in_bulk):
        fs = open_ext4(image(path))
        assert differences(of_all_but(CUT_BY_MKE2FS.get(name, ()), copied(read(fs))), expected, NOT_COPIED) == {}
        assert fs.problems == []
    fs = open_ext4(image(path))
    assert len(list(fs.directories())) == 2 + sum(seen["type"] == "d" for seen in truth.values())
    assert copied(in_bulk(fs)) == copied(one_by_one(fs))


def test_times_that_debugfs_sets(tmp_path):
    """Two bits of epoch, thirty of nanoseconds, in each of four times; FAR is past what 64 bits of nanoseconds hold."""
    path = make(tmp_path / "fs.img", "-I", "256")
    times = {"atime": (-1, 1, 999999999), "mtime": (2**31 - 1, 3, 1), "ctime": (-(2**31), 0, 0), "crtime": (5, 2, 5)}
    fields = []
    for name, (low, epoch, fraction) in times.items():
        fields += [f"sif <2> {name} @{low & 0xFFFFFFFF:#x}", f"sif <2> {name}_extra {fraction << 2 | epoch:#x}"]
    debugfs(path, *fields)
    expected = {name: (low + epoch * 2**32) * 10**9 + fraction for name, (low, epoch, fraction) in times.items()}
    fs = open_ext4(image(path))
    told = fs.inode(2)
    assert {name: getattr(told, f"{name}_ns") for name in times} == expected
    seen = in_bulk(fs)[b""]
    assert {name: seen[name] for name in times} == expected


def test_stat_of_debugfs_agrees(directory, tmp_path):
    path = made(tmp_path / "fs.img", directory)
    fs = open_ext4(image(path))
    for file, seen in sorted(one_by_one(fs).items())[::17]:
        if b"\n" in file or b'"' in file or b" " in file or not file.isascii():
            continue
        told = run("debugfs", "-R", f'stat "{os.fsdecode(file) or "/"}"', path)
        assert f"Inode: {seen['inode']} " in told
        assert f"Links: {seen['nlink']} " in told
        assert f"Mode:  {seen['mode']:04o} " in told
        assert f"Generation: {fs.inode(seen['inode']).generation} " in told


def test_no_other_program_is_needed_to_read(directory, tmp_path, monkeypatch):
    path = made(tmp_path / "fs.img", directory)
    monkeypatch.setattr(subprocess, "run", None)
    assert len(open_ext4(image(path)).tree(2)) > 900
