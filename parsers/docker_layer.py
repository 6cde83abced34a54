"""The small texts that tie Docker's layers together: layerdb's files, overlay2's `link` and `lower`, chain ids.

Source: moby v1.10 to v29: layer/filestore.go, layer/layer.go (CreateChainID), daemon/graphdriver/overlay2/overlay.go. None of
these files ends in a newline. Every function raises FormatError for a text that is not what Docker writes there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from parsers.errors import FormatError

MAX_LOWER = 500  # layers of one overlay mount, fs/overlayfs/params.h OVL_MAX_STACK
INIT_SUFFIX = "-init"

_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_DIRECTORY = re.compile(rb"[0-9a-f]{64}(-init)?|[0-9a-z]{25}")  # the second: BuildKit's, identity.NewID
_LINK = re.compile(rb"[A-Z2-7]{26}")
_SIZE = re.compile(rb"-?[0-9]{1,19}")


def parse_digest(data: bytes) -> str:
    """`sha256:` and 64 hex digits: a diff id, a chain id, an image id."""
    return _match(_DIGEST, data, "digest")


def parse_directory(data: bytes) -> str:
    """A layer directory's name: cache-id, mount-id, init-id."""
    return _match(_DIRECTORY, data, "layer directory's name")


def parse_link(data: bytes) -> str:
    """The short name of a layer in `l/`."""
    return _match(_LINK, data, "short layer name")


def parse_lower(data: bytes) -> tuple[str, ...]:
    """The short names of all layers below, the top one first, out of `l/NAME:l/NAME`."""
    if not data:
        raise FormatError("empty", offset=0)
    names = []
    offset = 0
    for part in data.split(b":", MAX_LOWER):
        if not part.startswith(b"l/"):
            raise FormatError(f"{part[:40]!r} is no layer below", offset=offset)
        names.append(parse_link(part[2:]))
        offset += len(part) + 1
    return tuple(names)


def parse_parents(data: bytes) -> tuple[str, ...]:
    """The directories of all layers below, the top one first, one in each line: aufs's, empty for a base layer."""
    if data.count(b"\n") > MAX_LOWER:
        raise FormatError(f"more lines than the {MAX_LOWER} layers of a mount", offset=0)
    names = []
    offset = 0
    for line in data.removesuffix(b"\n").split(b"\n") if data else ():
        try:
            names.append(parse_directory(line))
        except FormatError as error:
            raise FormatError(error.what, offset=offset) from error
        offset += len(line) + 1
    return tuple(names)


def parse_link_target(target: bytes) -> str:
    """The directory's name out of `../NAME/diff`, which a symlink in `l/` points to."""
    parts = target.split(b"/")
    if len(parts) != 3 or parts[0] != b".." or parts[2] != b"diff":
        raise FormatError(f"{target[:80]!r} points to no layer")
    return parse_directory(parts[1])


def parse_size(data: bytes) -> int:
    """The sum of a layer's file sizes, in decimal."""
    return int(_match(_SIZE, data, "size"))


def chain_id(parent: str | None, diff_id: str) -> str:
    """A layer's chain id: its diff id if it has no parent, else the digest of the parent's chain id and its own diff id."""
    return diff_id if parent is None else f"sha256:{hashlib.sha256(f'{parent} {diff_id}'.encode()).hexdigest()}"


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """The chain id of each layer of an image, bottom first."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(chain_id(chain[-1] if chain else None, diff_id))
    return tuple(chain)


def _match(pattern: re.Pattern[bytes], data: bytes, what: str) -> str:
    if not data.strip(b"\0"):
        raise FormatError(f"{len(data)} zero bytes instead of a {what}" if data else "empty", offset=0)
    if not pattern.fullmatch(data):
        raise FormatError(f"{data[:80]!r} is no {what}", offset=0)
    return data.decode("ascii")
