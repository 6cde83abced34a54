"""dm-crypt's ciphers over whole runs of sectors: AES in XTS and CBC mode, with its ways to number sectors.

A sector at a time takes an own cipher object each; AES of all blocks at once and the rest with numpy is ten times as fast.
Source: Linux 6.6, drivers/md/dm-crypt.c, Documentation/admin-guide/device-mapper/dm-crypt.rst; IEEE 1619 for XTS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from parsers.errors import UnsupportedFormat
from parsers.luks import CIPHER, SECTOR

BLOCK = 16
_Blocks = NDArray[np.uint8]
Decrypt = Callable[[bytes, int], bytes]
"""Decrypts whole sectors; the number of the first one, in units of 512 bytes."""


def decryption(encryption: str, key: bytes, sector: int) -> Decrypt:
    """What decrypts with a cipher as dm-crypt names it; UnsupportedFormat names others. sector: bytes that have one number."""
    found = CIPHER.fullmatch(encryption)
    if found is None:
        raise UnsupportedFormat(f"encrypted with {encryption}, which is not read")
    mode, numbering = found[1], found[2]
    halves = 2 if mode == "xts" else 1
    if len(key) not in (16 * halves, 24 * halves, 32 * halves) or (mode == "xts" and len(key) == 48):
        raise UnsupportedFormat(f"encrypted with {encryption} and a key of {8 * len(key)} bits")
    if mode == "xts":
        if numbering.startswith("essiv"):
            raise UnsupportedFormat(f"encrypted with {encryption}, which is not read")
        return _xts(key, numbering, sector)
    return _cbc(key, numbering, sector)


def _ecb(key: bytes, data: bytes, *, encrypt: bool = False) -> _Blocks:
    cipher = Cipher(algorithms.AES(key), modes.ECB())
    context = cipher.encryptor() if encrypt else cipher.decryptor()
    return np.frombuffer(context.update(data), np.uint8)


def _numbers(first: int, count: int, step: int, numbering: str) -> bytes:
    """The sector numbers as little-endian blocks; `plain` has 32 bits of them."""
    numbers = np.zeros((count, 2), "<u8")
    numbers[:, 0] = first + step * np.arange(count, dtype="<u8")
    if numbering == "plain":
        numbers[:, 0] &= 0xFFFFFFFF
    return numbers.tobytes()


def _xts(key: bytes, numbering: str, sector: int) -> Decrypt:
    data_key, tweak_key = key[: len(key) // 2], key[len(key) // 2 :]
    blocks = sector // BLOCK

    def decrypt(data: bytes, first: int) -> bytes:
        count = len(data) // sector
        start = _ecb(tweak_key, _numbers(first, count, sector // SECTOR, numbering), encrypt=True)
        low, high = start.view("<u8").reshape(count, 2).T.copy()
        tweaks = np.empty((count, blocks, 2), "<u8")
        for block in range(blocks):
            tweaks[:, block, 0], tweaks[:, block, 1] = low, high
            carry = high >> np.uint64(63)  # times alpha, in GF(2^128)
            high = (high << np.uint64(1)) | (low >> np.uint64(63))
            low = (low << np.uint64(1)) ^ (carry * np.uint64(0x87))
        mask = tweaks.reshape(-1)
        plain = _ecb(data_key, (np.frombuffer(data, "<u8") ^ mask).tobytes()).view("<u8") ^ mask
        return plain.tobytes()

    return decrypt


def _cbc(key: bytes, numbering: str, sector: int) -> Decrypt:
    salt = hashlib.sha256(key).digest()

    def decrypt(data: bytes, first: int) -> bytes:
        count = len(data) // sector
        vectors = np.frombuffer(_numbers(first, count, sector // SECTOR, numbering), np.uint8)
        if numbering.startswith("essiv"):
            vectors = _ecb(salt, vectors.tobytes(), encrypt=True)
        stored = np.frombuffer(data, np.uint8).reshape(count, sector)
        before = np.concatenate([vectors.reshape(count, BLOCK), stored[:, :-BLOCK]], axis=1)
        return bytes((_ecb(key, data).reshape(count, sector) ^ before).tobytes())

    return decrypt
