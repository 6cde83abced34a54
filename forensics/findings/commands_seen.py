"""What is suspicious in a line of shell, wherever it stands: in a script, a cron job, a history, a container's command."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

MAX_LINE = 4096  # bytes of a line that are looked at
MAX_LINES = 20_000
_DOWNLOAD = rb"(?:\b(?:curl|wget|fetch|lwp-download|aria2c)\b|busybox wget|python[0-9.]* -c [^|]*urlopen)"
_SHELL = (
    rb"(?:sudo (?:-\w+ )*)?(?:/(?:usr/)?bin/)?(?:ba|z|da|a|k)?sh\b|(?:sudo )?(?:/usr/bin/)?(?:python[0-9.]*|perl|ruby|php|node)\b"
)
_PIPED = re.compile(_DOWNLOAD + rb"[^|\n]{0,300}\|(?:[^|\n]{0,200}\|)?\s*(?:" + _SHELL + rb")")
_SUBSTITUTED = re.compile(
    rb"(?:\b(?:ba|z|da)?sh\s+-c\s+[\"']?|\beval\s+[\"']?|\bsource\s+|\b(?:ba)?sh\s+|\.\s+)[$<(`]{1,2}\(?\s*" + _DOWNLOAD
)
_THEN_RUN = re.compile(
    _DOWNLOAD + rb"[^\n]{0,500}?(?:&&|;)\s*(?:chmod\s+(?:\+x|0?[0-7]*[1357][0-7]*|[ugoa]*\+\w*x)\s|(?:ba)?sh\s+[./~])"
)
_DECODED = re.compile(
    rb"base64\s+(?:-d|-D|--decode)[^|\n]{0,200}\|\s*(?:" + _SHELL + rb")|\bxxd\s+-r[^|\n]{0,200}\|\s*(?:ba)?sh\b"
)
_REVERSE = re.compile(
    rb"/dev/(?:tcp|udp)/[\w.-]+/\d+|\bnc(?:at)?\b[^\n|;]{0,100}\s-\w*[ec]\s*(?:/bin/|/usr/bin/)?(?:ba)?sh\b"
    rb"|\bmkfifo\b[^\n]{0,200}\bnc(?:at)?\b|\bsocat\b[^\n]{0,200}\bexec:|socket\.socket\([^\n]{0,400}\bdup2\("
    rb"|fsockopen\([^\n]{0,200}(?:exec|/bin/sh)|\bbash\s+-i\s*>&"
)
_ADDRESS = re.compile(rb"(?:https?|ftp)://(?:\d{1,3}\.){3}\d{1,3}(?=[:/\s\"'])|\b(?:\d{1,3}\.){3}\d{1,3}/\S|\.onion\b|pastebin\.com/raw|transfer\.sh"
                      rb"|https?://(?:bit\.ly|tinyurl\.com|t\.ly)/")  # fmt: skip
_PRIVATE = re.compile(rb"://(?:127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|169\.254\.|localhost)")
_HIDDEN = re.compile(
    rb"(?:/tmp|/var/tmp|/dev/shm|/run/shm)/[^\s;|&\"')>]+|/(?:[^\s;|&\"')>/]{1,255}/){0,20}\.(?!\.?/|\.?\s|\.?$|bash|profile|config/"
    rb"|local/|cache/|cargo/|npm/|nvm/|venv/|pyenv/)[^\s;|&\"')>]+"
)
# what stands before a path that is run, and not only named
_RUNS_NEXT = re.compile(
    rb"(?:^|[;|&(`{]|\b(?:(?:ba|a|da|z|k)?sh|python[0-9.]*|perl|ruby|node|php|nohup|exec|sudo|setsid|source|env|nice|busybox|then|do|else)"
    rb"|(?:Exec\w+|LD_PRELOAD|command|RUN\+?|program)\s?=\s?[-@+!:]*"
    rb"|^(?:[\d*/,A-Za-z-]{1,60}\s{1,9}){5}(?:[a-z_][\w-]{0,31})?|^@\w{1,20}(?:\s{1,9}[a-z_][\w-]{0,31})?|(?<=\s)\.)\s*[\"']?$"
)
_PEER = re.compile(rb"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}:\d{2,5}\b")
_PRIVATE_PEER = re.compile(rb"(?<![\d.])(?:127\.|0\.0\.0\.0|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|169\.254\.)")
_WORDS = (b"curl", b"wget", b"fetch", b"aria2c", b"urlopen", b"lwp-download")
_REVERSE_WORDS = (b"/dev/tcp/", b"/dev/udp/", b"nc", b"socat", b"dup2", b"fsockopen", b"bash -i", b"mkfifo")


@dataclass(frozen=True, slots=True)
class Seen:
    """One line and what is wrong with it. what: in words; from_address: the download is from a bare address or a paste site."""

    line: bytes
    what: str
    from_address: bool = False


def downloads_run(text: bytes) -> list[Seen]:
    """Lines that run what they download, or what they decode."""
    if not any(word in text for word in _WORDS) and b"base64" not in text and b"xxd" not in text:
        return []
    found = []
    for line in _lines(text):
        if _PIPED.search(line) or _SUBSTITUTED.search(line):
            found.append(Seen(line, "pipes a download into a shell", _from_address(line)))
        elif _THEN_RUN.search(line) and _from_address(line):
            found.append(Seen(line, "downloads a program and makes it executable", True))
        elif _DECODED.search(line):
            found.append(Seen(line, "runs what base64 hides"))
    return found


def bare_downloads(text: bytes) -> list[Seen]:
    """Lines that download from a bare address or a paste site."""
    if not any(word in text for word in _WORDS):
        return []
    return [
        Seen(line, "downloads from a bare address", True)
        for line in _lines(text)
        if re.search(_DOWNLOAD, line) and _from_address(line)
    ]


def reverse_shells(text: bytes) -> list[Seen]:
    """Lines that give a shell to somebody elsewhere."""
    if not any(word in text for word in _REVERSE_WORDS):
        return []
    return [Seen(line, "connects a shell to the network") for line in _lines(text) if _REVERSE.search(line)]


def hidden_program(line: bytes) -> bytes | None:
    """A program in a temporary or hidden place that a line runs."""
    for match in islice(_HIDDEN.finditer(line[:MAX_LINE]), 20):
        start = match.start()
        if not line[start - 1 : start].strip(b" \t\"'=(;|&`{@+!:-") and _RUNS_NEXT.search(line[:start].lstrip()[-400:]):
            return match[0]
    return None


def suspicious(line: bytes) -> str | None:
    """What is wrong with one command, in words; None where nothing is."""
    for seen in (*reverse_shells(line), *downloads_run(line)):
        return seen.what
    if _PEER.search(line) and not _PRIVATE_PEER.search(line):
        return "names a bare address and port"
    program = hidden_program(line)
    return f"runs {program.decode('utf-8', 'backslashreplace')}, in a temporary or hidden place" if program is not None else None


def _from_address(line: bytes) -> bool:
    return _ADDRESS.search(line) is not None and _PRIVATE.search(line) is None


def _lines(text: bytes) -> list[bytes]:
    return [line[:MAX_LINE] for line in text.replace(b"\\\n", b" ").split(b"\n")[:MAX_LINES]]
