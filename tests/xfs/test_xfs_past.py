"""Files that the running kernel deleted on XFS and unmounted cleanly: what the log's ring still tells of them."""

import hashlib
import os
import random
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.filesystems.xfs.history import read_history
from forensics.filesystems.xfs.mount import open_xfs
from forensics.recovery.files.content import examine
from forensics.recovery.files.deleted import find_deleted
from parsers.errors import FormatError
from support.kernel_views import birth, mounted
from support.xfs_images import Image, log_place, make

LAYOUTS = {
    "default": (),
    "small blocks, reverse maps": ("-b", "size=1024", "-m", "rmapbt=1"),
    "large directory blocks": ("-n", "size=8192", "-i", "nrext64=1"),
    "as it was": ("-m", "bigtime=0,reflink=0,finobt=0", "-i", "sparse=0"),
}


class Host:
    """Writes, renames and deletes files at random, and notes what stat tells of each before it goes."""

    def __init__(self, top, seed):
        self.top, self.chance = top, random.Random(seed)
        self.directories, self.live, self.deleted, self.count = [top], {}, [], 0

    def write(self):
        self.count += 1
        if self.chance.random() < 0.15:
            where = self.chance.choice(self.directories) / f"dir{self.count}{'x' * self.chance.choice((0, 30))}"
            where.mkdir()
            self.directories.append(where)
        path = self.chance.choice(self.directories) / f"file-{self.count}-{'y' * self.chance.choice((0, 5, 40))}"
        body = self.chance.randbytes(self.chance.choice((0, 1, 100, 5000, 100_000))).replace(b"\0", b"\1")  # zeros count as lost
        path.write_bytes(body)
        path.chmod(self.chance.choice((0o644, 0o600, 0o755)))
        self.live[path] = body

    def delete(self, path):
        told = path.lstat()
        self.deleted.append((
            b"/" + os.fsencode(path.relative_to(self.top)), told.st_ino, told.st_mtime_ns, told.st_size, told.st_mode & 0o7777,
            birth(os.fsencode(path)), hashlib.sha256(self.live.pop(path)).hexdigest(), time.time_ns(),
        ))  # fmt: skip
        path.unlink()

    def remove_tree(self):
        where = self.chance.choice(self.directories[1:])
        for path in sorted(self.live):
            if where in path.parents:
                self.delete(path)
        self.directories = [each for each in self.directories if each != where and where not in each.parents]
        subprocess.run(["rm", "-rf", where], check=True)

    def sync(self):
        subprocess.run(["sync", "-f", self.top], check=True)

    def run(self, rounds):
        for turn in range(rounds):
            for _ in range(self.chance.randint(5, 40)):
                self.write()
            self.sync()
            for path in self.chance.sample(sorted(self.live), len(self.live) // 3):
                self.delete(path)
            if turn % 3 == 2 and len(self.directories) > 2:
                self.remove_tree()
            if self.chance.random() < 0.7:
                self.sync()


@pytest.fixture(scope="module", params=sorted(LAYOUTS))
def used(request, tmp_path_factory):
    """A filesystem that was unmounted, and what was deleted on it."""
    place = tmp_path_factory.mktemp("past")
    path = make(place / "fs.img", *LAYOUTS[request.param])
    with mounted(path, place / "m") as top:
        host = Host(top, request.param)
        host.run(8)
    return path, host


def test_deleted_files_come_back_as_they_were(used):
    path, host = used
    fs = open_xfs(Image(path))
    assert fs.state == "clean"
    truth = {(name, inode, mtime): rest for name, inode, mtime, *rest in host.deleted}
    told = [file for file in find_deleted(fs) if file.type == "f"]
    right = 0
    for file in told:
        size, mode, crtime, digest, at = truth.pop((file.path, file.inode, file.mtime_ns))
        assert (file.size, file.mode, file.crtime_ns) == (size, mode, crtime)
        assert file.deleted_ns is None or file.no_later or abs(file.deleted_ns - at) < 200_000_000
        found = examine(fs, file).sha256
        assert found in (None, digest)
        right += found is not None
        if found is None and size:
            assert file.reuse != "none"
            assert file.confidence != "certain"
    assert len(truth) <= len(host.deleted) // 20
    assert right > len(told) // 3
    assert not {b"/" + os.fsencode(each.relative_to(host.top)) for each in host.live} & {file.path for file in told}


@pytest.mark.parametrize("bound", ["MOST_STATES", "MOST_BYTES"])
def test_what_of_a_log_is_not_kept_is_a_gap(used, bound, monkeypatch):
    path, _host = used
    fs = open_xfs(Image(path))
    list(find_deleted(fs))
    assert fs.problems == []
    monkeypatch.setattr(f"forensics.filesystems.xfs.history.{bound}", 5)
    fs = open_xfs(Image(path))
    list(find_deleted(fs))
    assert ["the newest deletions may be left out" in problem.error for problem in fs.problems] == [True]


def test_removed_directories_come_back_with_their_paths(used):
    path, host = used
    fs = open_xfs(Image(path))
    known = {name.rpartition(b"/")[0] for name, *_ in host.deleted}
    for file in find_deleted(fs):
        assert file.path.startswith(b"/")
        if file.type == "d":
            assert file.path in known or b"/dir" in file.path


@pytest.mark.parametrize("options", [(), ("-m", "rmapbt=1")])
def test_a_name_between_two_transactions_of_the_log_leaves_doubt(tmp_path, options):
    """A file that was renamed or written to and deleted within one transaction is not told with certainty; others are."""
    path = make(tmp_path / "fs.img", *options)
    with mounted(path, tmp_path / "m") as top:
        for number in range(24):
            (top / f"file{number}").write_bytes(b"x" * (number % 4) * 3000)
        subprocess.run(["sync", "-f", top], check=True)
        for number in range(24):
            file = top / f"file{number}"
            if number % 3 == 1:
                file = file.rename(top / f"other{number}")
            if number % 3 == 2:
                file.chmod(0o600)
            file.unlink()
        subprocess.run(["sync", "-f", top], check=True)
    told = {file.path: file for file in find_deleted(open_xfs(Image(path)))}
    plain = [told.pop(b"/file%d" % number).confidence for number in range(0, 24, 3)]
    assert len(told) == 16
    assert {file.confidence for file in told.values()} == {"probable"}
    assert plain.count("certain") > 5


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1 << 32))
def test_a_damaged_log_loses_what_is_damaged_only(used, seed):
    """No crash, no hang; and what it tells of content with no doubt is right."""
    path, host = used
    start, length = log_place(path)
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(length)
    written = [at for at in range(0, length, 512) if data.count(0, at + 4, at + 512) < 508]
    chance = random.Random(seed)
    changes = {}
    for _ in range(chance.choice((1, 2, 20))):
        at = chance.choice(written)
        bad = bytearray(data[at : at + 512])
        for _ in range(chance.choice((1, 3, 20))):
            place = chance.randrange(0, 504)
            bad[place : place + 8] = chance.choice((bytes(8), b"\xff" * 8, chance.randbytes(8)))
        changes[start + at] = bytes(bad)
    began = time.monotonic()
    try:
        fs = open_xfs(Image(path, changes))
        digests = {each[6] for each in host.deleted}
        for file in find_deleted(fs):
            if file.type == "f" and file.confidence == "certain" and fs.state == "clean":
                assert examine(fs, file).sha256 in digests
    except FormatError as error:
        assert str(error)
    assert time.monotonic() - began < 30


def test_records_that_say_anything_are_bounded(used, monkeypatch):
    """Lengths, transactions and counts of items at random, in records whose checksums are right."""
    monkeypatch.setattr("forensics.filesystems.xfs.log.record_crc_holds", lambda header, body: True)
    path, _ = used
    start, length = log_place(path)
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(length)
    for seed in range(2):
        chance = random.Random(seed)
        changes = {}
        for at in range(0, length, 512):
            block = bytearray(data[at : at + 512])
            if block[:4] != b"\xfe\xed\xba\xbe" and any(block[4:]):
                for _ in range(chance.choice((0, 0, 1, 3))):
                    place = chance.randrange(4, 508)
                    block[place : place + 4] = chance.choice((bytes(4), b"\xff" * 4, chance.randbytes(4), b"\x3b\x12\x01\x00"))
            if bytes(block) != data[at : at + 512]:
                changes[start + at] = bytes(block)
        began = time.monotonic()
        try:
            fs = open_xfs(Image(path, changes))
            list(find_deleted(fs))
        except FormatError as error:
            assert str(error)
        assert time.monotonic() - began < 60


def test_the_log_is_read_once(used):
    path, _ = used
    fs = open_xfs(Image(path))
    assert read_history(fs) is read_history(fs)
