"""CRC-32C as the kernel's metadata checksums use it: seeded, and without the final inversion (lib/crc32.c __crc32c_le)."""

from __future__ import annotations

from functools import cache

import google_crc32c
import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # Castagnoli, bit-reversed
_SPAN = 1024  # bytes that are looked up together: their tables take 1 MiB, which a processor's cache holds
_ALL = 0xFFFFFFFF


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def crc32c(data: bytes | bytearray | memoryview, seed: int = 0xFFFFFFFF) -> int:
    """The checksum of one run of bytes, continued from `seed`."""
    return int(google_crc32c.extend(seed ^ _ALL, bytes(data))) ^ _ALL


def crc32c_blocks(data: bytes, size: int) -> bytes:
    """The checksum as others know it, inverted at the end, of each block of `size` bytes: four bytes each, little-endian."""
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    return np.fromiter(map(google_crc32c.value, blocks), "<u4", len(blocks)).tobytes()


def crc32c_rows(rows: NDArray[np.uint8], seed: int | NDArray[np.uint32] = 0xFFFFFFFF) -> NDArray[np.uint32]:
    """The checksum of each row of a table, all rows at once; `seed` is one for all, or one per row."""
    count, size = rows.shape
    crc = np.full(count, seed, "<u4") if isinstance(seed, int) else seed.astype("<u4")
    for start in range(0, size, _SPAN):
        part = np.array(rows[:, start : start + _SPAN])
        length = part.shape[1]
        # What was computed so far acts on the next four bytes only: it is XORed into them.
        taken = min(length, 4)
        part[:, :taken] ^= crc.view(np.uint8).reshape(count, 4)[:, :taken]
        rest = crc >> np.uint32(8 * taken) if taken < 4 else np.uint32(0)
        places = part + np.arange(_SPAN - length, _SPAN, dtype=np.intp) * 256
        crc = (np.bitwise_xor.reduce(_shares().take(places), axis=1) ^ rest).astype("<u4")
    return crc


@cache
def _shares() -> NDArray[np.uint32]:
    """What a byte adds to the checksum of a span, by 256 times its place plus its value: a checksum is the sum of these."""
    table = np.array(_TABLE, np.uint32)
    shares = np.empty((_SPAN, 256), np.uint32)
    shares[-1] = table
    for place in range(_SPAN - 2, -1, -1):
        shares[place] = (shares[place + 1] >> np.uint32(8)) ^ table[shares[place + 1] & np.uint32(0xFF)]
    return shares.reshape(-1)
