"""What libpod's database says, from db.sql (SQLite) or bolt_state.db (bbolt): containers, pods, volumes, exit codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from forensics.file_source import FileSource
from forensics.records import Provenance
from forensics.stores.bolt import open_database, walk_database
from forensics.stores.reading import Place, StoreReader
from forensics.stores.sqlite import MAX_DATABASE, open_sqlite, read_rows
from forensics.text import readable
from parsers.errors import FormatError
from parsers.libpod import (
    LibpodContainer,
    LibpodPod,
    LibpodState,
    LibpodVolume,
    parse_container,
    parse_pod,
    parse_state,
    parse_volume,
)

MAX_VALUE = 4 << 20
CONTAINERS, PODS, VOLUMES = b"ctr", b"pod", b"vol"
WAL = b"-wal"
MAX_PLACES = 2_000_000  # at which names are looked for a row, of all names together

_DOCUMENT = re.compile(rb"[ -z]{0,400}\{\"")

_T = TypeVar("_T", LibpodContainer, LibpodState, LibpodPod, LibpodVolume)


@dataclass(frozen=True, slots=True)
class Told:
    """What one database says of a container; config and state are None where missing or damaged."""

    config: LibpodContainer | None
    config_text: str | None
    state: LibpodState | None
    source: Provenance


@dataclass
class Libpod:
    """Everything of the databases of one graphroot, by id or, for volumes, by name. A database that was read first counts first.

    graph_root, volume_path: as the host had them.
    """

    containers: dict[str, Told] = field(default_factory=dict)
    pods: dict[str, tuple[LibpodPod, Provenance]] = field(default_factory=dict)
    volumes: dict[str, tuple[LibpodVolume, Provenance]] = field(default_factory=dict)
    exit_codes: dict[str, int] = field(default_factory=dict)
    graph_root: str | None = None
    volume_path: str | None = None
    driver: str | None = None


def read_libpod(reader: StoreReader, directories: Iterable[Place]) -> Libpod:
    """The databases in these directories: db.sql first, for a store that was moved to SQLite keeps the old file."""
    found = Libpod()
    places = list(directories)
    for place in places:
        _read_sqlite(reader, reader.child(place, b"db.sql"), place, found)
    for place in places:
        _read_bolt(reader, reader.child(place, b"bolt_state.db"), found)
    return found


def _read_sqlite(reader: StoreReader, database: Place | None, directory: Place, found: Libpod) -> None:
    opened = open_sqlite(reader, database, directory, "libpod's db.sql") if database is not None else None
    if database is None or opened is None:
        return
    find = _finder(reader, database, directory)
    name = "libpod's db.sql"
    for graph_root, volume_path, driver in read_rows(
        reader, opened, database, name, "DBConfig", ("GraphRoot", "VolumeDir", "GraphDriver")
    ):
        found.graph_root, found.volume_path, found.driver = _text(graph_root), _text(volume_path), _text(driver)
    states = {_text(row[0]): row[1] for row in read_rows(reader, opened, database, name, "ContainerState", ("ID", "JSON"))}
    configs = {_text(row[0]): row[1] for row in read_rows(reader, opened, database, name, "ContainerConfig", ("ID", "JSON"))}
    for own in sorted(name for name in {*states, *configs} if name):
        _add_container(reader, database, found, own, _bytes(configs.get(own)), _bytes(states.get(own)), find(own))
    for pod, document in read_rows(reader, opened, database, name, "PodConfig", ("ID", "JSON")):
        _add(reader, database, found.pods, _text(pod), _bytes(document), parse_pod, find(_text(pod)))
    for volume, document in read_rows(reader, opened, database, name, "VolumeConfig", ("Name", "JSON")):
        _add(reader, database, found.volumes, _text(volume), _bytes(document), parse_volume, find(_text(volume)))
    for exited, code in read_rows(reader, opened, database, name, "ContainerExitCode", ("ID", "ExitCode")):
        if (container := _text(exited)) is not None and isinstance(code, int):
            found.exit_codes.setdefault(container, code)
    opened.close()


def _finder(reader: StoreReader, database: Place, directory: Place) -> Callable[[str | None], Provenance]:
    """Where a row begins that has an id or a name and then a JSON document; else the file.

    In the write-ahead log, where that has it, the last one of those there; else in the database.
    """
    whole = reader.provenance(database)
    log = reader.child(directory, database.name + WAL)
    files = []
    for place in (log, database):
        data = reader.load(place, "libpod's db.sql", bytes, MAX_DATABASE) if place is not None else None
        if place is not None and data:
            files.append((data, FileSource(place.fs, place.inode, readable(place.path)), reader.provenance(place)))

    room = iter(range(MAX_PLACES))

    def find(own: str | None) -> Provenance:
        for data, file, source in files if own else ():
            row = _row(data, (own or "").encode(), file.inode != database.inode, room)
            at = file.locate(row) if row is not None else None
            if at is not None:
                return replace(source, offset=at)
        return whole

    return find


def _row(data: bytes, own: bytes, last: bool, room: Iterator[int]) -> int | None:
    """Where the first or the last row of an id or a name begins. room: has an item for each place that may yet be looked at."""
    row = end = None
    for _, at in zip(room, _places(data, own, last), strict=False):
        document = _DOCUMENT.match(data, at + len(own))
        if row is not None and (document is None or document.end() != end):
            break
        if document is not None:
            row, end = at, document.end()
            if not last:
                break
    return row


def _places(data: bytes, own: bytes, backwards: bool) -> Iterator[int]:
    at = data.rfind(own) if backwards else data.find(own)
    while at >= 0:
        yield at
        at = data.rfind(own, 0, at + len(own) - 1) if backwards else data.find(own, at + 1)


def _read_bolt(reader: StoreReader, database: Place | None, found: Libpod) -> None:
    if database is None:
        return
    name = "libpod's bolt_state.db"
    bolt = open_database(reader, database, name)
    if bolt is None:
        return
    source_file = FileSource(database.fs, database.inode, readable(database.path))
    documents: dict[tuple[bytes, bytes], dict[bytes, tuple[bytes, Provenance]]] = {}
    for key in walk_database(reader, database, name, bolt):
        value = key.value
        if value is None or len(value) > MAX_VALUE:
            continue
        if len(key.bucket) == 2 and key.bucket[0] in (CONTAINERS, PODS, VOLUMES):
            where = Provenance(database.partition, source_file.name, database.inode, source_file.locate(key.offset))
            documents.setdefault((key.bucket[0], key.bucket[1]), {})[key.key] = (value, where)
        elif key.bucket == (b"runtime-config",):
            _runtime_config(found, key.key, value)
        elif key.bucket == (b"exit-code",) and value.isdigit() and len(value) <= 10:
            found.exit_codes.setdefault(key.key.decode("utf-8", "replace"), int(value))
    for (kind, raw), inside in sorted(documents.items()):
        own = raw.decode("utf-8", "replace")
        config, place = inside.get(b"config", (None, None))
        state, state_place = inside.get(b"state", (None, None))
        source = place or state_place or reader.provenance(database)
        if kind == CONTAINERS and (config is not None or state is not None):
            _add_container(reader, database, found, own, config, state, source)
        elif kind == PODS:
            _add(reader, database, found.pods, own, config, parse_pod, source)
        elif kind == VOLUMES:
            _add(reader, database, found.volumes, own, config, parse_volume, source)


def _runtime_config(found: Libpod, key: bytes, value: bytes) -> None:
    text = value.decode("utf-8", "replace") or None
    if key == b"graph-root":
        found.graph_root = found.graph_root or text
    elif key == b"volume-path":
        found.volume_path = found.volume_path or text
    elif key == b"graph-driver-name":
        found.driver = found.driver or text


def _add_container(
    reader: StoreReader,
    database: Place,
    found: Libpod,
    own: str,
    config: bytes | None,
    state: bytes | None,
    where: Provenance,
) -> None:
    if own in found.containers:
        return
    found.containers[own] = Told(
        _parsed(reader, database, own, config, parse_container),
        config.decode("utf-8", "replace") if config is not None else None,
        _parsed(reader, database, own, state, parse_state),
        where,
    )


def _add(
    reader: StoreReader,
    database: Place,
    into: dict[str, tuple[_T, Provenance]],
    own: str | None,
    document: bytes | None,
    parse: Callable[[bytes], _T],
    where: Provenance,
) -> None:
    if own is None or own in into:
        return
    parsed = _parsed(reader, database, own, document, parse)
    if parsed is not None:
        into[own] = (parsed, where)


def _parsed(reader: StoreReader, database: Place, own: str, document: bytes | None, parse: Callable[[bytes], _T]) -> _T | None:
    """One JSON document of the database; a damaged one is a gap."""
    if document is None:
        return None
    try:
        parsed = parse(document)
    except FormatError as error:
        reader.gap("libpod's record", f"{own[:80]}: {error.what}", database)
        return None
    reader.tell("libpod's record", [f"{own[:80]}: {problem}" for problem in parsed.problems], database)
    return parsed


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace") or None
    return value if isinstance(value, str) and value else None


def _bytes(value: object) -> bytes | None:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return value if isinstance(value, bytes) else None
