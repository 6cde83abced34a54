"""What people are shown of a value in a bbolt file."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.bolt_values import guess
from support.bolt_files import ENGINES, listing

SPEC = b"types.containerd.io/opencontainers/runtime-spec/1/Spec"


@pytest.mark.parametrize(
    ("key", "value", "kind", "text"),
    [
        (b"sandboxid", b"", "empty", ""),
        (b"createdat", bytes.fromhex("010000000ee292d55a077f2345ffff"), "time", "2026-11-20T23:57:14.125772613Z"),
        (b"createdat", bytes.fromhex("020000000ee292d55a077f2345000a1e"), "time", "2026-11-20T23:57:14.125772613Z"),
        (b"updatedat", bytes.fromhex("01000000000000000000000000ffff"), "time", "never"),
        (b"size", bytes.fromhex("c00b"), "varint", "736"),
        (b"size", bytes.fromhex("8080f501"), "varint", "2007040"),
        (b"size", b"0", "varint", "24"),
        (b"version", b"\x08", "varint", "4"),
        (b"id", b"\x04", "varint", "4"),
        (b"kind", b"\x03", "varint", "3"),
        (b"other", b"\x05", "varint", "-3 (unsigned 5)"),
        (b"other", b"5", "text", "5"),
        (b"name", "höst\n".encode(), "text", "höst\n"),
        (b"x", b'{"a":[1]}', "json", '{"a":[1]}'),
        (b"x", b'{"a":[1]', "text", '{"a":[1]'),
        (b"x", b"[" * 100_000, "text", "[" * 100_000),
        (b"target", b"sha256:" + b"0f" * 32, "digest", "sha256:" + "0f" * 32),
        (b"snapshotKey", b"0f" * 32, "digest", "0f" * 32),
        (b"spec", b"\x0a\x36" + SPEC + b"\x12\x02{}", "any", SPEC.decode() + " {}"),
        (b"options", b"\x0a\x1acontainerd.runc.v1.Options\x12\x02\x28\x01", "any", "containerd.runc.v1.Options 2801"),
        (b"options", b"\x0a\x1acontainerd.runc.v1.Options", "any", "containerd.runc.v1.Options"),
        (b"sandbox/1/", b'\x17\0\0\0\0\0\0\0{"ID":"1"}', "indexed json", 'index 23 {"ID":"1"}'),
        (b"endpoint_count/", b"\x03\0\0\0\0\0\0\0", "index", "index 3"),
        (b"x", b"\xff\xfe\x00", "bytes", "fffe00"),
        (b"x", b"\x00" * 2000, "bytes", "00" * 1024 + " and 976 bytes more"),
    ],
)
def test_what_a_value_looks_like(key, value, kind, text):
    assert (guess(key, value).kind, guess(key, value).text) == (kind, text)


def test_nothing_that_engines_write_is_just_bytes():
    for name in ENGINES:
        for bucket, key, value, *_ in listing(name, "live"):
            if value is not None:
                assert guess(key, value).kind != "bytes", (bucket, key, value)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from([b"size", b"id", b"spec"]),
    st.binary(max_size=64) | st.binary(max_size=40).map(lambda b: b"\x0a\x03a.b\x12" + b),
)
def test_any_bytes_look_like_something(key, value):
    found = guess(key, value)
    assert found.kind
    assert found.text or not value
