"""containerd's config.toml: where it keeps its data.

Source: containerd v1.2 to v2.2, cmd/containerd/server/config/config.go and docs/man/containerd-config.toml.5.md. A plugin's table
is `plugins.overlayfs` in version 1, `plugins."io.containerd.snapshotter.v1.overlayfs"` from version 2 on.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from parsers.errors import FormatError

SNAPSHOTTER = "io.containerd.snapshotter.v1."


@dataclass(frozen=True, slots=True)
class ContainerdConfig:
    """root_paths: a snapshotter's own directory, by its name. imports: paths and patterns of further files."""

    root: str | None
    state: str | None
    imports: tuple[str, ...]
    root_paths: dict[str, str]


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
    imports = top.get("imports")
    return ContainerdConfig(
        root=_path(top.get("root")),
        state=_path(top.get("state")),
        imports=tuple(each for each in imports if isinstance(each, str)) if isinstance(imports, list) else (),
        root_paths=paths,
    )


def _path(value: object) -> str | None:
    return value if isinstance(value, str) and value.startswith("/") else None
