"""Libpod's configs of containers, whole or in parts: the beginning of one that is cut off, the end of one without a beginning.

Only what stands in the part is told: a value that is cut off is not, and what is not there may have stood in what is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from forensics.records import Container, Provenance
from forensics.text import readable
from parsers.errors import FormatError
from parsers.libpod import ContainerPart, LibpodContainer, parse_container_part

NAME = re.compile(rb"[a-zA-Z0-9][a-zA-Z0-9_.-]*")

_DIRECTORY = re.compile(r"-containers/([0-9a-f]{64})(?:/|$)")


def libpod_record(config: LibpodContainer) -> Container:
    """A container as libpod's config of it tells."""
    spec = config.spec
    return Container(
        engine="podman",
        namespace=None,
        container_id=config.id or "",
        name=config.name,
        image=config.image_name or config.rootfs,
        image_id=config.image_id,
        created_ns=config.created_ns,
        command=spec.args if spec is not None else None,
        env=spec.env if spec is not None else None,
        labels=config.labels,
        privileged=config.privileged,
        restart_policy=config.restart_policy,
        hostname=spec.hostname if spec is not None else None,
        user=config.user,
        working_dir=spec.cwd if spec is not None else None,
        log_path=config.log_path,
        log_driver=config.log_driver,
    )


def own_paths(own: str, paths: Iterable[str | None]) -> bool:
    """Whether the paths in a config, as far as they lead into a container's directory, lead into that of the one it is of."""
    return {match[1] for path in paths if (match := _DIRECTORY.search(path or "")) is not None} <= {own}


def config_beginning(own: str, name: bytes, text: bytes, source: Provenance) -> Container | None:
    """The container with an id and a name of which a config begins so."""
    part = _part(text) if NAME.fullmatch(name) else None
    if part is None or part.id not in (None, own) or not own_paths(own, part.paths) or not _is_a_containers(part):
        return None
    return _record(own, readable(name), part, source)


def config_end(text: bytes, source: Provenance) -> Container | None:
    """The container of whose config a part begins with its id: it is of the one that all paths in it name."""
    part = _part(b"{" + text)
    own = part.id if part is not None else None
    if (
        part is None
        or own is None
        or part.name is None
        or not NAME.fullmatch(part.name.encode())
        or not own_paths(own, part.paths)
        or not _is_a_containers(part)
    ):
        return None
    return _record(own, part.name, part, source)


def _is_a_containers(part: ContainerPart) -> bool:
    """Whether it has what a pod's config, which has an id and a name, too, has not."""
    told = (part.created_ns, part.image_id, part.image_name, part.args, part.env, part.cwd, part.log_path)
    return bool(part.paths) or any(each is not None for each in told)


def _part(text: bytes) -> ContainerPart | None:
    try:
        return parse_container_part(text)
    except FormatError:  # not one field is whole
        return None


def _record(own: str, name: str, part: ContainerPart, source: Provenance) -> Container:
    return Container(
        engine="podman",
        namespace=None,
        container_id=own,
        name=name,
        image=part.image_name,
        image_id=part.image_id,
        created_ns=part.created_ns,
        command=part.args,
        env=part.env,
        working_dir=part.cwd,
        log_path=part.log_path,
        log_driver=part.log_driver,
        origin="recovered",
        source=source,
    )
