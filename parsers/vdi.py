"""VirtualBox disk images (VDI), version 1.1: the header and the block map.

Source: VirtualBox 7.0, src/VBox/Storage/VDICore.h; QEMU 8.2, block/vdi.c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from construct import Bytes, Int32ul, Int64ul, Padding, Struct
from numpy.typing import NDArray

from parsers.errors import FormatError, UnsupportedFormat
from parsers.layout import Layout

UNALLOCATED = 0xFFFFFFFE
"""From this block number on: a block that was discarded (zeros), and one that was never written."""
DYNAMIC, STATIC = 1, 2
MAX_BLOCKS = 1 << 26

vdi_header = Layout(
    Struct(
        "text" / Bytes(64),
        "signature" / Int32ul,
        "version" / Int32ul,
        "header_size" / Int32ul,
        "image_type" / Int32ul,
        "image_flags" / Int32ul,
        "description" / Bytes(256),
        "offset_bmap" / Int32ul,
        "offset_data" / Int32ul,
        Padding(12),
        "sector_size" / Int32ul,
        Padding(4),
        "disk_size" / Int64ul,
        "block_size" / Int32ul,
        "block_extra" / Int32ul,
        "blocks_in_image" / Int32ul,
        "blocks_allocated" / Int32ul,
        "uuid_image" / Bytes(16),
    )
)
SIGNATURE = 0xBEDA107F


@dataclass(frozen=True, slots=True)
class Header:
    """block_extra: bytes that stand before each block's data. All in bytes but blocks."""

    size: int
    block_size: int
    block_extra: int
    blocks: int
    map_offset: int
    data_offset: int


def parse_header(data: bytes) -> Header:
    """The header; differencing images, whose other blocks are another file's, are named and not read."""
    if len(data) < vdi_header.size:
        raise FormatError("the header is cut short")
    fields = vdi_header.fields(data)
    if fields["signature"] != SIGNATURE:
        raise FormatError("no VDI signature", offset=64)
    if fields["version"] >> 16 != 1:
        raise UnsupportedFormat(f"VDI version {fields['version'] >> 16}.{fields['version'] & 0xFFFF}", offset=68)
    if fields["image_type"] not in (DYNAMIC, STATIC):
        kind = {3: "undo", 4: "differencing"}.get(fields["image_type"], str(fields["image_type"]))
        raise UnsupportedFormat(f"a VDI of type {kind}; merge it with its parent: VBoxManage clonemedium", offset=76)
    size, block, blocks = fields["disk_size"], fields["block_size"], fields["blocks_in_image"]
    if not 512 <= block <= 1 << 30 or blocks > MAX_BLOCKS or blocks * block < size:
        raise FormatError(f"{size} bytes in {blocks} blocks of {block}", offset=368)
    return Header(size, block, fields["block_extra"], blocks, fields["offset_bmap"], fields["offset_data"])


def parse_map(data: bytes, blocks: int) -> NDArray[np.uint32]:
    """For each block of the disk, its number in the file, or UNALLOCATED and above."""
    if len(data) < 4 * blocks:
        raise FormatError("the block map is cut short")
    return np.frombuffer(data, "<u4", blocks)
