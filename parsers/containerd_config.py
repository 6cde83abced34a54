"""containerd's config.toml and command line: where it keeps its data.

Source: containerd v1.2 to v2.2, cmd/containerd/server/config/config.go, cmd/containerd/command/main.go (options) and
docs/man/containerd-config.toml.5.md. A plugin's table is `plugins.overlayfs` in version 1,
`plugins."io.containerd.snapshotter.v1.overlayfs"` from version 2 on. A snapshotter of its own process is in `proxy_plugins`, by
its socket; from 1.7 on `exports.root` may say where it keeps its snapshots.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from parsers.toml_document import parse_toml

PROGRAM = re.compile(r"(^|/)(docker-)?containerd$", re.ASCII)
_OPTIONS = {"config": "config", "c": "config", "root": "root", "state": "state"}

SNAPSHOTTER = "io.containerd.snapshotter.v1."


@dataclass(frozen=True, slots=True)
class ContainerdConfig:
    """root_paths: a snapshotter's own directory, by its name. imports: paths and patterns of further files.

    proxies: the sockets of snapshotters that are processes of their own, by their name.
    """

    root: str | None
    state: str | None
    imports: tuple[str, ...]
    root_paths: dict[str, str]
    proxies: dict[str, str]


@dataclass(frozen=True, slots=True)
class ContainerdOptions:
    """The options of a containerd command line that tell where its files are; its `root` and `state` count before a config's."""

    config: str | None = None
    root: str | None = None
    state: str | None = None


def containerd_options(argv: Sequence[str]) -> ContainerdOptions:
    """The last of each option counts; `--name value`, `--name=value` and either with one dash are the same."""
    found: dict[str, str] = {}
    for i, word in enumerate(argv):
        name, equals, value = word.partition("=")
        option = _OPTIONS.get(name.removeprefix("-").removeprefix("-")) if name.startswith("-") else None
        if option is not None and (equals or i + 1 < len(argv)):
            found[option] = value if equals else argv[i + 1]
    told = {name: path for name, value in found.items() if (path := _path(value)) is not None}
    return ContainerdOptions(told.get("config"), told.get("root"), told.get("state"))


def parse_config(data: bytes, source: str = "") -> ContainerdConfig:
    """Raises FormatError where the document is no TOML."""
    top = parse_toml(data, source)
    plugins = top.get("plugins")
    paths = {}
    for name, table in sorted(plugins.items() if isinstance(plugins, dict) else ()):
        path = table.get("root_path") if isinstance(table, dict) else None
        own = name.removeprefix(SNAPSHOTTER)
        if isinstance(path, str) and path.startswith("/") and "." not in own:
            paths[own] = path
    proxies = {}
    proxied = top.get("proxy_plugins")
    for name, table in sorted(proxied.items() if isinstance(proxied, dict) else ()):
        if not isinstance(table, dict) or table.get("type") not in ("snapshot", None):
            continue
        exports = table.get("exports")
        address, root = _path(table.get("address")), _path(exports.get("root")) if isinstance(exports, dict) else None
        if address is not None:
            proxies[name] = address
        if root is not None:
            paths.setdefault(name, root)
    imports = top.get("imports")
    return ContainerdConfig(
        root=_path(top.get("root")),
        state=_path(top.get("state")),
        imports=tuple(each for each in imports if isinstance(each, str)) if isinstance(imports, list) else (),
        root_paths=paths,
        proxies=proxies,
    )


def _path(value: object) -> str | None:
    return value if isinstance(value, str) and value.startswith("/") else None
