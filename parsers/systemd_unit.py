"""systemd's unit files, and the command lines and environment in them.

Source: systemd 255: systemd.syntax(7), systemd.service(5) `COMMAND LINES`, systemd.exec(5) `EnvironmentFile=`. Also read so:
/etc/default and /etc/sysconfig files, whose assignments are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

MAX_VALUE = 64 << 10

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))", re.ASCII)
_NAME = re.compile(r"\w+", re.ASCII)
_PLAIN = re.compile(r"[^\\\"'\s]+")
_PREFIXES = "@-:+!|"  # before the path of a program
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}
_ESCAPED_CODE = re.compile(r"x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}")


class Setting(NamedTuple):
    """One assignment in a unit file."""

    section: str
    name: str
    value: str


def parse_unit(data: bytes) -> tuple[Setting, ...]:
    """The assignments in their order. Lines that are none are passed over, as systemd does."""
    settings = []
    section = ""
    for line in _logical_lines(data):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        name, equals, value = line.partition("=")
        if equals:
            settings.append(Setting(section, name.strip(), value.strip()))
    return tuple(settings)


def parse_environment(data: bytes) -> dict[str, str]:
    """The variables of an EnvironmentFile, or of a shell file of plain assignments."""
    found = {}
    for line in _logical_lines(data):
        name, equals, value = line.removeprefix("export ").partition("=")
        if equals and _NAME.fullmatch(name.strip()):
            found[name.strip()] = " ".join(split_words(value))
    return found


def in_force(settings: Iterable[Setting], section: str, name: str) -> tuple[str, ...]:
    """The values of a setting that may stand several times; an empty one takes back all before it."""
    values: list[str] = []
    for setting in settings:
        if (setting.section, setting.name) == (section, name):
            if setting.value:
                values.append(setting.value)
            else:
                values.clear()
    return tuple(values)


def command_line(value: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The argv of an ExecStart value, variables put in: `$NAME` as a word of its own gives several words, `${NAME}` one."""
    argv: list[str] = []
    left = MAX_VALUE  # of all words together: a short line may name a long variable thousands of times
    for word in split_words(value.lstrip(_PREFIXES)):
        match = _VARIABLE.fullmatch(word)
        if match is not None and match[2] is not None:
            text = environment.get(match[2], "")[:left]
            argv += split_words(text)
        else:
            text = _expanded(word, environment, left)
            argv.append(text)
        left -= len(text) + 1
        if left <= 0:
            break
    return tuple(argv)


def _expanded(word: str, environment: Mapping[str, str], most: int) -> str:
    """A word with its variables put in, no longer than that."""
    left = most

    def text(found: re.Match[str]) -> str:
        nonlocal left
        value = environment.get(found[1] or found[2], "")[:left]
        left -= len(value)
        return value

    return _VARIABLE.sub(text, word)[:most]


def split_words(value: str) -> list[str]:
    """The words of a value, quotes taken off and escapes read; a quote that is not closed ends with the value."""
    words: list[str] = []
    word, started, quote = "", False, ""
    at = 0
    value = value[:MAX_VALUE]
    while at < len(value):
        run = _PLAIN.match(value, at)
        if run is not None:
            word, started, at = word + run[0], True, run.end()
            continue
        char = value[at]
        at += 1
        if char == "\\" and quote != "'" and at < len(value):
            text, at = _escape(value, at)
            word, started = word + text, True
        elif quote and char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote, started = char, True
        elif not quote and char.isspace():
            if started:
                words.append(word)
            word, started = "", False
        else:
            word, started = word + char, True
    return [*words, word] if started else words


def _escape(value: str, at: int) -> tuple[str, int]:
    """What the escape behind a backslash stands for, and where it ends."""
    code = _ESCAPED_CODE.match(value, at)
    if code is None:
        return _ESCAPES.get(value[at], value[at]), at + 1
    number = int(code[0], 8) if code[0][0].isdigit() else int(code[0][1:], 16)
    is_character = number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF
    return (chr(number) if is_character else "\ufffd"), code.end()


def _logical_lines(data: bytes) -> Iterator[str]:
    """Lines without comments, those that end in a backslash joined with the next by a space."""
    pending = ""
    for raw in data.decode("utf-8", "backslashreplace").splitlines():
        line = raw.strip()
        if (not line and not pending) or line.startswith(("#", ";")):
            continue
        pending += line.removesuffix("\\")
        if line.endswith("\\") and len(pending) < MAX_VALUE:
            pending += " "
        else:
            yield pending.strip()
            pending = ""
    if pending.strip():
        yield pending.strip()
