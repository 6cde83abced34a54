"""What a kubelet was told, and what it and its runtimes keep in small JSON files that name containers.

Source: kubernetes v1.10 to v1.23, pkg/kubelet/dockershim/docker_checkpoint.go; cri-dockerd v0.2 to v0.3, core/checkpoint.go;
kubernetes v1.10 to v1.17, pkg/kubelet/cm/cpumanager/state/checkpoint.go (from 1.18 on, entries are by pod and container name);
v1.20 to v1.34, cmd/kubelet/app/options/options.go (the command line), staging/src/k8s.io/kubelet/config/v1beta1/types.go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from parsers.json_fields import parse_object

PROGRAM = re.compile(r"(^|/)(kubelet|hyperkube)$", re.ASCII)
_OPTIONS = {"--config": "config", "--root-dir": "root", "--pod-manifest-path": "manifests"}
_STATIC_PATH = re.compile(rb"^[ \t{,]*['\"]?staticPodPath['\"]?[ \t]*:[ \t]*['\"]?(/[^'\"\s#,}]+)", re.MULTILINE)
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class KubeletOptions:
    """The options of a kubelet's command line that tell where its files are. root: its own directory."""

    config: str | None = None
    root: str | None = None
    manifests: str | None = None


def kubelet_options(argv: Sequence[str]) -> KubeletOptions:
    """The last of each option counts; `--name value` and `--name=value` are the same."""
    found: dict[str, str] = {}
    for i, word in enumerate(argv):
        name, equals, value = word.partition("=")
        path = value if equals else argv[i + 1] if i + 1 < len(argv) else ""
        if name in _OPTIONS and path.startswith("/"):
            found[_OPTIONS[name]] = path
    return KubeletOptions(found.get("config"), found.get("root"), found.get("manifests"))


def static_pod_path(data: bytes) -> bytes | None:
    """The directory of static pods in a kubelet's config, YAML or JSON; None where it tells none."""
    match = _STATIC_PATH.search(data)
    return match[1] if match is not None else None


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
