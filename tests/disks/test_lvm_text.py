"""The text that LVM2 keeps its metadata in: its grammar, and texts that break off, go too deep or are too big."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers import lvm2_text
from parsers.errors import FormatError
from support.disks import vg_text
from support.lvm_disks import pv_list


def test_the_text_s_grammar():
    text = 'a { # note }\n b="x\\"y\\\\z" c=[1,-2 , "s"] d = 1.5 e {f=[]} }\n1g=7 name'
    with pytest.raises(FormatError, match="name has neither"):
        lvm2_text.parse(text)
    assert lvm2_text.parse(text[:-4]) == {"a": {"b": 'x"y\\z', "c": [1, -2, "s"], "d": 1.5, "e": {"f": []}}, "1g": 7}


@pytest.mark.parametrize(
    "text",
    [
        "a {",
        "}",
        "a = ",
        "a = [",
        "a = [1",
        "= 3",
        'a = "x',
        "a = " + "9" * 30,
        "a {" * 17 + "}" * 17,
        "a = {",
        "[",
        "a b",
        "a = ]",
        '"',
    ],
)
def test_texts_that_break_off_or_go_too_deep(text):
    with pytest.raises(FormatError):
        lvm2_text.parse(text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet='ab1"\\{}[]=,# \n\0é', max_size=200))
def test_any_text_is_read_or_refused(text):
    for whole in (
        text,
        "vg0 {\nid = 1\nseqno = 1\n" + text,
        'vg0 { seqno=1 id="x" extent_size=1 logical_volumes { a { ' + text + "}}}",
    ):
        try:
            lvm2_text.volume_group(whole.encode())
        except FormatError:
            continue


def test_a_big_text_takes_its_time_and_no_more():
    segment = {"start_extent": 0, "extent_count": 1, "type": '"striped"', "stripes": '["pv0", 0]'}
    text = vg_text("vg0", pv_list(1), {f"lv{n}": (True, [segment]) for n in range(20_000)})
    start = time.monotonic()
    assert len(lvm2_text.volume_group(text).logical_volumes) == 20_000
    assert time.monotonic() - start < 10
    start = time.monotonic()
    for hostile in (b"a" * 10**6, b'"' + b"\\" * 10**6, b"#" * 10**6, b" " * 10**6, b"a=[" + b"1," * 10**5, b"a{" * 10**5):
        with pytest.raises(FormatError):
            lvm2_text.volume_group(hostile)
    assert time.monotonic() - start < 5
