"""Secrets in text that a report shows: known by the name they are given, or by a shape that only secrets have."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

REDACTED = "[redacted]"

_NAME = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|token|credentials?|api[_-]?key|access[_-]?key|private[_-]?key|encryption[_-]?key|"
    r"signing[_-]?key|auth[_-]?key|client[_-]?key|account[_-]?key|webhook|dsn"
)
_SECRET_NAME = re.compile(rf"(?i)(?:{_NAME})(?:\b|_|\d|s\b)|(?:^|_)key$|^auth$|pass$")
_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s"'&;,|]+)"""
# Each with the text before the secret as group 1, the secret as group 2.
_IN_TEXT = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i)((?:{_NAME})[\w.-]{{0,40}}[\"']?\s{{0,3}}=\s{{0,3}})({_VALUE})",
        rf"(?i)([\"'][\w.-]{{0,40}}(?:{_NAME})[\w.-]{{0,40}}[\"']\s{{0,3}}:\s{{0,3}})({_VALUE})",
        rf"(?i)(--?(?:[a-z]{{1,20}}-){{0,3}}(?:{_NAME})\s+)({_VALUE})",
        rf"(?i)(\bauthorization[\"']?\s{{0,3}}[:=]\s{{0,3}}[\"']?(?:bearer|basic|token)?\s{{0,3}})({_VALUE})",
        r"([a-zA-Z][\w+.-]{0,30}://[^\s/:@]{0,200}:)([^\s/@]{1,500})(?=@)",
        r"(?i)(\bsshpass\s+-p\s{0,3})(\S+)",
        r"(\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^|;&\n]{0,200}?\s-p)([^\s-]\S*)",
        r"(\bcurl\b[^|;&\n]{0,200}?\s(?:-u|--user)[ =]?[^\s:]{0,100}:)(\S+)",
        r"()(\b(?:AKIA|ASIA)[0-9A-Z]{16}\b)",
        r"()(\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255}|glpat-[\w-]{20,64}|xox[abposr]-[\w-]{10,200})\b)",
        r"()(\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,200}\b)",
        r"()(\beyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{0,2000})",
        r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)([^-]{1,20000})",
    )
)
# What names a thing in the evidence stays as it is.
_KEPT = frozenset(("path", "target", "sha256", "image_id", "container_id", "layer", "rule", "attack", "check_by_hand", "why"))
_Record = TypeVar("_Record")


def is_secret(name: str) -> bool:
    """Whether a variable or label of this name usually holds a secret."""
    return _SECRET_NAME.search(name) is not None


def without_secrets(text: str) -> str:
    """Text with the values of its secrets replaced."""
    for pattern in _IN_TEXT:
        text = pattern.sub(_replaced, text)
    return text


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


def _replaced(match: re.Match[str]) -> str:
    kept = match[2].strip("\"'").startswith((REDACTED, "$", "<", "*")) or not match[2].strip("\"'")
    return match[0] if kept else match[1] + REDACTED
