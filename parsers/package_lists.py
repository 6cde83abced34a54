"""What package managers keep of the files that they installed.

Sources: dpkg 1.22, /var/lib/dpkg/info/PACKAGE.list (a path a line) and PACKAGE.md5sums (`md5  path without its slash`),
/var/lib/dpkg/status (Conffiles: ` /path md5`); apk-tools 2.14 and 3.0, lib/apk/db/installed (P: name, F: directory, R: file,
Z:Q1 and a SHA-1 in base64); Python's RECORD (PEP 376: `path,sha256=base64url,size`).
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Iterator


def dpkg_list(data: bytes) -> Iterator[bytes]:
    """The paths of a .list file; directories are among them."""
    for line in data.split(b"\n"):
        if line.startswith(b"/") and line != b"/.":
            yield line


def dpkg_md5sums(data: bytes) -> Iterator[tuple[bytes, str]]:
    """(path, MD5 in hex) of a .md5sums file."""
    for line in data.split(b"\n"):
        digest, _, path = line.partition(b"  ")
        if len(digest) == 32 and path and _is_hex(digest):
            yield b"/" + path.removeprefix(b"./").lstrip(b"/"), digest.decode("ascii").lower()


def dpkg_conffiles(data: bytes) -> Iterator[tuple[str, bytes, str]]:
    """(package, path, MD5 in hex) of the configuration files that a status file names."""
    package, inside = "", False
    for line in data.split(b"\n"):
        if line.startswith(b"Package: "):
            package = line[9:].strip().decode("utf-8", "backslashreplace")
        if not line.startswith(b" "):
            inside = line.startswith(b"Conffiles:")
        elif inside:
            path, _, digest = line.strip().removesuffix(b" obsolete").rpartition(b" ")
            if path.startswith(b"/") and len(digest) == 32 and _is_hex(digest):
                yield package, path, digest.decode("ascii").lower()


def apk_installed(data: bytes) -> Iterator[tuple[str, bytes, str | None]]:
    """(package, path, SHA-1 in hex where it has one) of apk's database."""
    package, directory = "", b""
    path: bytes | None = None
    digest: str | None = None
    for line in data.split(b"\n"):
        kind, value = line[:2], line[2:]
        if path is not None and kind not in (b"Z:", b"a:"):
            yield package, path, digest
            path = digest = None
        if kind == b"P:":
            package = value.decode("utf-8", "backslashreplace")
        elif kind == b"F:":
            directory = b"/" + value + b"/" if value else b"/"
        elif kind == b"R:":
            path = directory + value
        elif kind == b"Z:" and value.startswith(b"Q1"):
            digest = _hex(value[2:], 20)
    if path is not None:
        yield package, path, digest


def python_record(data: bytes) -> Iterator[tuple[bytes, str | None]]:
    """(path as it stands there, SHA-256 in hex where it has one) of a RECORD file."""
    try:
        for row in csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"))):
            if len(row) >= 2 and row[0]:
                kind, _, digest = row[1].partition("=")
                sha256 = (
                    _hex(digest.replace("-", "+").replace("_", "/").encode("ascii", "replace"), 32) if kind == "sha256" else None
                )
                yield row[0].encode("utf-8", "surrogateescape"), sha256
    except csv.Error:
        return


def _hex(text: bytes, length: int) -> str | None:
    try:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == length else None


def _is_hex(text: bytes) -> bool:
    return not text.strip(b"0123456789abcdefABCDEF")
