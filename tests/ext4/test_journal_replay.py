"""Logs written block by block; what the replay leaves is held against what e2fsck's leaves, block by block."""

import random
import struct

import pytest

from forensics.filesystems.ext4.journal import CLEAN, NOT_REPLAYED, PARTLY, REPLAYED, replay
from forensics.filesystems.ext4.mount import open_ext4
from forensics.filesystems.ext4.reader import Ext4
from support import ext4_images as lab

JOURNAL_ONLY = ("-E", "journal_only")
LAYOUTS = {
    "1k": ("-b", "1024", "-J", "size=1"),
    "4k": ("-b", "4096", "-J", "size=4"),
    "ext3": ("-b", "1024", "-J", "size=1", "-O", "^metadata_csum,^64bit,^extents,^flex_bg,^huge_file,^dir_nlink,^extra_isize"),
}
CHECKSUMS = {
    "none": (0, 0),
    "v1": (lab.CHECKSUM, 0),
    "v1-async": (lab.CHECKSUM, lab.ASYNC),
    "v2": (0, lab.CSUM_V2),
    "v2-64bit": (0, lab.CSUM_V2 | lab.BIT64),
    "v3": (0, lab.CSUM_V3),
    "v3-64bit": (0, lab.CSUM_V3 | lab.BIT64),
    "v3-async": (0, lab.CSUM_V3 | lab.ASYNC),
    "64bit": (0, lab.BIT64),
}


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """blank(layout): the bytes of a fresh filesystem."""
    made = {}

    def get(layout, path):
        if layout not in made:
            fresh = tmp_path_factory.mktemp(layout) / "fs.img"
            made[layout] = lab.make(fresh, *LAYOUTS[layout]).read_bytes()
        path.write_bytes(made[layout])
        return path

    return get


@pytest.fixture
def log(blank, tmp_path):
    """log(layout, checksums, ...): a writer for the journal of a fresh filesystem."""

    def start(layout="1k", checksums="v3", **settings):
        compat, incompat = CHECKSUMS[checksums]
        path = blank(layout, tmp_path / "fs.img")
        settings["incompat"] = incompat | settings.pop("incompat", 0)
        return lab.JournalWriter(path, compat, **settings)

    return start


def contents(writer, seed):
    """Content for the free blocks at the filesystem's end; each third begins with the journal's magic number."""
    rng = random.Random(seed)
    last = len(writer.data) // writer.block_size - 1
    while True:
        start = lab.MAGIC if rng.random() < 0.3 else rng.randbytes(4)
        yield last - rng.randrange(40), start + rng.randbytes(writer.block_size - 4)


def take(source, count):
    return dict(next(source) for _ in range(count))


def differences(path, done):
    """The blocks that differ from e2fsck's replay, but for the journal and the superblock, which e2fsck marks clean."""
    truth, journal = lab.image(lab.after_e2fsck(path, *JOURNAL_ONLY)), set(lab.journal_blocks(path))
    size = Ext4(done.source).block_size
    skipped = journal | {1024 // size}
    blocks = (n for n in range(truth.size // size) if n not in skipped)
    return [n for n in blocks if done.source.read(n * size, size) != truth.read(n * size, size)]


def check(writer, state=REPLAYED):
    """Close a log, replay it, hold it against e2fsck."""
    path = writer.close()
    done = replay(Ext4(lab.image(path)))
    assert (done.state, differences(path, done)) == (state, [])
    return done


@pytest.mark.parametrize("checksums", CHECKSUMS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_transactions_with_revokes_and_escaped_blocks(log, layout, checksums):
    writer = log(layout, checksums)
    source = contents(writer, layout + checksums)
    first = take(source, 9)
    writer.transaction(first)
    writer.transaction(take(source, 5), revokes=list(first)[:3])
    writer.transaction(take(source, 14))
    writer.transaction(take(source, 2), revokes=list(first)[5:])
    writer.transaction(take(source, 6), commit=False)
    done = check(writer)
    assert (done.transactions, done.next_sequence, done.problems) == (4, 5, ())


@pytest.mark.parametrize("checksums", ["none", "v1", "v3-64bit"])
def test_the_log_goes_on_at_its_first_block_and_sequence_numbers_at_0(log, checksums):
    writer = log("1k", checksums, sequence=0xFFFFFFFD)
    writer.start = writer.next = writer.end - 11
    source = contents(writer, 5)
    for _ in range(6):
        gone = list(take(source, 3))
        writer.transaction(take(source, 4), revokes=gone)
    done = check(writer)
    assert (done.transactions, done.next_sequence) == (6, 3)


def test_a_revoke_record_hides_older_copies_and_not_newer_ones(log):
    writer = log()
    block, old = next(contents(writer, 1))
    new = old[::-1]
    writer.transaction({block: old})
    writer.transaction({block - 1: old}, revokes=[block, block - 2])
    writer.transaction({block: new, block - 2: new})
    done = check(writer)
    size = writer.block_size
    assert done.source.read(block * size, size) == done.source.read((block - 2) * size, size) == new


def test_what_was_read_stands_in_the_journal(log):
    writer = log()
    block, data = next(contents(writer, 3))
    placed = writer.transaction({block: data, block - 1: lab.MAGIC + data[4:]})
    path = writer.close()
    disk = lab.image(path)
    fs = open_ext4(disk)
    size = fs.block_size
    for number, taken in ((block, placed[1]), (block - 1, placed[2])):
        assert fs.source.locate(number * size + 7) == writer.blocks[taken] * size + 7
        assert disk.read(fs.source.locate(number * size + 4), 50) == fs.source.read(number * size + 4, 50)
    assert fs.source.locate(size * 30) == size * 30
    assert fs.source.read(block * size - size - 1, size + 3) == (
        disk.read(block * size - size - 1, 1) + lab.MAGIC + data[4:] + data[:2]
    )
    assert fs.source.read(block * size - size + 2, 4) == lab.MAGIC[2:] + data[4:6]


def test_a_clean_log_and_a_filesystem_that_asks_for_nothing(log):
    writer = log()
    writer.transaction(take(contents(writer, 1), 3))
    writer.start = 0
    assert replay(Ext4(lab.image(writer.close()))).state == CLEAN
    writer.start = 1
    writer.recover = lambda: None
    struct.pack_into("<I", writer.data, 1024 + 0x60, struct.unpack_from("<I", writer.data, 1024 + 0x60)[0] & ~lab.RECOVER)
    struct.pack_into("<I", writer.data, 1024 + 0x3FC, lab.crc32c(bytes(writer.data[1024 : 1024 + 0x3FC])))
    done = replay(Ext4(lab.image(writer.close())))
    assert (done.state, done.transactions) == (CLEAN, 0)


def test_without_replay_the_disk_is_read_as_it_lies(log):
    writer = log()
    block, data = next(contents(writer, 2))
    writer.transaction({block: data})
    disk = lab.image(writer.close())
    fs = open_ext4(disk, replay_journal=False)
    assert (fs.state, fs.source.read(block * 1024, 1024)) == (NOT_REPLAYED, bytes(1024))
    assert open_ext4(disk).source.read(block * 1024, 1024) == data


@pytest.mark.parametrize("place", ["commit", "descriptor", "revoke"])
@pytest.mark.parametrize("checksums", ["v2", "v3-64bit"])
def test_a_damaged_block_of_the_log_ends_it(log, checksums, place):
    writer = log(checksums=checksums)
    source = contents(writer, 9)
    first = take(source, 4)
    writer.transaction(first)
    revoke, descriptor, *_, commit = writer.transaction(take(source, 4), revokes=[5000])
    writer.transaction(take(source, 4))
    damaged = {"commit": commit, "descriptor": descriptor, "revoke": revoke}[place]
    writer.journal(damaged)[55] ^= 0x10
    path = writer.close()
    done = replay(Ext4(lab.image(path)))
    assert (done.state, done.transactions) == (PARTLY, 1)
    assert "checksum" in done.problems[0].error
    assert [done.source.read(block * 1024, 1024) for block in first] == list(first.values())


def test_old_blocks_behind_the_log_are_its_end_and_no_damage(log):
    """A journal that was made anew over an old one: the old blocks have another checksum seed and older times."""
    writer = log()
    source = contents(writer, 4)
    writer.transaction(take(source, 4), seconds=lab.TIME)
    writer.seed ^= 1
    writer.transaction(take(source, 4), seconds=lab.TIME - 1000)
    done = check(writer)
    assert (done.transactions, done.problems) == (1, ())


@pytest.mark.parametrize("checksums", ["v2", "v3-64bit"])
def test_a_damaged_copy_loses_itself_only(log, checksums):
    writer = log(checksums=checksums)
    first = take(contents(writer, 6), 5)
    _, data, *_ = writer.transaction(first)
    writer.transaction({block: bytes(1024) for block in list(first)[2:]})
    writer.journal(data)[100] ^= 1
    done = check(writer, PARTLY)
    assert len(done.problems) == 1
    assert done.problems[0].offset == writer.blocks[data] * 1024


@pytest.mark.parametrize("checksums", ["v1", "v1-async"])
def test_a_damaged_transaction_under_checksum_v1(log, checksums):
    writer = log(checksums=checksums)
    source = contents(writer, 6)
    writer.transaction(take(source, 5))
    _, data, *_ = writer.transaction(take(source, 5))
    writer.journal(data)[100] ^= 1
    interrupted = checksums == "v1-async"  # then the commit block may come first: the log's usual end
    done = check(writer, REPLAYED if interrupted else PARTLY)
    assert (done.transactions, len(done.problems)) == (1, 0 if interrupted else 1)


def test_a_commit_block_of_which_one_sector_was_written(log):
    writer = log("4k")
    source = contents(writer, 6)
    writer.transaction(take(source, 3))
    *_, commit = writer.transaction(take(source, 3))
    writer.journal(commit)[512:] = b"\xee" * (writer.block_size - 512)
    done = replay(Ext4(lab.image(writer.close())))  # newer than e2fsck 1.47.0: Linux 6.0, fs/jbd2/recovery.c
    assert (done.state, done.transactions) == (REPLAYED, 2)


def test_blocks_beyond_the_end_are_not_replayed(log):
    writer = log(checksums="64bit")
    block, data = next(contents(writer, 8))
    writer.transaction({block: data, (1 << 40) + 3: data, len(writer.data) // 1024: data})
    done = replay(Ext4(lab.image(writer.close())))
    assert (done.state, done.blocks, len(done.problems)) == (PARTLY, 1, 2)


def test_a_log_that_fills_its_ring_is_read_once(log):
    writer = log(checksums="none")
    empty = lab.MAGIC + struct.pack(">II", lab.REVOKE, 1) + struct.pack(">I", 16)
    for _ in range(writer.end - writer.first):
        writer.put(empty)
    done = replay(Ext4(lab.image(writer.close())))
    assert (done.state, done.transactions, done.blocks) == (REPLAYED, 0, 0)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda w: setattr(w, "incompat", 0x100), "unknown incompatible features 0x100"),
        (lambda w: setattr(w, "compat", lab.CHECKSUM), "more than one version of checksums"),
        (lambda w: setattr(w, "maxlen", len(w.blocks) + 1), "1025 blocks in a file of 1024"),
        (lambda w: setattr(w, "maxlen", 1000), "1000 blocks are too few"),
        (lambda w: setattr(w, "first", 5000), "the log begins at block 5000"),
        (lambda w: setattr(w, "block_size", 2048), "blocks of 2048 bytes"),
    ],
)
def test_a_journal_that_the_kernel_refuses_is_not_replayed(log, what, said):
    writer = log()
    writer.transaction(take(contents(writer, 1), 3))
    size = writer.block_size
    what(writer)
    if writer.block_size != size:
        journal = bytearray(writer.data[writer.blocks[0] * size :][:1024])
        struct.pack_into(">I", journal, 12, writer.block_size)
        writer.block_size = size
        writer.close()
        at = writer.blocks[0] * size
        struct.pack_into(">I", writer.data, at + 12, 2048)
        writer.path.write_bytes(writer.data)
    else:
        writer.close()
    done = replay(Ext4(lab.image(writer.path)))
    assert done.state == NOT_REPLAYED
    assert said in done.problems[0].error


def test_a_wrong_checksum_of_the_journals_superblock(log):
    writer = log()
    writer.transaction(take(contents(writer, 1), 3))
    path = writer.close()
    writer.data[writer.blocks[0] * 1024 + 27] ^= 1
    path.write_bytes(writer.data)
    done = replay(Ext4(lab.image(path)))
    assert (done.state, done.problems[0].offset) == (NOT_REPLAYED, writer.blocks[0] * 1024)


def test_a_journal_on_another_device(tmp_path):
    path = lab.make(tmp_path / "fs.img", "-O", "^has_journal")
    lab.debugfs(path, "feature has_journal needs_recovery", "ssv journal_dev 0x801")
    done = replay(Ext4(lab.image(path)))
    assert done.state == NOT_REPLAYED
    assert "on another device" in done.problems[0].error


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_lost_journal_inode_is_replaced_by_the_superblocks_copy(log, layout):
    writer = log(layout, "none")
    source = contents(writer, 2)
    writer.transaction(take(source, 20))
    path = writer.close()
    truth = lab.image(lab.after_e2fsck(path, *JOURNAL_ONLY))
    lab.debugfs(path, "clri <8>")
    done = replay(Ext4(lab.image(path)))
    size = writer.block_size
    last = truth.size // size
    assert (done.state, done.transactions) == (PARTLY, 1)
    assert "block map is taken from the superblock" in done.problems[0].error
    assert done.source.read((last - 50) * size, 50 * size) == truth.read((last - 50) * size, 50 * size)


def test_ext2_that_was_not_unmounted(tmp_path):
    path = lab.make(tmp_path / "fs.img", kind="ext2")
    assert open_ext4(lab.image(path)).state == CLEAN
    lab.debugfs(path, "ssv state 0")
    assert open_ext4(lab.image(path)).state == "not cleanly unmounted"
