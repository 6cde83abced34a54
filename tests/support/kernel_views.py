"""One form for what the kernel, and our reader in each of its ways, say of everything in a filesystem."""

import ctypes
import hashlib
import os
import random
import stat
import struct
from contextlib import contextmanager

import pytest

from forensics.filesystem import NO_TIME
from support.disks import MIB, run
from support.tree_from_directory import TYPES

LIBC = ctypes.CDLL(None, use_errno=True)
BTIME = 0x800
LARGE = 64 * MIB
FAR_SECONDS = 15032385535  # the last that two epoch bits can hold


@contextmanager
def mounted(image, where, *options):
    """A loop mount; skips where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    where.mkdir(exist_ok=True)
    try:
        run("mount", "-o", ",".join(("loop", *options)), image, where)
    except AssertionError as error:
        pytest.skip(f"no loop mount of this here: {error}")
    try:
        yield where
    finally:
        run("umount", where)


def birth(path):
    """A file's birth time in nanoseconds as statx tells it, None where it does not."""
    told = ctypes.create_string_buffer(256)
    assert LIBC.statx(-100, path, 0x100, 0xFFF, told) == 0
    (mask,) = struct.unpack_from("<I", told.raw, 0)
    seconds, fraction = struct.unpack_from("<qI", told.raw, 0x50)
    return seconds * 10**9 + fraction if mask & BTIME else None


def of_directory(top):
    """What the kernel shows below a directory: path to everything that it tells."""
    top = os.fsencode(top)
    found, pending = {}, [b""]
    while pending:
        path = pending.pop()
        here = top + path
        st = os.lstat(here)
        kind = TYPES[stat.S_IFMT(st.st_mode)]
        found[path] = {
            "inode": st.st_ino, "type": kind, "mode": st.st_mode & 0o7777, "uid": st.st_uid, "gid": st.st_gid,
            "nlink": st.st_nlink, "size": None if kind == "d" else st.st_size, "mtime": st.st_mtime_ns,
            "atime": st.st_atime_ns, "ctime": st.st_ctime_ns, "crtime": birth(here),
            "rdev": (os.major(st.st_rdev), os.minor(st.st_rdev)) if kind in "cb" else None,
            "target": os.readlink(here) if kind == "l" else None,
            "xattrs": attributes(here),
            "sha256": digest_of_file(here) if kind == "f" else None,
        }  # fmt: skip
        if kind == "d":
            pending += [path + b"/" + name for name in os.listdir(here)]
    return found


def attributes(path):
    names = os.listxattr(path, follow_symlinks=False)
    return {os.fsencode(name): os.getxattr(path, name, follow_symlinks=False) for name in names}


def part_to_digest(size):
    """From where on content is compared: all of it, or the end of what is very sparse."""
    return 0 if size < LARGE else size - MIB


def digest_of_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(part_to_digest(os.path.getsize(path)))
        while piece := file.read(MIB):
            digest.update(piece)
    return digest.hexdigest()


def one_by_one(fs):
    """What the reader's single calls tell."""
    found, pending = {}, [(b"", fs.root)]
    while pending:
        path, number = pending.pop()
        i = fs.inode(number)
        digest = hashlib.sha256()
        for at in range(part_to_digest(i.size), i.size if i.type == "f" else 0, MIB):
            digest.update(fs.read(number, at, MIB))
        found[path] = {
            "inode": number, "type": i.type, "mode": i.mode, "uid": i.uid, "gid": i.gid, "nlink": i.nlink,
            "size": None if i.type == "d" else i.size, "mtime": i.mtime_ns, "atime": i.atime_ns, "ctime": i.ctime_ns,
            "crtime": i.crtime_ns, "rdev": i.rdev, "target": fs.target(number) if i.type == "l" else None,
            "xattrs": fs.xattrs(number), "sha256": digest.hexdigest() if i.type == "f" else None,
        }  # fmt: skip
        if i.type == "d":
            entries = fs.entries(number)
            assert [e.name for e in entries] == sorted(e.name for e in entries)
            for entry in entries:
                assert fs.find(number, entry.name) == entry.inode
                pending.append((path + b"/" + entry.name, entry.inode))
    return found


def in_bulk(fs, top=None):
    """What the reader's tree tells, contents by their extents."""
    tree = fs.tree(fs.root if top is None else top)
    extents = fs.extents_of([int(n) for n, kind in zip(tree.inode, tree.type, strict=True) if kind == ord("f")])
    found, paths = {}, []

    def time(row, name):
        value = int(getattr(tree, name)[row])
        return tree.far_times.get((row, name)) if value == NO_TIME else value

    for row in range(len(tree)):
        parent = int(tree.parent[row])
        assert parent < row
        paths.append(b"" if parent < 0 else paths[parent] + b"/" + tree.names[row])
        kind, number = chr(tree.type[row]), int(tree.inode[row])
        place = fs.inode(number).offset
        assert (-1 if place is None else place) == int(tree.offset[row])
        if number in extents:
            assert extents[number] == list(fs.extents(number))
        found[paths[row]] = {
            "inode": number, "type": kind, "mode": int(tree.mode[row]), "uid": int(tree.uid[row]), "gid": int(tree.gid[row]),
            "nlink": int(tree.nlink[row]), "size": None if kind == "d" else int(tree.size[row]), "mtime": time(row, "mtime_ns"),
            "atime": time(row, "atime_ns"), "ctime": time(row, "ctime_ns"), "crtime": time(row, "crtime_ns"),
            "rdev": (int(tree.rdev_major[row]), int(tree.rdev_minor[row])) if kind in "cb" else None,
            "target": tree.targets.get(row), "xattrs": tree.xattrs.get(row, {}),
            "sha256": digest_by_extents(fs, number) if kind == "f" else None,
        }  # fmt: skip
    return found


def digest_by_extents(fs, number):
    size, extents = fs.inode(number).size, fs.extents(number)
    if extents is None or size >= LARGE:
        return hashlib.sha256(fs.read(number, part_to_digest(size))).hexdigest()
    digest, at = hashlib.sha256(), 0
    for extent in extents:
        if extent.logical >= size:
            break  # reserved behind the end
        zeros(digest, extent.logical - at)
        length = min(extent.length, size - extent.logical)
        if extent.offset is None:
            zeros(digest, length)
        else:
            digest.update(fs.source.read(extent.offset, length))
        at = extent.logical + length
    zeros(digest, size - at)
    return digest.hexdigest()


def zeros(digest, count):
    while count > 0:
        digest.update(bytes(min(count, MIB)))
        count -= MIB


def differences(told, truth, leave_out=()):
    """What is told otherwise than it is, by path; short enough to be read."""
    found = dict.fromkeys(truth.keys() - told.keys(), "missing") | dict.fromkeys(told.keys() - truth.keys(), "extra")
    for path in truth.keys() & told.keys():
        for name, value in truth[path].items():
            if name not in leave_out and told[path][name] != value:
                found[path] = f"{name}: {told[path][name]!r} is {value!r}"
    return dict(sorted(found.items())[:5])


def fill(top, noise):
    """Files of every kind, with what is awkward about them; as much of it as this user may make."""
    top = os.fsencode(top)
    _contents(top, noise)
    _names(top)
    _links_and_nodes(top)
    _attributes(top, noise)
    _owners_and_times(top)


def put(path, data):
    with open(path, "wb") as file:
        file.write(data)


def mark(path, name, value):
    """Give an attribute, unless there is no room for it."""
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as error:
        assert error.errno in (28, 7, 95), (path, name, error)


def _contents(top, noise):
    os.mkdir(top + b"/sizes")
    for size in (0, 1, 59, 60, 61, 100, 132, 156, 157, 400, 1023, 1024, 1025, 4095, 4096, 4097, 70000):
        put(top + b"/sizes/%d" % size, noise.randbytes(size))
    for size in (40, 60, 61, 90):
        put(top + b"/sizes/before%d" % size, noise.randbytes(size))
        mark(top + b"/sizes/before%d" % size, "user.a", b"x" * 5)
        put(top + b"/sizes/after%d" % size, b"")
        mark(top + b"/sizes/after%d" % size, "user.a", b"x" * 5)
        put(top + b"/sizes/after%d" % size, noise.randbytes(size))
    with open(top + b"/holes", "wb") as file:
        for at in (0, 1 << 20, 5 << 20):
            file.seek(at)
            file.write(noise.randbytes(5000))
        file.truncate(6 << 20)
    with open(top + b"/pieces", "wb") as file:  # more extents than one block of an extent tree of 1 KiB holds
        for number in range(200):
            file.seek(number * 8192)
            file.write(noise.randbytes(4096))
    with open(top + b"/far", "wb") as file:
        file.seek(1 << 31)
        file.write(b"end")
    with open(top + b"/unwritten", "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, 300000)
        file.seek(100000)
        file.write(noise.randbytes(3000))


def _names(top):
    os.mkdir(top + b"/names")
    for name in (b"a" * 255, b"caf\xe9", "日本".encode(), b"new\nline", b" lead", b"trail ", b"...", b"..a", b".b", b"\x01"):
        put(top + b"/names/" + name, name)
    os.mkdir(top + b"/many")
    for number in range(900):
        put(top + b"/many/a-rather-long-name-so-that-blocks-fill-%05d" % number, b"")
    for number in range(0, 900, 7):
        os.unlink(top + b"/many/a-rather-long-name-so-that-blocks-fill-%05d" % number)
    for number in range(1, 12):
        os.makedirs(top + b"/few/%d" % number)
        for entry in range(number):
            put(top + b"/few/%d/f%d" % (number, entry), b"z")
    os.makedirs(top + b"/deep" + b"".join(b"/%d" % level for level in range(70)))


def _links_and_nodes(top):
    os.mkdir(top + b"/links")
    for length in (1, 59, 60, 61, 141, 900):
        os.symlink(b"y" * length, top + b"/links/%d" % length)
    os.symlink(b"\xff\xfe", top + b"/links/bytes")
    os.link(top + b"/sizes/100", top + b"/links/hard")
    os.mkfifo(top + b"/fifo")
    os.mknod(top + b"/sock", stat.S_IFSOCK | 0o600)
    if os.geteuid() == 0:
        for name, kind, device in (
            ("null", stat.S_IFCHR, (1, 3)), ("whiteout", stat.S_IFCHR, (0, 0)), ("old", stat.S_IFCHR, (255, 255)),
            ("new", stat.S_IFCHR, (300, 70000)), ("disk", stat.S_IFBLK, (8, 1)),
        ):  # fmt: skip
            os.mknod(top + b"/" + name.encode(), kind | 0o600, os.makedev(*device))


def _attributes(top, noise):
    os.mkdir(top + b"/xattrs")
    for name, size in (("none", 0), ("some", 30), ("block", 700), ("far", 5000)):
        put(top + b"/xattrs/" + name.encode(), b"")
        mark(top + b"/xattrs/" + name.encode(), "user.value", noise.randbytes(size))
    for number in range(3):
        put(top + b"/xattrs/shared%d" % number, b"s")
        mark(top + b"/xattrs/shared%d" % number, "user.shared", b"S" * 600)
    put(top + b"/xattrs/many", b"")
    for number in range(9):
        mark(top + b"/xattrs/many", f"user.k{number}", noise.randbytes(20 + number))
    put(top + b"/xattrs/acl", b"")
    entries = ((1, 7, -1), (2, 6, 1234), (2, 5, 70000), (4, 5, -1), (8, 4, 77), (16, 7, -1), (32, 4, -1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    mark(top + b"/xattrs/acl", "system.posix_acl_access", acl)
    mark(top + b"/xattrs", "system.posix_acl_default", acl)
    if os.geteuid() == 0:
        mark(top + b"/xattrs/none", "trusted.overlay.opaque", b"y")
        mark(top + b"/fifo", "trusted.overlay.origin", noise.randbytes(29))
        mark(top + b"/links/900", "trusted.overlay.origin", noise.randbytes(29))
        mark(top + b"/xattrs/some", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))


def _owners_and_times(top):
    os.mkdir(top + b"/times")
    nothing = 0 if os.geteuid() == 0 else 0o400  # mke2fs must be able to read what it copies
    for number, seconds in enumerate((0, -5, -(2**31), 2**31 + 5, 2**32 + 123456, 2**33 + 7, FAR_SECONDS)):
        path = top + b"/times/%d" % number
        put(path, b"m")
        os.chmod(path, (0o644, 0o4755, 0o2711, 0o1777, nothing, 0o600, 0o777)[number])
        os.utime(path, ns=(seconds * 10**9 + 123456789, seconds * 10**9 + 987654321))
        if os.geteuid() == 0:
            os.chown(path, (0, 100000, 2**31, 70000, 2**32 - 2, 65536, 1)[number], 165536 + number)


def noise():
    return random.Random(7)
