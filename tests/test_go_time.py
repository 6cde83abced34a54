"""Go's times, against Go's own vectors and Python's calendar."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.errors import FormatError
from parsers.go_time import parse_binary, parse_rfc3339


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-21T01:48:59.056912482Z", 1795225739056912482),
        ("2026-11-21T01:48:59.1Z", 1795225739100000000),
        ("2018-05-16T12:49:57.639512677+02:00", 1526467797639512677),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("2026-11-21T01:48:59.0569124829999Z", 1795225739056912482),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T05:00:00+05:00", None),
        ("0001-01-01T00:00:00.000000001Z", -62135596800 * 10**9 + 1),
        ("9999-12-31T23:59:59Z", 253402300799 * 10**9),
    ],
)
def test_text(text, expected):
    assert parse_rfc3339(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "0", "2026-11-21", "2026-11-21T01:48:59", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-21T24:00:00Z",
     "2026-11-21T01:48:60Z", "2026-11-21T01:48:59.Z", "2026-11-21 01:48:59Z", "٢٠٢٦-11-21T01:48:59Z", "2026-11-21T01:48:59Z\n",
     "0000-01-01T00:00:00Z", "2026-11-21T01:48:59+25:00", "2026-11-21T01:48:59+1:00", "x" * 10**6],
)  # fmt: skip
def test_text_that_is_none(text):
    with pytest.raises(FormatError):
        parse_rfc3339(text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
    st.integers(0, 999_999_999),
    st.integers(0, 9),
    st.integers(-1439, 1439),
)
def test_text_of_any_time_and_zone(moment, nanosecond, digits, offset):
    nanosecond -= nanosecond % 10 ** (9 - digits)
    local = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=offset)))
    fraction = f".{nanosecond:09d}"[: digits + 1] if digits else ""
    sign, ahead = ("-", -offset) if offset < 0 else ("+", offset)
    text = f"{local:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + f"{fraction}{sign}{ahead // 60:02d}:{ahead % 60:02d}"
    seconds = (local - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    assert parse_rfc3339(text) == seconds * 10**9 + nanosecond


def test_binary():
    vector = bytes.fromhex("010000000ee292d55a077f2345ffff")
    assert parse_binary(vector) == parse_rfc3339("2026-11-20T23:57:14.125772613Z")
    assert parse_binary(b"\x02" + vector[1:13] + b"\x00\x3c\x1e") == parse_binary(vector), "version 2: the zone has seconds too"
    assert parse_binary(bytes.fromhex("01000000000000000000000000ffff")) is None


@pytest.mark.parametrize("length", range(20))
def test_binary_of_any_other_length(length):
    for version in (0, 1, 2, 3, 255):
        if (version, length) not in ((1, 15), (2, 16)):
            with pytest.raises(FormatError):
                parse_binary(bytes([version])[:length].ljust(length, b"\0"))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(min_size=15, max_size=15))
def test_binary_garbage(data):
    with contextlib.suppress(FormatError):
        assert parse_binary(data) is None or data[0] == 1
