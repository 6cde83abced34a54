"""Tasks: which containers had one when the power went off, and what is left of its bundle.

<root>/io.containerd.runtime.v2.task/<namespace>/<id>/      the shim's directory, there while the container has a task
<state>/io.containerd.runtime.v2.task/<namespace>/<id>/     its bundle, where the state directory is on a disk: config.json (the
    spec), init.pid, shim-binary-path, options.json (of the runtime), runtime (its program), address, bootstrap.json, log.json

Source: containerd v1.2 to v2.2, core/runtime/v2/{bundle,shim_manager}.go (runtime/v2 before 2.0), runtime/v1/linux;
cmd/containerd-shim-runc-v2/runc/container.go (options.json, runtime).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from forensics.records import Artefact
from forensics.stores.containerd.discover import TASKS, ContainerdRoot
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.errors import FormatError

MAX_SPEC = 4 << 20
MAX_PID = 16
MAX_TEXT = 64 << 10
FILES = ("shim-binary-path", "options.json", "runtime", "address", "bootstrap.json", "log.json")

_PID = re.compile(rb"[1-9][0-9]{0,9}")


@dataclass(frozen=True)
class Tasks:
    """The tasks by namespace and container id, each with its bundle, None where that was not on a disk.

    directories: all that each has, the shim's and the bundle.
    """

    bundles: Mapping[tuple[str, str], Place | None] = field(default_factory=dict)
    pids: Mapping[tuple[str, str], int] = field(default_factory=dict)
    directories: Mapping[tuple[str, str], tuple[Place, ...]] = field(default_factory=dict)

    def spec(self, reader: StoreReader, namespace: str, container_id: str) -> bytes | None:
        """The OCI spec in a task's bundle."""
        bundle = self.bundles.get((namespace, container_id))
        place = reader.child(bundle, b"config.json") if bundle is not None else None
        return reader.load(place, "bundle's config.json", lambda data: data, MAX_SPEC)


def read_tasks(reader: StoreReader, root: ContainerdRoot, known: Collection[tuple[str, str]]) -> Tasks:
    """Every task that has a directory. known: namespace and id of each container; in `states`, only theirs count."""
    bundles: dict[tuple[str, str], Place | None] = {}
    pids: dict[tuple[str, str], int] = {}
    directories: dict[tuple[str, str], tuple[Place, ...]] = {}
    for top in (root.place, root.state, *root.states):
        for name in TASKS if top is not None else ():
            for namespace in reader.children(reader.child(top, name) if top is not None else None, "d"):
                for task in reader.children(namespace, "d"):
                    key = readable(namespace.name), readable(task.name)
                    if top in root.states and key not in known:
                        continue
                    bundles.setdefault(key, None)
                    directories[key] = (*directories.get(key, ()), task)
                    if top is not root.place:
                        bundles[key] = task
                        pid = reader.load(reader.child(task, b"init.pid"), "init.pid", _pid, MAX_PID)
                        if pid is not None:
                            pids[key] = pid
    return Tasks(bundles, pids, directories)


def task_artefacts(reader: StoreReader, engine: str, tasks: Tasks, namespaces: Collection[str]) -> Iterator[Artefact]:
    """Each task of some namespaces, with what its directories tell of the process and its shim; time: when it was made."""
    for (namespace, own), places in sorted(tasks.directories.items()):
        if namespace not in namespaces:
            continue
        bundle = tasks.bundles.get((namespace, own))
        told = {"pid": str(tasks.pids.get((namespace, own), ""))}
        if bundle is not None:
            told |= {name: reader.load(reader.child(bundle, name.encode()), "bundle", _text, MAX_TEXT) or "" for name in FILES}
        told["directories"] = " ".join(readable(place.path) for place in places)
        inode = reader.inode(places[0])
        born = inode.crtime_ns if inode is not None else None
        details = {name: text for name, text in told.items() if text}
        path = readable((bundle or places[0]).path)
        yield Artefact(engine, "task", own, namespace, path, born, details, source=reader.provenance(bundle or places[0]))


def _text(data: bytes) -> str:
    return readable(data.strip())


def _pid(data: bytes) -> int:
    if not _PID.fullmatch(data.strip()):
        raise FormatError(f"{data[:MAX_PID]!r} is no process id", offset=0)
    return int(data)
