"""containerd's config.toml: where it keeps its data.

Source: containerd v1.2 to v2.2, cmd/containerd/server/config/config.go and docs/man/containerd-config.toml.5.md. A plugin's table
is `plugins.overlayfs` in version 1, `plugins."io.containerd.snapshotter.v1.overlayfs"` from version 2 on. A snapshotter of its
own process is in `proxy_plugins`, by its socket; from 1.7 on `exports.root` may say where it keeps its snapshots.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from parsers.errors import FormatError

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


def parse_config(data: bytes, source: str = "") -> ContainerdConfig:
    """Raises FormatError where the document is no TOML."""
    try:
        top = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise FormatError(f"no TOML: {error}", source) from error
    plugins = top.get("plugins")
    paths = {}
    for name, table in sorted(plugins.items() if isinstance(plugins, dict) else ()):
        path = table.get("root_path") if isinstance(table, dict) else None
        if isinstance(path, str) and path.startswith("/"):
            paths[name.removeprefix(SNAPSHOTTER)] = path
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
