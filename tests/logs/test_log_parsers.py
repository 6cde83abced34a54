"""The formats of containers' logs, against records that engines wrote, and against damage of every kind."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.logs.lines import Joiner
from parsers.cri_log import parse_cri_log
from parsers.docker_json_log import parse_json_log
from parsers.docker_local_log import parse_local_log
from parsers.log_record import MAX_LINE, Damage, instant, split_lines

T = 1_795_225_739_223_995_958  # 2026-11-21T01:48:59.223995958Z
JSON = (
    b'{"log":"line 1\\n","stream":"stdout","time":"2026-11-21T01:48:59.223995958Z"}\n'
    b'{"log":"a \\"quoted\\" \\u001b[31m caf\xc3\xa9\\n","stream":"stderr","attrs":{"a":"b"},"time":"2026-11-21T01:48:59.5Z"}\n'
    b'{"log":"no end","stream":"stdout","time":"2026-11-21T01:49:00Z"}\n'
)
CRI = (
    b"2026-11-21T01:48:59.223995958Z stdout F line 1\n"
    b"2026-11-21T02:48:59.5+01:00 stderr P begin \n"
    b"2026-11-21T01:48:59.500000001Z stdout F \n"
    b"2026-11-21T01:48:59.6Z stderr F:tag end\n"
)


def varint(value):
    data = b""
    while value > 0x7F:
        data, value = data + bytes([value & 0x7F | 0x80]), value >> 7
    return data + bytes([value])


def local(source, time_ns, line, extra=b""):
    message = b"\x0a" + varint(len(source)) + source + b"\x10" + varint(time_ns) + b"\x1a" + varint(len(line)) + line + extra
    size = len(message).to_bytes(4, "big")
    return size + message + size


# the first as Docker wrote it: stdout, 1795219083093170083 ns, "start"
STARTED = bytes.fromhex("000000190a067374646f757410a3af95eee9c7f9f4181a05737461727400000019")
LOCAL = (
    STARTED
    + local(b"stderr", T, b"x" * 300)
    + local(b"stdout", T, b"first half", b"\x20\x01\x2a\x06\x12\x02id\x18\x00")
    + local(b"stdout", T, b"second \xff", b"\x20\x01\x2a\x08\x08\x01\x12\x02id\x18\x01")
)
PARSERS = ((parse_json_log, JSON), (parse_local_log, LOCAL), (parse_cri_log, CRI))


def pieces(data, size=1 << 20):
    return [(at, data[at : at + size]) for at in range(0, len(data), size)]


def read(parse, data, size=1 << 20):
    damage = Damage()
    return list(parse(iter(pieces(data, size)), damage)), damage


def test_json_file():
    records, damage = read(parse_json_log, JSON)
    assert not damage.times
    assert [tuple(record) for record in records] == [
        (0, T, "stdout", "line 1", None, True),
        (JSON.index(b"{", 1), 1_795_225_739_500_000_000, "stderr", 'a "quoted" \x1b[31m café', None, True),
        (JSON.rindex(b"\n", 0, -1) + 1, 1_795_225_740_000_000_000, "stdout", "no end", None, False),
    ]


@pytest.mark.parametrize(
    ("line", "text", "raw"),
    [
        (b'{"log":"caf\xe9\\n","stream":"stdout","time":"2026-11-21T01:49:00Z"}', "caf\\xe9", b"caf\xe9"),
        (b'{"log":"\\t\xe9\\n","stream":"stdout","time":"2026-11-21T01:49:00Z"}', "\t\\xe9", b"\t\xe9"),
        (b'{"log":"\\ud83d\\ude00 \\ud83d\\n","stream":"stdout","time":"2026-11-21T01:49:00Z"}', "😀 �", None),
    ],
)
def test_json_text_that_is_none(line, text, raw):
    ((record,), damage) = read(parse_json_log, line)
    assert (record.text, record.raw, damage.times) == (text, raw, 0)


def test_a_record_behind_one_that_a_crash_cut_off_is_read():
    records, damage = read(parse_json_log, b'\0\0\0{"log":"cut of' + JSON)
    assert next(record.text for record in records) == "line 1"
    assert len(records) == 3
    assert (damage.times, damage.position) == (1, 0)


def test_local():
    records, damage = read(parse_local_log, LOCAL)
    assert not damage.times
    assert [tuple(record) for record in records] == [
        (0, 1_795_219_083_093_170_083, "stdout", "start", None, True),
        (len(STARTED), T, "stderr", "x" * 300, None, True),
        (LOCAL.index(b"first half") - 24, T, "stdout", "first half", None, False),
        (LOCAL.index(b"second") - 24, T, "stdout", "second \\xff", b"second \xff", True),
    ]


@pytest.mark.parametrize("junk", [b"\0" * 5000, b"\xff" * 17, b"\0\0\0\x20\x0a\x06stdout", STARTED[3:], STARTED[:-2]])
def test_local_goes_on_behind_damage(junk):
    records, damage = read(parse_local_log, STARTED + junk + LOCAL, 100)
    assert next(record.text for record in records) == "start"
    assert [record.text for record in records][-4:] == [record.text for record in read(parse_local_log, LOCAL)[0]]
    assert damage.times
    assert damage.position == len(STARTED)


def test_cri():
    records, damage = read(parse_cri_log, CRI)
    assert not damage.times
    assert [tuple(record)[1:] for record in records] == [
        (T, "stdout", "line 1", None, True),
        (1_795_225_739_500_000_000, "stderr", "begin ", None, False),
        (1_795_225_739_500_000_001, "stdout", "", None, True),
        (1_795_225_739_600_000_000, "stderr", "end", None, True),
    ]


@pytest.mark.parametrize(("parse", "data"), PARSERS)
@given(size=st.integers(1, 200))
def test_where_pieces_end_does_not_matter(parse, data, size):
    assert read(parse, data, size)[0] == read(parse, data)[0]


@pytest.mark.parametrize(("parse", "data"), PARSERS)
@given(cut=st.integers(0, 2000), flip=st.integers(0, 16000), size=st.integers(1, 500))
def test_damage_loses_its_own_record_only(parse, data, cut, flip, size):
    whole = {tuple(record)[1:] for record in read(parse, data)[0]}
    records, _ = read(parse, data[: cut % (len(data) + 1)], size)
    assert len(records) <= 4
    damaged = bytearray(data)
    damaged[flip // 8 % len(data)] ^= 1 << flip % 8
    records, _ = read(parse, bytes(damaged), size)
    lost = whole - {tuple(record)[1:] for record in records}
    assert len(lost) <= 2  # a line break that is none any more joins two


@pytest.mark.parametrize(("parse", "data"), PARSERS)
@given(junk=st.binary(max_size=300))
def test_any_bytes(parse, data, junk):
    del data
    records, damage = read(parse, junk, 64)
    assert records or damage.times or not junk.strip(b"\n")


def test_a_line_that_never_ends_is_one_gap_and_no_memory():
    damage = Damage()
    endless = ((at << 20, b"x" * (1 << 20)) for at in range(16))
    assert list(split_lines(endless, damage)) == []
    assert damage.times == 1
    assert str(MAX_LINE) in damage.what


def test_a_hole_costs_the_lines_it_touches():
    damage = Damage()
    lines = list(split_lines([(0, b"one\ntw"), (1 << 20, b"o\nthree\n")], damage))
    assert lines == [(0, b"one"), ((1 << 20) + 2, b"three")]
    assert damage.times == 1


@pytest.mark.parametrize("depth", ["[" * 100_000, '{"log":' * 50_000])
def test_json_that_is_nested_too_deep(depth):
    records, damage = read(parse_json_log, depth.encode() + b"\n" + JSON)
    assert len(records) == 3
    assert damage.times == 1


def test_go_zero_time_and_nonsense_are_no_times():
    assert instant(b"0001-01-01T00:00:00", None, b"Z") is None
    assert instant(b"2026-13-01T00:00:00", None, b"Z") is None
    assert instant(b"2026-11-21T01:48:59", b"000000001", b"+01:30") == 1_795_220_339_000_000_001


def test_parts_are_joined_across_files_and_streams():
    joiner = Joiner(7)
    first = read(parse_json_log, b'{"log":"abc","stream":"stdout","time":"2026-11-21T01:49:00Z"}\n')[0]
    second = read(parse_json_log, JSON.replace(b"line 1", b"def"))[0]
    lines = [*joiner.lines(1, first), *joiner.lines(2, second), *joiner.rest()]
    assert [(line.file, line.stream, line.text, line.unfinished) for line in lines] == [
        (1, "stdout", "abcdef", 0), (2, "stderr", 'a "quoted" \x1b[31m café', 0), (2, "stdout", "no end", 1),
    ]  # fmt: skip
    assert json.loads(lines[0].pieces) == [[1, 0, 1_795_225_740_000_000_000, 3], [2, 0, T, 3]]
    assert lines[1].pieces is None


def test_lines_that_never_end_are_bounded():
    joiner = Joiner(None)
    part = read(parse_cri_log, b"2026-11-21T01:49:00Z stdout P " + b"x" * 16384)[0]
    lines = [*joiner.lines(1, part * 200), *joiner.rest()]
    assert sum(len(line.text) for line in lines) == 200 * 16384
    assert max(len(line.text) for line in lines) < 2 << 20
