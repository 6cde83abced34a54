"""One layer directory that was removed: what stood in it, and whether it was a container's own.

Docker with the containerd image store has two snapshots made for a container: one of its own files (`-init`), and the container's
own on that. `docker commit` and `docker diff` have views made besides, which have no work directory and stay empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from forensics.recovery.files.births import SOON
from forensics.recovery.files.deleted import Numbered
from forensics.text import readable
from parsers.docker_layer import INIT_SUFFIX

# moby daemon/initlayer/setup_unix.go
_INIT_MARK = b"/.dockerenv"
_INIT_FILES = frozenset((
    b"", _INIT_MARK, b"/dev", b"/dev/pts", b"/dev/shm", b"/dev/console", b"/proc", b"/sys", b"/etc", b"/etc/hosts",
    b"/etc/hostname", b"/etc/resolv.conf", b"/etc/mtab",
))  # fmt: skip


@dataclass
class RemovedLayer:
    """A removed layer directory. files: each with its path in it, b"" for the directory itself.

    subvolume: whether it was one of Btrfs, of which no more came back than what was changed in it, or stood beside that.
    worked: whether a work directory beside it came back.
    """

    partition: int
    base: bytes
    driver: str
    name: str
    files: list[tuple[bytes, Numbered]] = field(default_factory=list)
    lower: Numbered | None = None
    link: Numbered | None = None
    subvolume: bool = False
    worked: bool = False

    @property
    def key(self) -> str:
        """As the key of a live layer of this driver."""
        return f"{self.driver}/{self.name}"

    @property
    def path(self) -> str:
        """Where it stood."""
        if self.subvolume:
            return f"{readable(self.base)}/{self.name}"
        return f"{readable(self.base)}/{self.name}/{'fs' if self.is_snapshot else 'diff'}"

    @property
    def root(self) -> Numbered | None:
        """The directory itself, as it was last."""
        own = [each for inside, each in self.files if not inside and each.file.type == "d"]
        return max(own, key=lambda each: (each.file.deleted_ns or 0, each.number), default=None)

    @property
    def born_ns(self) -> int | None:
        """When its directory was made."""
        return self.root.file.crtime_ns if self.root is not None else None

    @property
    def is_snapshot(self) -> bool:
        """Whether a snapshotter of containerd's had it."""
        return self.base.endswith(b"/snapshots")

    @property
    def is_init(self) -> bool:
        """Whether nothing came back of it but what Docker puts into each container's init layer."""
        inside = {path for path, _ in self.files}
        return _INIT_MARK in inside and inside <= _INIT_FILES

    @property
    def is_empty(self) -> bool:
        """Whether nothing came back that stood in it."""
        return not any(path for path, _ in self.files)


def own_births(removed: Sequence[RemovedLayer]) -> list[tuple[int, str]]:
    """When the directories of those snapshots were made that may be containers' own: neither init layers nor views.

    A view is told by its missing work directory, where work directories came back at all.
    """
    telling = {each.base for each in removed if each.worked}
    views = {each.key for each in removed if each.is_empty and not each.worked and each.base in telling}
    return _births(each for each in removed if each.is_snapshot and not each.is_init and each.key not in views)


def init_births(removed: Iterable[RemovedLayer]) -> list[tuple[int, str]]:
    """When the directories of those snapshots were made that were init layers of Docker's containers."""
    return _births(each for each in removed if each.is_snapshot and each.is_init)


def init_pairs(removed: Sequence[RemovedLayer]) -> dict[tuple[bytes, str], str]:
    """By base and key of a container's own snapshot: the key of the init layer that was made right before it, within a second."""
    pairs = {}
    for base in {each.base for each in removed if each.is_init}:
        beside = [each for each in removed if each.base == base]
        in_order = sorted([(*birth, True) for birth in init_births(beside)] + [(*birth, False) for birth in own_births(beside)])
        for (before, init, first), (born, own, second) in pairwise(in_order):
            if first and not second and born - before < SOON:
                pairs[base, own] = init
    return pairs


def pair_births(removed: Sequence[RemovedLayer]) -> list[tuple[int, str]]:
    """When Docker's own graph driver made those layers that have an init layer, which containers have only."""
    inits = {(each.partition, each.base, each.name) for each in removed if each.name.endswith(INIT_SUFFIX)}
    return _births(each for each in removed if (each.partition, each.base, each.name + INIT_SUFFIX) in inits)


def _births(layers: Iterable[RemovedLayer]) -> list[tuple[int, str]]:
    return [(each.born_ns, each.key) for each in layers if each.born_ns is not None]
