"""Trees made up in a test: {b"/d": DIR, b"/d/f": file(...)}; directories on the way need not be named."""

from dataclasses import dataclass, field

import numpy as np

from forensics.filesystem import NO_TIME, Tree
from forensics.overlay import LayerTree

TRUSTED, USER = b"trusted.overlay.", b"user.overlay."


@dataclass
class Spec:
    type: str = "f"
    rdev: tuple = (0, 0)
    xattrs: dict = field(default_factory=dict)
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    mtime: int = 10**18
    target: bytes | None = None


def directory(prefix=TRUSTED, **marks):
    return Spec("d", xattrs=_marks(prefix, marks), mode=0o755)


def file(size=3, prefix=TRUSTED, **marks):
    return Spec("f", xattrs=_marks(prefix, marks), size=size)


def whiteout():
    return Spec("c")


def _marks(prefix, marks):
    return {prefix + name.encode(): value for name, value in marks.items()}


def small_tree(entries):
    specs = {b"": Spec("d", mode=0o755)}
    for path, spec in sorted({(b"" if p == b"/" else p): s for p, s in entries.items()}.items()):
        parts = path.split(b"/")
        for end in range(2, len(parts)):
            specs.setdefault(b"/".join(parts[:end]), Spec("d", mode=0o755))
        specs[path] = spec
    paths = sorted(specs, key=lambda p: (p.count(b"/"), p))
    rows = {path: row for row, path in enumerate(paths)}
    found = [specs[path] for path in paths]

    def column(kind, value):
        return np.array([value(spec) for spec in found], dtype=kind)

    return Tree(
        [path.rpartition(b"/")[2] for path in paths],
        np.array([rows[path.rpartition(b"/")[0]] if path else -1 for path in paths], dtype=np.int64),
        np.arange(len(paths), dtype=np.int64), column(np.uint8, lambda s: ord(s.type)), column(np.uint16, lambda s: s.mode),
        column(np.uint32, lambda s: s.uid), column(np.uint32, lambda s: 0), column(np.int64, lambda s: s.size),
        column(np.int64, lambda s: 1), column(np.int64, lambda s: s.mtime), column(np.int64, lambda s: NO_TIME),
        column(np.int64, lambda s: NO_TIME), column(np.int64, lambda s: NO_TIME), column(np.uint32, lambda s: s.rdev[0]),
        column(np.uint32, lambda s: s.rdev[1]), column(np.int64, lambda s: -1),
        {row: spec.target for row, spec in enumerate(found) if spec.target is not None},
        {row: spec.xattrs for row, spec in enumerate(found) if spec.xattrs},
    )  # fmt: skip


def small_chain(*layers, marks="trusted"):
    """LayerTrees, topmost first, of dictionaries given topmost first."""
    count = len(layers)
    return [
        LayerTree(f"l{count - at}", f"l{count - at - 1}" if at < count - 1 else None, marks, small_tree(entries),
                  (count - at) * 1000)
        for at, entries in enumerate(layers)
    ]  # fmt: skip
