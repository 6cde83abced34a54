"""overlayfs extended attributes: what they are called, what their values say, and which of them a process sees.

Linux 6.12, fs/overlayfs/overlayfs.h (struct ovl_fb, struct ovl_metacopy), util.c (ovl_xattr_table, ovl_get_redirect_xattr,
ovl_check_metacopy_xattr), xattrs.c; fuse-overlayfs 1.14, utils.c and main.c. A mount reads trusted.overlay.* or, mounted with
`userxattr`, user.overlay.*; never both.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from construct import Bytes, Int8ul, Int32ub, Int32ul, Int64ub, Int64ul, Struct

from parsers.errors import FormatError
from parsers.layout import Layout

PREFIXES = {"trusted": b"trusted.overlay.", "user": b"user.overlay."}
FUSE_PREFIXES = (b"user.fuseoverlayfs.", b"trusted.overlay.", b"user.overlay.")
FUSE_OPAQUE = (b"trusted.overlay.opaque", b"user.overlay.opaque", b"user.fuseoverlayfs.opaque")
OVERRIDE_STAT = (b"security.fuseoverlayfs.override_stat", b"user.containers.override_stat", b"user.fuseoverlayfs.override_stat")

_ESCAPE = b"overlay."  # what a nested overlay's private xattrs have between the prefix and their name

METACOPY_MIN = 4
_METACOPY = Layout(Struct("version" / Int8ul, "len" / Int8ul, "flags" / Int8ul, "digest_algo" / Int8ul))
_DIGESTS = {0: None, 1: "sha256", 2: "sha512"}  # linux/fsverity.h FS_VERITY_HASH_ALG_*

_FB_MAGIC = 0xFB
_FLAG_BIG_ENDIAN, _FLAG_ANY_ENDIAN, _FLAG_UPPER = 1, 2, 4
_FB = Layout(
    Struct(
        "version" / Int8ul, "magic" / Int8ul, "len" / Int8ul, "flags" / Int8ul, "type" / Int8ul, "uuid" / Bytes(16)
    )
)  # fmt: skip

# include/linux/exportfs.h: FILEID_INO32_GEN(_PARENT), FILEID_BTRFS_*; fs/xfs/xfs_export.h: 0x81 and 0x82 with 64-bit inodes
_FID_INO32 = (0x01, 0x02)
_FID_INO64 = (0x81, 0x82)
_FID_BTRFS = (0x4D, 0x4E, 0x4F)
_FIDS = {
    False: {
        _FID_INO32: Layout(Struct("inode" / Int32ul, "generation" / Int32ul)),
        _FID_INO64: Layout(Struct("inode" / Int64ul, "generation" / Int32ul)),
        _FID_BTRFS: Layout(Struct("inode" / Int64ul, "root" / Int64ul, "generation" / Int32ul)),
    },
    True: {
        _FID_INO32: Layout(Struct("inode" / Int32ub, "generation" / Int32ub)),
        _FID_INO64: Layout(Struct("inode" / Int64ub, "generation" / Int32ub)),
        _FID_BTRFS: Layout(Struct("inode" / Int64ub, "root" / Int64ub, "generation" / Int32ub)),
    },
}


@dataclass(frozen=True, slots=True)
class Metacopy:
    """`metacopy`: the file's bytes are a lower file's. digest: of that file's fs-verity, where digest_algo is not None."""

    version: int
    flags: int
    digest_algo: str | None
    digest: bytes


@dataclass(frozen=True, slots=True)
class FileHandle:
    """`origin` or `upper`: the inode that a file was copied from, or that an index entry stands for.

    upper: the inode is of the upper layer. filesystem: its UUID, None where the mount had uuid=off. inode, generation, root (a
    Btrfs subvolume): None where the handle is of a filesystem that is not known here.
    """

    type: int
    upper: bool
    filesystem: uuid.UUID | None
    inode: int | None
    generation: int | None
    root: int | None = None


@dataclass(frozen=True, slots=True)
class OverrideStat:
    """What fuse-overlayfs and containers/storage make of a file's owner and mode; mode: the low 12 bits.

    type: p, s, b or c, of what an empty regular file stands for; fuse-overlayfs 1.14 shows the file all the same.
    """

    uid: int
    gid: int
    mode: int
    type: str | None = None


def is_opaque(value: bytes | None) -> bool:
    """True for exactly one byte `y`; anything else, `yes` too, merges."""
    return value == b"y"


def is_fuse_opaque(xattrs: Mapping[bytes, bytes]) -> bool | None:
    """What fuse-overlayfs makes of a directory's xattrs: the first of FUSE_OPAQUE decides; None where there is none."""
    for name in FUSE_OPAQUE:
        if name in xattrs:
            return xattrs[name].startswith(b"y")
    return None


def parse_redirect(value: bytes) -> bytes:
    """The redirect as the kernel takes it: ended by a NUL, a path from the layer's root or one name beside.

    Raises FormatError for what the kernel refuses with EINVAL. `..` is refused later, when it is looked up.
    """
    if not value:
        raise FormatError("an empty redirect")
    path = value.split(b"\0", 1)[0]
    if path.startswith(b"/"):
        if b"" in path[1:].split(b"/"):
            raise FormatError(f"an absolute redirect with an empty name: {path!r}")
    elif b"/" in path:
        raise FormatError(f"a relative redirect of more than one name: {path!r}")
    return path


def parse_metacopy(value: bytes) -> Metacopy:
    """The `metacopy` xattr. Raises FormatError for 1 to 3 bytes (EIO in the kernel) and for a wrong length."""
    if not value:
        return Metacopy(0, 0, None, b"")
    if len(value) < METACOPY_MIN:
        raise FormatError(f"a metacopy xattr of {len(value)} bytes")
    version, length, flags, algorithm = _METACOPY.unpack(value)
    if length != len(value):
        raise FormatError(f"a metacopy xattr of {len(value)} bytes that says {length}", offset=1)
    return Metacopy(version, flags, _DIGESTS.get(algorithm, f"algorithm {algorithm}"), value[METACOPY_MIN:])


def parse_file_handle(value: bytes) -> FileHandle | None:
    """The `origin` or `upper` xattr; None for `copied up, origin unknown`. Raises FormatError for an invalid handle."""
    if not value:
        return None
    if len(value) < _FB.size:
        raise FormatError(f"a file handle of {len(value)} bytes")
    version, magic, length, flags, kind, fs_uuid = _FB.unpack(value)
    if magic != _FB_MAGIC or not _FB.size <= length <= len(value):
        raise FormatError("not an overlayfs file handle", offset=1)
    if version > 0 or flags & ~(_FLAG_BIG_ENDIAN | _FLAG_ANY_ENDIAN | _FLAG_UPPER):
        return None
    filesystem = uuid.UUID(bytes=bytes(fs_uuid)) if any(fs_uuid) else None
    fid = value[_FB.size : length]
    for kinds, layout in _FIDS[bool(flags & _FLAG_BIG_ENDIAN)].items():
        if kind in kinds:
            if len(fid) < layout.size:
                raise FormatError(f"a file handle of type {kind:#x} with {len(fid)} bytes", offset=_FB.size)
            found = layout.fields(fid)
            return FileHandle(kind, bool(flags & _FLAG_UPPER), filesystem, found["inode"], found["generation"], found.get("root"))
    return FileHandle(kind, bool(flags & _FLAG_UPPER), filesystem, None, None)


def parse_nlink(value: bytes) -> tuple[str, int]:
    """The `nlink` xattr, `U-1`: ('upper' or 'lower', difference): the union's link count less that inode's own."""
    base = {b"U": "upper", b"L": "lower"}.get(value[:1])
    sign, digits = value[1:2], value[2:]
    if base is None or sign not in (b"+", b"-") or not digits.isdigit() or len(value) > 12:
        raise FormatError(f"not a union link count: {value!r}")
    return base, int(sign + digits)


def parse_protattr(value: bytes) -> tuple[bool, bool]:
    """The `protattr` xattr as (append-only, immutable)."""
    if not value or value.strip(b"ai"):
        raise FormatError(f"not protected attributes: {value[:32]!r}")
    return b"a" in value, b"i" in value


OVERRIDDEN = {b"pipe": "p", b"socket": "s", b"block": "b", b"char": "c"}
"""Types that containers/storage gives regular files so."""


def parse_override_stat(value: bytes) -> OverrideStat:
    """An override_stat xattr, `uid:gid:mode` and what may follow; mode is octal, and its file type bits do not count."""
    fields = value.rstrip(b"\0").split(b":")
    try:
        uid, gid, mode = int(fields[0]), int(fields[1]), int(fields[2], 8)
    except (ValueError, IndexError):
        raise FormatError(f"not an override of owner and mode: {value[:64]!r}") from None
    if not (0 <= uid < 2**32 and 0 <= gid < 2**32 and 0 <= mode < 2**16):
        raise FormatError(f"an owner or mode out of range: {value[:64]!r}")
    said = fields[3].partition(b"-")[0] if len(fields) > 3 else b""
    return OverrideStat(uid, gid, mode & 0o7777, OVERRIDDEN.get(said))


def private_prefixes(marks: str) -> tuple[bytes, ...]:
    """The prefixes of xattrs that are the overlay's own and that no process sees; for Layer.marks."""
    if marks == "fuse":
        return FUSE_PREFIXES
    return (PREFIXES[marks],) if marks in PREFIXES else ()


def visible_xattrs(xattrs: Mapping[bytes, bytes], marks: str) -> dict[bytes, bytes]:
    """The xattrs as a process in the overlay sees them: private ones left out, a nested overlay's unescaped by one level."""
    prefixes = private_prefixes(marks)
    if not prefixes:
        return dict(xattrs)
    if marks == "fuse":
        return {name: value for name, value in xattrs.items() if not name.startswith(prefixes)}
    (prefix,) = prefixes
    escaped = prefix + _ESCAPE
    seen = {}
    for name, value in xattrs.items():
        if name.startswith(escaped):
            seen[prefix + name[len(escaped) :]] = value
        elif not name.startswith(prefix):
            seen[name] = value
    return seen
