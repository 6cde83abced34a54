"""Media that are stored in chunks which must be unpacked to be read: the ones last used are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

KEPT = 64 << 20  # bytes of unpacked chunks
LARGE = 1 << 20  # bytes; what is read in larger pieces is read once, and would only push out what is read again


class ChunkCache:
    """Chunks of one size (the last may be shorter) by number; `unpack` gives one, and threads may call it at once."""

    def __init__(self, chunk_size: int, unpack: Callable[[int], bytes], kept: int = KEPT) -> None:
        self._chunk_size, self._unpack = chunk_size, unpack
        self._most = max(kept // chunk_size, 4)
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`."""
        first, last = offset // self._chunk_size, (offset + size - 1) // self._chunk_size
        keep = size <= LARGE
        parts = [self._chunk(number, keep) for number in range(first, last + 1)]
        return cut(parts, offset - first * self._chunk_size, size)

    def _chunk(self, number: int, keep: bool) -> bytes:
        with self._lock:
            found = self._kept.get(number)
            if found is not None:
                self._kept.move_to_end(number)
                return found
        chunk = self._unpack(number)
        if keep:
            with self._lock:
                self._kept[number] = chunk
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        return chunk


def cut(parts: list[bytes], start: int, size: int) -> bytes:
    """`size` bytes from `start` on, which is in the first of the parts; the end is in the last one."""
    if len(parts) == 1:
        return parts[0][start : start + size]
    before = sum(map(len, parts[:-1]))
    parts[0] = parts[0][start:]
    parts[-1] = parts[-1][: max(start + size - before, 0)]
    return b"".join(parts)
