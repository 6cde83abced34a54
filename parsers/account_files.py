"""Accounts and who may become whom: passwd(5), shadow(5), group(5), sudoers(5), authorized_keys (sshd(8)).

Lines that are malformed are left out, as the C library leaves them out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINES = 20_000
_NUMBER = re.compile(rb"[0-9]{1,10}")
_KEY_TYPE = re.compile(
    rb"(?:^|[ \t,\"])((?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp(?:256|384|521)"
    rb"|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)(?:-cert-v01@openssh\.com)?)[ \t]+([A-Za-z0-9+/=]+)(?:[ \t]+(.*))?$"
)


@dataclass(frozen=True, slots=True)
class Account:
    """A line of passwd. password: the second field, `x` where shadow has it."""

    name: str
    password: str
    uid: int
    gid: int
    home: str
    shell: str

    @property
    def may_log_in(self) -> bool:
        """Whether its shell is one that lets somebody in; an empty field is /bin/sh."""
        return self.shell.rpartition("/")[2] not in ("nologin", "false", "sync", "halt", "shutdown", "true", "null")


@dataclass(frozen=True, slots=True)
class AuthorizedKey:
    """A line of authorized_keys. key: the base64 text."""

    type: str
    key: str
    comment: str | None
    options: bool


def parse_passwd(data: bytes) -> dict[str, Account]:
    """Accounts by name; of two lines with one name, the first counts, as for getpwnam."""
    found: dict[str, Account] = {}
    for line in data.split(b"\n")[:MAX_LINES]:
        fields = line.split(b":")
        if len(fields) != 7 or not _NUMBER.fullmatch(fields[2]) or not _NUMBER.fullmatch(fields[3]):
            continue
        name, password, uid, gid, _gecos, home, shell = (field.decode("utf-8", "backslashreplace") for field in fields)
        found.setdefault(name, Account(name, password, int(uid), int(gid), home, shell))
    return found


def parse_shadow(data: bytes) -> dict[str, str]:
    """Password fields by account name."""
    rows = (line.split(b":") for line in data.split(b"\n")[:MAX_LINES])
    return {_text(row[0]): _text(row[1]) for row in rows if len(row) >= 2 and row[0]}


def parse_group(data: bytes) -> dict[str, tuple[str, ...]]:
    """Members by group name."""
    rows = (line.split(b":") for line in data.split(b"\n")[:MAX_LINES])
    return {_text(row[0]): tuple(_text(m) for m in row[3].split(b",") if m) for row in rows if len(row) == 4 and row[0]}


def parse_sudoers(data: bytes) -> list[str]:
    """The rules of a sudoers file: its lines without comments, aliases and defaults, continued lines joined."""
    joined = data.replace(b"\\\n", b" ")
    lines = (
        _text(line.partition(b"#")[0] if not line.startswith(b"#") else b"").strip() for line in joined.split(b"\n")[:MAX_LINES]
    )
    return [" ".join(line.split()) for line in lines if "=" in line and not line.startswith(("Defaults", "@"))
            and not line.split()[0].endswith("_Alias")]  # fmt: skip


def parse_authorized_keys(data: bytes) -> list[AuthorizedKey]:
    """The keys that may log in."""
    found = []
    for line in data.split(b"\n")[:MAX_LINES]:
        match = _KEY_TYPE.search(line.strip()) if not line.lstrip().startswith(b"#") else None
        if match is not None:
            comment = _text(match[3]).strip() if match[3] else None
            found.append(AuthorizedKey(_text(match[1]), _text(match[2]), comment or None, match.start(1) > 0))
    return found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
