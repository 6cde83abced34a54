"""Disk images for tests: made byte by byte, or by the tools of a Linux host where they are there."""

import shutil
import struct
import subprocess
import uuid
import zlib

import pytest

from forensics.source import Buffer
from parsers.lvm2 import INITIAL_CRC

MIB = 1 << 20
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")


class Disk(Buffer):
    """A disk image in memory."""

    def locate(self, offset):
        return offset if 0 <= offset < self.size else None


def run(tool, *args, stdin=None):
    """A tool's output; the test is skipped where the tool is not there."""
    found = shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run([found, *map(str, args)], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{tool}: {done.stderr}"
    return done.stdout


def ext_superblock(blocks, block_size=4096, group=0):
    """An ext superblock that says how long its filesystem is, and no more."""
    raw = bytearray(1024)
    struct.pack_into("<II", raw, 0, 1000, blocks)
    struct.pack_into("<I", raw, 24, block_size.bit_length() - 11)
    struct.pack_into("<H", raw, 56, 0xEF53)
    struct.pack_into("<H", raw, 90, group)
    return bytes(raw)


def put(disk, offset, data):
    disk[offset : offset + len(data)] = data


def put_mbr(disk, slots, at=0, signature=0x1234ABCD, unit=512):
    """slots: (type, first sector, sectors)."""
    record = bytearray(512)
    struct.pack_into("<I", record, 440, signature)
    for index, (system, start, count) in enumerate(slots):
        struct.pack_into("<B3sB3sII", record, 446 + 16 * index, 0, bytes(3), system, bytes(3), start, count)
    record[510:] = b"\x55\xaa"
    put(disk, at * unit, record)


def put_gpt(disk, partitions, sector=512, protective=True, entries=128):
    """partitions: (first sector, last sector, name). Both headers, and the protective MBR."""
    last = len(disk) // sector - 1
    table = bytearray(entries * 128)
    for index, (first, end, name) in enumerate(partitions):
        guid = uuid.uuid5(LINUX, f"{index}").bytes_le
        entry = LINUX.bytes_le + guid + struct.pack("<QQQ", first, end, 0) + name.encode("utf-16-le").ljust(72, b"\0")
        put(table, 128 * index, entry)
    table_sectors = -(-len(table) // sector)
    for own, other, place in ((1, last, 2), (last, 1, last - table_sectors)):
        header = bytearray(92)
        struct.pack_into("<8sIIIIQQQQ", header, 0, b"EFI PART", 0x10000, 92, 0, 0, own, other, 2 + table_sectors, place - 1)
        header[56:72] = LINUX.bytes_le
        struct.pack_into("<QIII", header, 72, place, entries, 128, zlib.crc32(table))
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        put(disk, own * sector, header)
        put(disk, place * sector, table)
    if protective:
        put_mbr(disk, [(0xEE, 1, last)], signature=0)


def lvm_crc(data):
    return zlib.crc32(data, INITIAL_CRC ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def put_pv(disk, start, size, pv_uuid, text=b"", text_at=512, mda_size=MIB - 4096, mda=True):
    """A physical volume with its label and, if wanted, one metadata area at 4096 that holds `text`, wrapped if need be."""
    areas = struct.pack("<QQQQ", MIB, 0, 0, 0) + (struct.pack("<QQ", 4096, mda_size) if mda else b"") + bytes(16)
    sector = bytearray(512)
    put(sector, 0, struct.pack("<8sQII8s", b"LABELONE", 1, 0, 32, b"LVM2 001"))
    put(sector, 32, pv_uuid.encode() + struct.pack("<Q", size) + areas)
    struct.pack_into("<I", sector, 16, lvm_crc(bytes(sector[20:])))
    put(disk, start + 512, sector)
    if not mda:
        return
    header = bytearray(512)
    locn = struct.pack("<QQII", text_at, len(text), lvm_crc(text), 0) if text else b""
    put(header, 4, b" LVM2 x[5A%r0N*>" + struct.pack("<IQQ", 1, 4096, mda_size) + locn)
    struct.pack_into("<I", header, 0, lvm_crc(bytes(header[4:])))
    put(disk, start + 4096, header)
    first = text[: mda_size - text_at]
    put(disk, start + 4096 + text_at, first)
    put(disk, start + 4096 + 512, text[len(first) :])


def vg_text(name, pvs, lvs, seqno=1, extent_sectors=128):
    """A volume group's text. pvs: (name, uuid, extents); lvs: name -> (visible, segments), each a dict of what it says."""
    lines = [
        f"{name} {{",
        'id = "vgid-0"',
        f"seqno = {seqno}",
        'status = ["RESIZEABLE", "READ"]',
        f"extent_size = {extent_sectors}",
    ]
    lines.append("physical_volumes {")
    for pv, pv_uuid, extents in pvs:
        lines += [
            f"{pv} {{",
            f'id = "{pv_uuid}"',
            'device = "/dev/x" # Hint only',
            "pe_start = 2048",
            f"pe_count = {extents}",
            "}",
        ]
    lines += ["}", "logical_volumes {"]
    for lv, (visible, segments) in lvs.items():
        flags = '"READ", "WRITE"' + (', "VISIBLE"' if visible else "")
        lines += [f"{lv} {{", f'id = "id-of-{lv}"', f"status = [{flags}]", f"segment_count = {len(segments)}"]
        for index, segment in enumerate(segments, 1):
            lines += [f"segment{index} {{", *(f"{key} = {value}" for key, value in segment.items()), "}"]
        lines.append("}")
    lines += ["}", "}", 'contents = "Text Format Volume Group"', "version = 1", ""]
    return "\n".join(lines).encode() + b"\0"
