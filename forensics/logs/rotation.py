"""Rotated logs: which files are older parts of one log, and in which order they were written.

Sources: moby 26.1, daemon/logger/loggerutils/logfile.go (`.1` is the newest, `.1.gz` where it is compressed, which is done while
`.1` is still there); kubernetes 1.30, pkg/kubelet/logs/container_log_manager.go (`.20261121-014859`, `.gz`; `.tmp` while
compressing); logrotate 3.21 (`.1`, or `-20261121` with dateext).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from forensics.stores.reading import Place

_SUFFIX = re.compile(rb"(?:[.-](\d{8}(?:-\d{4,10})?))?(?:\.(\d{1,9}))?(\.gz|\.xz)?")


def group_rotated(files: Iterable[Place], bases: Iterable[bytes]) -> Mapping[bytes, tuple[Place, ...]]:
    """The files of each log, the oldest first. bases: what the logs are called that are written now.

    Of a part that is there twice, compressed and not, the compressed one is left out: engines delete the other only when it
    is whole.
    """
    found: dict[bytes, dict[tuple[bytes, int], tuple[bool, Place]]] = {}
    wanted = sorted(bases, key=len, reverse=True)
    for place in files:
        for base in wanted:
            if not place.name.startswith(base):
                continue
            match = _SUFFIX.fullmatch(place.name[len(base) :])
            if match is None:
                continue
            # what has a date sorts by it, before what has none; of numbers, the highest is the oldest
            key = (match[1] or b"\xff", -int(match[2] or 0))
            packed = match[3] is not None
            parts = found.setdefault(base, {})
            if key not in parts or (parts[key][0] and not packed):
                parts[key] = (packed, place)
            break
    return {base: tuple(place for _, (_, place) in sorted(parts.items())) for base, parts in sorted(found.items())}
