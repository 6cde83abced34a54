"""Btrfs on the disk: superblock, chunks, tree nodes, and the items of filesystem trees.

Source: Linux 6.6, include/uapi/linux/btrfs_tree.h, fs/btrfs/{ctree.h,disk-io.c,volumes.c,accessors.h}; btrfs-progs 6.2.
All integers are little-endian.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import xxhash
from construct import Bytes, Int8ul, Int16ul, Int32ul, Int64sl, Int64ul, Padding, Struct

from parsers.crc32c import crc32c_blocks
from parsers.errors import FormatError, UnsupportedFormat
from parsers.layout import Layout

MAGIC = b"_BHRfS_M"
SUPERBLOCKS = (64 << 10, 64 << 20, 256 << 30)
SUPERBLOCK_SIZE = 4096
CSUM_SIZE = 32
CHECKSUM_SIZES = (4, 8, 32, 32)
EXTENT_TREE, FS_TREE, CSUM_TREE, FIRST_SUBVOLUME, ROOT_DIR = 2, 5, 7, 256, 256
INODE_ITEM, XATTR_ITEM, DIR_ITEM, DIR_INDEX, EXTENT_DATA = 1, 24, 84, 96, 108
ROOT_ITEM, ROOT_REF, DEV_ITEM, CHUNK_ITEM = 132, 156, 216, 228
INLINE, REGULAR, PREALLOC = 0, 1, 2
NONE, ZLIB, LZO, ZSTD = 0, 1, 2, 3
MAX_LEVEL = 8
TYPES = {1: "f", 2: "d", 3: "c", 4: "b", 5: "p", 6: "s", 7: "l"}

_ZONED, _EXTENT_TREE_V2, _RAID_STRIPE_TREE = 1 << 12, 1 << 13, 1 << 14
_NO_HOLES = 1 << 9
_KNOWN_INCOMPAT = _ZONED - 1

superblock = Layout(
    Struct(
        "csum" / Bytes(32),
        "fsid" / Bytes(16),
        "bytenr" / Int64ul,
        "flags" / Int64ul,
        "magic" / Bytes(8),
        "generation" / Int64ul,
        "root" / Int64ul,
        "chunk_root" / Int64ul,
        "log_root" / Int64ul,
        "log_root_transid" / Int64ul,
        "total_bytes" / Int64ul,
        "bytes_used" / Int64ul,
        "root_dir_objectid" / Int64ul,
        "num_devices" / Int64ul,
        "sectorsize" / Int32ul,
        "nodesize" / Int32ul,
        "leafsize" / Int32ul,
        "stripesize" / Int32ul,
        "sys_chunk_array_size" / Int32ul,
        "chunk_root_generation" / Int64ul,
        "compat_flags" / Int64ul,
        "compat_ro_flags" / Int64ul,
        "incompat_flags" / Int64ul,
        "csum_type" / Int16ul,
        "root_level" / Int8ul,
        "chunk_root_level" / Int8ul,
        "log_root_level" / Int8ul,
        "devid" / Int64ul,
        Padding(90),
        "label" / Bytes(256),
        "cache_generation" / Int64ul,
        "uuid_tree_generation" / Int64ul,
        "metadata_uuid" / Bytes(16),
    )
)
SYS_CHUNK_ARRAY = 0x32B
node_header = Layout(
    Struct(
        "csum" / Bytes(32),
        "fsid" / Bytes(16),
        "bytenr" / Int64ul,
        "flags" / Int64ul,
        "chunk_tree_uuid" / Bytes(16),
        "generation" / Int64ul,
        "owner" / Int64ul,
        "nritems" / Int32ul,
        "level" / Int8ul,
    )
)
leaf_item = Layout(Struct("objectid" / Int64ul, "type" / Int8ul, "key_offset" / Int64ul, "offset" / Int32ul, "size" / Int32ul))
key_pointer = Layout(
    Struct("objectid" / Int64ul, "type" / Int8ul, "key_offset" / Int64ul, "blockptr" / Int64ul, "generation" / Int64ul)
)
disk_key = Layout(Struct("objectid" / Int64ul, "type" / Int8ul, "offset" / Int64ul))
chunk_item = Layout(
    Struct(
        "length" / Int64ul,
        "owner" / Int64ul,
        "stripe_len" / Int64ul,
        "type" / Int64ul,
        "io_align" / Int32ul,
        "io_width" / Int32ul,
        "sector_size" / Int32ul,
        "num_stripes" / Int16ul,
        "sub_stripes" / Int16ul,
    )
)
dev_item = Layout(
    Struct(
        "devid" / Int64ul, "total_bytes" / Int64ul, "bytes_used" / Int64ul, Padding(42), "uuid" / Bytes(16), "fsid" / Bytes(16)
    )
)
stripe = Layout(Struct("devid" / Int64ul, "offset" / Int64ul, "dev_uuid" / Bytes(16)))
inode_item = Layout(
    Struct(
        "generation" / Int64ul,
        "transid" / Int64ul,
        "size" / Int64ul,
        "nbytes" / Int64ul,
        "block_group" / Int64ul,
        "nlink" / Int32ul,
        "uid" / Int32ul,
        "gid" / Int32ul,
        "mode" / Int32ul,
        "rdev" / Int64ul,
        "flags" / Int64ul,
        "sequence" / Int64ul,
        Padding(32),
        "atime_sec" / Int64sl,
        "atime_nsec" / Int32ul,
        "ctime_sec" / Int64sl,
        "ctime_nsec" / Int32ul,
        "mtime_sec" / Int64sl,
        "mtime_nsec" / Int32ul,
        "otime_sec" / Int64sl,
        "otime_nsec" / Int32ul,
    )
)
dir_item = Layout(
    Struct(
        "objectid" / Int64ul,
        "key_type" / Int8ul,
        "key_offset" / Int64ul,
        "transid" / Int64ul,
        "data_len" / Int16ul,
        "name_len" / Int16ul,
        "type" / Int8ul,
    )
)
file_extent = Layout(
    Struct(
        "generation" / Int64ul,
        "ram_bytes" / Int64ul,
        "compression" / Int8ul,
        "encryption" / Int8ul,
        "other_encoding" / Int16ul,
        "type" / Int8ul,
    )
)
file_extent_place = Layout(Struct("disk_bytenr" / Int64ul, "disk_num_bytes" / Int64ul, "offset" / Int64ul, "num_bytes" / Int64ul))
root_item = Layout(
    Struct(
        Padding(160),
        "generation" / Int64ul,
        "root_dirid" / Int64ul,
        "bytenr" / Int64ul,
        "byte_limit" / Int64ul,
        "bytes_used" / Int64ul,
        "last_snapshot" / Int64ul,
        "flags" / Int64ul,
        "refs" / Int32ul,
        "drop_progress" / Bytes(17),
        "drop_level" / Int8ul,
        "level" / Int8ul,
    )
)
root_times = Layout(Struct(Padding(239), "generation_v2" / Int64ul, Padding(80), "ctime_sec" / Int64sl, "ctime_nsec" / Int32ul))
"""What a root item has behind the above, valid where generation_v2 is its generation."""
root_ref = Layout(Struct("dirid" / Int64ul, "sequence" / Int64ul, "name_len" / Int16ul))

DATA, METADATA = 1, 4
RAID0, RAID1, DUP, RAID10, RAID5, RAID6, RAID1C3, RAID1C4 = (1 << bit for bit in range(3, 11))
MIRRORED = RAID1 | DUP | RAID1C3 | RAID1C4


@dataclass(frozen=True, slots=True)
class Superblock:
    """What a mount starts from. fsid: of metadata, as nodes bear it. system_chunks: bytes of the array."""

    fsid: bytes
    uuid: bytes
    generation: int
    root: int
    root_level: int
    chunk_root: int
    chunk_root_level: int
    log_root: int
    total_bytes: int
    devices: int
    devid: int
    sector: int
    node: int
    checksum: int
    label: str | None
    system_chunks: bytes
    log_root_level: int
    no_holes: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of logical addresses and its stripes on devices, as (device id, byte on it)."""

    logical: int
    length: int
    stripe_len: int
    type: int
    sub_stripes: int
    stripes: tuple[tuple[int, int], ...]


def checksums(kind: int, data: bytes, size: int) -> bytes:
    """The checksum of each block of `size` bytes, one behind the other. kind: crc32c, xxhash64, SHA-256 or BLAKE2b."""
    if kind == 0:
        return crc32c_blocks(data, size)
    blocks = (data[at : at + size] for at in range(0, len(data), size))
    if kind == 1:
        return b"".join(xxhash.xxh64_intdigest(block).to_bytes(8, "little") for block in blocks)
    if kind == 2:
        return b"".join(hashlib.sha256(block).digest() for block in blocks)
    return b"".join(hashlib.blake2b(block, digest_size=32).digest() for block in blocks)


def is_whole(kind: int, block: bytes) -> bool:
    """Whether a superblock or tree node has the checksum with which it begins."""
    return checksums(kind, block[CSUM_SIZE:], len(block)) == block[: CHECKSUM_SIZES[kind]]


def parse_superblock(data: bytes, place: int) -> Superblock:
    """The superblock that stands at byte `place` of a device."""
    if len(data) < SUPERBLOCK_SIZE or data[64:72] != MAGIC:
        raise FormatError("no Btrfs superblock", offset=place)
    fields = superblock.fields(data)
    if fields["csum_type"] >= len(CHECKSUM_SIZES) or not is_whole(fields["csum_type"], data[:SUPERBLOCK_SIZE]):
        raise FormatError("the Btrfs superblock has a wrong checksum", offset=place)
    if fields["bytenr"] != place:
        raise FormatError(f"the Btrfs superblock says that it stands at byte {fields['bytenr']}", offset=place)
    unknown = fields["incompat_flags"] & ~_KNOWN_INCOMPAT
    if unknown:
        names = {_ZONED: "zoned devices", _EXTENT_TREE_V2: "extent tree v2", _RAID_STRIPE_TREE: "RAID stripe tree"}
        raise UnsupportedFormat(f"Btrfs with {names.get(unknown, f'unknown features {unknown:#x}')}", offset=place + 0xBC)
    sector, node = fields["sectorsize"], fields["nodesize"]
    if not (512 <= sector <= 65536 and sector <= node <= 65536 and sector & (sector - 1) == 0 and node & (node - 1) == 0):
        raise FormatError(f"sectors of {sector} and nodes of {node} bytes", offset=place + 0x90)
    if fields["sys_chunk_array_size"] > 2048:
        raise FormatError(f"a system chunk array of {fields['sys_chunk_array_size']} bytes", offset=place + 0xA0)
    metadata = fields["metadata_uuid"] if fields["incompat_flags"] & 1 << 10 else fields["fsid"]
    label = fields["label"].split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    return Superblock(
        metadata, fields["fsid"], fields["generation"], fields["root"], fields["root_level"], fields["chunk_root"],
        fields["chunk_root_level"], fields["log_root"], fields["total_bytes"], fields["num_devices"], fields["devid"], sector,
        node, fields["csum_type"], label or None,
        data[SYS_CHUNK_ARRAY : SYS_CHUNK_ARRAY + fields["sys_chunk_array_size"]],
        fields["log_root_level"], bool(fields["incompat_flags"] & _NO_HOLES),
    )  # fmt: skip


def parse_chunk(data: bytes, logical: int) -> tuple[Chunk, int]:
    """A chunk item and its length in bytes."""
    if len(data) < chunk_item.size:
        raise FormatError("a chunk item is cut short")
    fields = chunk_item.fields(data)
    count = fields["num_stripes"]
    end = chunk_item.size + count * stripe.size
    if not 1 <= count <= 4096 or end > len(data) or not 0 < fields["length"] < 1 << 62:
        raise FormatError(f"a chunk of {fields['length']} bytes with {count} stripes")
    kind, stripe_len = fields["type"], fields["stripe_len"]
    if kind & (RAID0 | RAID10 | RAID5 | RAID6) and not 4096 <= stripe_len <= 1 << 30:
        raise FormatError(f"a chunk with stripes of {stripe_len} bytes")
    if kind & RAID10 and (not 1 <= fields["sub_stripes"] <= count or count % fields["sub_stripes"]):
        raise FormatError(f"a RAID10 chunk of {count} stripes, {fields['sub_stripes']} alike")
    stripes = tuple(stripe.unpack(data, chunk_item.size + n * stripe.size)[:2] for n in range(count))
    return Chunk(logical, fields["length"], stripe_len, kind, fields["sub_stripes"], stripes), end


def system_chunks(array: bytes) -> list[Chunk]:
    """The chunks that the superblock lists, in which the chunk tree stands."""
    found = []
    at = 0
    while at + disk_key.size < len(array):
        _, kind, logical = disk_key.unpack(array, at)
        if kind != CHUNK_ITEM:
            raise FormatError(f"the system chunk array has an item of type {kind}")
        chunk, size = parse_chunk(array[at + disk_key.size :], logical)
        found.append(chunk)
        at += disk_key.size + size
    return found


def dir_items(data: bytes) -> list[tuple[int, int, int, int, bytes, bytes]]:
    """The entries of a DIR_ITEM, DIR_INDEX or XATTR_ITEM: objectid and type of the key, its offset, type, name and data."""
    found = []
    at = 0
    while at < len(data):
        if at + dir_item.size > len(data):
            raise FormatError("a directory item is cut short")
        objectid, key_type, offset, _, data_len, name_len, kind = dir_item.unpack(data, at)
        start = at + dir_item.size
        at = start + name_len + data_len
        if at > len(data):
            raise FormatError("a directory item is longer than its place")
        found.append((objectid, key_type, offset, kind, data[start : start + name_len], data[start + name_len : at]))
    return found


def xattrs(data: bytes) -> dict[bytes, bytes]:
    """The attributes in an XATTR_ITEM, by full name."""
    return {name: value for _, _, _, _, name, value in dir_items(data)}
