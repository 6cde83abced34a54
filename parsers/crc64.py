"""CRC-64/ISO as Go's hash/crc64 computes it with its table ISO: reflected 0xD800000000000000, inverted before and after."""

from __future__ import annotations

import numpy as np

_POLYNOMIAL = 0xD800000000000000
_MASK = (1 << 64) - 1
_SPAN = 1024  # bytes that are looked up together


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()
_SHARES: list[np.ndarray[tuple[int, int], np.dtype[np.uint64]]] = []


def _shares() -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """What a byte adds to the checksum of a span, by its place and its value: a checksum is the sum of these."""
    if not _SHARES:
        table = np.array(_TABLE, np.uint64)
        shares = np.empty((_SPAN, 256), np.uint64)
        shares[-1] = table
        for place in range(_SPAN - 2, -1, -1):
            below = shares[place + 1]
            shares[place] = (below >> np.uint64(8)) ^ table[(below & np.uint64(0xFF)).astype(np.intp)]
        _SHARES.append(shares)
    return _SHARES[0]


class Crc64:
    """A checksum over bytes that come in pieces."""

    def __init__(self) -> None:
        self._crc = _MASK

    def update(self, data: bytes) -> None:
        """Go on with these bytes."""
        shares = _shares()
        for start in range(0, len(data), _SPAN):
            part = np.frombuffer(data, np.uint8, min(_SPAN, len(data) - start), start).copy()
            head = part[:8]
            head ^= np.frombuffer(self._crc.to_bytes(8, "little"), np.uint8)[: len(head)]
            rest = self._crc >> (8 * len(head)) if len(head) < 8 else 0
            places = shares[_SPAN - len(part) :][np.arange(len(part)), part]
            self._crc = int(np.bitwise_xor.reduce(places)) ^ rest

    def digest(self) -> bytes:
        """The checksum so far, 8 bytes, big-endian."""
        return (self._crc ^ _MASK).to_bytes(8, "big")
