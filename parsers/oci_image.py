"""An OCI or Docker container image in a content store: index and manifest; its config is docker_image's.

Source of the fields: opencontainers/image-spec v1.1, specs-go/v1/{index,manifest,descriptor}.go; Docker's manifest v2 schema 2
has the same ones. Media types tell an index from a manifest where they are there, and its fields where they are not.
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.docker_layer import parse_digest
from parsers.errors import FormatError
from parsers.json_fields import Fields, parse_object


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob. platform: `linux/amd64`, with a variant behind it where there is one."""

    digest: str
    media_type: str | None
    size: int | None
    platform: str | None
    annotations: dict[str, str]


@dataclass(frozen=True, slots=True)
class Index:
    """One manifest for each platform."""

    manifests: tuple[Descriptor, ...]
    annotations: dict[str, str]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one platform's image is made of. layers: bottom first."""

    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str]
    problems: tuple[str, ...]


def parse_index_or_manifest(data: bytes, source: str = "") -> Index | Manifest:
    """Raises FormatError where the document is neither. A descriptor without a digest is left out and told in `problems`."""
    top = parse_object(data, source)
    annotations = top.text_map("annotations") or {}
    if "manifests" in top:
        return Index(_descriptors(top, "manifests"), annotations, tuple(top.problems))
    if "config" not in top and "layers" not in top:
        raise FormatError("neither an index nor a manifest of a container image", source, 0)
    config = _descriptor(top, top.fields("config"), "config") if "config" in top else None
    return Manifest(config, _descriptors(top, "layers"), annotations, tuple(top.problems))


def _descriptors(top: Fields, name: str) -> tuple[Descriptor, ...]:
    found = (_descriptor(top, each, f"{name}[{i}]") for i, each in enumerate(top.items(name)))
    return tuple(descriptor for descriptor in found if descriptor is not None)


def _descriptor(top: Fields, fields: Fields, where: str) -> Descriptor | None:
    try:
        digest = parse_digest((fields.text("digest") or "").encode())
    except FormatError as error:
        top.problem(f"{where}: {error}")
        return None
    platform = fields.fields("platform")
    parts = (platform.text("os"), platform.text("architecture"), platform.text("variant"))
    return Descriptor(
        digest,
        fields.text("mediaType") or None,
        fields.integer("size"),
        "/".join(part for part in parts if part) or None,
        fields.text_map("annotations") or {},
    )
