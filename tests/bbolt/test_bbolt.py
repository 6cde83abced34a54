"""Our reading of bbolt files held against bbolt's own, and what becomes of a file whose parts are broken."""

import struct

import pytest

from forensics.source import Buffer
from parsers.bbolt import fnv1a, open_bolt
from parsers.bbolt_pages import read_page
from parsers.errors import EvidenceError, FormatError
from support.bolt_files import (
    LARGE,
    NAMES,
    SMALL,
    big_endian,
    bolt_bytes,
    listing,
    newer_meta,
    opened,
    page_offset,
    page_size,
    set_meta,
    told,
    triples,
)


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_listed_as_bbolt_lists_it(name):
    bolt = opened(bolt_bytes(name))
    assert told(bolt.walk()) == listing(name, "live")
    assert bolt.problems == []


@pytest.mark.parametrize("name", NAMES)
def test_the_tree_of_the_older_meta_is_read_as_bbolt_reads_it(name):
    bolt = opened(bolt_bytes(name))
    assert bolt.previous is not None
    assert told(bolt.walk(meta=bolt.previous)) == listing(name, "previous")


@pytest.mark.parametrize("name", SMALL)
def test_keys_and_values_stand_where_they_are_said_to(name):
    data = bolt_bytes(name)
    for key in opened(data).walk():
        assert data[key.offset : key.offset + len(key.key)] == key.key
        assert key.offset // page_size(data) >= key.page
        if key.value is not None:
            assert data[key.offset + len(key.key) :].startswith(key.value)


@pytest.mark.parametrize("name", SMALL)
def test_one_key_is_found_without_a_walk(name):
    bolt = opened(bolt_bytes(name))
    for bucket, key, value, sequence, _ in listing(name, "live"):
        assert bolt.get(bucket, key) == value
        assert bolt.get(bucket, key + b"\0") is None
        if value is None:
            assert bolt.sequence((*bucket, key)) == sequence
    assert bolt.get((b"no such bucket",), b"x") is None
    assert bolt.problems == []


@pytest.mark.parametrize("name", SMALL)
def test_a_bucket_gives_its_own_keys_and_the_walk_may_start_in_it(name):
    rows = listing(name, "live")
    bolt = opened(bolt_bytes(name))
    for path in [()] + [(*bucket, key) for bucket, key, value, *_ in rows if value is None]:
        assert bolt.bucket(path) == {key: value for bucket, key, value, *_ in rows if bucket == path and value is not None}
        assert bolt.buckets(path) == [key for bucket, key, value, *_ in rows if bucket == path and value is None]
        if len(path) < 3:
            assert told(bolt.walk(start=path)) == [row for row in rows if row[0][: len(path)] == path]
    assert list(bolt.walk(start=(b"no such bucket",))) == []


@pytest.mark.parametrize("name", SMALL)
def test_a_big_endian_machine_wrote_the_same(name):
    bolt = opened(big_endian(bolt_bytes(name)))
    assert told(bolt.walk()) == listing(name, "live")
    assert bolt.check() == opened(bolt_bytes(name)).check()


@pytest.mark.parametrize("name", SMALL)
def test_without_the_newer_meta_the_older_one_counts(name):
    data = bytearray(bolt_bytes(name))
    data[newer_meta(data) + 72] ^= 1
    bolt = opened(data)
    assert told(bolt.walk()) == listing(name, "previous")
    assert bolt.problems[0].what.endswith("its checksum is wrong")


@pytest.mark.parametrize("name", SMALL)
def test_without_meta_0_meta_1_is_found_at_any_page_size(name):
    data = bytearray(bolt_bytes(name))
    size = page_size(data)
    kind = "live" if newer_meta(data) == size else "previous"
    data[:size] = bytes(size)
    bolt = opened(data)
    assert bolt.page_size == size
    assert told(bolt.walk()) == listing(name, kind)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d[:0], "ends before it"),
        (lambda d: d[:60], "ends before it"),
        (lambda d: bytes(len(d)), "magic is 0x00000000"),
        (lambda d: set_meta(set_meta(d, 0, page_size=1000), 4096, page_size=1000), "page size is 1000"),
        (lambda d: d.replace(struct.pack("<II", 0xED0CDAED, 2), struct.pack("<II", 0xED0CDAED, 3)), "version is 3"),
        (lambda d: d.replace(struct.pack("<II", 0xED0CDAED, 2), struct.pack("<II", 0xED0CDAED, 2)[::-1]), "magic"),
    ],
)
def test_no_bbolt_file_is_a_format_error_that_says_why(change, why):
    with pytest.raises(FormatError, match=why):
        opened(change(bolt_bytes("changed")))


def test_fnv1a_is_the_published_one():
    assert fnv1a(b"") == 0xCBF29CE484222325
    assert fnv1a(b"foobar") == 0x85944171F73967E8


def test_a_meta_of_a_real_containerd():
    meta = bytes.fromhex(
        "0000000000000000 0400000000000000 edda0ced02000000 0010000000000000 0600000000000000 0000000000000000"
        "0700000000000000 0a00000000000000 0800000000000000 a86ce81d32530805"
    )
    bolt = opened(meta.ljust(4096, b"\0"))
    assert (bolt.txid, bolt.hwm, bolt.page_size, bolt.meta.root, bolt.meta.freelist) == (8, 10, 4096, 6, 7)


def broken(name, pgid):
    """The file with one page's header overwritten, the keys that are still told and the problems."""
    data = bytearray(bolt_bytes(name))
    data[page_offset(data, pgid) : page_offset(data, pgid) + 16] = b"\xff" * 16
    bolt = opened(data)
    return told(bolt.walk()), bolt.problems


@pytest.mark.parametrize("name", ["nested", "many", "nosync", "deep", "cri-2.1-meta"])
def test_a_broken_page_loses_its_subtree_only(name):
    whole = opened(bolt_bytes(name))
    rows = listing(name, "live")
    live = sorted({page.id for page in whole.pages() if page.state == "live" and page.kind in ("leaf", "branch")})
    own = {}
    for key in whole.walk():
        own.setdefault(key.page, set()).add((key.bucket, key.key))
    for pgid in live:
        left, problems = broken(name, pgid)
        lost = {row[:2] for row in rows} - {row[:2] for row in left}
        assert left == [row for row in rows if row[:2] not in lost]
        assert own.get(pgid, set()) <= lost
        for bucket, key in lost - own.get(pgid, set()):
            above = {(bucket[:depth], bucket[depth]) for depth in range(len(bucket))}
            assert above & own.get(pgid, set()) or pgid not in own, (bucket, key)
        assert pgid in {problem.page for problem in problems}


def leaf_of(bolt, pgid):
    return read_page(bolt.file, pgid)


def test_a_damaged_element_loses_itself_only():
    data = bytearray(bolt_bytes("many"))
    bolt = opened(data)
    key = list(bolt.walk())[5]
    page = leaf_of(bolt, key.page)
    element = page.offset + 16 + 16 * [row[1] + page.offset for row in page.leaf].index(key.offset)
    struct.pack_into("<I", data, element + 12, 1 << 30)  # vsize
    damaged = opened(data)
    left = told(damaged.walk())
    assert [row for row in listing("many", "live") if row not in left] == told([key])
    assert [(problem.page, problem.offset) for problem in damaged.problems] == [(key.page, element)]


@pytest.mark.parametrize("target", [0, 1, 10**6, 2**63, 2**64 - 1])
def test_a_root_outside_the_file_is_a_problem(target):
    data = bolt_bytes("nested")
    bolt = opened(set_meta(data, newer_meta(data), root=target))
    assert list(bolt.walk()) == []
    assert len(bolt.problems) == 1


def test_a_high_water_mark_that_lies_is_a_problem_and_costs_nothing():
    data = bolt_bytes("nested")
    bolt = opened(set_meta(data, newer_meta(data), hwm=1 << 60))
    assert told(bolt.walk()) == listing("nested", "live")
    assert ["before the end of its" in problem.what for problem in bolt.problems] == [True]


def test_a_file_may_be_longer_than_its_pages():
    data = bolt_bytes("nested") + b"\xff" * 10_001
    bolt = opened(data)
    assert told(bolt.walk()) == listing("nested", "live")
    assert bolt.check() == []
    assert [page.state for page in bolt.pages()][-1] == "unused"


def branch_with_children(data):
    """The first live branch page: its page id and its children."""
    bolt = opened(data)
    pgid = next(page.id for page in bolt.pages() if page.state == "live" and page.kind == "branch")
    return pgid, [child for _, child in leaf_of(bolt, pgid).children]


@pytest.mark.parametrize("to", ["itself", "sibling"])
def test_cycles_and_shared_pages_end(to):
    data = bytearray(bolt_bytes("many"))
    pgid, children = branch_with_children(data)
    struct.pack_into("<Q", data, page_offset(data, pgid) + 16 + 8, pgid if to == "itself" else children[1])
    bolt = opened(data)
    left = told(bolt.walk())
    assert triples(left) < triples(listing("many", "live"))
    assert len(left) == len(triples(left)), "a key is told twice"
    assert any("more than once" in problem.what for problem in bolt.problems)


def test_an_overflow_that_lies_takes_no_other_page():
    data = bytearray(bolt_bytes("many"))
    _, children = branch_with_children(data)
    for child in children:
        struct.pack_into("<I", data, page_offset(data, child) + 12, 0xFFFFFFFF)
    bolt = opened(data)
    assert told(bolt.walk()) == listing("many", "live")
    assert {problem.page for problem in bolt.problems} == set(children)


def test_keys_out_of_order_are_told_and_a_problem():
    data = bytearray(bolt_bytes("nested"))
    key = next(key for key in opened(data).walk() if key.key == b"key05")
    data[key.offset : key.offset + 5] = b"kez05"
    bolt = opened(data)
    assert (key.bucket, b"kez05", key.value, None, None) in told(bolt.walk())
    assert [problem.page for problem in bolt.problems] == [key.page]


def test_a_bucket_in_a_bucket_in_a_bucket_ends_somewhere():
    """An inline bucket whose only element is the next inline bucket, deeper than any stack."""
    inner = struct.pack("<QHHI", 0, 2, 0, 0)
    for _ in range(3000):
        element = struct.pack("<IIII", 1, 16, 1, 16 + len(inner))
        inner = struct.pack("<QHHI", 0, 2, 1, 0) + element + b"b" + struct.pack("<QQ", 0, 0) + inner
    data = bytearray(bolt_bytes("fresh"))
    size = -(-len(inner) // 4096)
    data = data[: 4 * 4096] + struct.pack("<QHHI", 4, 2, 1, size - 1) + inner[16:]
    data = set_meta(data.ljust((4 + size) * 4096, b"\0"), 4096, root=4, hwm=4 + size, txid=9)
    bolt = opened(data)
    depth = max(key.depth for key in bolt.walk())
    assert depth == 1023
    assert ["nested deeper" in problem.what for problem in bolt.problems] == [True]


def test_a_failing_device_loses_its_sector_only():
    data = bolt_bytes("many")
    _, children = branch_with_children(data)
    bad = page_offset(data, children[2])

    class Failing(Buffer):
        def read(self, offset, size):
            if offset < bad + 512 and offset + size > bad:
                raise EvidenceError("cannot be read")
            return super().read(offset, size)

    bolt = open_bolt(Failing("failing.db", data))
    left = told(bolt.walk())
    lost = [row for row in listing("many", "live") if row not in left]
    assert lost == [
        row
        for row in listing("many", "live")
        if row[:2] in {(k.bucket, k.key) for k in opened(data).walk() if k.page == children[2]}
    ]
    assert [(problem.page, problem.offset) for problem in bolt.problems] == [(children[2], bad)]


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("chaos")])
def test_a_sound_file_has_nothing_wrong(name):
    assert opened(bolt_bytes(name)).check() == []


def test_a_freelist_of_more_than_65535_pages():
    bolt = opened(bolt_bytes(LARGE))
    states = [page.state for page in bolt.pages()]
    assert states.count("free") > 65_535
    assert "unreachable" not in states
    assert states.count("live") == 4 + next(
        page.overflow for page in bolt.pages() if page.kind == "freelist" and page.state == "live"
    )


def test_without_a_synced_freelist_what_nothing_refers_to_is_free():
    bolt = opened(bolt_bytes("nosync"))
    assert bolt.meta.freelist is None
    assert {page.state for page in bolt.pages()} == {"live", "free"}


def test_page_states_of_a_file_after_a_removal():
    bolt = opened(bolt_bytes("removed-one"))
    pages = list(bolt.pages())
    assert [(page.kind, page.state) for page in pages[:2]] == [("meta", "live")] * 2
    assert [page.id for page in pages] == list(range(len(pages)))
    walked = {key.page for key in bolt.walk()}
    assert walked <= {page.id for page in pages if page.state == "live"}
    before = {key.page for key in bolt.walk(meta=bolt.previous)} - walked
    assert before <= {page.id for page in pages if page.previous and page.state == "free"}


def freelist_offset(data):
    bolt = opened(data)
    return page_offset(data, bolt.meta.freelist)


@pytest.mark.parametrize(
    ("ids", "what"),
    [
        ((3, 3), "twice"),
        ((5000,), "which the file does not"),
        ((-1,), "in use and in the freelist"),
        ((), "neither in use nor free"),
    ],
)
def test_check_tells_what_is_wrong_with_the_freelist(ids, what):
    data = bytearray(bolt_bytes("changed"))
    at = freelist_offset(data)
    root = opened(data).meta.root
    struct.pack_into("<H", data, at + 10, len(ids))
    for number, ident in enumerate(ids):
        struct.pack_into("<Q", data, at + 16 + 8 * number, root if ident == -1 else ident)
    assert any(what in problem.what for problem in opened(data).check())
    assert told(opened(data).walk()) == listing("changed", "live")


@pytest.mark.parametrize("count", [0xFFFE, 0xFFFF])
def test_a_freelist_that_is_longer_than_its_pages(count):
    data = bytearray(bolt_bytes("changed"))
    at = freelist_offset(data)
    struct.pack_into("<H", data, at + 10, count)
    struct.pack_into("<Q", data, at + 16, 1 << 62)
    assert any("does not fit" in problem.what for problem in opened(data).check())
    assert told(opened(data).walk()) == listing("changed", "live")


def test_only_a_new_files_metas_may_lack_a_checksum():
    data = bytearray(bolt_bytes("docker-2018-volumes"))
    assert [(meta.txid, meta.checksum == 0, meta.valid) for meta in opened(data).metas] == [(2, False, True), (1, True, True)]
    data[72:80] = bytes(8)
    assert [meta.valid for meta in opened(data).metas] == [False, True]
