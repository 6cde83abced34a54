"""The users of a host, in whose homes engines keep what they run without privileges."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.stores.host_tree import MAX_PATH, HostTree, resolve_or_none
from forensics.stores.reading import StoreReader

MAX_FILE = 1 << 20
MAX_USERS = 1000


@dataclass(frozen=True, slots=True)
class User:
    """One line of /etc/passwd, or a directory in /home (name and uid unknown)."""

    home: bytes
    name: bytes | None = None
    uid: bytes | None = None


def users(reader: StoreReader, tree: HostTree) -> list[User]:
    """The users of a host that have a home directory."""
    passwd = reader.load(resolve_or_none(tree, b"/etc/passwd"), "passwd", lambda data: data.split(b"\n"), MAX_FILE) or ()
    lines = [line.split(b":") for line in passwd if len(line) < MAX_PATH]
    lines = [fields for fields in lines if len(fields) == 7 and fields[5].startswith(b"/")]
    found = {fields[5].rstrip(b"/"): User(fields[5].rstrip(b"/"), fields[0], fields[2]) for fields in reversed(lines)}
    for home in (b"/root", *(b"/home/" + place.name for place in reader.children(resolve_or_none(tree, b"/home")))):
        found.setdefault(home, User(home))
    homes = [home for home in sorted(found) if home]
    if len(homes) > MAX_USERS:
        error = f"{len(homes):,} homes of users; engines' stores were looked for in the first {MAX_USERS:,}"
        reader.gap("passwd", error, resolve_or_none(tree, b"/etc/passwd"))
    return [found[home] for home in homes[:MAX_USERS]]
