"""Journals written block by block: what they tell of a deleted file, and that no damage to them does harm."""

import re
import shutil
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.filesystems.ext4.mount import open_ext4
from forensics.recovery.files.content import examine, read_deleted
from forensics.recovery.files.deleted import find_deleted
from forensics.recovery.files.fragments import find_fragments
from parsers.crc32c import crc32c
from parsers.errors import FormatError
from support import ext4_images as lab
from support.disks import run

CONTENT = b"what it said\n" * 300
OPTIONS = ("-b", "1024", "-J", "size=1")
CHECKSUMS = {"v3": (0, lab.CSUM_V3 | lab.BIT64), "v2": (0, lab.CSUM_V2), "none": (0, 0)}


def changed_blocks(before, after):
    """The blocks in which two images differ: number to content."""
    old, new = before.read_bytes(), after.read_bytes()
    return {at // 1024: new[at : at + 1024] for at in range(0, len(new), 1024) if old[at : at + 1024] != new[at : at + 1024]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """made(checksums): an image on which a transaction made a file and a later one deleted it."""
    images = {}

    def make(checksums="v3"):
        if checksums not in images:
            where = tmp_path_factory.mktemp(checksums)
            path, fresh, one, two = (where / f"{name}.img" for name in ("fs", "fresh", "one", "two"))
            (where / "content").write_bytes(CONTENT)
            lab.make(path, *OPTIONS, size=8 * lab.MIB)
            shutil.copyfile(path, fresh)
            shutil.copyfile(path, one)
            lab.debugfs(one, "mkdir d", f"write {where / 'content'} d/secret")
            shutil.copyfile(one, two)
            lab.debugfs(two, "rm d/secret")
            data = re.search(r"\(0-\d+\):(\d+)-(\d+)", run("debugfs", "-R", "stat d/secret", one))
            files = range(int(data[1]), int(data[2]) + 1)
            shutil.copyfile(two, path)
            compat, incompat = CHECKSUMS[checksums]
            writer = lab.JournalWriter(path, compat, incompat=incompat)
            first = {b: d for b, d in changed_blocks(fresh, one).items() if b not in files}
            writer.transaction(first)
            writer.transaction(changed_blocks(one, two), seconds=lab.TIME + 60)
            images[checksums] = writer.close().read_bytes()
        return images[checksums]

    return make


@pytest.mark.parametrize("checksums", CHECKSUMS)
def test_a_file_is_found_as_the_first_transaction_had_it(made, checksums):
    fs = open_ext4(lab.Image("x", made(checksums)))
    found = {file.path: file for file in find_deleted(fs)}
    file = found[b"/d/secret"]
    assert (file.method, file.size, file.reuse) == ("journal", len(CONTENT), "none")
    assert b"".join(read_deleted(fs, file))[: file.size] == CONTENT
    assert examine(fs, file).recovered == len(CONTENT)


def look(data):
    """Everything that is looked for, on a disk that may be damaged anywhere."""
    try:
        fs = open_ext4(lab.Image("x", bytes(data)))
    except FormatError:
        return []
    found = list(find_deleted(fs))
    for file in found:
        left = examine(fs, file)
        assert file.size is None or 0 <= left.recovered <= file.size
        assert left.sha256 is None or left.recovered == file.size
        assert sum(len(piece) for piece in read_deleted(fs, file, 0, 1 << 20)) <= 1 << 20
    list(find_fragments(fs, found))
    return found


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_no_damage_to_the_journal_does_harm(made, data):
    image = bytearray(made("none"))
    blocks = [at for at in range(0, len(image), 1024) if image[at : at + 4] == lab.MAGIC]
    for _ in range(data.draw(st.integers(1, 6))):
        block = data.draw(st.sampled_from(blocks)) + data.draw(st.sampled_from([0, 0, 0, 1024, 2048]))
        at = block + data.draw(st.integers(0, 200))
        image[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
    began = time.monotonic()
    look(image)
    assert time.monotonic() - began < 5


@settings(max_examples=120, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(1024, 400 * 1024), st.integers(0, 255)), min_size=1, max_size=12))
def test_no_damage_to_the_filesystem_does_harm(made, flips):
    image = bytearray(made("none"))
    for at, value in flips:
        image[at] = value
    look(image)


def test_copies_whose_checksum_is_wrong_tell_nothing(made):
    image = bytearray(made("v3"))
    heads = [at for at in range(0, len(image), 1024) if image[at : at + 8] == lab.MAGIC + (1).to_bytes(4, "big")]
    for head in heads:
        for at in range(head + 1024, head + 20 * 1024, 1024):
            if image[at : at + 4] == lab.MAGIC:
                break
            image[at + 512] ^= 1
    assert heads
    assert [file for file in look(image) if file.method == "journal"] == []


@pytest.mark.parametrize("taken", [False, True])
def test_a_freed_directorys_block_may_keep_bytes_of_its_last_use_behind_a_name(tmp_path, taken):
    """The kernel writes `.` and leaves what stood up to the next entry; and another file may take the inode at once."""
    path, one, two = (tmp_path / f"{name}.img" for name in ("fs", "one", "two"))
    (tmp_path / "content").write_bytes(CONTENT)
    lab.make(path, *OPTIONS, size=8 * lab.MIB)
    lab.debugfs(path, "mkdir d", "mkdir d/sub", f"write {tmp_path / 'content'} d/sub/secret", "sif d/sub generation 4660")
    number, block = (int(run("debugfs", "-R", f"{ask} d/sub", path).split()[at]) for ask, at in (("stat", 1), ("blocks", 0)))
    image = bytearray(path.read_bytes())
    data = image[block * 1024 : block * 1024 + 1024]
    data[8:12] = b".\0aa"
    seed = crc32c(struct.pack("<II", number, 4660), open_ext4(lab.image(path)).geometry.seed)
    data[-4:] = struct.pack("<I", crc32c(bytes(data[:-12]), seed))
    image[block * 1024 : block * 1024 + 1024] = data
    path.write_bytes(image)
    shutil.copyfile(path, one)
    shutil.copyfile(path, two)
    lab.debugfs(two, "rm d/sub/secret", "rmdir d/sub", *(["mkdir d/other", "sif d/other generation 9"] if taken else []))
    writer = lab.JournalWriter(path, 0, incompat=0)
    writer.transaction({at: data for at, data in changed_blocks(one, two).items() if at != block}, revokes=[block])
    writer.close()
    fs = open_ext4(lab.image(path))
    found = {file.path: file for file in find_deleted(fs)}
    assert b"".join(read_deleted(fs, found[b"/d/sub/secret"]))[: len(CONTENT)] == CONTENT
