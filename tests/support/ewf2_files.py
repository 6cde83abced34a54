"""Ex01 disk images, written as libewf's document of the format (EWF2) has them: no tool that can be had here writes any."""

import hashlib
import struct
import zlib

CHUNK = 32768
DEVICE, CASE, SECTORS, TABLE, MD5, SHA1, NEXT, DONE = 1, 2, 3, 4, 8, 9, 13, 15
COMPRESSED, CHECKSUMMED, PATTERN = 1, 2, 4
GUID = bytes(range(16))


def adler(data):
    return struct.pack("<I", zlib.adler32(data))


def padded(data):
    return data + bytes(-len(data) % 16)


class _Segment:
    def __init__(self, number):
        self.data = b"EVF2\r\n\x81\x00" + struct.pack("<BBHI16s", 2, 1, 1, number, GUID)
        self.last = 0

    def add(self, kind, stored):
        """A section: its data, then the descriptor that says where the one before it is."""
        padding = -len(stored) % 16
        stored += bytes(padding)
        before, self.data = self.last, self.data + stored
        self.last = len(self.data)
        hashed = hashlib.md5(stored, usedforsecurity=False).digest() if stored else bytes(16)
        descriptor = struct.pack("<IIQQII16s12x", kind, 1 if stored else 0, before, len(stored), 64, padding, hashed)
        self.data += descriptor + adler(descriptor)

    def add_text(self, kind, values):
        text = f"1\nmain\n{chr(9).join(values)}\n{chr(9).join(values.values())}\n\n"
        self.add(kind, zlib.compress(b"\xff\xfe" + text.encode("utf-16-le")))

    def add_chunks(self, first, chunks):
        """Chunks with their table: compressed, or with a checksum behind them, or as a pattern where they are all zeros."""
        start, stored, entries = len(self.data), b"", b""
        for number, chunk in enumerate(chunks):
            if not any(chunk):
                entries += struct.pack("<QII", 0, 0, COMPRESSED | PATTERN)
                continue
            packed, flags = zlib.compress(chunk, 1), COMPRESSED
            if number % 3 == 2:
                packed, flags = chunk + adler(chunk), CHECKSUMMED
            entries += struct.pack("<QII", start + len(stored), len(packed), flags)
            stored += padded(packed)
        self.add(SECTORS, stored)
        header = struct.pack("<QII", first, len(chunks), 0)
        self.add(TABLE, padded(header + adler(header)) + entries + padded(adler(entries)))


def write_ex01(path, disk, segments=1):
    """The segment files of a disk, `path` and those behind it; each with its share of the chunks."""
    chunks = [disk[at : at + CHUNK] for at in range(0, len(disk), CHUNK)]
    per = -(-len(chunks) // segments)
    device = {"sn": "", "md": "model", "lb": "", "ts": str(len(disk) // 512), "hs": "", "dc": "", "dt": "f", "pid": "", "rs": "",
              "ls": "", "bp": "512", "ph": "1"}  # fmt: skip
    case = {"nm": "evidence", "cn": "42", "en": "7", "ex": "Examiner", "nt": "", "av": "7.10", "os": "Linux", "tt": "1700000000",
            "at": "1700000000", "tb": str(len(chunks)), "cp": "1", "sb": str(CHUNK // 512), "gr": "1", "wb": ""}  # fmt: skip
    for number in range(segments):
        segment = _Segment(number + 1)
        segment.add_text(DEVICE, device)
        segment.add_text(CASE, case)
        segment.add_chunks(number * per, chunks[number * per : (number + 1) * per])
        if number + 1 == segments:
            for kind, name in ((MD5, "md5"), (SHA1, "sha1")):
                digest = hashlib.new(name, disk, usedforsecurity=False).digest()
                segment.add(kind, padded(digest + adler(digest)))
        segment.add(DONE if number + 1 == segments else NEXT, b"")
        path.with_suffix(f".Ex{number + 1:02d}").write_bytes(segment.data)
