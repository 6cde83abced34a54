"""Where the containerd daemons of a host were told to keep their data: command lines, config.toml and what it imports, homes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from forensics.stores.host_tree import MAX_PATH, HostTree, resolve_or_none
from forensics.stores.rancher import data_directories
from forensics.stores.reading import StoreReader
from forensics.stores.services import option_lines, service_commands
from forensics.stores.users import users
from forensics.text import readable
from parsers.containerd_config import PROGRAM, ContainerdConfig, ContainerdOptions, containerd_options, parse_config

MAX_FILE = 1 << 20
MAX_CONFIGS = 100
MAX_IMPORTS = 100  # of one file
MAX_PATTERNS = 8  # parts of a path with wildcards
CONFIGS = (
    (b"/etc/containerd/config.toml", b"/var/lib/containerd", b"/run/containerd"),
    (b"/var/snap/microk8s/current/args/containerd.toml", b"/var/snap/microk8s/common/var/lib/containerd",
     b"/var/snap/microk8s/common/run/containerd"),
    (b"/etc/k0s/containerd.toml", b"/var/lib/k0s/containerd", b"/run/k0s/containerd"),
)  # fmt: skip
"""A config file, and the data and state directories of a daemon that goes by it and is not told others."""

OPTION_FILES = (b"/etc/default/containerd", b"/etc/sysconfig/containerd", b"/etc/conf.d/containerd")

_PATTERN = re.compile(rb"[*?\[]")

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
    """Every daemon of a host that a command line, a config file or a default tells of; one that never ran is among them."""
    config, root, state = CONFIGS[0]
    homes = users(reader, tree)
    for options, how in _command_lines(reader, tree, [user.home for user in homes]):
        path = options.config.encode() if options.config is not None else config
        yield _daemon(reader, tree, path, root, state, options, how)
    for data in data_directories(reader, tree):
        path = data + b"/agent/etc/containerd/config.toml"
        yield _daemon(reader, tree, path, data + b"/agent/containerd", b"/run/k3s/containerd")
    for path, root, state in CONFIGS:
        yield _daemon(reader, tree, path, root, state)
    for user in homes:
        yield _daemon(reader, tree, user.home + b"/" + ROOTLESS_CONFIG, user.home + b"/" + ROOTLESS, None)


def _command_lines(reader: StoreReader, tree: HostTree, homes: list[bytes]) -> Iterator[tuple[ContainerdOptions, str]]:
    """Those that tell anything."""
    lines = [*service_commands(reader, tree, PROGRAM, "containerd", homes)]
    for words, how in (*lines, *option_lines(reader, tree, OPTION_FILES, "containerd's options")):
        options = containerd_options(words)
        if options != ContainerdOptions():
            yield options, how


def _daemon(
    reader: StoreReader,
    tree: HostTree,
    path: bytes,
    root: bytes,
    state: bytes | None,
    options: ContainerdOptions | None = None,
    how: str = "",
) -> Configured:
    """A daemon. path: of its config; root, state: what it goes by where nothing says otherwise; options: of its command line."""
    told = list(_configs(reader, tree, path))
    roots = [(config.root, readable(path)) for config in told if config.root is not None]
    states = [config.state for config in told if config.state is not None]
    if options is not None:
        roots += [(options.root, how)] if options.root is not None else []
        states += [options.state] if options.state is not None else []
    paths: dict[str, tuple[bytes, ...]] = {}
    for config in told:
        paths |= {name: _proxy_roots(address.encode(), path) for name, address in config.proxies.items()}
    for config in told:
        paths |= {name: (where.encode(), *paths.get(name, ())) for name, where in config.root_paths.items()}
    return Configured(
        root=roots[-1][0].encode() if roots else root,
        state=states[-1].encode() if states else state,
        root_paths=paths,
        how=roots[-1][1] if roots else "default",
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
        if len(config.imports) > MAX_IMPORTS:
            told = f"{len(config.imports):,} imports; only the first {MAX_IMPORTS} were followed"
            reader.gap("containerd's config.toml", told, resolve_or_none(tree, name))
        for pattern in config.imports[:MAX_IMPORTS]:
            full = pattern.encode() if pattern.startswith("/") else name.rpartition(b"/")[0] + b"/" + pattern.encode()
            for found in _matching(reader, tree, full):
                if found not in seen:
                    seen.add(found)
                    pending.append(found)


def _matching(reader: StoreReader, tree: HostTree, pattern: bytes) -> list[bytes]:
    """The paths that match a pattern as Go's filepath.Glob has it, in order."""
    parts = pattern.split(b"/")
    if len(pattern) >= MAX_PATH or sum(_PATTERN.search(part) is not None for part in parts) > MAX_PATTERNS:
        reader.gap("containerd's config.toml", f"imports {readable(pattern[:80])}: too long or too wide a pattern to be followed")
        return []
    paths = [b""]
    for part in parts:
        if _PATTERN.search(part) is None:
            paths = [path + b"/" + part for path in paths] if part else paths
            continue
        wanted = readable(part).replace("[^", "[!")
        paths = [
            path + b"/" + place.name
            for path in paths[:MAX_CONFIGS]
            for place in reader.children(resolve_or_none(tree, path or b"/"))
            if fnmatchcase(readable(place.name), wanted)
        ]
    return [path for path in paths[: MAX_CONFIGS + 1] if resolve_or_none(tree, path) is not None]
