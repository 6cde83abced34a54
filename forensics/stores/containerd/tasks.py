"""Tasks: which containers had one when the power went off, and what is left of its bundle.

<root>/io.containerd.runtime.v2.task/<namespace>/<id>/      the shim's directory, there while the container has a task
<state>/io.containerd.runtime.v2.task/<namespace>/<id>/{config.json,init.pid,...}   where the state directory is on a disk

Source: containerd v1.2 to v2.2, core/runtime/v2/{bundle,shim_manager}.go (runtime/v2 before 2.0), runtime/v1/linux.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from forensics.stores.containerd.discover import TASKS, ContainerdRoot
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.errors import FormatError

MAX_SPEC = 4 << 20
MAX_PID = 16

_PID = re.compile(rb"[1-9][0-9]{0,9}")


@dataclass(frozen=True)
class Tasks:
    """The tasks by namespace and container id, each with its bundle, None where that was not on a disk."""

    bundles: Mapping[tuple[str, str], Place | None] = field(default_factory=dict)
    pids: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def spec(self, reader: StoreReader, namespace: str, container_id: str) -> bytes | None:
        """The OCI spec in a task's bundle."""
        bundle = self.bundles.get((namespace, container_id))
        place = reader.child(bundle, b"config.json") if bundle is not None else None
        return reader.load(place, "bundle's config.json", lambda data: data, MAX_SPEC)


def read_tasks(reader: StoreReader, root: ContainerdRoot, known: Collection[tuple[str, str]]) -> Tasks:
    """Every task that has a directory. known: namespace and id of each container; in `states`, only theirs count."""
    bundles: dict[tuple[str, str], Place | None] = {}
    pids: dict[tuple[str, str], int] = {}
    for top in (root.place, root.state, *root.states):
        for name in TASKS if top is not None else ():
            for namespace in reader.children(reader.child(top, name) if top is not None else None, "d"):
                for task in reader.children(namespace, "d"):
                    key = readable(namespace.name), readable(task.name)
                    if top in root.states and key not in known:
                        continue
                    bundles.setdefault(key, None)
                    if top is not root.place:
                        bundles[key] = task
                        pid = reader.load(reader.child(task, b"init.pid"), "init.pid", _pid, MAX_PID)
                        if pid is not None:
                            pids[key] = pid
    return Tasks(bundles, pids)


def _pid(data: bytes) -> int:
    if not _PID.fullmatch(data.strip()):
        raise FormatError(f"{data[:MAX_PID]!r} is no process id", offset=0)
    return int(data)
