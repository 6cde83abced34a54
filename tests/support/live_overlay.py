"""Layers written by the kernel's overlayfs itself, with random operations on a mounted overlay."""

import contextlib
import os
import shutil
import stat

from support.overlay_lab import TIME, mounted

OPTIONS = ["", "metacopy=on,redirect_dir=on", "redirect_dir=on", "metacopy=on,redirect_dir=on,index=on", "index=on",
           "redirect_dir=nofollow", "redirect_dir=on,nfs_export=on,index=on"]  # fmt: skip
TREE = [b"a", b"b", b"c", b"caf\xe9"]


def write_base(top):
    """A small tree for others to be put on, with hard links, a symlink, a fifo and a device."""
    top = os.fsencode(top)
    os.mkdir(top)
    for name in TREE:
        os.makedirs(top + b"/" + name + b"/x/y")
        for where in (b"", b"/x", b"/x/y"):
            for number in (b"1", b"2", b"new\nline"):
                with open(top + b"/" + name + where + b"/" + number, "wb") as file:
                    file.write(name + where + number)
        os.link(top + b"/" + name + b"/1", top + b"/" + name + b"/x/hard")
        os.symlink(b"../1", top + b"/" + name + b"/x/soft")
    os.mkfifo(top + b"/a/fifo")
    os.mknod(top + b"/b/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top + b"/b/disk", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    os.setxattr(top + b"/c/1", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))


def write_stack(rng, where, layers, options, operations=40):
    """`layers` directories, topmost first, each but the lowest the upper of a mounted overlay; ends with the uppers closed."""
    write_base(where / "l0")
    stack = [where / "l0"]
    for number in range(1, layers):
        upper, work = where / f"l{number}", where / f"w{number}"
        upper.mkdir()
        work.mkdir()
        option = rng.choice(options)
        with mounted(stack, where / "m", option, (upper, work)):
            for count in range(operations):
                with contextlib.suppress(OSError):
                    operate(rng, os.fsencode(where / "m"), b"%d-%d" % (number, count))
        stack.insert(0, upper)
    return stack


def operate(rng, top, tag):  # noqa: PLR0912 # one branch for each operation
    """One random operation below a directory; what does not fit raises OSError."""

    def pick(kinds):
        found = []
        for base, dirs, files in os.walk(top):
            found += [base + b"/" + name for name in (dirs if "d" in kinds else [])]
            found += [base + b"/" + name for name in (files if "f" in kinds else [])]
        return rng.choice(sorted(found)) if found else top

    def regular():
        path = pick("f")
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise FileNotFoundError
        return path

    kind = rng.choice(
        ["write", "append", "chmod", "chown", "unlink", "rmtree", "mkdir", "rename_f", "rename_d", "rename_d", "link", "symlink",
         "utime", "xattr", "truncate", "replace_dir", "dir_to_file", "fifo", "capability", "nested_mark"]
    )  # fmt: skip
    if kind in ("rmtree", "replace_dir", "dir_to_file", "rename_d") and rng.random() < 0.6:
        return  # else little is left to work on
    if kind == "write":
        with open(pick("d") + b"/n" + tag, "wb") as file:
            file.write(tag * rng.randint(1, 400))
    elif kind == "append":
        with open(regular(), "ab") as file:
            file.write(tag)
    elif kind == "chmod":
        os.chmod(regular() if rng.random() < 0.7 else pick("d"), rng.choice([0o600, 0o755, 0o4755, 0o1777, 0o444]))
    elif kind == "chown":
        os.lchown(pick("fd"), rng.randint(0, 2000), rng.randint(0, 2000))
    elif kind == "unlink":
        os.unlink(pick("f"))
    elif kind == "rmtree":
        shutil.rmtree(pick("d"), ignore_errors=True)
    elif kind == "mkdir":
        os.mkdir(pick("d") + b"/m" + tag)
    elif kind == "rename_f":
        path, to = pick("f"), pick("d")
        os.rename(path, to + b"/" + rng.choice([os.path.basename(path), b"r" + tag]))
    elif kind == "rename_d":
        path, to = pick("d"), pick("d")
        os.rename(path, rng.choice([os.path.dirname(path), to]) + b"/" + rng.choice([b"rd" + tag, *TREE]))
    elif kind == "link":
        os.link(pick("f"), pick("d") + b"/l" + tag, follow_symlinks=False)
    elif kind == "symlink":
        os.symlink(pick("fd"), pick("d") + b"/s" + tag)
    elif kind == "utime":
        os.utime(pick("fd"), ns=(TIME, TIME + rng.choice([0, 1, 10**9 + 5])), follow_symlinks=False)
    elif kind == "xattr":
        os.setxattr(pick("fd"), "user.mark", tag * rng.randint(1, 30), follow_symlinks=False)
    elif kind == "capability":
        os.setxattr(regular(), "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    elif kind == "nested_mark":
        os.setxattr(pick("d"), rng.choice(["trusted.overlay.opaque", "user.overlay.opaque"]), b"y")
    elif kind == "truncate":
        os.truncate(regular(), rng.randint(0, 9000))
    elif kind in ("replace_dir", "dir_to_file"):
        path = pick("d")
        shutil.rmtree(path)
        if kind == "replace_dir":
            os.mkdir(path)
            os.mkdir(path + b"/over" + tag)
        elif rng.random() < 0.5:
            os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 1))
        else:
            os.symlink(tag, path)
    elif kind == "fifo":
        os.mkfifo(pick("d") + b"/p" + tag)
