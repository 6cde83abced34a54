"""Where the containerd daemons of a host were told to keep their data: config.toml and what it imports, defaults, homes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import StoreReader
from forensics.stores.users import users
from forensics.text import readable
from parsers.containerd_config import ContainerdConfig, parse_config

MAX_FILE = 1 << 20
MAX_CONFIGS = 100
CONFIGS = (
    (b"/etc/containerd/config.toml", b"/var/lib/containerd", b"/run/containerd"),
    (b"/var/lib/rancher/k3s/agent/etc/containerd/config.toml", b"/var/lib/rancher/k3s/agent/containerd",
     b"/run/k3s/containerd"),
    (b"/var/lib/rancher/rke2/agent/etc/containerd/config.toml", b"/var/lib/rancher/rke2/agent/containerd",
     b"/run/k3s/containerd"),
    (b"/var/snap/microk8s/current/args/containerd.toml", b"/var/snap/microk8s/common/var/lib/containerd",
     b"/var/snap/microk8s/common/run/containerd"),
    (b"/etc/k0s/containerd.toml", b"/var/lib/k0s/containerd", b"/run/k0s/containerd"),
)  # fmt: skip
"""A config file, and the data and state directories of a daemon that goes by it and is not told others."""

_NO_SNAPSHOTTERS = frozenset((b"run", b"containerd"))
"""Parts of sockets' paths that are no snapshotter's own name."""

ROOTLESS = b".local/share/containerd"
ROOTLESS_CONFIG = b".config/containerd/config.toml"


@dataclass(frozen=True, slots=True)
class Configured:
    """Where one daemon keeps its data, on the host.

    root_paths: directories of snapshotters that have one of their own, the likeliest first; not all of them need be there.
    """

    root: bytes
    state: bytes | None
    root_paths: dict[str, tuple[bytes, ...]]
    how: str


def configured_daemons(reader: StoreReader, tree: HostTree) -> Iterator[Configured]:
    """Every daemon of a host that a config file or a default tells of; one that never ran is among them."""
    for path, root, state in CONFIGS:
        yield _daemon(reader, tree, path, root, state)
    for user in users(reader, tree):
        yield _daemon(reader, tree, user.home + b"/" + ROOTLESS_CONFIG, user.home + b"/" + ROOTLESS, None)


def _daemon(reader: StoreReader, tree: HostTree, path: bytes, root: bytes, state: bytes | None) -> Configured:
    told = list(_configs(reader, tree, path))
    roots = [config.root for config in told if config.root is not None]
    states = [config.state for config in told if config.state is not None]
    paths: dict[str, tuple[bytes, ...]] = {}
    for config in told:
        paths |= {name: _proxy_roots(address.encode(), path) for name, address in config.proxies.items()}
    for config in told:
        paths |= {name: (where.encode(), *paths.get(name, ())) for name, where in config.root_paths.items()}
    return Configured(
        root=roots[-1].encode() if roots else root,
        state=states[-1].encode() if states else state,
        root_paths=paths,
        how=readable(path) if roots else "default",
    )


def _proxy_roots(socket: bytes, config: bytes) -> tuple[bytes, ...]:
    """Where a snapshotter that listens on a socket keeps its data if nothing says otherwise: below the socket's own name.

    /run/containerd-stargz-grpc/containerd-stargz-grpc.sock: /var/lib/containerd-stargz-grpc, a user's: in ~/.local/share. So do
    the snapshotters stargz, soci, nydus and fuse-overlayfs.
    """
    directory, _, name = socket.rpartition(b"/")
    home = config.removesuffix(b"/" + ROOTLESS_CONFIG)
    base = b"/var/lib/" if home == config else home + b"/.local/share/"
    names = dict.fromkeys((directory.rpartition(b"/")[2], name.partition(b".")[0]))
    return tuple(base + each for each in names if each and each not in _NO_SNAPSHOTTERS)


def _configs(reader: StoreReader, tree: HostTree, path: bytes) -> Iterator[ContainerdConfig]:
    """A config file and those that it imports, in the order in which they count."""
    pending, seen = [path], {path}
    while pending and len(seen) <= MAX_CONFIGS:
        name = pending.pop(0)
        config = reader.load(resolve_or_none(tree, name), "containerd's config.toml", parse_config, MAX_FILE)
        if config is None:
            continue
        yield config
        for pattern in config.imports:
            base = name.rpartition(b"/")[0]
            full = pattern.encode() if pattern.startswith("/") else base + b"/" + pattern.encode()
            directory, _, last = full.rpartition(b"/")
            for place in reader.children(resolve_or_none(tree, directory)):
                found = directory + b"/" + place.name
                if fnmatchcase(readable(place.name), readable(last)) and found not in seen:
                    seen.add(found)
                    pending.append(found)
