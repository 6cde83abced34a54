"""Disk image formats and compressed files, told by their signature, so that none of them is taken for a raw disk image.

What is not read has a remedy; what is read has none.

Source: libewf's, libvmdk's and libvhdi's format documents, docs/interop/qcow2.txt of QEMU 8, the VirtualBox, Parallels and AFF4
headers as QEMU's block drivers and libaff4 read them, RFC 1952 and 8878, xz-file-format.txt.
"""

from __future__ import annotations

HEAD_SIZE = 512
TAIL_SIZE = 512

_QEMU_IMG = "convert it first: qemu-img convert -O raw IMAGE disk.raw"
_UNPACK = "have it unpacked with carve --unpack DIR"

_ZIP = b"PK\x03\x04"
# an AFF4 volume is a ZIP file that has its name in the archive's comment and in its first member
_AFF4_URN, _AFF4_MEMBER = b"aff4://", b"container.description"

# name, offset, magic, what to do
_HEAD: tuple[tuple[str, int, bytes, str | None], ...] = (
    ("E01", 0, b"EVF\x09\x0d\x0a\xff\x00", None),
    ("Ex01", 0, b"EVF2\x0d\x0a\x81\x00", None),
    ("EnCase logical evidence (L01)", 0, b"LVF\x09\x0d\x0a\xff\x00", "it holds files, no disk; acquire the disk itself"),
    ("AFF", 0, b"AFF10\r\n\x00", "convert it first: affconvert -r IMAGE"),
    ("QCOW2", 0, b"QFI\xfb\0\0\0\x02", None),
    ("QCOW2", 0, b"QFI\xfb\0\0\0\x03", None),
    ("QCOW", 0, b"QFI\xfb", _QEMU_IMG),
    ("QED", 0, b"QED\0", _QEMU_IMG),
    ("VMDK", 0, b"KDMV", None),
    ("VMDK", 0, b"COWD", None),
    ("VMDK", 0, b"# Disk DescriptorFile", None),
    ("VHD", 0, b"vhdxfile", None),
    ("VHD", 0, b"conectix", None),
    ("VDI", 64, b"\x7f\x10\xda\xbe", None),
    ("Parallels", 0, b"WithoutFreeSpace", _QEMU_IMG),
    ("Parallels", 0, b"WithouFreSpacExt", _QEMU_IMG),
    ("Android sparse", 0, b"\x3a\xff\x26\xed", "convert it first: simg2img IMAGE disk.raw"),
    ("gzip", 0, b"\x1f\x8b\x08", _UNPACK),
    ("zstd", 0, b"\x28\xb5\x2f\xfd", _UNPACK),
    ("xz", 0, b"\xfd7zXZ\x00", _UNPACK),
    ("bzip2", 0, b"BZh", _UNPACK),
    ("lz4", 0, b"\x04\x22\x4d\x18", "unpack it first: lz4 -d IMAGE"),
    ("ZIP", 0, _ZIP, "unpack it first: unzip IMAGE"),
    ("7-Zip", 0, b"7z\xbc\xaf\x27\x1c", "unpack it first: 7z x IMAGE"),
    ("cpio", 0, b"070701", "unpack it first, as root: cpio -idm < IMAGE; then give the directory"),
    ("tar", 257, b"ustar", None),
)
_TAIL: tuple[tuple[str, int, bytes, str | None], ...] = (
    ("VHD", 0, b"conectix", None),
    ("Apple DMG", 0, b"koly", "convert it first: hdiutil convert -format UDTO IMAGE"),
)


def name_format(head: bytes, tail: bytes) -> tuple[str, str | None] | None:
    """A file's format and its remedy, by its first HEAD_SIZE and last TAIL_SIZE bytes; None if it may be raw."""
    if head.startswith(_ZIP) and (_AFF4_URN in tail or _AFF4_MEMBER in head):
        return "AFF4", "export it first with the program that made it, as E01 or raw; aff4imager -e does, too"
    for signatures, data in ((_HEAD, head), (_TAIL, tail)):
        for name, offset, magic, remedy in signatures:
            if data[offset : offset + len(magic)] == magic:
                return name, remedy
    return None
