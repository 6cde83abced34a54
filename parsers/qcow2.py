"""QCOW2 disk images, versions 2 and 3: header, header extensions, snapshots, and what an L2 entry says.

Source: QEMU 8.2, docs/interop/qcow2.txt. All integers are big-endian.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import zstandard
from construct import Bytes, Int8ub, Int16ub, Int32ub, Int64ub, Padding, Struct

from parsers.errors import FormatError, UnsupportedFormat
from parsers.layout import Layout

MAGIC = b"QFI\xfb"
HEADER_SIZE = 112
MAX_NAME = 1023
OFFSET_MASK = 0x00FFFFFFFFFFFE00
ZERO = 1
COMPRESSED = 1 << 62
MAX_L1 = 32 << 20
"""Bytes of an L1 table; QEMU 8.2, block/qcow2.h, QCOW_MAX_L1_SIZE."""
MAX_SNAPSHOTS = 65536
MAX_EXTENSIONS = 64

_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = (1 << bit for bit in range(5))
_BACKING_FORMAT = 0xE2792ACA
_DATA_FILE_NAME = 0x44415441

header_v2 = Layout(
    Struct(
        "magic" / Bytes(4),
        "version" / Int32ub,
        "backing_file_offset" / Int64ub,
        "backing_file_size" / Int32ub,
        "cluster_bits" / Int32ub,
        "size" / Int64ub,
        "crypt_method" / Int32ub,
        "l1_size" / Int32ub,
        "l1_table_offset" / Int64ub,
        "refcount_table_offset" / Int64ub,
        "refcount_table_clusters" / Int32ub,
        "nb_snapshots" / Int32ub,
        "snapshots_offset" / Int64ub,
    )
)
header_v3 = Layout(
    Struct(
        Padding(72),
        "incompatible_features" / Int64ub,
        "compatible_features" / Int64ub,
        "autoclear_features" / Int64ub,
        "refcount_order" / Int32ub,
        "header_length" / Int32ub,
        "compression_type" / Int8ub,
        Padding(7),
    )
)
extension = Layout(Struct("type" / Int32ub, "length" / Int32ub))
snapshot_header = Layout(
    Struct(
        "l1_table_offset" / Int64ub,
        "l1_size" / Int32ub,
        "id_str_size" / Int16ub,
        "name_size" / Int16ub,
        "date_sec" / Int32ub,
        "date_nsec" / Int32ub,
        "vm_clock_nsec" / Int64ub,
        "vm_state_size" / Int32ub,
        "extra_data_size" / Int32ub,
    )
)


@dataclass(frozen=True, slots=True)
class Header:
    """A QCOW2 header. backing_file: the name as it was given to QEMU. data_file: where the clusters are, if not in this file."""

    cluster_bits: int
    size: int
    l1_size: int
    l1_offset: int
    snapshots: int
    snapshots_offset: int
    backing_file: str | None
    backing_format: str | None
    data_file: str | None
    external: bool
    zstd: bool
    extended_l2: bool
    zero_flag: bool
    dirty: bool
    corrupt: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An internal snapshot. size: of the disk then, None where it was not stored and is today's."""

    id: str
    name: str
    l1_offset: int
    l1_size: int
    time_ns: int
    size: int | None


def parse_header(data: bytes) -> Header:
    """The header and its extensions; data: the file's first cluster, or what of it there is."""
    if len(data) < header_v2.size or not data.startswith(MAGIC):
        raise FormatError("no QCOW2 header", offset=0)
    fields = header_v2.fields(data)
    if fields["version"] not in (2, 3):
        raise UnsupportedFormat(f"QCOW version {fields['version']}", offset=4)
    if fields["crypt_method"]:
        kind = {1: "AES", 2: "LUKS"}.get(fields["crypt_method"], str(fields["crypt_method"]))
        raise UnsupportedFormat(f"encrypted inside ({kind}); decrypt it with qemu-img convert and its secret", offset=32)
    if not 9 <= fields["cluster_bits"] <= 21:
        raise FormatError(f"clusters of 2^{fields['cluster_bits']} bytes", offset=20)
    features, length, compression = 0, header_v2.size, 0
    if fields["version"] == 3:
        if len(data) < 104:
            raise FormatError("the header is cut short", offset=0)
        more = header_v3.fields(data.ljust(header_v3.size, b"\0"))
        features, length = more["incompatible_features"], more["header_length"]
        compression = more["compression_type"] if length > 104 else 0
        if length < 104:
            raise FormatError(f"a header of {length} bytes", offset=100)
    unknown = features & ~(_DIRTY | _CORRUPT | _DATA_FILE | _COMPRESSION | _EXTENDED_L2)
    if unknown:
        raise UnsupportedFormat(f"unknown incompatible features {unknown:#x}", offset=72)
    if compression not in (0, 1):
        raise UnsupportedFormat(f"compression type {compression}", offset=104)
    extensions = _parse_extensions(data, length)
    return Header(
        fields["cluster_bits"], fields["size"], fields["l1_size"], fields["l1_table_offset"], fields["nb_snapshots"],
        fields["snapshots_offset"], _backing_file(data, fields["backing_file_offset"], fields["backing_file_size"]),
        extensions.get(_BACKING_FORMAT), extensions.get(_DATA_FILE_NAME), bool(features & _DATA_FILE), compression == 1,
        bool(features & _EXTENDED_L2), fields["version"] == 3, bool(features & _DIRTY), bool(features & _CORRUPT),
    )  # fmt: skip


def _backing_file(data: bytes, offset: int, size: int) -> str | None:
    if not offset:
        return None
    if size > MAX_NAME or offset + size > len(data):
        raise FormatError(f"the backing file's name has {size} bytes at byte {offset}", offset=8)
    return data[offset : offset + size].decode("utf-8", "surrogateescape")


def _parse_extensions(data: bytes, offset: int) -> dict[int, str]:
    found: dict[int, str] = {}
    for _ in range(MAX_EXTENSIONS):
        if offset + extension.size > len(data):
            break
        kind, length = extension.unpack(data, offset)
        if kind == 0 or offset + extension.size + length > len(data):
            break
        start = offset + extension.size
        found[kind] = data[start : start + length].rstrip(b"\0").decode("utf-8", "surrogateescape")
        offset = start + (length + 7) // 8 * 8
    return found


def parse_snapshots(data: bytes, count: int) -> tuple[Snapshot, ...]:
    """The snapshot table. Raises FormatError where it is cut short."""
    snapshots = []
    offset = 0
    for _ in range(count):
        try:
            fields = snapshot_header.fields(data, offset)
        except struct.error as error:
            raise FormatError("the snapshot table is cut short", offset=offset) from error
        extra = offset + snapshot_header.size
        ids = extra + fields["extra_data_size"]
        names = ids + fields["id_str_size"]
        end = names + fields["name_size"]
        if end > len(data):
            raise FormatError("the snapshot table is cut short", offset=offset)
        size = int.from_bytes(data[extra + 8 : extra + 16], "big") if fields["extra_data_size"] >= 16 else None
        snapshots.append(Snapshot(
            data[ids:names].decode("utf-8", "backslashreplace"), data[names:end].decode("utf-8", "backslashreplace"),
            fields["l1_table_offset"], fields["l1_size"], fields["date_sec"] * 10**9 + fields["date_nsec"], size,
        ))  # fmt: skip
        offset = (end + 7) // 8 * 8
    return tuple(snapshots)


def compressed_place(entry: int, cluster_bits: int) -> tuple[int, int]:
    """Offset and greatest length in the file of the compressed cluster that an L2 entry describes."""
    bits = 62 - (cluster_bits - 8)
    offset = entry & ((1 << bits) - 1)
    sectors = ((entry & (COMPRESSED - 1)) >> bits) + 1
    return offset, sectors * 512 - (offset & 511)


def unpack_cluster(stored: bytes, size: int, *, zstd: bool) -> bytes:
    """A compressed cluster's `size` bytes: a raw deflate stream, or a zstd frame."""
    try:
        if zstd:
            cluster = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj().decompress(stored)
        else:
            cluster = zlib.decompressobj(-12).decompress(stored, size)
    except (zlib.error, zstandard.ZstdError) as error:
        raise FormatError(f"a compressed cluster cannot be unpacked ({error})") from error
    if len(cluster) != size:
        raise FormatError(f"a compressed cluster gives {len(cluster)} bytes of {size}")
    return cluster
