"""Unit files as systemd reads them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.systemd_unit import command_line, in_force, parse_environment, parse_unit, split_words

UNIT = b"""# a comment
[Unit]
Description=Docker Application Container Engine

[Service]
Environment="DOCKER_OPTS=--data-root /srv/a b" OTHER=x
ExecStart=/usr/bin/dockerd -H fd:// \\
    # a comment in the middle
    ; another
    --data-root='/srv/my docker' \\
    $OPTIONS
ExecReload = /bin/kill -s HUP $MAINPID
no assignment here
[Install
"""


def test_unit():
    settings = parse_unit(UNIT)
    assert [(s.section, s.name) for s in settings] == [
        ("Unit", "Description"), ("Service", "Environment"), ("Service", "ExecStart"), ("Service", "ExecReload"),
    ]  # fmt: skip
    (value,) = in_force(settings, "Service", "ExecStart")
    assert command_line(value, {"OPTIONS": "--debug --label 'a b'"}) == (
        "/usr/bin/dockerd", "-H", "fd://", "--data-root=/srv/my docker", "--debug", "--label", "a b",
    )  # fmt: skip


def test_a_drop_in_takes_back_what_was_before():
    drop_in = parse_unit(b"[Service]\nExecStart=\nExecStart=-/usr/bin/dockerd --data-root ${ROOT}/docker")
    (value,) = in_force((*parse_unit(UNIT), *drop_in), "Service", "ExecStart")
    assert command_line(value, {"ROOT": "/srv/two words"}) == ("/usr/bin/dockerd", "--data-root", "/srv/two words/docker")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", []),
        ("  a  b ", ["a", "b"]),
        ("'a b' \"c d\"", ["a b", "c d"]),
        ("a'b'\"c\"", ["abc"]),
        ("''", [""]),
        (r"a\ b \x41\101\t\\ '\n'", ["a b", "AA\t\\", "\\n"]),
        (r"\u20ac \U0001F600 \U00999999", ["€", "😀", "\ufffd"]),
        ("'open", ["open"]),
        ("end\\", ["end\\"]),
    ],
)
def test_words(value, words):
    assert split_words(value) == words


def test_environment_file():
    text = b"# x\nDOCKER_OPTS=\"--data-root /srv/docker -H x\"\nexport A=b\nB = c\nnot a line\n1+1=2\nC='d' e\nD=\n"
    assert parse_environment(text) == {"DOCKER_OPTS": "--data-root /srv/docker -H x", "A": "b", "B": "c", "C": "d e", "D": ""}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet="a '\"\\x4$A{}=\n[]#;\t", max_size=200))
def test_anything(text):
    for setting in parse_unit(text.encode()):
        command_line(setting.value, {"A": text})
    parse_environment(text.encode())
    command_line(text, {"A": text})


def test_long_values_are_cut():
    assert len(split_words("a " * 10**6)) < 10**5
    parse_unit(b"[Service]\n" + b"A=b \\\n" * 10**5)
