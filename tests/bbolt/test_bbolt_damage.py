"""Whatever is done to a bbolt file, it ends soon in a format error or in problems, and in no other error."""

import random
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.source import Buffer
from parsers.bbolt import fnv1a, open_bolt
from parsers.errors import FormatError
from support.bolt_files import ENGINES, SMALL, bolt_bytes, listing, opened, page_size, set_meta, told

SECONDS = 5  # a second is what an idle machine needs at most; this one may be busy
ODD = (0, 1, 2, 3, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


def read_all(data):
    """Everything that can be asked of a file; whether it is one, and has problems."""
    started = time.process_time()
    try:
        bolt = opened(data)
        keys = list(bolt.walk())
        problems = bolt.check()
        pages = list(bolt.pages())
        gone = list(bolt.deleted())
        for path in {key.bucket for key in keys[:50]}:
            bolt.bucket(path)
    except FormatError:
        return "error"
    finally:
        assert time.process_time() - started < SECONDS
    assert len(pages) <= len(data) // 1024 + 1
    for key in [*keys, *(each.key for each in gone)]:
        assert bytes(data[key.offset : key.offset + len(key.key)]) == key.key
    return "problems" if problems else "sound"


@pytest.mark.parametrize("name", ["changed", "removed-one", "deep", "page-1k", "inline", "nosync", *ENGINES])
def test_every_kind_of_truncation(name):
    data = bolt_bytes(name)
    size = page_size(data)
    cuts = {page * size + more for page in range(len(data) // size) for more in (0, 1, 15, 16, 17, 40, 79, 80, size - 1)}
    rng = random.Random(name)
    cuts |= {rng.randrange(len(data)) for _ in range(60)}
    whole = {(key.bucket, key.key, key.value) for key in opened(data).walk()}
    for cut in sorted(cuts):
        told = read_all(data[:cut])
        assert (told == "error") == (cut < 80), cut
        if told != "error" and cut > 2 * size and cut >= 80 + size:
            assert {(key.bucket, key.key, key.value) for key in opened(data[:cut]).walk()} <= whole


def corrupted(data, draw):
    """Bytes, pointers, pages and metas changed; metas with a right checksum, pages with a right id."""
    size = page_size(data)
    out = bytearray(data)
    pages = len(out) // size
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["bit", "header", "element", "number", "page", "zero", "meta"]))
        page = draw(st.integers(0, pages - 1))
        if kind == "bit":
            out[draw(st.integers(0, len(out) - 1))] ^= 1 << draw(st.integers(0, 7))
        elif kind == "header":
            out[page * size + draw(st.integers(0, 15))] = draw(st.sampled_from([0, 1, 2, 255]))
        elif kind == "element":
            out[page * size + 16 + draw(st.integers(0, 160))] = draw(st.integers(0, 255))
        elif kind == "number":
            value = draw(st.sampled_from(ODD) | st.integers(0, pages + 1))
            struct.pack_into("<Q", out, 8 * draw(st.integers(0, len(out) // 8 - 1)), value)
        elif kind == "page":
            other = draw(st.integers(0, pages - 1))
            out[page * size : page * size + size] = out[other * size : other * size + size]
            struct.pack_into("<Q", out, page * size, page)
        elif kind == "zero":
            out[page * size : page * size + size] = bytes(size)
        else:
            at = draw(st.sampled_from([0, size]))
            value = draw(st.sampled_from(ODD) | st.integers(0, pages + 1))
            struct.pack_into("<Q", out, at + draw(st.sampled_from([24, 32, 40, 48, 56, 64])), value)
            struct.pack_into("<Q", out, at + 72, fnv1a(bytes(out[at + 16 : at + 72])))
    return out


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_corruption_of_what_engines_write_ends_in_an_error_or_in_problems(data):
    read_all(corrupted(bolt_bytes(data.draw(st.sampled_from(ENGINES))), data.draw))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.data())
def test_corruption_ends_in_an_error_or_in_problems(data):
    name = data.draw(st.sampled_from([name for name in SMALL if name not in ("page-64k", "page-16k")]))
    read_all(corrupted(bolt_bytes(name), data.draw))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.binary(max_size=3000), st.sampled_from([1024, 4096]))
def test_any_bytes_behind_valid_metas(tail, size):
    data = bytearray(size * 2)
    for at, txid in ((0, 4), (size, 5)):
        struct.pack_into("<QHHIIIIIQQQQQ", data, at, at // size, 4, 0, 0, 0xED0CDAED, 2, size, 0, 2, 0, 3, 5, txid)
        struct.pack_into("<Q", data, at + 72, fnv1a(bytes(data[at + 16 : at + 72])))
    assert read_all(data + tail) in ("problems", "sound")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=9000))
def test_any_bytes_at_all(data):
    assert read_all(data) == "error"


def test_pages_that_all_claim_the_same_content_are_read_in_no_time():
    """A root with 60,000 elements, each of them as large as the file says it is."""
    size, pages = 4096, 600
    data = bytearray(bolt_bytes("fresh")[: 2 * size]).ljust(pages * size, b"\0")
    count = 60_000
    struct.pack_into("<QHHI", data, 2, 0, 0, 0, 0)
    struct.pack_into("<QHHI", data, 2 * size, 2, 2, count, pages)
    end = 2 * size + 16 + 16 * count
    for number in range(count):
        at = 2 * size + 16 + 16 * number
        struct.pack_into("<IIII", data, at, 0, end - at, 8, len(data) - end - 8)
    for at in (0, size):
        struct.pack_into("<Q", data, at + 32, 2)
        struct.pack_into("<Q", data, at + 56, pages)
        struct.pack_into("<Q", data, at + 72, fnv1a(bytes(data[at + 16 : at + 72])))
    assert read_all(data) == "problems"


def test_a_sparse_file_of_any_size_is_read_in_little_time():
    """16 TiB, of which the metas claim all."""
    data = bolt_bytes("removed-one")
    for at in (0, page_size(data)):
        data = set_meta(data, at, hwm=1 << 40)

    class Sparse(Buffer):
        size = 16 << 40

        def read(self, offset, size):
            return super().read(offset, size).ljust(min(size, self.size - offset), b"\0")

    bolt = open_bolt(Sparse("sparse.db", bytes(data)))
    started = time.process_time()
    assert told(bolt.walk()) == listing("removed-one", "live")
    assert {gone.state for gone in bolt.deleted()} == {"previous"}
    assert time.process_time() - started < 2 * SECONDS
    assert any("only the first" in problem.what for problem in bolt.problems)
