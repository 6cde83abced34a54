"""bbolt files that are gone: pages of them in unallocated space, and deleted files."""

import random
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.filesystem import Extent
from forensics.recovery.carving.bolt_pages import lost_databases
from forensics.recovery.carving.lost_records import lost_records
from forensics.recovery.carving.scan import PAGE, scan_space
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.deleted_file import DeletedFile
from forensics.recovery.files.deleted_source import DeletedSource
from forensics.source import Buffer
from parsers.bbolt_carved import carved_keys, leaf_and_branch_pages
from parsers.errors import EvidenceError
from support.bolt_files import ENGINES, SMALL, bolt_bytes, listing, opened, page_size, triples
from support.cli import ask, run_cli
from support.disks import Disk
from support.ext4_images import debugfs, make
from support.free_space import BLOCK, space
from support.memory_filesystem import MemoryFilesystem

PAGES_OF = 4096


def carved(data, **where):
    """The lost databases in some unallocated bytes."""
    where = space(data, **where)
    return list(lost_databases([scan_space(where, lambda size: None)], {}, (), lambda partition, offset: False))


def with_values(rows):
    return {row for row in triples(rows) if row[2] is not None}


def keys_of(databases):
    return {
        (each.key.bucket, each.key.key, each.key.value) for one in databases for each in one.keys if each.key.value is not None
    }


@pytest.mark.parametrize("name", ENGINES)
def test_of_a_whole_file_every_key_comes_back_in_its_bucket(name):
    data = bolt_bytes(name)
    found = carved(bytes(3 * BLOCK) + data)
    live = with_values(listing(name, "live"))
    assert live <= keys_of(found)
    assert all(each.state == "carved" for one in found for each in one.keys)
    tree = {(each.key.bucket, each.key.key, each.key.value) for one in found for each in one.keys if each.basis == "tree"}
    assert live <= {row for row in tree if row[2] is not None} <= live | with_values(listing(name, "previous"))


@pytest.mark.parametrize("name", ENGINES)
def test_without_meta_pages_every_key_comes_back_and_no_bucket_is_invented(name):
    data = bolt_bytes(name)
    size = page_size(data)
    found = carved(bytes(2 * size) + data[2 * size :])
    live = with_values(listing(name, "live"))
    values = {row[1:] for row in keys_of(found)}
    assert {row[1:] for row in live} <= values
    known = {(*each.key.bucket, each.key.key) for one in found for each in one.keys if each.basis == "pointer" and each.key.value}
    bolt = opened(data)
    before = [each.key for each in bolt.deleted() if each.basis != "page"]
    told = {(*row[0], row[1]) for row in live} | {(*key.bucket, key.key) for key in before}
    loose = {each.key.key for each in bolt.deleted() if each.basis == "page"}
    assert {path for path in known - told if path[-1] not in loose} == set()


@pytest.mark.parametrize("name", ["containerd-2.1-meta", "cri-2.1-meta"])
def test_each_page_alone_is_found_wherever_it_lies(name):
    """The pages of a file that was in many pieces: shuffled, between other blocks."""
    data = bolt_bytes(name)
    size = page_size(data)
    pages = [data[at : at + size] for at in range(0, len(data), size)]
    single = [page for number, page in enumerate(pages) if struct.unpack_from("<QHHI", page)[:2] == (number, 2)]
    whole = [page for page in single if not struct.unpack_from("<I", page, 12)[0] and struct.unpack_from("<H", page, 10)[0]]
    random.Random(name).shuffle(whole)
    found = carved(b"".join(page + b"\xff" * size for page in whole))
    offsets = {one.locate(each.key.offset) // (2 * size) for one in found for each in one.keys}
    assert len(offsets) >= len(whole) - len({bytes(page) for page in whole}) + 1
    for one in found:
        for each in one.keys:
            at = one.locate(each.key.offset)
            assert one.source.read(each.key.offset, len(each.key.key)) == each.key.key
            assert at is not None
            assert each.txid is None


def test_a_value_whose_end_is_in_use_by_others_is_told_as_far_as_it_goes():
    """What lies behind the run is allocated, and no part of the page."""
    name = next(each for each in SMALL if _overflowing(each))
    data = bolt_bytes(name)
    size = page_size(data)
    pgid = _overflowing(name)
    piece = data[pgid * size : (pgid + 1) * size] + b"\xee" * 4 * size
    found = carved(piece, runs=[(0, size // BLOCK)])
    rows = [each for one in found for each in one.keys]
    assert rows
    assert all(b"\xee" not in (each.key.value or b"") for each in rows)
    assert any(each.missing for each in rows)


def _overflowing(name):
    data = bolt_bytes(name)
    size = page_size(data)
    for pgid in range(2, len(data) // size):
        own, flags, count, overflow = struct.unpack_from("<QHHI", data, pgid * size)
        if own == pgid and flags == 2 and count and overflow:
            return pgid
    return None


def test_containers_of_a_wiped_containerd_come_back(tmp_path):
    """Its directory was removed; the host's disk has the pages still."""
    tree = tmp_path / "tree/var/lib/containerd/io.containerd.metadata.v1.bolt"
    tree.mkdir(parents=True)
    (tree / "meta.db").write_bytes(bolt_bytes("cri-2.1-meta"))
    (tmp_path / "tree/etc").mkdir()
    (tmp_path / "tree/etc/os-release").write_text("NAME=Debian\n")
    image = tmp_path / "disk.img"
    make(image, "-d", tmp_path / "tree")
    before, after = tmp_path / "before.db", tmp_path / "after.db"
    run_cli("carve", image, "-o", before, expect=3)
    debugfs(image, "rm /var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db")
    run_cli("carve", image, "-o", after, expect=3)  # meta.db is missing
    question = "SELECT container_id, namespace, name, image, command, env, created_ns FROM containers ORDER BY 1"
    there, back = ask(before, question), ask(after, question)
    assert len(there) == 5  # one of them removed before
    assert [(row["container_id"], row["command"], row["env"], row["created_ns"]) for row in back] == [
        (row["container_id"], row["command"], row["env"], row["created_ns"]) for row in there
    ]
    told = ask(after, "SELECT origin, confidence, sources FROM containers")
    assert {row["origin"] for row in told} == {"recovered"}
    assert {row["confidence"] for row in told} <= {"probable", "possible"}
    keys = ask(after, "SELECT DISTINCT state, file FROM bolt_keys")
    assert [row["state"] for row in keys] == ["carved"]
    data = image.read_bytes()
    for row in ask(after, "SELECT key, key_raw, offset FROM bolt_keys"):
        key = row["key_raw"] or row["key"].encode()
        assert data[row["offset"] : row["offset"] + len(key)] == key


def test_pages_in_a_containers_own_files_are_no_containers():
    data = bolt_bytes("cri-2.1-meta")
    where = space(data)
    hits = [scan_space(where, lambda size: None)]
    assert hits[0].of(PAGE)
    assert list(lost_databases(hits, {}, (), lambda partition, offset: True)) == []


class Volume:
    """A filesystem as far as deleted files are read from it."""

    root = 2

    def __init__(self, data):
        self.source = Disk("disk", data)


META = b"/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"


def of_deleted(path, data, lost=(), confidence="certain"):
    """What a deleted file gives, whose content begins at byte 8192 of its volume."""
    extents = (Extent(0, 8192, len(data)),)
    file = DeletedFile(path, 12, "f", 0o600, 0, 0, len(data), "journal", confidence, extents=extents, lost=lost)
    volume = {1: Volume(bytes(8192) + data)}
    found = list(lost_databases((), volume, [Numbered(7, 1, file)], lambda partition, offset: False))
    return found, [lost_records(each, volume) for each in found]


def test_a_deleted_database_is_as_sure_as_its_file():
    data = bolt_bytes("cri-2.1-meta")
    (database,), (records,) = of_deleted(META, data)
    assert (database.path, database.inode) == (META.decode(), 12)
    assert with_values(listing("cri-2.1-meta", "live")) <= keys_of([database])
    ids = {clue.record.container_id: clue for clue in records.containers if clue.confidence == "certain"}
    live = {row[1].decode() for row in listing("cri-2.1-meta", "live") if row[0] == (b"v1", b"k8s.io", b"containers")}
    assert live <= set(ids)
    for clue in ids.values():
        assert (clue.record.source.path, clue.record.source.how) == (META.decode(), "deleted file, journal")
    assert {clue.confidence for clue in records.images} == {"certain"}
    assert {ref for clue in records.images for ref in clue.record.refs} >= {
        "registry.test/tiny:1",
        "registry.k8s.io/pause:3.10.1",
    }
    _, (records,) = of_deleted(META, data, confidence="probable")
    assert {clue.confidence for clue in records.containers} <= {"probable", "possible"}


def test_of_a_deleted_database_the_lost_parts_are_not_told():
    data = bolt_bytes("cri-2.1-meta")
    lost = ((0, 8192), (20 * 4096, 4096))
    (database,), _ = of_deleted(META, data, lost)
    places = [each.key.offset for each in database.keys]
    assert places
    assert not any(start <= place < start + length for place in places for start, length in lost)
    assert {each.txid for each in database.keys} == {None}


@pytest.mark.parametrize("path", [b"/var/lib/docker/overlay2/x/diff" + META, b"/var/lib/thing.sqlite"])
def test_what_a_container_had_or_what_is_called_otherwise_is_no_database_of_the_host(path):
    assert of_deleted(path, bolt_bytes("cri-2.1-meta")) == ([], [])


def test_a_deleted_file_that_only_is_called_so_is_none():
    assert of_deleted(META, b"SQLite format 3\0" + bytes(100_000)) == ([], [])
    assert of_deleted(META, bytes(100_000)) == ([], [])


HOSTILE = [
    struct.pack("<QHHIIIII", 2, 2, 65535, 65534, 1, 16 * 65535, 1, 1),
    struct.pack("<QHHIIIII", (1 << 22) - 1, 2, 1, 65534, 0, 16, 0xFFFFFFFF, 0xFFFFFFFF),
    struct.pack("<QHHIIIQ", 2, 1, 1, 0, 16, 1, 2),
    struct.pack("<QHHIIIII", 2, 2, 1, 0, 1, 16, 1, 16) + b"a" + struct.pack("<QQ", 2, 0),
    struct.pack("<QHHIII", 0, 4, 0, 0, 0xED0CDAED, 2) + struct.pack("<II", 1 << 24, 0) + b"\xff" * 40,
]


@pytest.mark.parametrize("head", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_pages_end(head):
    page = head.ljust(BLOCK, b"a")
    for one in carved(page * 64):
        lost_records(one, {})


def test_a_million_pages_of_as_many_files_are_bounded():
    """Each of them names an id so large that a file would be of 16 GiB."""
    page = b"".join(struct.pack("<QHHIIIII", (1 << 22) - 1 - i, 2, 1, 0, 0, 16, 1, 1).ljust(BLOCK, b"k") for i in range(3000))
    for one in carved(page):
        assert one.keys


def test_pages_that_point_to_each_other_in_circles_are_bounded():
    """200 pages of one file, each with 20 buckets that are other ones of them."""
    names = [bytes([97 + number]) for number in range(20)]

    def page(own):
        head = struct.pack("<QHHI", 2 + own, 2, 20, 0)
        elements = b"".join(struct.pack("<IIII", 1, 320 + number, 1, 16) for number in range(20))
        return head + elements + b"".join(name + struct.pack("<QQ", 2 + (own * 7 + at) % 200, 0) for at, name in enumerate(names))

    found = carved(b"".join(page(own).ljust(4096, b"k") for own in range(200)))
    assert {each.basis for one in found for each in one.keys} == {"page"}


class Holes:
    """A file of which parts are lost."""

    name = "holes"

    def __init__(self, data, lost):
        self.data, self.lost, self.size = data, lost, len(data)

    def read(self, offset, size):
        if any(offset < end and start < offset + size for start, end in self.lost):
            raise EvidenceError("lost")
        return self.data[offset : offset + size]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_is_survived_and_what_is_told_stands_there(data):
    name = data.draw(st.sampled_from(["docker-26-meta", "docker-26-local-kv", "containerd-2.1-overlayfs"]))
    content = bytearray(bolt_bytes(name)[: 24 * 4096])
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    starts = data.draw(st.lists(st.integers(0, len(content)), max_size=3))
    reader = Holes(bytes(content), [(start, start + 4096) for start in starts])
    for each in carved_keys(reader, PAGES_OF, leaf_and_branch_pages(reader, PAGES_OF)):
        assert content[each.key.offset : each.key.offset + len(each.key.key)] == each.key.key
        if each.key.value is not None:
            at = each.key.offset + len(each.key.key)
            assert content[at : at + len(each.key.value)] == each.key.value
    for one in carved(content):
        lost_records(one, {})


def test_blocks_that_are_no_pages_are_not_believed():
    page = bytearray(bolt_bytes("containerd-2.1-overlayfs")[2 * 4096 : 3 * 4096])
    for wrong in (struct.pack("<Q", 0), struct.pack("<Q", 1 << 40)):
        page[:8] = wrong
        assert carved(page) == []


class WholeDisk(Buffer):
    """A buffer that is the disk image itself."""

    def locate(self, offset):
        return offset


def test_a_deleted_file_in_many_pieces_is_read_and_its_bytes_are_located_in_no_time():
    pieces, size = 40_000, 512
    rng = random.Random(7)
    places = rng.sample(range(2 * pieces), pieces)
    data = bytearray(2 * pieces * size)
    content = rng.randbytes(pieces * size)
    for number, place in enumerate(places):
        data[place * size : (place + 1) * size] = content[number * size : (number + 1) * size]
    lost = {*rng.sample(range(pieces), 50), 100, 101, pieces - 1}
    extents = tuple(Extent(n * size, place * size, size) for n, place in enumerate(places) if n not in lost)
    fs = MemoryFilesystem({})
    fs.source = WholeDisk("disk", bytes(data))
    missing = tuple((number * size, size) for number in rng.sample(sorted(lost), len(lost)))
    file = DeletedFile(b"/x.db", 12, "f", 0o600, 0, 0, len(content), "journal", "certain", extents=extents, lost=missing)
    source = DeletedSource(fs, file)
    began = time.process_time()
    for number, place in enumerate(places):
        if number in lost:
            with pytest.raises(EvidenceError):
                source.read(number * size - 1 if number else 0, size)
            assert source.locate(number * size) is None
        else:
            assert source.read(number * size, size) == content[number * size : (number + 1) * size]
            assert source.locate(number * size + 7) == place * size + 7
    assert time.process_time() - began < 10
