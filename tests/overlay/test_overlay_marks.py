"""Values of overlay xattrs, as kernels wrote them and as nobody should."""

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.errors import FormatError
from parsers.overlay_marks import (
    FileHandle,
    Metacopy,
    OverrideStat,
    is_fuse_opaque,
    is_opaque,
    parse_file_handle,
    parse_metacopy,
    parse_nlink,
    parse_override_stat,
    parse_protattr,
    parse_redirect,
    private_prefixes,
    visible_xattrs,
)

EXT4 = "00fb1d0001111111112222333344445555555555552300000" + "07ddfdf35"
XFS = "00fb210081" + "11" * 16 + "8100040000000000" + "816bca99"


@pytest.mark.parametrize(
    ("value", "opaque"),
    [(b"y", True), (b"x", False), (b"Y", False), (b"yes", False), (b"y\0", False), (b"", False), (None, False)],
)
def test_opaque_is_one_byte_y(value, opaque):
    assert is_opaque(value) is opaque


@pytest.mark.parametrize("value", [b"old", b"/d/ren2", b"..", b"x" * 300, b"caf\xe9"])
def test_redirects_the_kernel_takes(value):
    assert parse_redirect(value) == value


@pytest.mark.parametrize("value", [b"", b"/", b"//a", b"/a//b", b"/a/", b"a/b", b"../new/path"])
def test_redirects_the_kernel_refuses(value):
    with pytest.raises(FormatError):
        parse_redirect(value)


def test_a_redirect_ends_at_a_nul():
    assert parse_redirect(b"/a\0/b") == b"/a"


def test_metacopy():
    assert parse_metacopy(b"") == Metacopy(0, 0, None, b"")
    assert parse_metacopy(bytes.fromhex("00240001") + b"d" * 32) == Metacopy(0, 0, "sha256", b"d" * 32)
    assert parse_metacopy(bytes.fromhex("00440002") + b"d" * 64).digest_algo == "sha512"
    for value in (b"y", b"1", b"abc", bytes.fromhex("00250001") + b"d" * 32):
        with pytest.raises(FormatError):
            parse_metacopy(value)


def test_origin_of_ext4_xfs_and_btrfs():
    ext4 = uuid.UUID("11111111-2222-3333-4444-555555555555")
    assert parse_file_handle(bytes.fromhex(EXT4)) == FileHandle(1, False, ext4, 35, 903864189)
    xfs = parse_file_handle(bytes.fromhex(XFS))
    assert (xfs.type, xfs.inode, xfs.generation) == (0x81, 262273, 0x99CA6B81)
    upper = bytes.fromhex("00fb1d0401111111112222333344445555555555553e010000aa649b91")
    assert parse_file_handle(upper) == FileHandle(1, True, ext4, 318, 0x919B64AA)
    btrfs = bytes.fromhex("00fb29004d" + "22" * 16) + (257).to_bytes(8, "little") + (5).to_bytes(8, "little") + b"\7\0\0\0"
    found = parse_file_handle(btrfs)
    assert (found.inode, found.root, found.generation) == (257, 5, 7)


def test_origin_unknown_and_invalid():
    assert parse_file_handle(b"") is None
    assert parse_file_handle(b"\1" + bytes.fromhex(EXT4)[1:]) is None  # a later version
    assert parse_file_handle(bytes.fromhex("00fb1d00" + "77" + EXT4[10:])).inode is None
    assert parse_file_handle(bytes.fromhex("00fb1d0001" + "00" * 16 + "2300000001000000")).filesystem is None
    for value in (b"y", bytes.fromhex(EXT4)[:28], b"\0\xfa" + bytes.fromhex(EXT4)[2:], bytes.fromhex("00fb150001" + "11" * 16)):
        with pytest.raises(FormatError):
            parse_file_handle(value)


@given(st.binary(max_size=64), st.integers(0, 28), st.integers(0, 255))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_no_value_breaks_a_parser(value, at, byte):
    flipped = bytearray.fromhex(EXT4)
    flipped[at] = byte
    for parse in (parse_file_handle, parse_metacopy, parse_redirect, parse_nlink, parse_protattr, parse_override_stat):
        for data in (value, bytes(flipped), bytes(flipped)[:at]):
            try:
                parse(data)
            except FormatError:
                continue


def test_nlink_and_protattr():
    assert parse_nlink(b"U+0") == ("upper", 0)
    assert parse_nlink(b"U-1") == ("upper", -1)
    assert parse_nlink(b"L+12") == ("lower", 12)
    assert parse_protattr(b"i") == (False, True)
    assert parse_protattr(b"ai") == (True, True)


def test_owner_and_mode_overrides():
    assert parse_override_stat(b"65534:0:40755") == OverrideStat(65534, 0, 0o755)
    assert parse_override_stat(b"0:0:100600") == OverrideStat(0, 0, 0o600)
    assert parse_override_stat(b"0:5:755:char-1-3") == OverrideStat(0, 5, 0o755, "c")
    assert parse_override_stat(b"0:0:0777:pipe") == OverrideStat(0, 0, 0o777, "p")  # as containers/storage v1.57 wrote it
    for value in (b"", b"0:0", b"a:b:c", b"0:0:9", b"-1:0:755", b"0:0:7777777"):
        with pytest.raises(FormatError):
            parse_override_stat(value)


def test_fuse_overlayfs_asks_three_xattrs_in_order():
    assert is_fuse_opaque({}) is None
    assert is_fuse_opaque({b"user.overlay.opaque": b"n", b"user.fuseoverlayfs.opaque": b"y"}) is False
    assert is_fuse_opaque({b"user.fuseoverlayfs.opaque": b"yes"}) is True


def test_what_a_process_sees():
    xattrs = {
        b"trusted.overlay.origin": b"",
        b"trusted.overlay.overlay.opaque": b"y",
        b"trusted.overlay.overlay.overlay.redirect": b"/deep",
        b"user.overlay.opaque": b"n",
        b"security.selinux": b"s",
    }
    assert visible_xattrs(xattrs, "trusted") == {
        b"trusted.overlay.opaque": b"y",
        b"trusted.overlay.overlay.redirect": b"/deep",
        b"user.overlay.opaque": b"n",
        b"security.selinux": b"s",
    }
    assert visible_xattrs(xattrs, "user") == {k: v for k, v in xattrs.items() if k != b"user.overlay.opaque"}
    assert visible_xattrs(xattrs, "fuse") == {b"security.selinux": b"s"}
    assert visible_xattrs(xattrs, "aufs") == xattrs
    assert private_prefixes("none") == ()
