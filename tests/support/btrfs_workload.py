"""Random work on a Btrfs filesystem, synced file by file, until the power goes: what only tree logs hold then."""

import ctypes
import os
import random
import shutil
import stat
import subprocess
from contextlib import suppress

LIBC = ctypes.CDLL(None, use_errno=True)
EXCHANGE = 2
OPERATIONS = {
    "write": 5, "overwrite": 3, "append": 2, "truncate": 2, "unlink": 2, "link": 2, "many_links": 1, "rename": 3, "exchange": 1,
    "mkdir": 2, "rmdir": 1, "symlink": 1, "node": 1, "attribute": 2, "no_attribute": 1, "clone": 1, "allocate": 1, "punch": 1,
    "chmod": 1, "sync": 6, "sync_directory": 2, "unlink_open": 1, "unnamed": 1,
}  # fmt: skip


class Work:
    """Operations below a directory; `held` are files that stay open until `close`."""

    def __init__(self, top, rng: random.Random):
        self.top, self.rng, self.held = os.fspath(top), rng, []
        self.names = [f"n{number}" for number in range(rng.choice((5, 12, 40)))] + ["é" * 20, "long" * 50]

    def run(self, count):
        for operation in self.rng.choices(list(OPERATIONS), list(OPERATIONS.values()), k=count):
            with suppress(OSError):
                getattr(self, operation)()

    def close(self):
        for file in self.held:
            os.close(file)

    def directory(self):
        path = self.top
        for _ in range(self.rng.randrange(3)):
            below = sorted(entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
            if not below:
                break
            path = self.rng.choice(below)
        return path

    def some(self):
        path = self.directory()
        names = sorted(os.listdir(path))
        return os.path.join(path, self.rng.choice(names)) if names else path

    def file(self):
        path = self.some()
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise FileNotFoundError
        return path

    def new(self):
        return os.path.join(self.directory(), self.rng.choice(self.names))

    def new_file(self):
        path = self.new()
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise FileExistsError
        return path

    def write(self):
        with open(self.new_file(), "wb") as file:
            file.write(self.rng.randbytes(self.rng.choice((0, 10, 500, 3000, 4096, 5000, 20000, 200000))))

    def overwrite(self):
        with open(self.file(), "r+b") as file:
            file.seek(self.rng.randrange(20000))
            file.write(self.rng.randbytes(self.rng.choice((1, 100, 4096, 9000))))

    def append(self):
        with open(self.file(), "ab") as file:
            file.write(self.rng.randbytes(self.rng.randrange(1, 9000)))

    def truncate(self):
        os.truncate(self.file(), self.rng.choice((0, 10, 4096, 5000, 100000)))

    def unlink(self):
        os.unlink(self.some())

    def link(self):
        os.link(self.some(), self.new(), follow_symlinks=False)

    def many_links(self):
        if self.rng.random() < 0.2:
            path, directory = self.file(), self.directory()
            for number in range(200):
                os.link(path, f"{directory}/L{number}-{'x' * self.rng.randrange(50)}")

    def rename(self):
        os.rename(self.some(), self.new())

    def exchange(self):
        LIBC.renameat2(-100, os.fsencode(self.some()), -100, os.fsencode(self.some()), EXCHANGE)

    def mkdir(self):
        os.mkdir(self.new())

    def rmdir(self):
        path = self.directory()
        if path != self.top:
            shutil.rmtree(path)

    def symlink(self):
        os.symlink("t" * self.rng.randrange(1, 200), self.new())

    def node(self):
        os.mknod(self.new(), stat.S_IFIFO)

    def attribute(self):
        name = f"{self.rng.choice(('user', 'trusted'))}.{self.rng.randrange(4)}"
        os.setxattr(self.some(), name, self.rng.randbytes(self.rng.randrange(300)), follow_symlinks=False)

    def no_attribute(self):
        path = self.some()
        for name in os.listxattr(path, follow_symlinks=False)[:1]:
            os.removexattr(path, name, follow_symlinks=False)

    def clone(self):
        words = ("cp", "-T", "--reflink=always", self.file(), self.new_file())
        subprocess.run(words, check=False, capture_output=True, timeout=20)

    def allocate(self):
        self._fallocate("-n")

    def punch(self):
        self._fallocate("-p")

    def _fallocate(self, how):
        words = ("fallocate", how, "-o", str(self.rng.randrange(50000)), "-l", str(self.rng.randrange(1, 90000)), self.file())
        subprocess.run(words, check=False, capture_output=True, timeout=20)

    def chmod(self):
        os.chmod(self.file(), self.rng.randrange(0o1000))

    def sync(self):
        self._sync(self.file(), os.O_RDWR)

    def sync_directory(self):
        self._sync(self.directory(), os.O_RDONLY)

    def _sync(self, path, flags):
        file = os.open(path, flags)
        os.fsync(file)
        os.close(file)

    def unlink_open(self):
        path = self.file()
        self.held.append(os.open(path, os.O_RDWR))
        os.unlink(path)
        if self.rng.random() < 0.5:
            os.fsync(self.held[-1])

    def unnamed(self):
        file = os.open(self.directory(), os.O_TMPFILE | os.O_RDWR)
        self.held.append(file)
        os.write(file, self.rng.randbytes(3000))
        if self.rng.random() < 0.6:
            os.link(f"/proc/self/fd/{file}", self.new(), follow_symlinks=True)
        os.fsync(file)
