"""E01 segment files made byte by byte, as libewf's format document has them."""

import struct
import zlib

CHUNK = 64 * 512


def section(kind, data, at, last=False):
    """A section with its descriptor, at a byte of the segment file."""
    following = at if last else at + 76 + len(data)
    descriptor = struct.pack("<16sQQ40x", kind.encode(), following, 76 + len(data))
    return descriptor + struct.pack("<I", zlib.adler32(descriptor)) + data


def volume(size, identifier):
    data = struct.pack("<B3xIIIQ", 1, -(-size // CHUNK), 64, 512, size // 512).ljust(64, b"\0") + identifier
    data = data.ljust(1048, b"\0")
    return data + struct.pack("<I", zlib.adler32(data))


def table(entries):
    head = struct.pack("<I4xQ4x", len(entries), 0)
    body = struct.pack(f"<{len(entries)}I", *entries)
    return head + struct.pack("<I", zlib.adler32(head)) + body + struct.pack("<I", zlib.adler32(body))


def stored(chunk, packed):
    return zlib.compress(chunk) if packed else chunk + struct.pack("<I", zlib.adler32(chunk))


def segment(number, chunks, size, packed=lambda index: index % 2 == 0, last=True, identifier=bytes(range(16))):
    """A segment file, and where in it each chunk stands."""
    raw = bytearray(b"EVF\x09\x0d\x0a\xff\x00" + struct.pack("<BHH", 1, number, 0))
    raw += section("volume" if number == 1 else "data", volume(size, identifier), len(raw))
    bodies = [stored(chunk, packed(index)) for index, chunk in enumerate(chunks)]
    places, at = [], len(raw) + 76
    for body in bodies:
        places.append(at)
        at += len(body)
    raw += section("sectors", b"".join(bodies), len(raw))
    entries = [place | (0x80000000 if packed(index) else 0) for index, place in enumerate(places)]
    raw += section("table", table(entries), len(raw))
    raw += section("table2", table(entries), len(raw))
    raw += section("done" if last else "next", b"", len(raw), last=True)
    return raw, places


def chunks_of(data):
    return [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
