"""JSON text block by block, against Python's own decoder."""

import json

from hypothesis import given
from hypothesis import strategies as st

from parsers.json_scan import COMPLETE, INVALID, MAX_NESTING, OPEN, JsonScan

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.builds(
    lambda value, pretty, ascii_only: json.dumps(value, indent=pretty, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"),
    st.dictionaries(st.text(max_size=8), VALUES, max_size=5) | st.lists(VALUES, max_size=5),
    st.sampled_from([None, 2]),
    st.booleans(),
)


def fed(data, size):
    scan = JsonScan()
    for at in range(0, len(data), size):
        scan = scan.feed(data[at : at + size])
    return scan


@given(DOCUMENTS, st.integers(1, 64), st.binary(max_size=40))
def test_a_document_ends_where_it_ends(document, size, behind):
    scan = fed(document + b"\0" + behind, size)
    assert (scan.state, scan.end) == (COMPLETE, len(document))


@given(DOCUMENTS, st.integers(1, 64), st.data())
def test_a_beginning_of_one_is_open(document, size, data):
    cut = data.draw(st.integers(0, len(document) - 1))
    assert fed(document[:cut], size).state == OPEN


@given(st.binary(max_size=200), st.integers(1, 16))
def test_what_is_complete_is_json(data, size):
    """It is less strict than a parser, never stricter: what a parser reads, it completes."""
    scan = fed(data, size)
    assert scan.state in (OPEN, COMPLETE, INVALID)
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict | list):
        assert scan.state == COMPLETE


def test_nesting_has_a_bound():
    assert JsonScan().feed(b"[" * 100_000).state == INVALID
    assert JsonScan().feed(b"[" * MAX_NESTING + b"]" * MAX_NESTING).state == COMPLETE
    assert JsonScan().feed(b'{"a":' * 100_000).state == INVALID


def test_a_number_without_an_end_has_one():
    assert JsonScan().feed(b"[" + b"9" * 100_000).state == INVALID


def test_a_second_document_is_none_of_the_first():
    scan = JsonScan().feed(b'{"a":1}{"b":2}')
    assert (scan.state, scan.end) == (COMPLETE, 7)
    assert scan.feed(b"more") == scan


def test_a_zero_byte_ends_any_document():
    for beginning in (b'{"a":"te', b'{"a"', b'{"a":[1,', b'{"a":tru', b'{"a":"\\'):
        assert JsonScan().feed(beginning).state == OPEN
        assert JsonScan().feed(beginning).feed(b"\0").state == INVALID
