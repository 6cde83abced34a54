"""What the Docker daemon does for `docker diff`: two mounted trees walked side by side (moby, pkg/archive/changes*.go)."""

import os
import stat
from dataclasses import dataclass, field


@dataclass
class Info:
    st: os.stat_result
    capability: bytes | None
    children: dict = field(default_factory=dict)

    @property
    def is_dir(self):
        return bool(self.st.st_mode & stat.S_IFDIR)  # as it stands there: also true of block devices and sockets


def naive_diff(new, old):
    """A set of (kind, path). Raises OSError where the daemon would give up."""
    new, old = os.fsencode(new), os.fsencode(old)
    changes = []
    compare(collect(new), collect(old), b"", changes, added=True)
    return set(changes)


def collect(path):
    info = Info(os.lstat(path), capability(path))
    if stat.S_ISDIR(info.st.st_mode):
        for name in os.listdir(path):
            try:
                info.children[name] = collect(path + b"/" + name)
            except FileNotFoundError:
                continue
    return info


def capability(path):
    try:
        return os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        return None


def different(a, b):
    def times(st):
        return st.st_mtime_ns // 10**9, st.st_mtime_ns % 10**9

    if (a.st_mode, a.st_uid, a.st_gid, a.st_rdev) != (b.st_mode, b.st_uid, b.st_gid, b.st_rdev):
        return True
    if a.st_mode & stat.S_IFDIR == stat.S_IFDIR:
        return False
    (a_sec, a_nsec), (b_sec, b_nsec) = times(a), times(b)
    same_time = a_sec == b_sec and (a_nsec in (b_nsec, 0) or b_nsec == 0)
    return not same_time or a.st_size != b.st_size


def compare(new, old, path, changes, added):
    """`added`: this path is listed already, or is the root."""
    before = len(changes)
    if old is None:
        changes.append(("A", path))
        added = True
    gone = dict(old.children) if old is not None and new.is_dir else {}
    for name, child in new.children.items():
        was = gone.pop(name, None)
        changed = was is not None and (different(was.st, child.st) or was.capability != child.capability)
        if changed:
            changes.append(("C", path + b"/" + name))
        compare(child, was, path + b"/" + name, changes, changed)
    changes.extend(("D", path + b"/" + name) for name in gone)
    if len(changes) > before and new.is_dir and not added:
        changes.append(("C", path))
