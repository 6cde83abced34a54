"""Keys that are not live any more: told with their place, never live ones, and nothing that was never there."""

import json
import struct

import pytest

from support.bolt_files import (
    ENGINES,
    LARGE,
    NAMES,
    SMALL,
    WITH_HISTORY,
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

CONTAINER = {b"createdat", b"image", b"labels", b"runtime", b"snapshotKey", b"snapshotter", b"spec", b"updatedat"}


def deleted(name):
    return list(opened(bolt_bytes(name)).deleted())


def triple(gone):
    return gone.key.bucket, gone.key.key, gone.key.value


@pytest.mark.parametrize("name", NAMES)
def test_the_previous_tree_gives_just_what_bbolt_says_was_lost(name):
    live, before = listing(name, "live"), listing(name, "previous")
    keys = {row[:2] for row in live}
    found = [gone for gone in deleted(name) if gone.basis == "tree"]
    assert {triple(gone) for gone in found} == triples(before) - triples(live)
    for gone in found:
        assert gone.state == ("superseded" if (gone.key.bucket, gone.key.key) in keys else "previous")
        assert gone.txid == opened(bolt_bytes(name)).txid - 1
    assert len({triple(gone) for gone in found}) == len(found)


@pytest.mark.parametrize("name", NAMES)
def test_no_live_key_is_called_deleted(name):
    live = triples(listing(name, "live"))
    keys = {row[:2] for row in live}
    for gone in deleted(name):
        if gone.basis != "page":
            assert triple(gone) not in live
            assert ((gone.key.bucket, gone.key.key) in keys) == (gone.state == "superseded")
        else:
            assert gone.state == "stale"


@pytest.mark.parametrize("name", NAMES)
def test_deleted_keys_stand_where_they_are_said_to_in_pages_that_are_not_live(name):
    data = bolt_bytes(name)
    states = {page.id: page.state for page in opened(data).pages()}
    for gone in deleted(name):
        key = gone.key
        assert data[key.offset : key.offset + len(key.key)] == key.key
        assert states[key.page] in ("free", "unreachable", "unused")
        assert key.page <= key.offset // page_size(data)
        if key.value is not None:
            assert data[key.offset + len(key.key) :].startswith(key.value)


@pytest.mark.parametrize("name", [name for name in WITH_HISTORY if name != LARGE])
def test_what_is_told_of_the_past_happened(name):
    history = listing(name, "history")
    values = {}
    for bucket, key, value, *_ in history:
        values.setdefault((bucket, key), set()).add(value)
    contents = {(key, value) for _, key, value, *_ in history}
    for gone in deleted(name):
        key = gone.key
        if gone.basis == "page":
            assert gone.missing or (key.key, key.value) in contents
        elif gone.missing:
            assert any(
                value.startswith(key.value) and len(value) == len(key.value) + gone.missing
                for value in values[key.bucket, key.key]
            )
        else:
            assert key.value in values[key.bucket, key.key]


def test_a_removed_container_comes_back_whole():
    live = {row[:2] for row in listing("removed-one", "live")}
    (name,) = {row[1] for row in listing("removed-one", "previous") if row[0] == (b"v1", b"default", b"containers")} - {
        key for _, key in live
    }
    record = {
        gone.key.key: gone for gone in deleted("removed-one") if gone.key.bucket == (b"v1", b"default", b"containers", name)
    }
    assert record.keys() == CONTAINER
    assert {gone.state for gone in record.values()} == {"previous"}
    assert name in record[b"spec"].key.value


def test_a_removed_container_of_a_real_containerd_comes_back_from_old_pages():
    bucket = (b"v1", b"default", b"containers", b"spare4")
    found = {gone.key.key: gone for gone in deleted("containerd-2.1-meta") if gone.key.bucket == bucket}
    assert found.keys() == CONTAINER | {b"sandboxid"}
    assert {(gone.state, gone.basis, gone.key.page) for gone in found.values()} == {("stale", "pointer", 19)}
    assert found[b"image"].key.value == b"registry.test/tiny:1"
    spec = found[b"spec"].key.value
    assert json.loads(spec[spec.index(b"{") :])["process"]["args"]
    snapshots = [
        gone.key.key for gone in deleted("containerd-2.1-meta") if gone.key.bucket == (*bucket[:2], b"snapshots", b"overlayfs")
    ]
    assert snapshots == [b"doomed", *(b"spare%d" % number for number in range(5))]


def test_a_removed_container_of_a_real_kubernetes_node_comes_back_from_old_pages():
    (name,) = {gone.key.key for gone in deleted("cri-2.1-meta") if gone.key.bucket == (b"v1", b"k8s.io", b"containers")}
    record = [gone.key for gone in deleted("cri-2.1-meta") if gone.key.bucket[:4] == (b"v1", b"k8s.io", b"containers", name)]
    assert {key.key for key in record if len(key.bucket) == 4} == CONTAINER | {b"sandboxid", b"extensions"}
    labels = {key.key: key.value for key in record if key.bucket[4:] == (b"labels",)}
    assert labels[b"io.kubernetes.pod.name"] == b"miner"
    assert {key.key for key in record if key.bucket[4:] == (b"extensions",)} == {b"io.cri-containerd.container.metadata"}


def test_a_value_whose_end_was_written_over_is_told_as_far_as_it_goes():
    data = bytearray(bolt_bytes("removed-one"))
    size = page_size(data)
    bolt = opened(data)
    whole = next(gone.key for gone in bolt.deleted() if gone.key.key == b"spec")
    data = data.ljust((bolt.hwm + 4) * size, b"\0")
    # the record as one page with an overflow page, and a freelist page written over the latter
    at = bolt.hwm * size
    value = whole.value + b" " * 4000
    element = struct.pack("<IIII", 0, 16, 4, len(value))
    data[at : at + 32 + 4 + len(value)] = struct.pack("<QHHI", bolt.hwm, 2, 1, 1) + element + b"spec" + value
    data[at + size : at + size + 16] = struct.pack("<QHHI", bolt.hwm + 1, 16, 0, 0)
    (found,) = [gone for gone in opened(data).deleted() if gone.key.page == bolt.hwm]
    assert found.missing == len(value) - len(found.key.value) == 36 + len(value) - size
    assert value.startswith(found.key.value)
    assert (found.state, found.basis) == ("stale", "page")


def test_a_page_of_the_previous_tree_that_was_written_over_is_no_part_of_it():
    """A commit that was interrupted before its meta: its pages stand where the older tree's were."""
    data = bytearray(bolt_bytes("many"))
    bolt = opened(data)
    page = next(page for page in bolt.pages() if page.previous and page.kind == "leaf")
    rows = [gone for gone in bolt.deleted() if gone.key.page == page.id]
    element = struct.pack("<IIII", 0, 16, 9, 3)
    content = struct.pack("<QHHI", page.id, 2, 1, 0) + element + b"\xffnever in" + b"new"
    data[page_offset(data, page.id) : page_offset(data, page.id + 1)] = content.ljust(page_size(data), b"\0")
    after = [gone for gone in opened(data).deleted() if gone.key.page == page.id]
    assert rows
    assert [(gone.state, gone.basis, gone.key.key) for gone in after] == [("stale", "page", b"\xffnever in")]


def test_an_older_meta_that_is_not_valid_has_no_tree():
    data = bytearray(bolt_bytes("removed-one"))
    older = page_size(data) - newer_meta(data)
    data[older + 72] ^= 1
    bolt = opened(data)
    assert bolt.previous is None
    assert {gone.basis for gone in bolt.deleted()} <= {"pointer", "content", "page"}
    assert told(bolt.walk()) == listing("removed-one", "live")


def test_a_file_whose_live_tree_is_gone_still_tells_the_previous_one():
    data = bytearray(bolt_bytes("removed-one"))
    data = set_meta(data, newer_meta(data), root=10**9)
    bolt = opened(data)
    assert list(bolt.walk()) == []
    found = {triple(gone) for gone in bolt.deleted() if gone.state == "previous"}
    assert found == triples(listing("removed-one", "previous"))


@pytest.mark.parametrize("name", [*ENGINES, "nosync", "many"])
def test_it_is_told_the_same_every_time(name):
    assert deleted(name) == deleted(name)


@pytest.mark.parametrize("name", SMALL)
def test_looking_for_the_deleted_leaves_no_problems(name):
    bolt = opened(bolt_bytes(name))
    list(bolt.deleted())
    assert bolt.problems == []


def elements(data, start, end):
    """Every key and value in a leaf page as its bytes have them, those in inline buckets too; None for a bucket."""
    (count,) = struct.unpack_from("<H", data, start + 10)
    for at in range(start + 16, min(start + 16 + 16 * count, end - 15), 16):
        flags, pos, ksize, vsize = struct.unpack_from("<IIII", data, at)
        key, value, stop = at + pos, at + pos + ksize, at + pos + ksize + vsize
        if not ksize or stop > end:
            continue
        yield data[key:value], None if flags else data[value:stop]
        if flags and vsize >= 32 and not any(data[value : value + 8]):
            yield from elements(data, value + 16, stop)


@pytest.mark.parametrize("name", ENGINES)
def test_no_element_of_any_leaf_page_is_missed(name):
    """Read page by page with nothing but the format: what is in none of the live buckets is told."""
    data, size = bolt_bytes(name), page_size(bolt_bytes(name))
    live = {row[1:3] for row in listing(name, "live")}
    gone = {(each.key.key, each.key.value) for each in deleted(name)}
    seen = set()
    for pgid in range(2, len(data) // size):
        own, flags, _, overflow = struct.unpack_from("<QHHI", data, pgid * size)
        if own == pgid and flags == 2:
            seen.update(elements(data, pgid * size, min(len(data), (pgid + 1 + overflow) * size)))
    assert seen - live - gone == set()
