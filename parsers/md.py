"""Linux MD superblocks: format 1 (1.0 at the end, 1.1 at the start, 1.2 at byte 4096) and format 0.90 near the end.

Source: Linux 6.6, include/uapi/linux/raid/md_p.h (struct mdp_superblock_1, mdp_superblock_s), drivers/md/md.c
(calc_sb_1_csum, calc_sb_csum, super_1_load).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from construct import Bytes, Int8ul, Int32sl, Int32ul, Int64ul, Padding, Struct

from parsers.errors import FormatError
from parsers.layout import Layout

MAGIC = 0xA92B4EFC
SIZE = 4096
SECTOR = 512
MAX_DEVICES = 1920
ORIGINAL, ALTERNATE = 1, 2
"""Layouts of a RAID 0 over devices of different sizes: how chunks are counted where only some devices go on."""
SPARE, FAULTY, JOURNAL = 0xFFFF, 0xFFFE, 0xFFFD

superblock_1 = Layout(
    Struct(
        "magic" / Int32ul,
        "major_version" / Int32ul,
        "feature_map" / Int32ul,
        Padding(4),
        "set_uuid" / Bytes(16),
        "set_name" / Bytes(32),
        "ctime" / Int64ul,
        "level" / Int32sl,
        "layout" / Int32ul,
        "size" / Int64ul,
        "chunksize" / Int32ul,
        "raid_disks" / Int32ul,
        Padding(4),
        "new_level" / Int32ul,
        "reshape_position" / Int64ul,
        Padding(16),
        "data_offset" / Int64ul,
        "data_size" / Int64ul,
        "super_offset" / Int64ul,
        "recovery_offset" / Int64ul,
        "dev_number" / Int32ul,
        "cnt_corrected_read" / Int32ul,
        "device_uuid" / Bytes(16),
        "devflags" / Int8ul,
        Padding(7),
        "utime" / Int64ul,
        "events" / Int64ul,
        "resync_offset" / Int64ul,
        "sb_csum" / Int32ul,
        "max_dev" / Int32ul,
        Padding(32),
    )
)
superblock_0 = Layout(
    Struct(
        "magic" / Int32ul,
        "major_version" / Int32ul,
        "minor_version" / Int32ul,
        Padding(8),
        "set_uuid0" / Bytes(4),
        "ctime" / Int32ul,
        "level" / Int32sl,
        "size" / Int32ul,
        Padding(4),
        "raid_disks" / Int32ul,
        Padding(8),
        "set_uuid123" / Bytes(12),
        Padding(64),
        "utime" / Int32ul,
        Padding(20),
        "sb_csum" / Int32ul,
        "events_lo" / Int32ul,
        "events_hi" / Int32ul,
        Padding(92),
        "layout" / Int32ul,
        "chunk_size" / Int32ul,
        Padding(3704),
        "this_disk" / Bytes(128),
    )
)
_RESHAPE, _RECOVERY, _BAD_BLOCKS, _RAID0_LAYOUT = 4, 2, 8, 4096
_JOURNAL = 0x200 | 0x400 | 0x800  # a journal device, PPL, several PPLs
_CSUM_0 = superblock_0.offset_of("sb_csum")
_CSUM_1 = superblock_1.offset_of("sb_csum")


@dataclass(frozen=True, slots=True)
class Member:
    """A device of an array. role: its place in the array, None for a spare or what was thrown out. All sizes in bytes.

    layout: 0 where it is not told. whole: all that the array has there is on it; not so on a device that was being rebuilt or has
    bad blocks. journalled: some writes may stand in a journal or a partial parity log only.
    """

    array: bytes
    name: str | None
    level: int
    devices: int
    role: int | None
    chunk: int
    layout: int
    data_offset: int
    data_size: int
    events: int
    whole: bool
    reshaping: bool
    journalled: bool


def parse_member(data: bytes, at: int) -> Member:
    """The superblock that stands at byte `at` of a device; data: SIZE bytes from there. FormatError where it is none."""
    if len(data) < SIZE or data[:4] != struct.pack("<I", MAGIC):
        raise FormatError("no MD superblock", offset=at)
    major = int.from_bytes(data[4:8], "little")
    if major == 1:
        return _parse_1(data, at)
    if major == 0:
        return _parse_0(data, at)
    raise FormatError(f"an MD superblock of version {major}", offset=at)


def _parse_1(data: bytes, at: int) -> Member:
    fields = superblock_1.fields(data)
    if fields["max_dev"] > MAX_DEVICES:
        raise FormatError(f"an MD superblock for {fields['max_dev']} devices", offset=at)
    length = superblock_1.size + 2 * fields["max_dev"]
    raw = bytearray(data[:length].ljust(-(-length // 4) * 4, b"\0"))
    raw[_CSUM_1 : _CSUM_1 + 4] = bytes(4)
    total = sum(struct.unpack(f"<{len(raw) // 4}I", raw))
    if ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF != fields["sb_csum"]:
        raise FormatError("an MD superblock has a wrong checksum", offset=at)
    roles = struct.unpack_from(f"<{fields['max_dev']}H", data, superblock_1.size)
    number = fields["dev_number"]
    role = roles[number] if number < len(roles) else SPARE
    features = fields["feature_map"]
    layout = fields["layout"] if fields["level"] or features & _RAID0_LAYOUT else 0
    return Member(
        fields["set_uuid"], fields["set_name"].rstrip(b"\0").decode("utf-8", "backslashreplace") or None, fields["level"],
        fields["raid_disks"], role if role < JOURNAL else None, fields["chunksize"] * SECTOR, layout,
        fields["data_offset"] * SECTOR, (fields["size"] or fields["data_size"]) * SECTOR, fields["events"],
        not features & (_RECOVERY | _BAD_BLOCKS), bool(features & _RESHAPE), bool(features & _JOURNAL),
    )  # fmt: skip


def _parse_0(data: bytes, at: int) -> Member:
    fields = superblock_0.fields(data)
    words = list(struct.unpack("<1024I", data[:4096]))
    words[_CSUM_0 // 4] = 0
    total = sum(words)
    if ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF != fields["sb_csum"]:
        raise FormatError("an MD superblock has a wrong checksum", offset=at)
    _number, _major, _minor, role, state = struct.unpack_from("<5I", fields["this_disk"])
    active = state & 0b110 == 0b110 and not state & 1  # active and in sync, not faulty
    size = fields["size"] * 1024 if fields["level"] > 0 else at - at % max(fields["chunk_size"], 1)
    layout = fields["layout"] if fields["level"] else 0
    return Member(
        fields["set_uuid0"] + fields["set_uuid123"], None, fields["level"], fields["raid_disks"], role if active else None,
        fields["chunk_size"], layout, 0, size, fields["events_hi"] << 32 | fields["events_lo"], True, False, False,
    )  # fmt: skip
