"""A superblock or descriptors that are damaged: a backup serves, and what cannot be is not believed."""

import random

import pytest

from parsers.crc32c import crc32c
from parsers.errors import FormatError, UnsupportedFormat
from parsers.ext4 import SUPERBLOCK, Incompat
from support.disks import MIB
from support.ext4_damage import BLOCK, opened, paths

FIELDS = ("s_log_block_size", "s_inodes_per_group", "s_blocks_per_group", "s_inode_size", "s_first_data_block", "s_desc_size")


class TestSuperblock:
    def test_a_backup_is_used(self, whole):
        for damage in (bytes(1024), random.Random(5).randbytes(1024), whole[1024:1040] + bytes(4) + whole[1044:2048]):
            data = bytearray(whole)
            data[1024:2048] = damage
            fs = opened(data)
            assert paths(fs.tree(2)) == paths(opened(whole).tree(2))
            assert [(problem.what, problem.offset) for problem in fs.problems] == [("superblock", 1024)]

    def test_and_a_backup_of_the_descriptors(self, whole):
        data = bytearray(whole)
        data[1024:4096] = bytes(3072)
        fs = opened(data)
        assert paths(fs.tree(2)) == paths(opened(whole).tree(2))
        assert {problem.what for problem in fs.problems} == {"superblock", "block group descriptor"}

    def test_none_is_left(self, whole):
        with pytest.raises(FormatError, match="magic"):
            opened(bytes(len(whole)))
        with pytest.raises(FormatError):
            opened(b"")

    def test_unknown_features_are_named(self, whole):
        known = SUPERBLOCK.fields(whole[1024:])["s_feature_incompat"]
        for feature, name in ((Incompat.COMPRESSION, "compression"), (0x80000000, "0x80000000")):
            with pytest.raises(UnsupportedFormat, match=name):
                opened(with_superblock(whole, "s_feature_incompat", known | feature))

    @pytest.mark.parametrize("field", FIELDS)
    def test_what_cannot_be_is_not_believed(self, whole, field):
        for value in (0xFFFF, 0, 3):
            for data in (with_superblock(whole, field, value), with_superblock(whole[: 8 * MIB // 2], field, value)):
                try:
                    opened(data).tree(2)
                except FormatError as error:
                    assert str(error)

    def test_a_cut_image_tells_what_is_missing(self, whole):
        fs = opened(whole[: 5 * MIB])
        assert b"/pieces" in paths(fs.tree(2))
        assert "missing" in fs.problems[0].error


def with_superblock(data, field, value):
    """An image whose superblock, checksum included, says something else, and that has no backup."""
    changed = bytearray(data[: len(data)])
    for group in (1, 3, 5, 7):
        start = (1 + group * 8192) * BLOCK
        if start < len(changed):
            changed[start : start + BLOCK] = bytes(len(changed[start : start + BLOCK]))
    at = 1024 + SUPERBLOCK.offset_of(field)
    size = 2 if field in ("s_inode_size", "s_desc_size") else 4
    changed[at : at + size] = value.to_bytes(size, "little")
    changed[2044:2048] = crc32c(bytes(changed[1024:2044])).to_bytes(4, "little")
    return changed
