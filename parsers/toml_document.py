"""TOML that came from evidence: read with bounds that tomllib has not."""

from __future__ import annotations

import re
import tomllib

from parsers.errors import FormatError

MAX_PARTS = 64  # of one dotted key: reading it takes the square of them

_NO_KEY = re.compile(r"[^\w.\- \t\"']")
_DOT = re.compile(r"[\w\-\"'][ \t]*\.", re.ASCII)
_DOT_OF_QUOTED = re.compile(r"[\"'][ \t]*\.")


def parse_toml(data: bytes, source: str = "") -> dict[str, object]:
    """Raises FormatError where the document is no TOML, or deeper than any that is meant to be read."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("no text", source, error.start) from error
    if _is_deep(text):
        raise FormatError(f"TOML with a key of more than {MAX_PARTS} parts", source)
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise FormatError("TOML nested too deep", source) from error
    except ValueError as error:  # TOMLDecodeError, and whole numbers of more digits than Python reads
        raise FormatError(f"no TOML: {str(error)[:200]}", source) from error


def _is_deep(text: str) -> bool:
    """Whether anything looks like a key of too many parts, in a comment or a text, too: only a parser could tell these apart."""
    if any(len(_DOT.findall(piece)) >= MAX_PARTS for piece in _NO_KEY.split(text)):
        return True
    return any(len(_DOT_OF_QUOTED.findall(line)) >= MAX_PARTS for line in text.split("\n"))
