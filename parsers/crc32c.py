"""CRC-32C as the kernel's metadata checksums use it: seeded, and without the final inversion (lib/crc32.c __crc32c_le)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # Castagnoli, bit-reversed


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()
_ROW_TABLE = np.array(_TABLE, np.uint32)


def crc32c(data: bytes | bytearray | memoryview, seed: int = 0xFFFFFFFF) -> int:
    """The checksum of one run of bytes, continued from `seed`."""
    crc = seed
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


def crc32c_rows(rows: NDArray[np.uint8], seed: int | NDArray[np.uint32] = 0xFFFFFFFF) -> NDArray[np.uint32]:
    """The checksum of each row of a table, all rows at once; `seed` is one for all, or one per row."""
    crc = np.full(len(rows), seed, np.uint32) if isinstance(seed, int) else seed.astype(np.uint32)
    for column in np.ascontiguousarray(rows.T):
        crc = _ROW_TABLE[(crc ^ column) & 0xFF] ^ (crc >> np.uint32(8))
    return crc
