"""Whether a gzip file unpacks to its end, with the checksum and length that stand there (RFC 1952)."""

from __future__ import annotations

import zlib

from parsers.errors import FormatError

MAGIC = b"\x1f\x8b"
_STEP = 1 << 20


def unpacked_size(data: bytes, limit: int) -> int:
    """The number of bytes that the first member unpacks to. FormatError where it is damaged, cut off, or longer than `limit`."""
    if not data.startswith(MAGIC):
        raise FormatError(f"{data[:4].hex() or 'nothing'} instead of a gzip header", offset=0)
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    size = 0
    pending = data
    try:
        while not stream.eof:
            unpacked = stream.decompress(pending, _STEP)
            pending = stream.unconsumed_tail
            size += len(unpacked)
            if not unpacked and not pending and not stream.eof:
                raise FormatError("the gzip stream is cut off", offset=len(data))
            if size > limit:
                raise FormatError(f"the gzip stream unpacks to more than {limit} bytes", offset=0)
    except zlib.error as error:
        raise FormatError(f"damaged gzip stream: {error}", offset=0) from error
    return size
