"""Where k3s and rke2 were told to keep their data.

Source: k3s v1.20 to v1.34, pkg/cli/cmds/server.go (DataDirFlag), pkg/configfilearg (config.yaml has the flags' names as keys).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

PROGRAM = re.compile(r"(^|/)(k3s|rke2)$", re.ASCII)
_OPTIONS = frozenset(("--data-dir", "-data-dir", "-d"))
_KEY = re.compile(rb"^[\"']?data-dir[\"']?[ \t]*:[ \t]*[\"']?(/[^\"'\s#]+)", re.MULTILINE)


def option_of(argv: Sequence[str]) -> bytes | None:
    """The data directory on a command line; the last one counts."""
    found = None
    for i, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name in _OPTIONS and (equals or i + 1 < len(argv)):
            path = value if equals else argv[i + 1]
            found = path.encode() if path.startswith("/") else found
    return found


def config_of(data: bytes) -> bytes | None:
    """The data directory in a config.yaml."""
    match = _KEY.search(data)
    return match[1] if match is not None else None
