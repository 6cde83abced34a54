"""What engines' log messages tell of a container: its id, and what happened to it.

Sources of the texts: containerd v1.4 to v2.2, internal/cri/instrument, internal/cri/server, core/runtime/v2; moby v20 to v29,
daemon/monitor.go, container/container.go; kubernetes v1.20 to v1.34, pkg/kubelet (klog v2's key="value"); podman v3 to v5,
libpod/events/events.go ToHumanReadable; cri-o v1.20 to v1.33, server/container_*.go, sandbox_run*.go; systemd v240 to v257,
core/unit.c, with the scopes of runc, crun and libpod; Linux 4.19 to 6.12, mm/oom_kill.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from parsers.errors import FormatError
from parsers.go_time import parse_rfc3339

DOCKER, CONTAINERD, PODMAN, CRIO = "docker", "containerd", "podman", "crio"
KUBERNETES, MOBY = "k8s.io", "moby"
CREATED, STARTED, EXITED, REMOVED = "created", "started", "exited", "removed"
SECOND = 1_000_000_000
MAX_MESSAGE = 1 << 16
MAX_OF_ONE = 100  # mentions in one message

_ID = r"(?P<id>[0-9a-f]{64})"
_WHOLE = re.compile(rb"(?<![0-9a-zA-Z])[0-9a-f]{64}(?![0-9a-zA-Z])")
_QUOTED = r'\\*"' + _ID + r'\\*"'


@dataclass(frozen=True, slots=True)
class Mention:
    """A container that a message names. engine: None where the message does not tell whose it is. event: what happened to it.

    sandbox: the id of its pod's. time_ns: of the event, where the message itself tells it.
    """

    id: str
    engine: str | None
    event: str | None = None
    namespace: str | None = None
    name: str | None = None
    image: str | None = None
    pod: str | None = None
    sandbox: str | None = None
    exit_code: int | None = None
    time_ns: int | None = None


def may_mention(data: bytes) -> bool:
    """Whether there is anything in a text that looks like a container's id."""
    return _WHOLE.search(data) is not None


def mentions(program: str, message: str) -> Iterator[Mention]:
    """The containers that a program's message names; none for programs that are no engines'."""
    text = message[:MAX_MESSAGE]
    for programs, look in _READERS:
        if program in programs:
            own = _TIME.match(text)
            for found in islice(look(text), MAX_OF_ONE):
                yield replace(found, time_ns=found.time_ns or _time(own[1] if own is not None else None))
            return


def _time(text: str | None) -> int | None:
    try:
        return parse_rfc3339(text) if text is not None else None
    except FormatError:
        return None


_TIME = re.compile(r'time="([0-9T:.Z+-]{20,40})" level=')
_SANDBOX = re.compile(
    r"RunPodSandbox for &?PodSandboxMetadata\{Name:(?P<pod>[^,{}]{1,253}),Uid:[^,{}]*,Namespace:(?P<namespace>[^,{}]{1,63}),"
    r"Attempt:\d+,\} returns sandbox id " + _QUOTED
)
_CONTAINER = re.compile(
    r"CreateContainer within sandbox \\*\"(?P<sandbox>[0-9a-f]{64})\\*\" for &?ContainerMetadata"
    r"\{Name:(?P<name>[^,{}]{1,253}),Attempt:\d+,\} returns container id " + _QUOTED
)
_CRI_DONE = re.compile(r"(?P<what>StartContainer|StopContainer|RemoveContainer) for " + _QUOTED + r" returns successfully")
_SANDBOX_GONE = re.compile(r"RemovePodSandbox (?:for )?" + _QUOTED + r" returns successfully")
_SHIM = re.compile(
    r"connecting to shim " + _ID + r"|msg=\"[^\"]{0,60}\bshim\b[^\"]{0,60}\" id=" + _ID.replace("id", "other", 1) + r"\b"
)
_EXIT = re.compile(
    r"container_id:\\*\"" + _ID + r"\\*\" .{0,200}? exit_status:(?P<code>\d{1,3}) +exited_at:\{seconds:(?P<seconds>\d{1,11})"
    r"(?: +nanos:(?P<nanos>\d{1,9}))?\}"
)
_NAMESPACE = re.compile(r"\bnamespace=\"?([A-Za-z0-9][\w.-]{0,75})")
_DOCKER = re.compile(r"\bcontainer=\"?" + _ID + r"\b")
_DOCKER_GONE = re.compile(r"/tasks/delete")
_CONTAINER_ID = re.compile(r"\bcontainerID=\"(?:(?P<scheme>docker|containerd|cri-o)://)?" + _ID + r"\"")
_PLEG = re.compile(r'"Type":"Container(?P<what>Started|Died|Removed)","Data":"' + _ID + r'"')
_POD = re.compile(r"\bpod=\"([a-z0-9.-]{1,63}/[a-z0-9.-]{1,253})\"")
_NAME = re.compile(r"\bcontainerName=\"([a-z0-9.-]{1,253})\"")
_PODMAN = re.compile(
    r"\bcontainer (?P<verb>create|init|start|attach|died|remove|cleanup|stop|kill|exec|exec_died|mount|unmount|restart|commit|"
    r"checkpoint|restore|pause|unpause|sync|rename|health_status) "
    + _ID
    + r" \(image=(?P<image>[^,)]{0,300}), name=(?P<name>[^,)]{1,253})"
)
_CRIO_NAMED = re.compile(
    r"(?P<what>Created|Stopped|Removed) container "
    + _ID
    + r": (?P<namespace>[a-z0-9.-]+)/(?P<pod>[a-z0-9.-]+)/(?P<name>[a-z0-9.-]+)"
)
_CRIO_POD = re.compile(r"Ran pod sandbox " + _ID + r" with infra container: (?P<namespace>[a-z0-9.-]+)/(?P<pod>[a-z0-9.-]+)/POD")
_CRIO_STARTED = re.compile(
    r"\bcontainerID=" + _ID + r" description=(?P<namespace>[a-z0-9.-]+)/(?P<pod>[a-z0-9.-]+)/(?P<name>[a-z0-9.-]+)"
)
_CRIO_GONE = re.compile(r"Removed pod sandbox: " + _ID)
_SCOPE = re.compile(r"\b(?P<prefix>docker|cri-containerd|crio|libpod|libpod-conmon|crio-conmon)-" + _ID + r"\.scope\b")
_OOM = re.compile(r"task_memcg=\S{0,300}?/(?:(?P<prefix>docker|cri-containerd|crio|libpod)[-/])?" + _ID + r"(?:\.scope)?\b")
_ENGINES = {"docker": DOCKER, "cri-containerd": CONTAINERD, "containerd": CONTAINERD, "cri-o": CRIO, "crio": CRIO,
            "crio-conmon": CRIO, "libpod": PODMAN, "libpod-conmon": PODMAN}  # fmt: skip
_CRI_EVENTS = {"StartContainer": STARTED, "StopContainer": EXITED, "RemoveContainer": REMOVED}
_PLEG_EVENTS = {"Started": STARTED, "Died": EXITED, "Removed": REMOVED}
_PODMAN_EVENTS = {"create": CREATED, "start": STARTED, "died": EXITED, "remove": REMOVED}
_CRIO_EVENTS = {"Created": CREATED, "Stopped": EXITED, "Removed": REMOVED}


def _containerd(text: str) -> Iterator[Mention]:
    for match in _SANDBOX.finditer(text):
        pod = f"{match['namespace']}/{match['pod']}"
        yield Mention(match["id"], CONTAINERD, CREATED, KUBERNETES, match["pod"], pod=pod)
    for match in _CONTAINER.finditer(text):
        yield Mention(match["id"], CONTAINERD, CREATED, KUBERNETES, match["name"], sandbox=match["sandbox"])
    for match in _CRI_DONE.finditer(text):
        yield Mention(match["id"], CONTAINERD, _CRI_EVENTS[match["what"]], KUBERNETES)
    for match in _SANDBOX_GONE.finditer(text):
        yield Mention(match["id"], CONTAINERD, REMOVED, KUBERNETES)
    told = _NAMESPACE.search(text)
    for match in _SHIM.finditer(text):
        if told is not None:
            docker = told[1] == MOBY
            own = match["id"] or match["other"]
            yield Mention(own, DOCKER if docker else CONTAINERD, None, None if docker else told[1])
    for match in _EXIT.finditer(text):
        ended = int(match["seconds"]) * SECOND + int(match["nanos"] or 0)
        yield Mention(match["id"], None, EXITED, exit_code=int(match["code"]), time_ns=ended)


def _dockerd(text: str) -> Iterator[Mention]:
    event = EXITED if _DOCKER_GONE.search(text) else None
    for match in _DOCKER.finditer(text):
        yield Mention(match["id"], DOCKER, event)


def _kubelet(text: str) -> Iterator[Mention]:
    pod, name = _POD.search(text), _NAME.search(text)
    for match in _CONTAINER_ID.finditer(text):
        engine = _ENGINES.get(match["scheme"] or "")
        named = name[1] if name is not None else None
        yield Mention(match["id"], engine, None, _space(engine), named, pod=pod[1] if pod is not None else None)
    for match in _PLEG.finditer(text):
        yield Mention(match["id"], None, _PLEG_EVENTS[match["what"]], pod=pod[1] if pod is not None else None)


def _podman(text: str) -> Iterator[Mention]:
    for match in _PODMAN.finditer(text):
        yield Mention(match["id"], PODMAN, _PODMAN_EVENTS.get(match["verb"]), None, match["name"], match["image"] or None)


def _crio(text: str) -> Iterator[Mention]:
    for pattern in (_CRIO_NAMED, _CRIO_STARTED, _CRIO_POD):
        for match in pattern.finditer(text):
            told = match.groupdict()
            event = _CRIO_EVENTS[told["what"]] if told.get("what") else STARTED
            pod = f"{told['namespace']}/{told['pod']}"
            yield Mention(told["id"], CRIO, event, None, told.get("name") or told["pod"], pod=pod)
    for match in _CRIO_GONE.finditer(text):
        yield Mention(match["id"], CRIO, REMOVED)


def _systemd(text: str) -> Iterator[Mention]:
    """The scopes that runtimes have systemd make of each container."""
    for match in _SCOPE.finditer(text):
        engine = _ENGINES[match["prefix"]]
        yield Mention(match["id"], engine, None, _space(engine))


def _kernel(text: str) -> Iterator[Mention]:
    for match in _OOM.finditer(text):
        engine = _ENGINES.get(match["prefix"] or "")
        yield Mention(match["id"], engine, None, _space(engine))


def _space(engine: str | None) -> str | None:
    return KUBERNETES if engine == CONTAINERD else None


_READERS: tuple[tuple[frozenset[str], Callable[[str], Iterator[Mention]]], ...] = (
    (frozenset(("containerd", "k3s", "rke2", "containerd-shim", "containerd-shim-runc-v2")), _containerd),
    (frozenset(("dockerd", "docker")), _dockerd),
    (frozenset(("kubelet",)), _kubelet),
    (frozenset(("podman",)), _podman),
    (frozenset(("crio", "cri-o")), _crio),
    (frozenset(("systemd",)), _systemd),
    (frozenset(("kernel",)), _kernel),
)
