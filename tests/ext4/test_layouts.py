"""What is derived from a declaration reads as the declaration does; single inodes and tables of them read alike."""

import construct
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.filesystem import NO_TIME
from forensics.filesystems.ext4.columns import TIMES, columns
from forensics.filesystems.ext4.inodes import records
from parsers import ext4, ext4_inode, ext4_xattr
from parsers.crc32c import crc32c, crc32c_rows
from parsers.errors import FormatError
from parsers.ext4_inode import device, parse_inode
from parsers.layout import Layout

LAYOUTS = [
    ext4.SUPERBLOCK, ext4.GROUP_DESC, ext4_inode.INODE, ext4_inode.INODE_EXTRA, ext4_inode.EXTENT_HEADER, ext4_inode.EXTENT,
    ext4_inode.EXTENT_INDEX, ext4_inode.DIR_ENTRY, ext4_xattr.BLOCK_HEADER, ext4_xattr.ENTRY,
]  # fmt: skip
SIZES = {ext4.SUPERBLOCK: 1024, ext4.GROUP_DESC: 64, ext4_inode.INODE: 128, ext4_inode.INODE_EXTRA: 32, ext4_inode.EXTENT: 12}


def plain(value):
    return list(value) if isinstance(value, list | tuple | construct.ListContainer) else value


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_decoders_agree(layout, data):
    raw = data.draw(st.binary(min_size=layout.size, max_size=layout.size))
    declared = layout.declaration.parse(raw)
    table = np.frombuffer(raw + bytes(8), layout.dtype(layout.size + 8))[0]
    for name, value in layout.fields(raw).items():
        assert plain(value) == plain(declared[name])
        kind = table[name]
        assert (kind.tobytes() if kind.dtype.kind == "V" else plain(kind.tolist())) == plain(value)
        assert raw[layout.offset_of(name) :].startswith(kind.tobytes())
        if not isinstance(value, tuple):
            assert layout.part(name)(raw) == (value,)


def test_sizes_are_those_of_the_kernel():
    assert {layout: layout.size for layout in SIZES} == SIZES


def test_what_a_layout_cannot_hold():
    for declaration in (construct.Struct("a" / construct.VarInt), construct.Struct("a" / construct.Int8ul[2][3])):
        with pytest.raises((ValueError, construct.SizeofError)):
            Layout(declaration)
    with pytest.raises(ValueError, match="byte order"):
        Layout(construct.Struct("a" / construct.Int16ul, "b" / construct.Int16ub))
    big = Layout(construct.Struct("a" / construct.Int16ub, "b" / construct.Const(7, construct.Int32ub)))
    assert big.unpack(b"\1\2\0\0\0\7") == (0x102, 7)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
@pytest.mark.parametrize("size", [128, 256, 1024])
@pytest.mark.parametrize("large", [False, True])
def test_an_inode_alone_and_in_a_table(size, large, data):
    raw = bytearray(data.draw(st.binary(min_size=size, max_size=size)))
    raw[26] |= 1  # a link count
    if size > 128:
        raw[128:130] = data.draw(st.sampled_from([0, 4, 8, 12, 16, 20, 24, 28, 32, 96, 97, 2000])).to_bytes(2, "little")
    table = columns(records(np.frombuffer(bytes(raw), np.uint8).reshape(1, -1)), large)
    try:
        inode = parse_inode(bytes(raw), large)
    except FormatError:
        assert table.type[0] == 0
        return
    kind = chr(table.type[0]) if table.type[0] else "?"
    assert kind == inode.type
    if kind == "?":
        return
    assert (int(table.mode[0]), int(table.uid[0]), int(table.gid[0])) == (inode.mode & 0xFFF, inode.uid, inode.gid)
    assert (int(table.size[0]), int(table.links[0]), int(table.flags[0])) == (inode.size, inode.links, inode.flags)
    assert (int(table.file_acl[0]), int(table.sectors[0])) == (inode.file_acl, inode.sectors)
    assert (int(table.major[0]), int(table.minor[0])) == (device(inode.block) if kind in "cb" else (0, 0))
    for name in TIMES:
        value = int(table.times[name][0])
        assert (table.far_times.get((0, name)) if value == NO_TIME else value) == getattr(inode, name)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.binary(min_size=37, max_size=37), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_checksums_of_rows(rows, seed):
    table = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
    assert crc32c_rows(table, seed).tolist() == [crc32c(row, seed) for row in rows]


def test_checksum_of_a_known_text():
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283  # the check value of CRC-32C


ACL_ON_DISK = bytes.fromhex("01000000 01000700 02000600d2040000 04000500 10000700 20000400")
ACL_SHOWN = bytes.fromhex("02000000 01000700ffffffff 02000600d2040000 04000500ffffffff 10000700ffffffff 20000400ffffffff")


def test_access_control_lists_are_shown_as_the_kernel_does():
    assert ext4_xattr.shown_acl(ACL_ON_DISK) == ACL_SHOWN
    for end in range(len(ACL_ON_DISK)):
        try:
            shown = ext4_xattr.shown_acl(ACL_ON_DISK[:end])
        except FormatError:
            continue
        assert ACL_SHOWN.startswith(shown)
    for wrong in (ACL_SHOWN, b"", b"\1\0\0\0\3\0\7\0"):
        with pytest.raises(FormatError):
            ext4_xattr.shown_acl(wrong)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_attributes_of_any_bytes(noise):
    header = (0xEA020000).to_bytes(4, "little")
    for found in (
        ext4_xattr.parse_ibody(bytes(160) + header + noise, 32),
        ext4_xattr.parse_block(header + b"\1\0\0\0" * 2 + bytes(20) + noise),
    ):
        assert all(len(entry.value or b"") <= len(noise) for entry in found.entries)
