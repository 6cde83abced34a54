"""What a kubelet and its runtimes keep in small JSON files that name containers: checkpoints of sandboxes, states of managers.

Source: kubernetes v1.10 to v1.23, pkg/kubelet/dockershim/docker_checkpoint.go; cri-dockerd v0.2 to v0.3, core/checkpoint.go;
kubernetes v1.10 to v1.17, pkg/kubelet/cm/cpumanager/state/checkpoint.go (from 1.18 on, entries are by pod and container name).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from parsers.json_fields import parse_object

_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SandboxCheckpoint:
    """A pod's sandbox, by the name of the file that this was in."""

    name: str | None
    namespace: str | None


def parse_sandbox_checkpoint(data: bytes, source: str = "") -> SandboxCheckpoint:
    """`{"version":"v1","name":POD,"namespace":NAMESPACE,"data":{...}}`. Raises FormatError where it is no JSON object."""
    top = parse_object(data, source)
    return SandboxCheckpoint(top.text("name") or None, top.text("namespace") or None)


def parse_cpu_manager_state(data: bytes, source: str = "") -> tuple[str, ...]:
    """The ids of the containers that were given CPUs of their own. Raises FormatError where it is no JSON object."""
    entries = parse_object(data, source).fields("entries")
    return tuple(name for name in entries.names() if _ID.fullmatch(name))
