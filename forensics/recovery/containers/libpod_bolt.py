"""Removed containers of Podman's in bolt_state.db (before Podman 5): its previous tree, its old pages, the exit codes it keeps.

ctr/<id>/{config,state}   all-ctrs/<id> = name   exit-code/<id> = number   exit-code-time-stamp/<id> = Go's time, as text

A state does not tell its id: it counts where its bucket is known only. Exit codes outlive their containers. Podman 5.8 moves all
to db.sql and keeps bolt_state.db-old: which of its containers are gone since, db.sql tells.
Source: podman v2 to v5, libpod/boltdb_state.go, boltdb_state_internal.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from forensics.file_source import FileSource
from forensics.records import Container, Provenance
from forensics.recovery.clues import CERTAIN, ENVIRONMENT, PROBABLE, Clue
from forensics.recovery.limits import Limits
from forensics.stores.bolt import MAX_VALUE, key_provenance, open_database
from forensics.stores.podman.containers import storage_containers
from forensics.stores.podman.join import KnownContainer
from forensics.stores.podman.libpod import CONTAINERS, Libpod, Told
from forensics.stores.podman.userdata import Userdata
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.bbolt_tree import Key
from parsers.errors import FormatError
from parsers.go_time import parse_rfc3339
from parsers.libpod import LibpodContainer, LibpodState, parse_container, parse_state

NAMES, EXIT_CODES, EXIT_TIMES = b"all-ctrs", b"exit-code", b"exit-code-time-stamp"
MAX_KEYS = 1_000_000
LIVE = "allocated"

_ID = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class _Found:
    """A key, how it was found, and how sure its bucket is: CERTAIN, PROBABLE where only its content tells it, None."""

    key: Key
    how: str
    sure: str | None


def bolt_clues(root: Place, store: str, limits: Limits | None = None) -> Iterator[Clue[Container]]:
    """A clue to each container that the databases of a graphroot tell of, also of such that are there. store: its key."""
    reader = StoreReader()  # whoever read the store told what is wrong with it
    for names in ((b"libpod",), ()):
        for name, moved in ((b"bolt_state.db", False), (b"bolt_state.db-old", True)):
            database = reader.child(root, *names, name)
            if database is not None:
                yield from _clues(database, store, limits or Limits(), moved)


def _clues(database: Place, store: str, limits: Limits, moved: bool) -> Iterator[Clue[Container]]:
    bolt = open_database(StoreReader(), database, "libpod's bolt_state.db")
    if bolt is None:
        return
    file = FileSource(database.fs, database.inode, readable(database.path))
    outliving = ((EXIT_CODES,), (EXIT_TIMES,))
    live = (_Found(key, LIVE, CERTAIN) for key in bolt.walk() if key.bucket in outliving or (moved and key.bucket))
    old = (
        _Found(each.key, "previous tree" if each.state == "previous" else "stale page", _sure(each.basis))
        for each in bolt.deleted()
        if not each.missing
    )
    for found in limits.first(chain(live, old), MAX_KEYS, "keys", database.partition, file.name):
        made = _told(found.key, found.sure, key_provenance(file, database.partition, found.key.offset, found.how))
        if made is not None:
            weak = ENVIRONMENT if made.config is not None else frozenset[str]()
            yield Clue(replace(made, origin="recovered"), found.sure or PROBABLE, "database", store, weak)


def _sure(basis: str) -> str | None:
    return {"tree": CERTAIN, "pointer": CERTAIN, "content": PROBABLE}.get(basis)


def _told(key: Key, sure: str | None, source: Provenance) -> Container | None:
    """What a key tells of a container."""
    if key.value is None or len(key.value) > MAX_VALUE:
        return None
    if key.key == b"config":
        config = _config(key.value)
        own = (config.id or "").encode() if config is not None else b""
        if config is None or not _ID.fullmatch(own) or (sure is not None and key.bucket != (CONTAINERS, own)):
            return None
        return _record(own.decode(), Told(config, key.value.decode("utf-8", "replace"), None, _of(source, "configuration")))
    own = key.bucket[1] if key.bucket[:1] == (CONTAINERS,) and len(key.bucket) == 2 else key.key
    if sure is None or not _ID.fullmatch(own):
        return None
    if key.key == b"state" and key.bucket == (CONTAINERS, own):
        state = _state(key.value)
        return _record(own.decode(), Told(None, None, state, _of(source, "state"))) if state is not None else None
    made = Container("podman", None, own.decode(), None)
    if key.bucket == (NAMES,):
        return replace(made, name=readable(key.value), source=_of(source, "name"))
    if key.bucket == (EXIT_CODES,) and re.fullmatch(rb"\d{1,3}", key.value):
        return replace(made, exit_code=int(key.value), source=_of(source, "exit code"))
    if key.bucket == (EXIT_TIMES,):
        return replace(made, finished_ns=_time(key.value), source=_of(source, "time of exit"))
    return None


def _of(source: Provenance, what: str) -> Provenance:
    return replace(source, how=f"{source.how}, {what} of it")


def _record(own: str, told: Told) -> Container:
    known = KnownContainer(own, None, None, None, told, Userdata(), None, told.source)
    (made,) = storage_containers(StoreReader(), [known], Libpod(), "")
    return made


def _config(value: bytes) -> LibpodContainer | None:
    try:
        return parse_container(value)
    except FormatError:  # an old page has no claim to be whole
        return None


def _state(value: bytes) -> LibpodState | None:
    try:
        return parse_state(value)
    except FormatError:
        return None


def _time(value: bytes) -> int | None:
    """RFC 3339, as boltdb_state.go writes it."""
    try:
        return parse_rfc3339(value.decode("ascii", "replace"))
    except FormatError:
        return None
