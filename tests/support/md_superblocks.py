"""Superblocks of Linux software RAID, made as md_p.h has them."""

import struct

MEMBER = 8 << 20
"""Bytes of a member, where nothing else is said."""
SECTORS = MEMBER // 512
CHUNK = 64 << 10


def superblock_1(
    role, level, devices=2, at=8, data_offset=2048, size=0, chunk=CHUNK // 512, events=20, features=0, recovery=0, layout=0,
    data_size=None,
):  # fmt: skip
    """at: the superblock's own sector."""
    data_size = data_size or (SECTORS - data_offset if at < data_offset else at - data_offset)
    raw = struct.pack("<4I16s32s", 0xA92B4EFC, 1, features, 0, b"set of two disks", b"host:data")
    raw += struct.pack("<QiIQIII", 1_700_000_000, level, layout, size, chunk, devices, 0)
    raw += struct.pack("<IQIIII", 0, 0, 0, 0, 0, 0)
    raw += struct.pack("<4Q", data_offset, data_size, at, recovery)
    raw += struct.pack("<II16sB7x", role, 0, bytes([role]) * 16, 0)
    raw += struct.pack("<QQQII", 1_700_000_100, events, (1 << 64) - 1 if level > 0 else 0, 0, 384)
    raw = raw.ljust(256, b"\0") + b"".join(struct.pack("<H", n if n < devices else 0xFFFE) for n in range(384))
    total = sum(struct.unpack(f"<{len(raw) // 4}I", raw))
    checksum = ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF
    return raw[:216] + struct.pack("<I", checksum) + raw[220:]


def superblock_0(role, level, chunk=0, sectors=SECTORS):
    words = [0] * 1024
    words[0:9] = [0xA92B4EFC, 0, 90, 0, 0, 0x11111111, 1_700_000_000, level, (sectors // 2 - 64) // 64 * 64]
    words[9:12] = [2, 2, 0]
    words[13:16] = [0x22222222, 0x33333333, 0x44444444]
    words[32:38] = [1_700_000_100, 1, 2, 2, 0, 0]
    words[39] = 20
    words[65] = chunk
    for number in range(2):
        words[128 + 32 * number : 133 + 32 * number] = [number, 8, number, number, 6]
    words[992:997] = [role, 8, role, role, 6]
    total = sum(words)
    words[38] = ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF
    return struct.pack("<1024I", *words)
