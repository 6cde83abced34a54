"""Docker's container images: the config in imagedb, repositories.json, and the image JSON of Docker before 1.10.

Source of the fields: moby v1.9 to v29: image/image.go, image/v1/imagev1.go, reference/store.go, distribution/metadata;
OCI image-spec v1.1, config.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.docker_layer import parse_digest
from parsers.errors import FormatError
from parsers.json_fields import Fields, parse_object


@dataclass(frozen=True, slots=True)
class History:
    """One step of the image's making. empty_layer: it made no layer."""

    created_ns: int | None
    created_by: str | None
    comment: str | None
    author: str | None
    empty_layer: bool


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The config whose SHA-256 is the image's id. diff_ids: bottom first. parent: of Docker before 1.10 only."""

    created_ns: int | None
    architecture: str | None
    os: str | None
    author: str | None
    docker_version: str | None
    labels: dict[str, str]
    diff_ids: tuple[str, ...]
    history: tuple[History, ...]
    parent: str | None
    size: int | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repositories:
    """repositories.json: names and digests by image id, sorted, names first."""

    refs: dict[str, tuple[str, ...]]
    problems: tuple[str, ...]


def parse_image_config(data: bytes, source: str = "") -> ImageConfig:
    """Raises FormatError where the document is no JSON object. A diff id that is none makes all of them unknown."""
    top = parse_object(data, source)
    diff_ids = top.fields("rootfs").texts("diff_ids") or ()
    try:
        diff_ids = tuple(parse_digest(text.encode()) for text in diff_ids)
    except FormatError as error:
        top.problem(f"rootfs.diff_ids: {error}")
        diff_ids = ()
    return ImageConfig(
        created_ns=top.time("created"),
        architecture=top.text("architecture") or None,
        os=top.text("os") or None,
        author=top.text("author") or None,
        docker_version=top.text("docker_version") or None,
        labels=top.fields("config").text_map("Labels") or {},
        diff_ids=diff_ids,
        history=tuple(_history(step) for step in top.items("history")),
        parent=top.text("parent") or None,
        size=top.integer("Size"),
        problems=tuple(top.problems),
    )


@dataclass(frozen=True, slots=True)
class BuildContainer:
    """The container that an image was committed from, `container` and `container_config` (moby before v25). command: argv."""

    id: str
    image: str | None
    command: tuple[str, ...] | None
    env: tuple[str, ...] | None
    labels: dict[str, str] | None
    hostname: str | None
    user: str | None
    working_dir: str | None


def parse_build_container(data: bytes, source: str = "") -> BuildContainer | None:
    """None where the config tells of no container. Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    own = top.text("container")
    if not own:
        return None
    config = top.fields("container_config")
    command = (*(config.texts("Entrypoint") or ()), *(config.texts("Cmd") or ()))
    return BuildContainer(
        id=own,
        image=config.text("Image") or None,
        command=command or None,
        env=config.texts("Env"),
        labels=config.text_map("Labels"),
        hostname=config.text("Hostname") or None,
        user=config.text("User") or None,
        working_dir=config.text("WorkingDir") or None,
    )


def parse_repositories(data: bytes, source: str = "") -> Repositories:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    refs: dict[str, list[str]] = {}
    for repository, tags in top.each("Repositories"):
        for ref in tags.names():
            image = tags.text(ref)
            if image is not None:
                # Docker before 1.10 wrote the tag alone
                full = ref if ref.startswith((f"{repository}:", f"{repository}@")) else f"{repository}:{ref}"
                refs.setdefault(image, []).append(full)
    if "Repositories" not in top:
        top.problem("Repositories: missing")
    ordered = {image: tuple(sorted(names, key=lambda ref: ("@" in ref, ref))) for image, names in sorted(refs.items())}
    return Repositories(ordered, tuple(top.problems))


def _history(step: Fields) -> History:
    return History(
        created_ns=step.time("created"),
        created_by=step.text("created_by") or None,
        comment=step.text("comment") or None,
        author=step.text("author") or None,
        empty_layer=bool(step.flag("empty_layer")),
    )
