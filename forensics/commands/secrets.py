"""The options with which the examiner opens encrypted volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from parsers.errors import UsageError

MAX_SECRET = 8 << 20
"""Bytes of a key file, cryptsetup's own bound."""

_PASSPHRASE_HELP = "A file with the passphrase of an encrypted volume (LUKS); a line break at its end does not count."
_KEY_HELP = "A key file of an encrypted volume (LUKS), of which every byte counts."
PassphraseOption = Annotated[
    list[Path] | None, typer.Option("--passphrase-file", metavar="FILE", help=_PASSPHRASE_HELP, show_default=False)
]
KeyOption = Annotated[list[Path] | None, typer.Option("--key-file", metavar="FILE", help=_KEY_HELP, show_default=False)]


def secrets(passphrase_files: Sequence[Path] | None, key_files: Sequence[Path] | None) -> tuple[bytes, ...]:
    """What the files hold."""
    passphrases = tuple(_read(path).removesuffix(b"\n").removesuffix(b"\r") for path in passphrase_files or ())
    return passphrases + tuple(_read(path) for path in key_files or ())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            secret = file.read(MAX_SECRET + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; a file with the passphrase or the key is needed") from error
    if not secret or len(secret) > MAX_SECRET:
        raise UsageError(f"{path}: has {len(secret) or 'no'} bytes; that is no passphrase or key")
    return secret
