"""A JSON text as it comes in, block by block: whether it can go on as it does, and where it ends.

It is only as strict as it takes to tell a continuation from something else; whoever believes the text parses it. Source of the
grammar: RFC 8259.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_NESTING = 128  # engines' own documents nest about ten deep

OPEN, COMPLETE, INVALID = "open", "complete", "invalid"

_IN_STRING = re.compile(rb'(?:[^"\\\x00-\x1f]|\\[^\x00-\x1f])*')
_SPACE = re.compile(rb"[ \t\r\n]*")
_WORD = re.compile(rb"[-+.0-9A-Za-z]+")
_WORDS = re.compile(rb"true|false|null|-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_MAX_WORD = 400  # characters of a number; no engine writes more than twenty

# What may come next.
_VALUE, _FIRST_VALUE, _KEY, _FIRST_KEY, _COLON, _AFTER, _STRING, _KEY_STRING, _BARE = range(9)


@dataclass(frozen=True, slots=True)
class JsonScan:
    """Where a scan stands. state: open, complete or invalid. end: how many bytes the text has, once it is complete.

    seen: bytes so far. expected, nesting, word, escaped: what the next byte is read as.
    """

    state: str = OPEN
    end: int = 0
    seen: int = 0
    expected: int = _VALUE
    nesting: bytes = b""
    word: bytes = b""
    escaped: bool = False

    def feed(self, data: bytes) -> JsonScan:
        """The scan after more bytes; of a complete or an invalid one, the same."""
        return self if self.state != OPEN else _Run(self, data).run()


class _Run:
    """One block's way through the grammar."""

    def __init__(self, scan: JsonScan, data: bytes) -> None:
        self.data, self.before = data, scan.seen
        self.expected, self.nesting, self.word, self.escaped = scan.expected, bytearray(scan.nesting), scan.word, scan.escaped
        self.at = 0

    def run(self) -> JsonScan:
        while self.at < len(self.data):
            if self.expected in (_STRING, _KEY_STRING):
                sound = self._string()
            elif self.expected == _BARE:
                sound = self._bare()
            else:
                space = _SPACE.match(self.data, self.at)
                self.at = space.end() if space is not None else self.at
                if self.at == len(self.data):
                    break
                sound = self._token(self.data[self.at : self.at + 1])
            if not sound:
                return JsonScan(INVALID, seen=self.before + self.at)
            if self.expected == _AFTER and not self.nesting:
                return JsonScan(COMPLETE, self.before + self.at, self.before + len(self.data))
        seen = self.before + len(self.data)
        return JsonScan(OPEN, 0, seen, self.expected, bytes(self.nesting), self.word, self.escaped)

    def _string(self) -> bool:
        """Up to the string's end, or the block's; a backslash may be a block's last byte."""
        if self.escaped:
            self.escaped = False
            if self.data[self.at] < 0x20:
                return False
            self.at += 1
        match = _IN_STRING.match(self.data, self.at)
        self.at = match.end() if match is not None else self.at
        following = self.data[self.at : self.at + 1]
        if following == b'"':
            self.at += 1
            self.expected = _COLON if self.expected == _KEY_STRING else _AFTER
            return True
        if following == b"\\" and self.at + 1 == len(self.data):
            self.at += 1
            self.escaped = True
            return True
        return not following

    def _bare(self) -> bool:
        """A number, true, false or null, which may go on in the next block."""
        match = _WORD.match(self.data, self.at)
        if match is not None:
            self.word += match[0]
            self.at = match.end()
        if len(self.word) > _MAX_WORD:
            return False
        if self.at < len(self.data):
            whole, self.word = self.word, b""
            self.expected = _AFTER
            return _WORDS.fullmatch(whole) is not None
        return True

    def _token(self, byte: bytes) -> bool:
        """One character of structure, or the first one of a string or word."""
        self.at += 1
        expected = self.expected
        if expected in (_VALUE, _FIRST_VALUE):
            return self._value(byte) or (expected == _FIRST_VALUE and byte == b"]" and self._close(b"["))
        if expected in (_KEY, _FIRST_KEY):
            if byte == b'"':
                self.expected = _KEY_STRING
                return True
            return expected == _FIRST_KEY and byte == b"}" and self._close(b"{")
        if expected == _COLON:
            self.expected = _VALUE
            return byte == b":"
        if byte == b",":
            self.expected = _KEY if self.nesting[-1:] == b"{" else _VALUE
            return True
        return (byte == b"}" and self._close(b"{")) or (byte == b"]" and self._close(b"["))

    def _value(self, byte: bytes) -> bool:
        if byte in (b"{", b"["):
            self.nesting += byte
            self.expected = _FIRST_KEY if byte == b"{" else _FIRST_VALUE
            return len(self.nesting) <= MAX_NESTING
        if byte == b'"':
            self.expected = _STRING
            return True
        if _WORD.match(byte) is not None:
            self.word, self.expected = byte, _BARE
            return True
        return False

    def _close(self, opened: bytes) -> bool:
        if self.nesting[-1:] != opened:
            return False
        self.nesting.pop()
        self.expected = _AFTER
        return True
