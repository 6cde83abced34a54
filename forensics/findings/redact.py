"""Secrets in what is quoted from the evidence: taken out, so that a finding can be shown to anybody."""

from __future__ import annotations

import re

QUOTED = 240  # characters of the evidence that a finding quotes
LOOKED_AT = 2000  # characters of it that are looked at
_NAME = r"pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|auth|credentials?"
_ASSIGNED = re.compile(
    rf"(?i)(?<![\w.-])([\w.-]{{0,40}}?(?:{_NAME})[\w.-]{{0,40}}[\"']?\s{{0,9}}[:=]\s{{0,9}}[\"']?)([^\s\"'&;,|]+)"
)
_OPTION = re.compile(rf"(?i)(?<![\w-])(--?[\w-]{{0,40}}?(?:{_NAME})[\w-]{{0,40}}[ \t]{{1,9}})([^\s\"'&;,|-][^\s\"'&;,|]*)")
_SHORT_OPTION = re.compile(r"((?:mysql\w*|mariadb\w*|sshpass|7z\w*|htpasswd -b)\b[^|;&\n]*?\s-p)([^\s]+)")
_USERINFO = re.compile(r"(\w+://[^\s:/@]*:)([^\s/@]+)(?=@)")
_CURL_USER = re.compile(r"((?:curl|wget)\b[^|;&\n]*?\s(?:-u|--user)[ =]?[^\s:]+:)([^\s]+)")
_BEARER = re.compile(r"(?i)((?:bearer|basic)\s+)([A-Za-z0-9._~+/=-]{8,})")
_KEYS = re.compile(
    r"(AKIA|ASIA|ghp_|gho_|ghu_|ghs_|ghr_|github_pat_|glpat-|xox[abprs]-|sk_live_|rk_live_|AIza|npm_|dckr_pat_|hvs\.|sk-ant-|sk-)"
    r"([A-Za-z0-9_\-]{12,})"
)


def redacted(text: str, limit: int = QUOTED) -> str:
    """Text with every secret that is recognised replaced by its length, on one line, and no longer than `limit`."""
    text = text[:LOOKED_AT]
    for pattern in (_KEYS, _USERINFO, _CURL_USER, _SHORT_OPTION, _BEARER, _ASSIGNED, _OPTION):
        text = pattern.sub(lambda match: f"{match[1]}{hidden(match[2])}", text)
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]}..."


def hidden(secret: str) -> str:
    """What stands for a secret: how long it is."""
    if secret.startswith("[") and secret.endswith("]"):
        return secret
    return f"[{len(secret)} characters]"


def quoted(raw: bytes) -> str:
    """A line of the evidence as a finding may show it."""
    return redacted(raw.decode("utf-8", "backslashreplace"))
