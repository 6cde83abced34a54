"""What a value in a bbolt file looks like, for people: a guess, and the value as text.

Sources: Go 1.22 time.Time.MarshalBinary (go_time); encoding/binary's varints, which containerd v2 core/metadata/boltutil and
core/snapshots/storage write; google.protobuf.Any (protobuf_any); libnetwork's datastore, an index of eight bytes,
little-endian, before JSON (moby v26 libnetwork/internal/kvstore/boltdb).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from parsers.errors import FormatError
from parsers.go_time import SECOND, parse_binary
from parsers.protobuf_any import ProtobufAny, parse_any

TIME_SIZES = (15, 16)
MAX_JSON = 4 << 20
ANY_TAG = 0x0A  # field 1, length-delimited
_VARINT = re.compile(rb"[\x80-\xff]{1,9}[\x01-\x7f]|[\x00-\x7f]")
MAX_HEX = 1024  # bytes shown of what is nothing else
SIGNED = frozenset({b"size", b"version", b"inodes"})  # keys that containerd gives zig-zag varints, printable or not
UNSIGNED = frozenset({b"id", b"kind"})
_DIGEST = re.compile(rb"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}|[0-9a-f]{64})")
_TYPE_URL = re.compile(r"[\w.-]+(?:/[\w.-]+)+|[\w-]+(?:\.[\w-]+)+")
_PLAIN = str.maketrans("", "", "\t\n\r")
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Guess:
    """kind: empty, time, varint, json, text, digest, any, index, indexed json or bytes. text: the value for people."""

    kind: str
    text: str


def guess(key: bytes, value: bytes) -> Guess:
    """What a value most likely is; the key's name tells which of the short ones are numbers."""
    known = _known(key, value)
    if known is not None:
        return known
    payload = _any(value)
    if payload is not None:
        inner = _known(b"", payload.value) or _hex(payload.value)
        return Guess("any", f"{payload.type_url} {inner.text}".rstrip())
    rest = _text(value[8:])
    if len(value) == 8 or (rest is not None and _is_json(rest)):
        index = f"index {int.from_bytes(value[:8], 'little')}"
        return Guess("indexed json", f"{index} {rest}") if rest else Guess("index", index)
    return _hex(value)


def _known(key: bytes, value: bytes) -> Guess | None:
    """What is told by the value's own form."""
    if not value:
        return Guess("empty", "")
    time = _time(value)
    if time is not None:
        return Guess("time", time)
    number = _varint(value)
    if number is not None and key in UNSIGNED:
        return Guess("varint", str(number))
    signed = (number >> 1) ^ -(number & 1) if number is not None else 0
    if number is not None and key in SIGNED:
        return Guess("varint", str(signed))
    text = _text(value)
    if text is not None:
        return Guess("json" if _is_json(text) else "digest" if _DIGEST.fullmatch(value) else "text", text)
    return Guess("varint", f"{signed} (unsigned {number})") if number is not None else None


def _hex(value: bytes) -> Guess:
    more = f" and {len(value) - MAX_HEX} bytes more" if len(value) > MAX_HEX else ""
    return Guess("bytes", value[:MAX_HEX].hex() + more)


def _time(value: bytes) -> str | None:
    if len(value) not in TIME_SIZES:
        return None
    try:
        ns = parse_binary(value)
    except FormatError:  # then it is something else
        return None
    if ns is None:
        return "never"
    seconds, fraction = divmod(ns, SECOND)
    try:
        return f"{(_EPOCH + timedelta(seconds=seconds)).isoformat()}.{fraction:09d}Z"
    except OverflowError:  # no calendar has it, so it is no time
        return None


def _text(value: bytes) -> str | None:
    """UTF-8 without control characters but those of plain text."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() or text.translate(_PLAIN).isprintable() else None


def _is_json(text: str) -> bool:
    """Whether it is a JSON object or array; bare words and numbers are text."""
    if text[:1] not in ("{", "[") or len(text) > MAX_JSON:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _varint(value: bytes) -> int | None:
    """The number of a varint that fills the value, unsigned."""
    if not _VARINT.fullmatch(value):
        return None
    number = sum((byte & 0x7F) << (7 * i) for i, byte in enumerate(value))
    return number if number < 1 << 64 else None


def _any(value: bytes) -> ProtobufAny | None:
    """A google.protobuf.Any with a plausible type_url, None where the value is none."""
    if value[0] != ANY_TAG:
        return None
    try:
        payload = parse_any(value)
    except FormatError:  # then it is something else
        return None
    return payload if _TYPE_URL.fullmatch(payload.type_url) else None
