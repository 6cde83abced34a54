"""Encrypted volumes: opened with the examiner's passphrase or key file, and read as if they were not encrypted."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw

from forensics.ciphers import Decrypt, decryption
from forensics.source import Source
from parsers import luks
from parsers.errors import EvidenceError, FormatError, UnsupportedFormat


@dataclass(frozen=True, slots=True)
class DecryptedVolume:
    """What an encrypted volume holds. tweak: the number of its first sector of 512 bytes."""

    parent: Source
    start: int
    size: int
    name: str
    sector: int
    tweak: int
    decrypt: Decrypt

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`, decrypted."""
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        end = min(offset + size, self.size)
        first = offset // self.sector * self.sector
        wanted = -(-end // self.sector) * self.sector - first
        stored = self.parent.read(self.start + first, wanted)
        whole = len(stored) // self.sector * self.sector
        plain = self.decrypt(stored[:whole], self.tweak + first // luks.SECTOR) if whole else b""
        return plain[offset - first : end - first]

    def locate(self, offset: int) -> int | None:
        """The byte offset in the disk image where the encrypted form of the byte stands."""
        return self.parent.locate(self.start + offset) if 0 <= offset < self.size else None


def read_luks(source: Source) -> luks.LuksHeader:
    """The LUKS header of a volume."""
    return luks.parse_luks(source.read(0, luks.HEADER_SIZE))


def find_key(source: Source, header: luks.LuksHeader, secrets: Sequence[bytes]) -> bytes | None:
    """The volume key, None where none of the secrets gives it. source: what the header and its key slots stand on."""
    for secret in secrets:
        for slot in header.slots:
            key = _open_slot(source, header, slot, secret)
            if key is not None:
                return key
    return None


def is_apart(source: Source, header: luks.LuksHeader) -> bool:
    """Whether there is nothing but the header here: what it encrypts stands on another disk (detached header, header backup)."""
    return header.segment.offset == 0 or header.segment.offset >= source.size


def decrypted(source: Source, segment: luks.LuksSegment, key: bytes, name: str) -> DecryptedVolume:
    """What the volume holds."""
    size = max(source.size - segment.offset, 0)
    if segment.size is not None:
        size = min(size, segment.size)
    size -= size % segment.sector
    decrypt = decryption(segment.encryption, key, segment.sector)
    return DecryptedVolume(source, segment.offset, size, name, segment.sector, segment.tweak, decrypt)


def _open_slot(source: Source, header: luks.LuksHeader, slot: luks.KeySlot, secret: bytes) -> bytes | None:
    """The volume key, if the secret opens this key slot."""
    padded = -(-slot.size // luks.SECTOR) * luks.SECTOR
    material = source.read(slot.offset, padded)
    if len(material) < padded:
        raise FormatError(f"key slot {slot.number} lies behind the volume's end", source.name, slot.offset)
    area_key = _derive(slot.kdf, secret, slot.area_key_size)
    # a key slot's sectors are numbered from its own start
    plain = decryption(slot.encryption, area_key, luks.SECTOR)(material, 0)
    try:
        key = luks.merge(plain[: slot.size], slot.key_size, slot.stripes, slot.split_hash)
    except ValueError as error:
        raise UnsupportedFormat(f"key slot {slot.number} uses the hash {slot.split_hash}", source.name) from error
    for digest in header.digests:
        if slot.number in digest.slots and hmac.compare_digest(_derive(digest.kdf, key, len(digest.value)), digest.value):
            return key
    return None


def _derive(kdf: luks.Kdf, secret: bytes, size: int) -> bytes:
    if kdf.kind == "pbkdf2":
        try:
            return hashlib.pbkdf2_hmac(kdf.hash, secret, kdf.salt, kdf.iterations, size)
        except ValueError as error:
            raise UnsupportedFormat(f"its passphrase is hashed with {kdf.hash}") from error
    kind = Type.ID if kdf.kind == "argon2id" else Type.I
    try:
        return hash_secret_raw(secret, kdf.salt, kdf.iterations, kdf.memory, kdf.lanes, size, kind)
    except HashingError as error:
        raise EvidenceError(f"the passphrase cannot be hashed with argon2 ({error})") from error
