"""What a finding quotes from the evidence: without secrets, on one line, within bounds."""

from __future__ import annotations

from forensics.redact import without_secrets

QUOTED = 240  # characters of the evidence that a finding quotes
LOOKED_AT = 2000  # characters of it that are looked at


def redacted(text: str, limit: int = QUOTED) -> str:
    """Text with every secret that is recognised replaced by its length, on one line, and no longer than `limit`."""
    line = " ".join(without_secrets(text[:LOOKED_AT]).split())
    return line if len(line) <= limit else f"{line[:limit]}..."


def quoted(raw: bytes) -> str:
    """A line of the evidence as a finding may show it."""
    return redacted(raw.decode("utf-8", "backslashreplace"))
