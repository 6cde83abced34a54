"""What dockerd was told: daemon.json, and the options of its command line.

Source of the names: moby v1.7 to v29: cmd/dockerd/options.go, daemon/config/config.go, daemon/config/config_linux.go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from parsers.json_fields import parse_object

PROGRAM = re.compile(r"(^|/)(dockerd(-\w+)?|docker(-current|-engine)?)$", re.ASCII)
_VALUES = {"--data-root": "root", "--graph": "root", "-g": "root", "--config-file": "config", "-config-file": "config"}


@dataclass(frozen=True, slots=True)
class DaemonJson:
    """daemon.json. data_root: of `data-root`, or of `graph`, as it was called before Docker 17.05."""

    data_root: str | None
    storage_driver: str | None
    userns_remap: str | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """The options of a dockerd command line that tell where its files are."""

    data_root: str | None = None
    config_file: str | None = None


def parse_daemon_json(data: bytes, source: str = "") -> DaemonJson:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    return DaemonJson(
        data_root=top.text("data-root") or top.text("graph") or None,
        storage_driver=top.text("storage-driver") or None,
        userns_remap=top.text("userns-remap") or None,
        problems=tuple(top.problems),
    )


def daemon_options(argv: Sequence[str]) -> DaemonOptions:
    """The last of each option counts; `--name value`, `--name=value` and `-gvalue` are all understood."""
    found: dict[str, str] = {}
    for i, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name in _VALUES and (equals or i + 1 < len(argv)):
            found[_VALUES[name]] = value if equals else argv[i + 1]
        elif word.startswith("-g/"):
            found["root"] = word[2:]
    return DaemonOptions(found.get("root") or None, found.get("config") or None)
