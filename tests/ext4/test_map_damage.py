"""Damaged maps of blocks: extent trees, and indirect blocks that go in circles."""

import pytest

from parsers.errors import FormatError
from parsers.ext4_inode import EXTENT_HEADER, INODE
from support.disks import MIB
from support.ext4_damage import BLOCK, RAW_LAYOUTS, field_of, inode_at, number_of, opened
from support.ext4_images import make


class TestExtentTrees:
    @pytest.fixture
    def node(self, whole):
        """Where the leaf block of /pieces stands."""
        at = inode_at(whole, b"/pieces") + INODE.offset_of("i_block")
        assert EXTENT_HEADER.unpack(whole, at)[3] == 1
        return int.from_bytes(whole[at + 16 : at + 20], "little") * BLOCK

    def test_a_node_that_is_none(self, whole, node):
        data = bytearray(whole)
        data[node : node + BLOCK] = bytes(BLOCK)
        fs = opened(data)
        number = number_of(whole, b"/pieces")
        for read in (fs.read, fs.extents):
            with pytest.raises(FormatError) as told:
                read(number)
            assert told.value.offset == node
        assert number in fs.tree(2).inode.tolist()

    def test_a_node_that_is_its_own_child(self, whole, node):
        data = bytearray(whole)
        data[node : node + 12] = b"\x0a\xf3\x01\x00\x54\x00\x01\x00" + bytes(4)
        data[node + 12 : node + 24] = bytes(4) + (node // BLOCK).to_bytes(4, "little") + bytes(4)
        root = inode_at(whole, b"/pieces") + INODE.offset_of("i_block")
        data[root + 6] = 2
        with pytest.raises(FormatError):
            opened(data).read(number_of(whole, b"/pieces"))

    def test_extents_out_of_the_filesystem(self, whole, node):
        data = bytearray(whole)
        data[node + 12 + 8 : node + 24] = (0xFFFFFFF).to_bytes(4, "little")
        with pytest.raises(FormatError):
            opened(data).read(number_of(whole, b"/pieces"))

    def test_what_is_not_damaged_is_read(self, whole):
        """A bad second leaf loses its own range of the file only; here: the map beyond the end of the first extents."""
        data = field_of(whole, b"/var/lib/store/a/diff/big", "i_size_high", 0)
        at = inode_at(whole, b"/var/lib/store/a/diff/big") + INODE.offset_of("i_block")
        data[at + 4] = 0  # eh_max
        with pytest.raises(FormatError):
            opened(data).read(number_of(whole, b"/var/lib/store/a/diff/big"))
        assert opened(data).read(number_of(whole, b"/var/lib/store/b/diff/big"))


def test_an_indirect_block_that_is_its_own_child(directory, tmp_path):
    path = make(tmp_path / "fs.img", *RAW_LAYOUTS["indirect"], "-d", str(directory), size=8 * MIB)
    whole = path.read_bytes()
    number = number_of(whole, b"/var/lib/store/a/diff/big")
    at = inode_at(whole, b"/var/lib/store/a/diff/big") + INODE.offset_of("i_block") + 48
    block = int.from_bytes(whole[at : at + 4], "little")
    assert block
    content = opened(whole).read(number)
    data = bytearray(whole)
    data[at + 4 : at + 8] = block.to_bytes(4, "little")
    data[at - 48 + 4 * 5 : at - 48 + 4 * 6] = (0xFFFFFFF).to_bytes(4, "little")
    fs = opened(data)
    assert fs.read(number, 0, 5 * BLOCK) == content[: 5 * BLOCK]
    assert fs.read(number, 6 * BLOCK, 10 * BLOCK) == content[6 * BLOCK : 16 * BLOCK]
    with pytest.raises(FormatError):
        fs.read(number)
