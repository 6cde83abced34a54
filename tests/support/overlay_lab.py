"""Random overlay layers on a real filesystem, the kernel's mount of them, and what it shows there."""

import ctypes
import errno
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from forensics.overlay import LayerTree
from support.tree_from_directory import TYPES, tree_from_directory

LIBC = ctypes.CDLL(None, use_errno=True)
MS_RDONLY = 1
NAMES = [b"a", b"b", b"c", b"d", b"caf\xe9", b"new\nline"]
TIME = 10**18
PREFIX = {"trusted": "trusted.overlay.", "user": "user.overlay."}


def mount(kind, options, where, flags=0):
    if LIBC.mount(kind.encode(), os.fsencode(where), kind.encode(), flags, os.fsencode(options)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), where)


def umount(where):
    if LIBC.umount2(os.fsencode(where), 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), where)


def need_overlayfs(where):
    """Skip where this process may not mount overlays over directories like `where`."""
    if os.geteuid() != 0:
        pytest.skip("mounting an overlay needs root")
    for name in ("1", "2", "m"):
        (where / name).mkdir()
    try:
        with mounted([where / "1", where / "2"], where / "m"):
            os.setxattr(where / "1", "trusted.overlay.opaque", b"y")
    except OSError as error:
        pytest.skip(f"no overlayfs here: {error}")


@contextmanager
def mounted(layers, where, options="metacopy=on,redirect_dir=follow", upper=None):
    """The overlay of directories, topmost first; read-only unless `upper` is (upperdir, workdir)."""
    parts = [options] if options else []
    parts.append("lowerdir=" + ":".join(str(layer) for layer in layers))
    if upper:
        parts.append(f"upperdir={upper[0]},workdir={upper[1]}")
    mount("overlay", ",".join(parts), where, 0 if upper else MS_RDONLY)
    try:
        yield where
    finally:
        umount(where)


@dataclass(frozen=True)
class Shown:
    """What the kernel shows at a path. stamp: the mtime, which tells every inode of the lab from every other one."""

    type: str | None
    stamp: int | None
    content: bytes | None
    error: str | None = None


def show(top, path):
    """One name in a mounted overlay; None where there is nothing."""
    full = os.fsencode(top) + path
    try:
        st = os.lstat(full)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        return Shown(None, None, None, errno.errorcode[error.errno])
    kind, content = TYPES[stat.S_IFMT(st.st_mode)], None
    if kind == "f":
        with open(full, "rb") as file:
            content = file.read()
    return Shown(kind, st.st_mtime_ns, content)


def walk(top, expected):
    """Everything in a mounted overlay, by path; names that `expected` has but readdir does not are looked up too."""
    shown, stale = {}, set()
    below = {}
    for path in expected:
        parent, _, name = path.rpartition(b"/")
        below.setdefault(parent, set()).add(name)
    pending = [b""]
    while pending:
        path = pending.pop()
        try:
            listed = set(os.listdir(os.fsencode(top) + path))
        except OSError:  # in a directory marked `x` one refused name fails them all
            listed = set()
        for name in sorted(listed | below.get(path, set()) - {b""}):
            here = path + b"/" + name
            found = show(top, here)
            if found is None:
                if name in listed:
                    stale.add(here)
                continue
            shown[here] = found
            if found.type == "d":
                pending.append(here)
    return shown, stale


class Stamps:
    """Gives each inode an mtime of its own."""

    def __init__(self):
        self.next = TIME

    def put(self, path):
        self.next += 1
        os.utime(path, ns=(TIME, self.next), follow_symlinks=False)


def random_layer(rng, top, namespace, stamps, below):
    """Fill a directory with entries and marks of every kind; below: the paths that lower layers have, by type."""
    prefix = PREFIX[namespace]
    top = os.fsencode(top)
    files = []
    made = {"d": [], "f": []}

    def put_mark(path, name, value):
        os.setxattr(path, prefix + name, value, follow_symlinks=False)

    def make(path, depth):  # noqa: PLR0912 # one branch for each kind of entry
        kind = rng.choices(
            ["dir", "file", "metacopy", "symlink", "whiteout", "xwhiteout", "fifo", "device", "link"],
            [50 if depth < 3 else 5, 16, 12, 3, 10, 3, 1, 1, 4],
        )[0]
        if kind == "metacopy" and not below["f"]:
            kind = "file"
        if kind == "dir":
            os.mkdir(path)
            for name in rng.sample(NAMES[: 4 if rng.random() < 0.8 else 6], rng.randint(0, 4)):
                make(path + b"/" + name, depth + 1)
            if rng.random() < 0.2:
                put_mark(path, "opaque", rng.choice([b"y", b"y", b"y", b"x", b"Y", b"yes", b"y\0", b""]))
            if rng.random() < 0.25:
                put_mark(path, "redirect", random_redirect(rng, below["d"]))
            made["d"].append(path[len(top) :])
        elif kind in ("file", "metacopy", "xwhiteout"):
            with open(path, "wb") as file:
                file.write(b"" if kind == "xwhiteout" and rng.random() < 0.8 else os.fsencode(path))
            if kind == "metacopy":
                digest = b"\0\x24\0\1" + b"d" * 32
                values = [b""] * 20 + [digest, b"\0\4\0\0", b"\1\4\0\0", b"y", b"abc", b"long but no struct"]
                put_mark(path, "metacopy", rng.choice(values))
            else:
                files.append(path)
            made["f"].append(path[len(top) :])
            if kind == "xwhiteout":
                put_mark(path, "whiteout", rng.choice([b"", b"y"]))
            if rng.random() < (0.7 if kind == "metacopy" else 0.05):
                put_mark(path, "redirect", random_redirect(rng, below["f"]))
        elif kind == "symlink":
            os.symlink(rng.choice([b"a", b"/b", b"../a", b"."]), path)
        elif kind == "whiteout":
            os.mknod(path, stat.S_IFCHR | rng.choice([0, 0o644]), os.makedev(0, 0))
        elif kind == "device":
            os.mknod(path, rng.choice([stat.S_IFCHR, stat.S_IFBLK]) | 0o600, os.makedev(0, 5))
        elif kind == "fifo":
            os.mkfifo(path)
        elif files:
            os.link(rng.choice(files), path)
            return
        else:
            return
        stamps.put(path)

    for name in rng.sample(NAMES[:4], rng.randint(0, 4)):
        make(top + b"/" + name, 1)
    if rng.random() < 0.1:
        put_mark(top, "opaque", b"y")
    if rng.random() < 0.1:
        put_mark(top, "redirect", b"/a")
    stamps.put(top)
    for kind, paths in made.items():
        below[kind] += paths


def random_redirect(rng, below):
    if rng.random() < 0.06:
        return rng.choice(
            [b"", b"/", b"//a", b"a/b", b"..", b".", b"/a/..", b"/a/", b"a\0b", b"\0", b"/b\0/c", b"../a", b"x" * 300]
        )
    if below and rng.random() < 0.7:
        path = rng.choice(below)
        return path if rng.random() < 0.7 else path.rpartition(b"/")[2]
    if rng.random() < 0.4:
        return rng.choice(NAMES[:4])
    return b"".join(b"/" + rng.choice(NAMES[:4]) for _ in range(rng.randint(1, 3)))


def random_stack(rng, where, namespace):
    """Directories of 2 to 5 layers, topmost first."""
    stamps, layers, below = Stamps(), [], {"d": [], "f": []}
    for number in range(rng.randint(2, 5)):
        top = where / f"l{number}"
        top.mkdir()
        random_layer(rng, top, namespace, stamps, below)
        layers.insert(0, top)
    return layers


def layer_trees(directories, marks):
    """LayerTrees of directories, topmost first; entry ids are far apart, so that no two layers' are mistaken."""
    count = len(directories)
    return [
        LayerTree(f"layer{count - at}", f"layer{count - at - 1}" if at < count - 1 else None, marks, tree_from_directory(top),
                  (count - at) * 10**6)
        for at, top in enumerate(directories)
    ]  # fmt: skip
