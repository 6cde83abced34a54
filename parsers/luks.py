"""LUKS, versions 1 and 2: the header, what a passphrase must open, and where the data are.

Source: LUKS On-Disk Format Specification 1.2.3 (big-endian binary header); LUKS2 On-Disk Format Specification 1.1.4 (binary
header and JSON, two copies); cryptsetup 2.6.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from construct import Bytes, Int16ub, Int32ub, Int64ub, Padding, Struct

from parsers.errors import FormatError, UnsupportedFormat
from parsers.layout import Layout

MAGIC = b"LUKS\xba\xbe"
MAGIC_2 = b"SKUL\xba\xbe"
HEADER_SIZE = 4 << 20
"""Bytes that both copies of the longest LUKS2 header fit in."""
SECTOR = 512
ENABLED = 0x00AC71F3
MAX_STRIPES = 1 << 16
MAX_KEY = 512
MAX_ITERATIONS = 200_000_000
MAX_MEMORY = 4 << 20
"""KiB that an argon2 key slot may ask for, cryptsetup's own bound."""
_COPIES = tuple(16384 << shift for shift in range(9))

header_v1 = Layout(
    Struct(
        "magic" / Bytes(6),
        "version" / Int16ub,
        "cipher_name" / Bytes(32),
        "cipher_mode" / Bytes(32),
        "hash_spec" / Bytes(32),
        "payload_offset" / Int32ub,
        "key_bytes" / Int32ub,
        "mk_digest" / Bytes(20),
        "mk_digest_salt" / Bytes(32),
        "mk_digest_iterations" / Int32ub,
        "uuid" / Bytes(40),
    )
)
key_slot_v1 = Layout(
    Struct(
        "active" / Int32ub,
        "iterations" / Int32ub,
        "salt" / Bytes(32),
        "key_material_offset" / Int32ub,
        "stripes" / Int32ub,
    )
)
header_v2 = Layout(
    Struct(
        "magic" / Bytes(6),
        "version" / Int16ub,
        "hdr_size" / Int64ub,
        "seqid" / Int64ub,
        "label" / Bytes(48),
        "checksum_alg" / Bytes(32),
        "salt" / Bytes(64),
        "uuid" / Bytes(40),
        "subsystem" / Bytes(48),
        "hdr_offset" / Int64ub,
        Padding(184),
        "csum" / Bytes(64),
    )
)
_CHECKSUM_AT = header_v2.offset_of("csum")


@dataclass(frozen=True, slots=True)
class Kdf:
    """How a passphrase becomes a key. kind: pbkdf2, argon2i or argon2id; memory: in KiB."""

    kind: str
    salt: bytes
    hash: str = ""
    iterations: int = 0
    memory: int = 0
    lanes: int = 0


@dataclass(frozen=True, slots=True)
class KeySlot:
    """A key slot: its key material, split into `stripes`, stands encrypted at `offset`, `size` bytes of it."""

    number: int
    key_size: int
    kdf: Kdf
    stripes: int
    split_hash: str
    offset: int
    size: int
    encryption: str
    area_key_size: int


@dataclass(frozen=True, slots=True)
class Digest:
    """What tells that a volume key is the right one."""

    kdf: Kdf
    value: bytes
    slots: frozenset[int]


@dataclass(frozen=True, slots=True)
class LuksSegment:
    """Encrypted data from `offset` on; size: None for all to the device's end. sector: the unit of encryption, in bytes."""

    offset: int
    size: int | None
    encryption: str
    sector: int
    tweak: int


@dataclass(frozen=True, slots=True)
class LuksHeader:
    """Everything that is needed to open the volume."""

    version: int
    uuid: str
    label: str | None
    slots: tuple[KeySlot, ...]
    digests: tuple[Digest, ...]
    segment: LuksSegment


def parse_luks(head: bytes) -> LuksHeader:
    """The header in the first HEADER_SIZE bytes of a device; of LUKS2, the newer one of its two copies that are whole."""
    if head.startswith(MAGIC) and head[6:8] == b"\0\1":
        return _parse_v1(head)
    copies = [copy for offset in (0, *_COPIES) if (copy := _copy_v2(head, offset)) is not None]
    if not copies:
        raise FormatError("the LUKS header and its copy are damaged" if head.startswith(MAGIC) else "no LUKS header", offset=0)
    fields, text = max(copies, key=lambda copy: copy[0]["seqid"])
    return _parse_v2(fields, text)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _parse_v1(head: bytes) -> LuksHeader:
    if len(head) < header_v1.size + 8 * key_slot_v1.size:
        raise FormatError("the LUKS header is cut short", offset=0)
    fields = header_v1.fields(head)
    encryption = f"{_text(fields['cipher_name'])}-{_text(fields['cipher_mode'])}"
    digest_hash, key_size = _text(fields["hash_spec"]).lower(), fields["key_bytes"]
    _check(0 < key_size <= MAX_KEY, f"a volume key of {key_size} bytes")
    slots = []
    for number in range(8):
        slot = key_slot_v1.fields(head, header_v1.size + number * key_slot_v1.size)
        if slot["active"] != ENABLED:
            continue
        _check(0 < slot["stripes"] <= MAX_STRIPES, f"a key in {slot['stripes']} stripes")
        kdf = Kdf("pbkdf2", slot["salt"], digest_hash, _iterations(slot["iterations"]))
        slots.append(KeySlot(
            number, key_size, kdf, slot["stripes"], digest_hash, slot["key_material_offset"] * SECTOR,
            key_size * slot["stripes"], encryption, key_size,
        ))  # fmt: skip
    check = Kdf("pbkdf2", fields["mk_digest_salt"], digest_hash, _iterations(fields["mk_digest_iterations"]))
    digest = Digest(check, fields["mk_digest"], frozenset(slot.number for slot in slots))
    segment = LuksSegment(fields["payload_offset"] * SECTOR, None, encryption, SECTOR, 0)
    return LuksHeader(1, _text(fields["uuid"]), None, tuple(slots), (digest,), segment)


def _copy_v2(head: bytes, offset: int) -> tuple[dict[str, Any], bytes] | None:
    """A copy of the LUKS2 header with its JSON text, None where there is no whole one."""
    if head[offset : offset + 6] not in (MAGIC, MAGIC_2) or head[offset + 6 : offset + 8] != b"\0\2":
        return None
    fields = header_v2.fields(head[offset : offset + header_v2.size].ljust(header_v2.size, b"\0"))
    size, kind = fields["hdr_size"], _text(fields["checksum_alg"])
    if size not in _COPIES or fields["hdr_offset"] != offset or offset + size > len(head) or kind not in ("sha256", "sha512"):
        return None
    raw = bytearray(head[offset : offset + size])
    raw[_CHECKSUM_AT : _CHECKSUM_AT + 64] = bytes(64)
    digest = hashlib.new(kind, raw, usedforsecurity=False).digest()
    if fields["csum"][: len(digest)] != digest:
        return None
    return fields, bytes(raw[4096:])


def _parse_v2(fields: Mapping[str, Any], text: bytes) -> LuksHeader:
    try:
        document = json.loads(text.split(b"\0", 1)[0])
        slots = tuple(
            _slot(int(number), slot) for number, slot in sorted(document["keyslots"].items()) if slot["type"] == "luks2"
        )
        digests = tuple(
            Digest(_kdf(each), _base64(each["digest"]), frozenset(map(int, each["keyslots"])))
            for _, each in sorted(document["digests"].items())
            if each["type"] == "pbkdf2"
        )
        if document["config"].get("requirements", {}).get("mandatory"):
            raise UnsupportedFormat(f"LUKS2 with {', '.join(map(str, document['config']['requirements']['mandatory']))}")
        segments = [segment for _, segment in sorted(document["segments"].items())]
        if len(segments) != 1 or segments[0]["type"] != "crypt":
            raise UnsupportedFormat("LUKS2 with several segments (a re-encryption that never ended), which is not read")
        if segments[0].get("integrity"):
            raise UnsupportedFormat(f"LUKS2 with integrity ({segments[0]['integrity'].get('type')}), which is not read")
        segment = _segment(segments[0])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise FormatError(f"the LUKS2 header's JSON is not what it must be ({type(error).__name__}: {error})") from error
    return LuksHeader(2, _text(fields["uuid"]), _text(fields["label"]) or None, slots, digests, segment)


def _slot(number: int, slot: Mapping[str, Any]) -> KeySlot:
    area, split = slot["area"], slot["af"]
    key_size, stripes, offset, size = int(slot["key_size"]), int(split["stripes"]), int(area["offset"]), int(area["size"])
    _check(0 < key_size <= MAX_KEY and 0 < int(area["key_size"]) <= MAX_KEY, f"a key of {key_size} bytes")
    _check(0 < stripes <= MAX_STRIPES and key_size * stripes <= size, f"a key in {stripes} stripes and {size} bytes")
    length = key_size * stripes
    return KeySlot(
        number, key_size, _kdf(slot["kdf"]), stripes, str(split["hash"]), offset, length, str(area["encryption"]),
        int(area["key_size"]),
    )  # fmt: skip


def _kdf(kdf: Mapping[str, Any]) -> Kdf:
    salt = _base64(kdf["salt"])
    if kdf["type"] == "pbkdf2":
        return Kdf("pbkdf2", salt, str(kdf["hash"]), _iterations(int(kdf["iterations"])))
    if kdf["type"] in ("argon2i", "argon2id"):
        time, memory, lanes = int(kdf["time"]), int(kdf["memory"]), int(kdf["cpus"])
        _check(0 < time <= 10_000 and 8 <= memory <= MAX_MEMORY and 0 < lanes <= 64, f"argon2 of {memory} KiB, {time} times")
        return Kdf(str(kdf["type"]), salt, "", time, memory, lanes)
    raise UnsupportedFormat(f"LUKS2 with the key derivation {kdf['type']}")


def _segment(segment: Mapping[str, Any]) -> LuksSegment:
    size = None if segment["size"] == "dynamic" else int(segment["size"])
    sector, offset, tweak = int(segment["sector_size"]), int(segment["offset"]), int(segment["iv_tweak"])
    _check(sector in (512, 1024, 2048, 4096), f"sectors of {sector} bytes")
    _check(0 <= offset < 1 << 62 and 0 <= tweak < 1 << 62 and (size is None or 0 <= size < 1 << 62), "a segment out of bounds")
    return LuksSegment(offset, size, str(segment["encryption"]), sector, tweak)


def _iterations(count: int) -> int:
    _check(0 < count <= MAX_ITERATIONS, f"{count} iterations")
    return count


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _check(fine: bool, what: str) -> None:
    if not fine:
        raise FormatError(f"the LUKS header tells of {what}")


def merge(stored: bytes, key_size: int, stripes: int, kind: str) -> bytes:
    """The key that was split into stripes, all of which are needed (LUKS 1 specification, AFmerge)."""
    size = hashlib.new(kind, usedforsecurity=False).digest_size
    key = 0
    for number in range(stripes):
        key ^= int.from_bytes(stored[number * key_size : (number + 1) * key_size], "big")
        if number == stripes - 1:
            break
        mixed = key.to_bytes(key_size, "big")
        parts = [mixed[at : at + size] for at in range(0, key_size, size)]
        hashes = [
            hashlib.new(kind, index.to_bytes(4, "big") + part, usedforsecurity=False).digest()[: len(part)]
            for index, part in enumerate(parts)
        ]
        key = int.from_bytes(b"".join(hashes), "big")
    return key.to_bytes(key_size, "big")


CIPHER = re.compile(r"aes-(xts|cbc)-(plain64|plain|essiv:sha256)")
