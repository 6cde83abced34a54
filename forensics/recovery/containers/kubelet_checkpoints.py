"""Containers that a kubelet made a checkpoint of: an archive with the container's configuration, which outlives it.

<kubelet>/checkpoints/checkpoint-<pod>_<namespace>-<container>-<time>.tar: config.dump, spec.dump, and what CRIU wrote.
Source: kubernetes v1.25 to v1.34, pkg/kubelet/kubelet.go CheckpointContainer; checkpointctl v1.0, lib/metadata.go
(ContainerConfig), whose JSON names are these; containerd v2.0 internal/cri/server/container_checkpoint_linux.go.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from forensics.records import Container
from forensics.recovery.clues import CERTAIN, Clue
from forensics.recovery.containers.host_traces import runtime_of
from forensics.recovery.limits import Limits
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.errors import EvidenceError, FormatError
from parsers.json_fields import parse_object
from parsers.oci_spec import OciSpec, parse_spec

DIRECTORY = b"/var/lib/kubelet/checkpoints"
CONFIG, SPEC = "config.dump", "spec.dump"
MAX_ARCHIVES = 1000
MAX_MEMBERS = 5000  # of one archive that are passed over
MAX_JSON = 4 << 20

_ID = re.compile(r"[0-9a-f]{64}")
_NAMED = re.compile(r"([a-z0-9.-]+)_([a-z0-9.-]+)_([a-z0-9.-]+)_[0-9a-f-]{36}_\d+")


def checkpoint_clues(
    trees: Sequence[HostTree], engines: Sequence[str], limits: Limits | None = None
) -> Iterator[Clue[Container]]:
    """A clue to each container of which there is a checkpoint; of those that are there, for nothing."""
    reader, limits = StoreReader(), limits or Limits()
    for tree in trees:
        places = reader.children(resolve_or_none(tree, DIRECTORY), "f")
        for place in limits.first(places, MAX_ARCHIVES, "checkpoints of the kubelet", None, readable(DIRECTORY)):
            try:
                made = _container(_members(place), runtime_of(engines))
            except (FormatError, EvidenceError):  # no checkpoint, or a damaged one
                continue
            if made is not None:
                source = reader.provenance(place, "checkpoint that the kubelet made of it")
                yield Clue(replace(made, source=source), CERTAIN, "file")


def _container(members: Mapping[str, bytes], runtime: str) -> Container | None:
    top = parse_object(members.get(CONFIG, b""))
    own = top.text("id") or ""
    if not _ID.fullmatch(own):
        return None
    named = _NAMED.fullmatch(top.text("name") or "")
    spec = _spec(members.get(SPEC))
    return Container(
        engine=runtime,
        namespace="k8s.io" if runtime == "containerd" else None,
        container_id=own,
        name=named[1] if named is not None else top.text("name") or None,
        image=top.text("rootfsImageName") or top.text("rootfsImage") or None,
        created_ns=top.time("createdTime"),
        command=spec.args if spec is not None else None,
        env=spec.env if spec is not None else None,
        pod=f"{named[3]}/{named[2]}" if named is not None else None,
        hostname=spec.hostname if spec is not None else None,
    )


def _spec(data: bytes | None) -> OciSpec | None:
    try:
        return parse_spec(data) if data is not None else None
    except FormatError:
        return None


def _members(place: Place) -> dict[str, bytes]:
    """The two documents in an archive, found by its headers: what CRIU wrote is passed over."""
    found: dict[str, bytes] = {}
    end = place.fs.inode(place.inode).size
    at = 0
    for _ in range(MAX_MEMBERS):
        head = place.fs.read(place.inode, at, tarfile.BLOCKSIZE)
        if len(head) < tarfile.BLOCKSIZE or at >= end or len(found) == len((CONFIG, SPEC)):
            break
        try:
            member = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            break
        name = member.name.removeprefix("./")
        if name in (CONFIG, SPEC) and member.isreg() and 0 <= member.size <= MAX_JSON:
            found[name] = place.fs.read(place.inode, at + tarfile.BLOCKSIZE, member.size)
        if member.size < 0:
            break
        at += tarfile.BLOCKSIZE + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return found
