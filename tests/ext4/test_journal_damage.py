"""Journals that are cut off, overwritten or lie: what is left is read, and the state says what happened."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.ext4.journal import CLEAN, NOT_REPLAYED, PARTLY, REPLAYED, open_log, replay
from forensics.filesystems.ext4.mount import open_ext4
from forensics.filesystems.ext4.reader import Ext4
from parsers import ext4_fast_commit, jbd2
from parsers.errors import EvidenceError, FormatError
from support import ext4_images as lab

STATES = {CLEAN, REPLAYED, PARTLY, NOT_REPLAYED}
BOUNDED = settings(max_examples=150, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A filesystem with transactions and fast commits that name its files, and the place of each block of its log."""
    where = tmp_path_factory.mktemp("damage")
    files = where / "files"
    files.mkdir()
    for name in "abc":
        (files / name).write_bytes(name.encode() * 5000)
    path = lab.make(
        where / "fs.img", "-b", "1024", "-J", "size=2", "-O", "fast_commit", "-N", "512", "-d", files, size=8 * lab.MIB
    )
    writer = lab.JournalWriter(path, incompat=lab.CSUM_V3 | lab.FAST_COMMIT | lab.BIT64)
    rng = random.Random(1)
    for _ in range(4):
        writer.transaction({7000 + rng.randrange(30): rng.randbytes(1024) for _ in range(5)}, revokes=[7001, 7002])
    fs = Ext4(lab.image(path))
    number = fs.find(fs.root, b"a")
    inode = (6, struct.pack("<I", number) + fs.tables.raw(number)[:160])
    records = [(4, struct.pack("<II", 2, number) + b"new"), (1, struct.pack("<IIHHI", number, 9, 2, 0, 7100)), inode]
    after = writer.fast_commit(records)
    writer.fast_commit([(5, struct.pack("<II", 2, number) + b"a"), (2, struct.pack("<III", number, 1, 3)), inode], after, False)
    log_blocks = [0, *range(writer.first, writer.next), *range(writer.end, writer.end + 4)]
    writer.close()
    return bytes(writer.data), [writer.blocks[n] * 1024 for n in log_blocks]


def opened(data):
    """Whatever it is, it is opened or refused; its state, None where it was refused."""
    try:
        fs = open_ext4(lab.Image("damaged", bytes(data)))
        fs.tree(fs.root)
    except FormatError:
        return None
    assert fs.state in STATES
    assert (fs.state in (CLEAN, REPLAYED)) or fs.problems
    return fs.state


def test_it_is_whole_before(image):
    fs = open_ext4(lab.Image("whole", image[0]))
    done = replay(Ext4(lab.Image("whole", image[0])))
    assert (fs.state, done.transactions, done.fast_commits, fs.problems) == (REPLAYED, 4, 2, [])
    assert [entry.name for entry in fs.entries(2)] == [b"b", b"c", b"lost+found", b"new"]


@BOUNDED
@given(data=st.data())
def test_overwritten_logs(image, data):
    whole, places = image
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.sampled_from(places)) + data.draw(st.one_of(st.integers(0, 40), st.integers(0, 1000)))
        new = data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([bytes(4), b"\xff" * 4, bytes(24)])))
        damaged[at : at + len(new)] = new
    if data.draw(st.booleans()):  # so that what the superblock says is believed
        at = places[0]
        damaged[at + 252 : at + 256] = bytes(4)
        damaged[at + 252 : at + 256] = lab.crc32c(bytes(damaged[at : at + 1024])).to_bytes(4, "big")
    opened(damaged)


@BOUNDED
@given(st.integers(0, 8 * lab.MIB))
def test_truncated_images(image, size):
    opened(image[0][:size])


@BOUNDED
@given(st.binary(max_size=200).map(lambda head: head.ljust(1024, b"\0")), st.integers(0, 0x3F), st.booleans())
def test_any_block_is_parsed(block, incompat, checksum):
    journal = jbd2.JournalSuperblock(1024, 1024, 1, 1, 1, 0, int(checksum), incompat, 0, bytes(16), 0)
    jbd2.header(block)
    tags = jbd2.tags(block, journal)
    assert len(tags) <= 127
    revoked = jbd2.revoked(block, journal)
    assert revoked is None or len(revoked) <= 252
    jbd2.commit_sound(block, journal, 0)
    jbd2.block_sound(block, journal)
    ext4_fast_commit.scan([b"\x09\0\x08\0" + bytes(4) + b"\1\0\0\0" + block], 1, 256)


def test_blocks_that_the_device_cannot_read(image):
    whole, places = image

    class Failing(lab.Image):
        def read(self, offset, size):
            if offset <= self.bad < offset + size:
                raise EvidenceError("the device fails")
            return super().read(offset, size)

    for place in places[:20]:
        source = Failing("failing", whole)
        object.__setattr__(source, "bad", place + 100)
        assert replay(Ext4(source)).state in STATES


def test_a_log_that_never_ends_is_left(image):
    """Descriptor blocks of one transaction all round the ring."""
    whole, _ = image
    log = open_log(Ext4(lab.Image("x", whole)), ProblemLog(lab.Image("x", whole)))
    damaged = bytearray(whole)
    block = jbd2.HEADER.declaration.build({"h_magic": jbd2.MAGIC, "h_blocktype": jbd2.DESCRIPTOR, "h_sequence": 1})
    for number in range(log.superblock.s_first, log.superblock.end):
        at = log.offset(number)
        damaged[at : at + 1024] = block + struct.pack(">IIII", 7000, 8 | 2, 0, 0).ljust(1012, b"\0")
    assert opened(damaged) in STATES
