"""What rules look at: the case under construction, and the contents of files in the disk image, within bounds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from forensics.filesystem import Filesystem
from forensics.findings.host_settings import HostSettings, host_settings
from forensics.records import Finding, Gap, Mount
from parsers.errors import EvidenceError, FormatError

TOTAL = 2 << 30  # bytes of contents that all rules together may read


@dataclass
class Scene:
    """A case with all its layers and records written and indexed, and the filesystems of the disk image by partition."""

    db: sqlite3.Connection
    filesystems: Mapping[int, Filesystem]
    budget: int = TOTAL
    gaps: list[Gap] = field(default_factory=list)

    def read(self, partition: int, inode: int, offset: int, size: int) -> bytes:
        """Bytes of a file, within the budget; none where they cannot be read, and from its end on, which is a gap."""
        if size > self.budget >= 0:
            self.gaps.append(Gap("findings", f"rules read {TOTAL:,} bytes of contents; what came after that was not looked into"))
            self.budget = -1
        if size > self.budget:
            return b""
        data = self.content(partition, inode, offset, size)
        self.budget -= len(data)
        return data

    def content(self, partition: int, inode: int, offset: int, size: int) -> bytes:
        """Bytes of a file; none where they cannot be read, which hashing has told already."""
        filesystem = self.filesystems.get(partition)
        if filesystem is None or size <= 0:
            return b""
        try:
            return filesystem.read(inode, offset, size)
        except (FormatError, EvidenceError):
            return b""

    def containers(self, condition: str = "1") -> Iterator[Container]:
        """The containers of the case, one at a time: tens of thousands would take more memory than all else.

        condition: SQL, of a row `c` of the table `container`.
        """
        mounts = self._mounts()
        owner, mine = next(mounts, (None, ()))
        rows = self.db.execute(
            "SELECT c.id, c.container_id, c.name, c.engine, c.image, c.image_id, c.state, c.privileged, c.restart_policy,"
            " c.command, c.env, c.labels, c.config, c.hostconfig, c.origin, iif(l.entries, l.id, NULL), l.stacked, c.created_ns,"
            " c.started_ns, c.finished_ns, c.source_partition, c.source_offset"
            f" FROM container c LEFT JOIN layer l ON l.id = c.layer_id WHERE {condition} ORDER BY c.id"
        )
        for row in rows:
            while owner is not None and owner < row[0]:
                owner, mine = next(mounts, (None, ()))
            yield _container(row, mine if owner == row[0] else ())

    def _mounts(self) -> Iterator[tuple[int, tuple[Mount, ...]]]:
        """The mounts of each container that has some, in the order of the containers' numbers."""
        rows = self.db.execute(
            "SELECT container, type, source, destination, rw, name, driver, options FROM container_mount ORDER BY container, id"
        )
        for number, own in groupby(rows, key=itemgetter(0)):
            yield number, tuple(_mount(*row) for row in own)


class Container(NamedTuple):
    """A container as rules see it. number: in the case; layer: the number of its own layer, None where nothing of that is left.

    stacked: the layer holds its changes alone, not the whole root filesystem.
    """

    number: int
    container_id: str
    name: str | None
    engine: str
    image: str | None
    image_id: str | None
    state: str | None
    command: tuple[str, ...]
    env: tuple[str, ...]
    labels: Mapping[str, str]
    settings: HostSettings
    mounts: tuple[Mount, ...]
    origin: str
    layer: int | None
    stacked: bool
    created_ns: int | None
    started_ns: int | None
    finished_ns: int | None
    partition: int | None
    offset: int | None

    def finding(self, severity: str, title: str, detail: str) -> Finding:
        """A finding that points to the container's record."""
        return Finding(severity, title, detail, self.number, partition=self.partition, offset=self.offset)


def _mount(
    _container: int, kind: str, source: str | None, where: str, rw: int | None, name: str | None, driver: str | None,
    options: str | None,
) -> Mount:  # fmt: skip
    return Mount(kind, source, where, None if rw is None else bool(rw), name, driver, options)


def _container(row: tuple[Any, ...], mounts: tuple[Mount, ...]) -> Container:
    (number, cid, name, engine, image, image_id, state, privileged, policy, command, env, labels, config, hostconfig, origin,
     layer, stacked, created, started, finished, partition, offset) = row  # fmt: skip
    return Container(
        number, cid, name, engine, image, image_id, state, tuple(json.loads(command)) if command else (),
        tuple(json.loads(env)) if env else (), json.loads(labels) if labels and labels != "{}" else {},
        host_settings(engine, privileged, policy, config, hostconfig), mounts, origin, layer,
        bool(stacked), created, started, finished, partition, offset,
    )  # fmt: skip
