"""device-mapper's own metadata: a thin pool's B+tree, a snapshot's exception store, a RAID leg's superblock.

Source: Linux 6.6, drivers/md/dm-thin-metadata.c, persistent-data/dm-btree-internal.h, dm-snap-persistent.c, dm-raid.c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from construct import Bytes, Int32ul, Int64ul, Padding, Struct
from numpy.typing import NDArray

from parsers.crc32c import crc32c
from parsers.errors import FormatError
from parsers.layout import Layout

BLOCK = 4096
THIN_MAGIC = 27022010
SNAP_MAGIC = 0x70416E53
RAID_MAGIC = 0x64526D44
SECTOR = 512
_INTERNAL, _LEAF = 1, 2
_SUPERBLOCK_XOR, _NODE_XOR = 160774, 121107

thin_superblock = Layout(
    Struct(
        "csum" / Int32ul,
        "flags" / Int32ul,
        "blocknr" / Int64ul,
        "uuid" / Bytes(16),
        "magic" / Int64ul,
        "version" / Int32ul,
        "time" / Int32ul,
        "trans_id" / Int64ul,
        "held_root" / Int64ul,
        Padding(256),
        "data_mapping_root" / Int64ul,
        "device_details_root" / Int64ul,
        "data_block_size" / Int32ul,
        "metadata_block_size" / Int32ul,
    )
)
node_header = Layout(
    Struct(
        "csum" / Int32ul,
        "flags" / Int32ul,
        "blocknr" / Int64ul,
        "nr_entries" / Int32ul,
        "max_entries" / Int32ul,
        "value_size" / Int32ul,
        Padding(4),
    )
)
snapshot_header = Layout(Struct("magic" / Int32ul, "valid" / Int32ul, "version" / Int32ul, "chunk_size" / Int32ul))
raid_superblock = Layout(
    Struct(
        "magic" / Int32ul,
        "compat_features" / Int32ul,
        "num_devices" / Int32ul,
        "array_position" / Int32ul,
        "events" / Int64ul,
        "failed_devices" / Int64ul,
        "disk_recovery_offset" / Int64ul,
        "array_resync_offset" / Int64ul,
    )
)
WHOLE = (1 << 64) - 1
"""disk_recovery_offset of a leg that is whole."""


@dataclass(frozen=True, slots=True)
class ThinPool:
    """A thin pool. chunk: bytes of a data block. root: the block of the B+tree of its devices."""

    chunk: int
    root: int


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a B+tree: keys in order, and 8-byte values: blocks of children where it is no leaf."""

    leaf: bool
    keys: NDArray[np.uint64]
    values: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class RaidLeg:
    """What a leg of a RAID says of itself and of the others. failed: the positions that were thrown out, as bits."""

    position: int
    events: int
    failed: int
    whole: bool


def parse_thin_pool(data: bytes) -> ThinPool:
    """The superblock of a thin pool's metadata, its first block."""
    if len(data) < thin_superblock.size:
        raise FormatError("the thin pool's superblock is cut short", offset=0)
    fields = thin_superblock.fields(data)
    if fields["magic"] != THIN_MAGIC:
        raise FormatError("no thin pool's superblock", offset=32)
    if crc32c(data[4:BLOCK]) ^ _SUPERBLOCK_XOR != fields["csum"]:
        raise FormatError("the thin pool's superblock has a wrong checksum", offset=0)
    chunk = fields["data_block_size"] * SECTOR
    if not 64 << 10 <= chunk <= 1 << 30 or fields["metadata_block_size"] * SECTOR != BLOCK:
        raise FormatError(f"a thin pool with chunks of {chunk} bytes", offset=336)
    return ThinPool(chunk, fields["data_mapping_root"])


def parse_node(data: bytes, block: int) -> Node:
    """A B+tree's node, which says that it stands in metadata block `block`."""
    if len(data) < BLOCK:
        raise FormatError(f"metadata block {block} lies behind the end", offset=block * BLOCK)
    fields = node_header.fields(data)
    if crc32c(data[4:BLOCK]) ^ _NODE_XOR != fields["csum"]:
        raise FormatError(f"metadata block {block} has a wrong checksum", offset=block * BLOCK)
    count, most = fields["nr_entries"], fields["max_entries"]
    if fields["blocknr"] != block or fields["flags"] not in (_INTERNAL, _LEAF) or fields["value_size"] != 8:
        raise FormatError(f"metadata block {block} is no node of the tree", offset=block * BLOCK)
    if count > most or node_header.size + 16 * most > BLOCK:
        raise FormatError(f"metadata block {block} has {count} of {most} entries", offset=block * BLOCK)
    keys = np.frombuffer(data, "<u8", count, node_header.size)
    values = np.frombuffer(data, "<u8", count, node_header.size + 8 * most)
    return Node(fields["flags"] == _LEAF, keys, values)


def parse_snapshot(data: bytes) -> int:
    """The chunk size in bytes of a snapshot's exception store. FormatError where it is none, or was given up as full."""
    if len(data) < snapshot_header.size:
        raise FormatError("the snapshot's header is cut short", offset=0)
    fields = snapshot_header.fields(data)
    if fields["magic"] != SNAP_MAGIC or fields["version"] != 1:
        raise FormatError("no snapshot's header", offset=0)
    if not fields["valid"]:
        raise FormatError("the snapshot is invalid: it had no room left", offset=4)
    chunk: int = fields["chunk_size"] * SECTOR
    if not 512 <= chunk <= 16 << 20 or chunk & (chunk - 1):
        raise FormatError(f"a snapshot with chunks of {chunk} bytes", offset=12)
    return chunk


def parse_exceptions(area: bytes) -> tuple[dict[int, int], bool]:
    """The chunks that an area says were copied, old number to new, and whether it is the last one."""
    pairs = np.frombuffer(area, "<u8", len(area) // 16 * 2).reshape(-1, 2)
    ends = np.flatnonzero(pairs[:, 1] == 0)
    used = pairs[: int(ends[0])] if ends.size else pairs
    return dict(zip(used[:, 0].tolist(), used[:, 1].tolist(), strict=True)), bool(ends.size)


def parse_raid_leg(data: bytes) -> RaidLeg | None:
    """The superblock of a RAID's leg, None where there is none."""
    if len(data) < raid_superblock.size:
        return None
    fields = raid_superblock.fields(data)
    if fields["magic"] != RAID_MAGIC:
        return None
    whole = fields["disk_recovery_offset"] == WHOLE
    return RaidLeg(fields["array_position"], fields["events"], fields["failed_devices"], whole)
