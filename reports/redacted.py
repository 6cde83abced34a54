"""A report without secrets: whatever a section reads goes through here, so that none can be forgotten."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from forensics.redact import without_secrets

# What names a thing in the evidence, and the words of the rules, stay as they are.
_KEPT = frozenset((
    "path", "target", "sha256", "image_id", "container_id", "layer", "rule", "attack", "check_by_hand", "why", "benign",
))  # fmt: skip
_Record = TypeVar("_Record")


def redacted(record: _Record) -> _Record:
    """A dataclass with all text in it without secrets, however deep; paths, hashes and ids stay."""
    return cast(_Record, _walked(record))


def _walked(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, tuple):
        return tuple(_walked(each) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {each.name: _walked(getattr(value, each.name)) for each in fields(value) if each.name not in _KEPT}
        return replace(value, **changed)
    return value
