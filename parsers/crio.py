"""CRI-O's state.json, and its annotations in a container's OCI spec.

Source of the fields: cri-o v1.20 to v1.33: internal/oci/container.go (ContainerState), pkg/annotations/internal.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from parsers.errors import FormatError
from parsers.json_fields import Fields, parse_object

PREFIX = "io.kubernetes.cri-o."


@dataclass(frozen=True, slots=True)
class CrioState:
    """state.json. status: the OCI runtime's word; exit_code: None where it has not exited."""

    status: str | None
    pid: int | None
    created_ns: int | None
    started_ns: int | None
    finished_ns: int | None
    exit_code: int | None
    oom_killed: bool
    error: str | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CrioAnnotations:
    """What the annotations tell. type: container or sandbox. image: its name, or as it was asked for; image_ref: its id."""

    type: str | None
    name: str | None
    sandbox_id: str | None
    image: str | None
    image_ref: str | None
    log_path: str | None
    hostname: str | None
    labels: dict[str, str] | None
    volumes: tuple[str, ...]
    problems: tuple[str, ...]


def parse_state(data: bytes, source: str = "") -> CrioState:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    return CrioState(
        status=top.text("status") or None,
        pid=top.integer("initPid") or top.integer("pid") or None,
        created_ns=top.time("created"),
        started_ns=top.time("started"),
        finished_ns=top.time("finished"),
        exit_code=top.integer("exitCode"),
        oom_killed=bool(top.flag("oomKilled")),
        error=top.text("error") or None,
        problems=tuple(top.problems),
    )


def parse_exit_file(data: bytes, source: str = "") -> int:
    """The exit code in a file that conmon writes (v2.0, src/conmon.c and ctr_exit.c). Raises FormatError where it is none."""
    text = data.strip()
    if not re.fullmatch(rb"-?[0-9]{1,9}", text):
        raise FormatError(f"{text[:20]!r} is no exit code", source, 0)
    return int(text)


def parse_annotations(annotations: dict[str, str]) -> CrioAnnotations | None:
    """None for a spec that CRI-O did not write. volumes: the destinations of the mounts that the pod asked for."""
    told = {name.removeprefix(PREFIX): value for name, value in annotations.items() if name.startswith(PREFIX)}
    if not told:
        return None
    problems: list[str] = []
    labels = _json(told, "Labels", problems)
    volumes = _json(told, "Volumes", problems, array=True)
    return CrioAnnotations(
        type=told.get("ContainerType") or None,
        name=told.get("ContainerName") or told.get("Name") or None,
        sandbox_id=told.get("SandboxID") or None,
        image=told.get("ImageName") or told.get("Image") or None,
        image_ref=told.get("ImageRef") or None,
        log_path=told.get("LogPath") or None,
        hostname=told.get("HostName") or None,
        labels={name: labels.text(name) or "" for name in labels.names()} if labels is not None else None,
        volumes=tuple(path for each in volumes.items("all") if (path := each.text("container_path"))) if volumes else (),
        problems=tuple(problems),
    )


def _json(told: dict[str, str], name: str, problems: list[str], array: bool = False) -> Fields | None:
    """A JSON text in an annotation; an array stands in a field `all`."""
    text = told.get(name)
    if not text:
        return None
    try:
        return parse_object((f'{{"all":{text}}}' if array else text).encode("utf-8", "replace"))
    except FormatError as error:
        problems.append(f"annotation {name}: {error.what}")
        return None
