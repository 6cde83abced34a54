"""Where a layer of Docker's image store came from: image/<driver>/distribution/v2metadata-by-diffid/sha256/<hex of the diff id>.

Source: moby 29.0, daemon/internal/distribution/metadata/v2_metadata_service.go (V2Metadata): a JSON array, the newest last, that
is written anew by each pull and push of the layer, and stays when its image is removed.
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.json_fields import parse_array


@dataclass(frozen=True, slots=True)
class Distributed:
    """A registry's copy of a layer. digest: of its compressed blob. repository: `docker.io/library/nginx`."""

    digest: str | None
    repository: str | None


def parse_distribution(data: bytes, source: str = "") -> tuple[Distributed, ...]:
    """Every copy that is known. Raises FormatError for what is no such array."""
    found, _problems = parse_array(data, source)
    return tuple(Distributed(each.text("Digest"), each.text("SourceRepository")) for each in found)
