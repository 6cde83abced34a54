"""JSON that nobody can rely on: one bad field costs itself only, a bad document is a FormatError, nothing else happens."""

import contextlib
import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.docker_container import parse_config, parse_hostconfig
from parsers.docker_daemon import parse_daemon_json
from parsers.docker_image import parse_image_config, parse_repositories
from parsers.docker_network import parse_endpoint, parse_network, parse_sandbox
from parsers.errors import FormatError
from parsers.json_fields import MAX_PROBLEMS, parse_object

PARSERS = [
    parse_config,
    parse_hostconfig,
    parse_image_config,
    parse_repositories,
    parse_daemon_json,
    parse_network,
    parse_sandbox,
    lambda data: parse_endpoint(data, "network"),
]
NAMES = ["State", "Running", "Pid", "StartedAt", "Config", "Env", "Labels", "Args", "MountPoints", "NetworkSettings", "Networks",
         "Binds", "Mounts", "RestartPolicy", "LogConfig", "Tmpfs", "rootfs", "diff_ids", "history", "created", "config",
         "Repositories", "ipamV4Info", "ipamV4Config", "ep_iface", "Eps", "Volumes", "data-root"]  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(['[{"IPAMData":"{"}]', "[["]),
    lambda inside: (
        st.lists(inside, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inside, max_size=6)
    ),
    max_leaves=25,
)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (bytes(4096), "4096 zero bytes"),
        (b"[]", "no object"),
        (b"null", "no object"),
        (b"{", "no JSON"),
        (b"nonsense", "no JSON"),
        (b'{"a": ' + b"[" * 100_000, "too deep"),
        (b'{"a":' * 100_000, "too deep"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b"\xff\xfe{\x00}\x00", "no JSON"),
    ],
)
def test_no_document(data, says):
    with pytest.raises(FormatError, match=says):
        parse_object(data, "config.v2.json")


def test_one_bad_field_costs_itself_only():
    fields = parse_object(b'{"a": "x", "b": 7, "c": true, "d": ["p", 3, "q"], "e": {"k": "v", "n": null, "m": []}}')
    assert (fields.text("a"), fields.integer("b"), fields.flag("c")) == ("x", 7, True)
    assert fields.texts("d") == ("p", "q")
    assert fields.text_map("e") == {"k": "v"}
    assert (fields.integer("a"), fields.text("b"), fields.integer("c"), fields.texts("a"), fields.text_map("d")) == (None,) * 5
    assert not fields.fields("b")
    assert [problem.partition(":")[0] for problem in fields.problems] == ["d[1]", "e.m", "a", "b", "c", "a", "d", "b"]


def test_the_last_of_duplicate_keys_counts():
    assert parse_object(b'{"a": 1, "a": 2}').integer("a") == 2


@pytest.mark.parametrize("number", [b"9223372036854775808", b"-9223372036854775809", b"1" * 30, b"1" * 10_000, b"1e400", b"1.5"])
def test_a_number_that_does_not_fit(number):
    fields = parse_object(b'{"n": %s, "ok": 1}' % number)
    assert (fields.integer("n"), fields.integer("ok")) == (None, 1)
    assert len(fields.problems) == 1


def test_a_time_that_does_not_fit():
    fields = parse_object(b'{"far": "9999-12-31T23:59:59Z", "zero": "0001-01-01T00:00:00Z", "bad": "soon"}')
    assert (fields.time("far"), fields.time("zero"), fields.time("bad")) == (None, None, None)
    assert len(fields.problems) == 2


def test_text_is_always_text():
    fields = parse_object(b'{"lone": "a\\ud800b", "pair": "\\ud83d\\ude00", "raw": "\xff\xfe", "nul": "\\u0000"}')
    assert fields.text("pair") == "\U0001f600"
    for name in ("lone", "raw", "nul"):
        fields.text(name).encode("utf-8")
    assert fields.problems == ["bytes that are not UTF-8, the first at byte 53"]


def test_what_is_before_a_cut_is_read():
    whole = json.dumps({"State": {"Running": True}, "ID": "x" * 64, "Args": ["a", {"b": 1}], "Last": 1}).encode()
    for size in range(1, len(whole)):
        try:
            fields = parse_object(whole[:size])
        except FormatError:
            assert size < whole.index(b', "ID"')
            continue
        assert fields.fields("State").flag("Running") is True
        assert fields.text("ID") in (None, "x" * 64)
        assert "only the fields before it" in fields.problems[0]
    overwritten = whole[: whole.index(b'"Args"')] + b"\0" * 30
    assert parse_object(overwritten).names() == ("ID", "State")


def test_problems_are_bounded():
    fields = parse_object(json.dumps({"a": [1] * 10_000}).encode())
    assert fields.texts("a") == ()
    assert len(fields.problems) == MAX_PROBLEMS


@pytest.mark.parametrize("parse", PARSERS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(document=JSON)
def test_any_document(parse, document):
    data = json.dumps(document).encode()
    for whole in (data, bytes(8) + data):
        with contextlib.suppress(FormatError):
            parse(whole)


@pytest.mark.parametrize("parse", PARSERS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.binary(max_size=200) | st.text(string.punctuation + "0aE\\ \n", max_size=200).map(str.encode))
def test_any_bytes(parse, data):
    with contextlib.suppress(FormatError):
        parse(data)


def test_of_a_number_that_is_cut_off_more_digits_may_be_lost():
    fields = parse_object(b'{"a":1,"b":23')
    assert (fields.integer("a"), fields.integer("b")) == (1, None)


def test_objects_that_are_cut_off_are_read_where_that_is_asked_for():
    text = b'{"spec":{"args":["a"],"env":["b","c'
    assert parse_object(text, inside=("spec",)).fields("spec").texts("args") == ("a",)
    assert parse_object(text, inside=("spec",)).fields("spec").texts("env") is None
    with pytest.raises(FormatError):
        parse_object(text)
