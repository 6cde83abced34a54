"""Secrets in what is quoted from the evidence: known by the name they are given, or by a shape that only secrets have.

What stands in a report or finding may be shown to anybody. A name or shape too many costs a value that the case file still has;
one too few gives a secret away.
"""

from __future__ import annotations

import re

_NAME = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|token|credentials?|api[_-]?key|access[_-]?key|private[_-]?key|encryption[_-]?key|"
    r"signing[_-]?key|auth[_-]?key|client[_-]?key|account[_-]?key|master[_-]?key|webhook|dsn|connection[_-]?string"
)
_SECRET_NAME = re.compile(rf"(?i)(?:{_NAME})(?:\b|_|\d|s\b)|(?:^|_)key$|^auth$|pass$")
_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s"'&;,|]+)"""
# Each with what stands before the secret as group 1, the secret as group 2; every repetition is bounded.
_IN_TEXT = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i)((?:{_NAME}|auth)[\w.-]{{0,40}}[\"']?\s{{0,3}}=\s{{0,3}})({_VALUE})",
        rf"(?i)((?:{_NAME})[\w.-]{{0,40}}[\"']?\s{{0,3}}:\s{{0,3}})(?!/)({_VALUE})",
        rf"(?i)(--?(?:[a-z]{{1,20}}-){{0,3}}(?:{_NAME})\s+)(?!-)({_VALUE})",
        rf"(?i)(\bauthorization[\"']?\s{{0,3}}[:=]\s{{0,3}}[\"']?(?:bearer|basic|token)?\s{{0,3}})({_VALUE})",
        r"(?i)(\b(?:bearer|basic)\s{1,3})([A-Za-z0-9._~+/=-]{8,4000})",
        r"([a-zA-Z][\w+.-]{0,30}://[^\s/:@]{0,200}:)([^\s/@]{1,500})(?=@)",
        r"(?i)(\bsshpass\s+-p\s{0,3})(\S+)",
        r"(\b(?:mysql|mysqldump|mysqladmin|mariadb|7za?|htpasswd -b)\b[^|;&\n]{0,200}?\s-p)([^\s-]\S*)",
        r"(\b(?:curl|wget)\b[^|;&\n]{0,200}?\s(?:-u|--user)[ =]?[^\s:]{0,100}:)(\S+)",
        r"()(\b(?:AKIA|ASIA)[0-9A-Z]{16}\b)",
        r"()(\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255}|glpat-[\w-]{20,64}|xox[abposr]-[\w-]{10,200})\b)",
        r"()(\b(?:[sr]k_(?:live|test)_|AIza|npm_|dckr_pat_|hvs\.|sk-(?!ssh-|ecdsa-)|SG\.)[\w.-]{16,300})",
        r"()(\beyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{0,2000})",
        r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)([^-]{1,20000})",
    )
)


def is_secret_name(name: str) -> bool:
    """Whether a variable or label of this name usually holds a secret."""
    return _SECRET_NAME.search(name) is not None


def hidden(secret: str) -> str:
    """What stands for a secret: how long it is."""
    return secret if secret.startswith("[redacted") else f"[redacted, {len(secret)} characters]"


def without_secrets(text: str) -> str:
    """Text with `hidden` in the place of each secret that is recognised."""
    for pattern in _IN_TEXT:
        text = pattern.sub(_replaced, text)
    return text


def _replaced(match: re.Match[str]) -> str:
    """A variable, a placeholder or nothing at all is no secret."""
    value = match[2].strip("\"'")
    kept = not value or value.startswith(("[redacted", "$", "<", "*"))
    return match[0] if kept else match[1] + hidden(value)
