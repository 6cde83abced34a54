"""tar-split: how a layer's archive is rebuilt, byte for byte, from the files that it was unpacked to.

Lines of JSON: {"type":2,"payload":<base64 of the archive's own bytes>,"position":n} for headers and padding, and
{"type":1,"name":...,"size":n,"payload":<base64 of a checksum>,"position":n} for a file's content, whose checksum is
CRC-64/ISO, big-endian. `name_raw` has the name's bytes in base64 where it is no UTF-8.

Source: vbatts/tar-split v0.11, tar/storage/{entry,packer}.go; moby v28, layer/layer_store.go.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from parsers.errors import FormatError

STEP = 64 << 10
MAX_LINE = 64 << 20
FILE, SEGMENT = 1, 2


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes of the archive itself."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """A file's content, which stands here in the archive. crc: its CRC-64, None where there is none."""

    name: bytes
    size: int
    crc: bytes | None


def parse_tar_split(read: Callable[[int, int], bytes]) -> Iterator[Segment | Content]:
    """The parts of the archive in order. read: bytes of the gzip file by offset and size. FormatError where it is damaged."""
    for number, line in enumerate(_lines(read)):
        try:
            entry = json.loads(line)
            kind, payload = entry["type"], base64.b64decode(entry.get("payload") or "", validate=True)
            if entry["position"] != number:
                raise FormatError(f"entry {number} says that it is entry {entry['position']}")
            if kind == SEGMENT:
                yield Segment(payload)
                continue
            size, raw = entry.get("size", 0), entry.get("name_raw")
            name = base64.b64decode(raw, validate=True) if raw else str(entry.get("name", "")).encode("utf-8", "surrogatepass")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
            raise FormatError(f"entry {number} is not what it must be ({type(error).__name__})") from error
        if kind != FILE or not isinstance(size, int) or not 0 <= size < 1 << 62:
            raise FormatError(f"entry {number} is of type {kind!r} and has {size!r} bytes")
        yield Content(name, size, payload or None)


def _lines(read: Callable[[int, int], bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    offset, pending = 0, b""
    try:
        while not stream.eof:
            packed = stream.unconsumed_tail or read(offset, STEP)
            if packed is not stream.unconsumed_tail:
                offset += len(packed)
            unpacked = stream.decompress(packed, STEP * 16)
            if not packed and not unpacked:
                raise FormatError("the gzip stream is cut off", offset=offset)
            *lines, pending = (pending + unpacked).split(b"\n")
            yield from (line for line in lines if line)
            if len(pending) > MAX_LINE:
                raise FormatError(f"a line of more than {MAX_LINE} bytes", offset=offset)
    except zlib.error as error:
        raise FormatError(f"damaged gzip stream: {error}", offset=offset) from error
    if pending.strip():
        yield pending
