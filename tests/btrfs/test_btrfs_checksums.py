"""Contents held against their checksums: what the kernel reads, and what it refuses to read, of a disk with bad sectors."""

import errno
import hashlib
import os
import random
import subprocess

import pytest

from forensics.filesystem import lookup
from forensics.filesystems.btrfs.reader import open_btrfs
from forensics.hashing import hash_files
from forensics.progress import Silent
from parsers.errors import EvidenceError, FormatError
from support.disks import run
from support.kernel_views import mounted
from support.xfs_images import Image

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
SECTOR = 4096
LAYOUTS = {
    "crc32c": ("-d", "dup"), "xxhash": ("-d", "dup", "--csum", "xxhash"), "sha256": ("-d", "dup", "--csum", "sha256"),
    "blake2": ("-d", "dup", "--csum", "blake2"), "mixed": ("--mixed", "-d", "dup", "-m", "dup"), "single": ("-d", "single",),
}  # fmt: skip
NAMES = (b"plain", b"packed", b"unchecked", b"other", b"small", b"holes")


def make(path, *options):
    with path.open("wb") as file:
        file.truncate(256 << 20)
    run("mkfs.btrfs", "-q", *options, path)
    return path


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request, tmp_path_factory):
    """The name of a layout, a filesystem with some files, and the place to work in."""
    place = tmp_path_factory.mktemp(request.param)
    path = make(place / "fs.img", *LAYOUTS[request.param])
    with mounted(path, place / "m") as top:
        rng = random.Random(1)
        (top / "unchecked").touch()
        (top / "packed").touch()
        run("chattr", "+C", top / "unchecked")
        subprocess.run(["btrfs", "property", "set", top / "packed", "compression", "zstd"], check=True)
        for name in ("plain", "unchecked", "other"):
            (top / name).write_bytes(rng.randbytes(100_000))
        (top / "packed").write_bytes(b"".join(b"%d again and again\n" % n for n in range(60_000)))
        (top / "small").write_bytes(b"small")
        with (top / "holes").open("wb") as file:
            file.seek(1 << 20)
            file.write(rng.randbytes(9000))
    yield request.param, path, place
    path.unlink()


def first_sector(fs, name, sector):
    """Where the copies of a file's sector stand on the device."""
    number = lookup(fs, name)
    (first, *_) = [each for each in fs._extents(number) if each.address]
    ways, _ = fs.verified.logical.places(first.address + first.skip + sector * SECTOR)
    return [place for ((_, place),) in ways]


def spoiled(path, place, bad):
    """A copy of the filesystem in which each of these bytes begins a sector of other bytes."""
    copy = place / "bad.img"
    run("cp", "--sparse=always", path, copy)
    with copy.open("r+b") as file:
        for at in bad:
            file.seek(at)
            file.write(random.Random(at).randbytes(SECTOR))
    return copy


def kernels(copy, place):
    """The SHA-256 of each file as the kernel reads it, None where it does not."""
    found = {}
    with mounted(copy, place / "m", "ro") as top:
        for name in NAMES:
            try:
                found[name] = hashlib.sha256((top / name.decode()).read_bytes()).hexdigest()
            except OSError as error:
                assert error.errno == errno.EIO
                found[name] = None
    return found


def ours(fs):
    """The same by reading and by hashing, and why what cannot be read cannot."""
    read, files = {}, {}
    for name in NAMES:
        number = lookup(fs, name)
        files[number] = name
        try:
            read[name] = hashlib.sha256(fs.read(number)).hexdigest()
        except (FormatError, EvidenceError):
            read[name] = None
    done = list(hash_files(fs, [(number, fs.inode(number).size) for number in files], Silent()))
    assert {files[each.inode]: each.sha256 for each in done} == read
    return read, {files[each.inode]: each for each in done if each.error is not None}


@pytest.mark.parametrize("which", ["none", "first", "last", "all"])
def test_bad_sectors(layout, which):
    name, path, place = layout
    clean = open_btrfs(Image(path))
    bad = []
    for file, sector in ((b"plain", 3), (b"packed", 0), (b"holes", 2)):
        copies = first_sector(clean, file, sector)
        bad += {"none": [], "first": copies[:1], "last": copies[-1:], "all": copies}[which]
    copy = spoiled(path, place, bad)
    fs = open_btrfs(Image(copy))
    truth = kernels(copy, place)
    read, failed = ours(fs)
    assert read == truth
    lost = {b"plain", b"packed", b"holes"} if which == "all" or (name == "single" and bad) else set()
    assert {each for each in NAMES if truth[each] is None} == lost == failed.keys()
    told = {problem.where: problem for problem in fs.problems}
    assert {problem.what for problem in fs.problems} <= {"file content"}
    if which == "first" and name != "single":
        numbers = {each: lookup(fs, each) for each in (b"plain", b"packed", b"holes")}
        assert set(told) == {f"inode {number}" for number in numbers.values()}
        plain = told[f"inode {numbers[b'plain']}"]
        assert "its sector at byte 12288: the checksum is wrong (device 1 at byte" in plain.error
        assert plain.offset == first_sector(clean, b"plain", 3)[0]
        assert "its sector at byte 1056768" in told[f"inode {numbers[b'holes']}"].error
    else:
        assert not told
    if lost:
        assert "byte 12288 cannot be read" in failed[b"plain"].error
        assert failed[b"plain"].bad_offset == first_sector(clean, b"plain", 3)[0]
        assert ("in all 2 copies" in failed[b"plain"].error) == (name != "single")
        with pytest.raises(FormatError):
            fs.read(lookup(fs, b"plain"), 12288, 1)
        assert fs.read(lookup(fs, b"plain"), 0, 12288) == clean.read(lookup(clean, b"plain"), 0, 12288)


def test_contents_without_checksums_are_given_as_they_are(layout):
    _, path, place = layout
    clean = open_btrfs(Image(path))
    copy = spoiled(path, place, first_sector(clean, b"unchecked", 1))
    fs = open_btrfs(Image(copy))
    read, failed = ours(fs)
    assert (read, failed, fs.problems) == (kernels(copy, place), {}, [])
    assert read[b"unchecked"] != ours(clean)[0][b"unchecked"]


def test_a_sector_that_the_device_does_not_give(layout):
    name, path, _ = layout
    clean = open_btrfs(Image(path))
    first, *_ = first_sector(clean, b"plain", 3)

    class Failing(Image):
        def read(self, offset, size):
            if offset <= first < offset + size:
                raise EvidenceError("a bad sector")
            return super().read(offset, size)

    fs = open_btrfs(Failing(path))
    read, failed = ours(fs)
    if name == "single":
        assert failed.keys() == {b"plain"}
    else:
        assert read == ours(clean)[0]
        (problem,) = fs.problems
        assert "a bad sector" in problem.error


def test_what_was_synced_since_the_last_commit(tmp_path):
    path, cut = make(tmp_path / "fs.img", "-d", "dup"), tmp_path / "cut.img"
    with mounted(path, tmp_path / "m", "commit=300") as top:
        subprocess.run(["btrfs", "filesystem", "sync", top], check=True)
        for name in NAMES:
            with (top / name.decode()).open("wb") as file:
                file.write(random.Random(name).randbytes(50_000))
                file.flush()
                os.fsync(file.fileno())
        run("cp", "--sparse=always", path, cut)
    clean = open_btrfs(Image(cut))
    assert clean.state == "journal replayed"
    copies = first_sector(clean, b"plain", 3)
    for bad, lost in ((copies[:1], set()), (copies, {b"plain"})):
        fs = open_btrfs(Image(spoiled(cut, tmp_path, bad)))
        read, failed = ours(fs)
        assert failed.keys() == lost
        assert {name: value for name, value in read.items() if value} == {
            name: hashlib.sha256(random.Random(name).randbytes(50_000)).hexdigest() for name in NAMES if name not in lost
        }


def test_checksums_that_are_lost(layout):
    """The contents are given, and a problem says that they were not verified."""
    _, path, place = layout
    clean = open_btrfs(Image(path))
    root = clean.forest.own[7]
    ways, _ = clean.verified.logical.places(root.address)
    fs = open_btrfs(Image(spoiled(path, place, [at for ((_, at),) in ways])))
    assert ours(fs) == ours(clean)
    assert [(each.what, each.offset) for each in fs.problems] == [("checksum tree", fs.problems[0].offset)] * len(fs.problems)
    assert "not held against them" in fs.problems[0].error
