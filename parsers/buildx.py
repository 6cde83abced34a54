"""buildx's references to builds: ~/.docker/buildx/refs/<builder>/<node>/<ref>, a JSON object each.

Source: buildx v0.11 to v0.29, localstate/localstate.go (State, SaveRef).
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.json_fields import parse_object


@dataclass(frozen=True, slots=True)
class BuildReference:
    """What a client noted of a build when it began. local_path: its context, which may be an address, or `-` for stdin.

    target: in a bake file. dockerfile: its path where that is not told by the context. group: of builds that began together.
    """

    target: str | None
    local_path: str | None
    dockerfile: str | None
    group: str | None
    problems: tuple[str, ...]


def parse_build_reference(data: bytes, source: str = "") -> BuildReference:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    return BuildReference(
        target=top.text("Target") or None,
        local_path=top.text("LocalPath") or None,
        dockerfile=top.text("DockerfilePath") or None,
        group=top.text("GroupRef") or None,
        problems=tuple(top.problems),
    )
