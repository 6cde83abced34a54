"""Histories of shells: bash and those that write one command a line, zsh, fish.

Sources: bash 5.2, lib/readline/histfile.c (HIST_TIMESTAMP_START: `#` and seconds before each command, where HISTTIMEFORMAT is
set; read_history_range: in a file that begins with one, lines up to the next belong together); zsh 5.9, Src/hist.c
(savehistfile: `: START:SECONDS;COMMAND`, a line that ends in a backslash goes on); fish 3.7, src/history_file.cpp
(`- cmd: ...` and `  when: ...`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

SECOND = 1_000_000_000
MAX_COMMANDS = 100_000
MAX_TEXT = 4096  # bytes of one command that are kept
_BASH_TIME = re.compile(rb"#(\d{9,11})\s*", re.ASCII)
_ZSH = re.compile(rb": *(\d{9,11}):\d+;(.*)", re.ASCII | re.DOTALL)
_FISH_WHEN = re.compile(rb"  when: (\d{9,11})", re.ASCII)
_META = 0x83  # zsh's own escape: the byte after it is the real one with bit 5 turned over (Src/zsh.h)


@dataclass(frozen=True, slots=True)
class Command:
    """One command that somebody typed. time_ns: when, None where the history does not tell. position: of its first byte."""

    text: bytes
    time_ns: int | None
    position: int


def parse_history(data: bytes, shell: str) -> tuple[Command, ...]:
    """The commands in a history, in its order; shell: bash, zsh or fish. Anything at all is a history, if not a likely one."""
    commands = []
    for command in _READERS[shell](data):
        if command.text.strip(b"\0 \t\r\n"):
            commands.append(command)
            if len(commands) == MAX_COMMANDS:
                break
    return tuple(commands)


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        yield position, data[position : min(end, position + MAX_TEXT)]
        position = end + 1


def _bash(data: bytes) -> Iterator[Command]:
    joins = _BASH_TIME.match(data) is not None
    time_ns: int | None = None
    pending: Command | None = None
    for position, line in _lines(data):
        found = _BASH_TIME.fullmatch(line)
        if found is None and pending is not None and joins:
            pending = Command((pending.text + b"\n" + line)[:MAX_TEXT], pending.time_ns, pending.position)
            continue
        if pending is not None:
            yield pending
        pending = None if found else Command(line, time_ns, position)
        time_ns = int(found[1]) * SECOND if found else None
    if pending is not None:
        yield pending


def _zsh(data: bytes) -> Iterator[Command]:
    text, start = b"", 0
    for position, line in _lines(data):
        text, start = (text + b"\n" + line, start) if text else (line, position)
        if line.endswith(b"\\") and len(text) < MAX_TEXT:
            text = text[:-1]
            continue
        yield _zsh_command(text, start)
        text = b""
    if text:
        yield _zsh_command(text, start)


def _zsh_command(text: bytes, position: int) -> Command:
    found = _ZSH.fullmatch(text)
    raw, time_ns = (found[2], int(found[1]) * SECOND) if found else (text, None)
    plain = bytearray()
    escaped = False
    for byte in raw:
        if byte == _META and not escaped:
            escaped = True
            continue
        plain.append(byte ^ 32 if escaped else byte)
        escaped = False
    return Command(bytes(plain), time_ns, position)


def _fish(data: bytes) -> Iterator[Command]:
    pending: Command | None = None
    for position, line in _lines(data):
        if line.startswith(b"- cmd: "):
            if pending is not None:
                yield pending
            text = re.sub(rb"\\(.)", lambda match: b"\n" if match[1] == b"n" else match[1], line[7:])
            pending = Command(text, None, position)
        elif pending is not None and (found := _FISH_WHEN.fullmatch(line)):
            pending = Command(pending.text, int(found[1]) * SECOND, pending.position)
    if pending is not None:
        yield pending


_READERS: Mapping[str, Callable[[bytes], Iterator[Command]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
