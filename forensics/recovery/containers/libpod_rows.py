"""Removed containers of Podman's in old pages of libpod's db.sql: free ones in the file, and those that rollback journals kept.

SQLite copies every page into a journal before a transaction changes it, and deletes the journal afterwards; so each removal
leaves the row as it was in unallocated space, until that is written again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from forensics.file_source import FileSource
from forensics.records import Container, Provenance
from forensics.recovery.carving.scan import JOURNAL, Hits
from forensics.recovery.carving.space import Space
from forensics.recovery.clues import CERTAIN, ENDED, ENVIRONMENT, PROBABLE, Clue
from forensics.recovery.containers.libpod_parts import config_beginning, own_paths
from forensics.recovery.limits import Limits
from forensics.stores.podman.containers import storage_containers
from forensics.stores.podman.join import KnownContainer
from forensics.stores.podman.libpod import Libpod, Told
from forensics.stores.podman.userdata import Userdata
from forensics.stores.reading import Place, StoreReader
from forensics.stores.sqlite import MAX_DATABASE
from forensics.text import readable
from parsers.errors import CtrForensicsError, FormatError
from parsers.libpod import LibpodContainer, LibpodState, parse_container, parse_state
from parsers.sqlite_file import HEADER, MAGIC, PAGE_SIZES, log_pages
from parsers.sqlite_pages import Row, freed_rows, journal_pages, leaf_rows

MAX_JOURNAL = 64 << 20
MAX_JOURNALS = 10_000
COLUMNS = (3, 4)
"""Of the tables ContainerExitCode, and ContainerConfig and ContainerState."""
SECOND = 1_000_000_000
MAX_TIME = 1 << 33  # seconds since 1970

_ID = re.compile(rb"[0-9a-f]{64}")


def database_clues(root: Place, store: str) -> Iterator[Clue[Container]]:
    """What old pages in the database of a graphroot still hold, and in a journal or a log beside it. store: its key."""
    reader = StoreReader()
    for place, journal, log in _databases(reader, root):
        size, pages = _pages(_load(reader, place))
        starts = {number: (number - 1) * size for number in pages}
        yield from _clues(pages, pages.get, _located(place, starts, ""), CERTAIN, "database", store)
        if journal is not None:
            kept = journal_pages(_load(reader, journal))[1]
            found = {number: content for number, (_, content) in kept.items()}
            located = _located(journal, {number: at for number, (at, _) in kept.items()}, ", kept in its journal")
            yield from _clues(found, _either(found, pages), located, CERTAIN, "database", store)
        newer: dict[int, bytes] = {}
        for at, number, content in log_pages(_load(reader, log), size) if log is not None else ():
            newer[number] = content
            if log is not None:
                located = _located(log, {number: at}, ", in its write-ahead log")
                yield from _clues({number: content}, _either(newer, pages), located, CERTAIN, "database", store)


def _load(reader: StoreReader, place: Place) -> bytes:
    return reader.load(place, "libpod's db.sql", bytes, MAX_DATABASE) or b""


def _located(place: Place, starts: Mapping[int, int], more: str) -> Callable[[int, int], Provenance]:
    """Where a byte of a page stands in the disk image. starts: where the pages begin in the file."""
    file = FileSource(place.fs, place.inode, readable(place.path))

    def locate(page: int, offset: int) -> Provenance:
        return Provenance(
            place.partition, file.name, place.inode, file.locate(starts[page] + offset), f"old page of the database{more}"
        )

    return locate


def journal_clues(
    hits: Sequence[Hits], roots: Sequence[tuple[Place, str]], limits: Limits | None = None
) -> Iterator[Clue[Container]]:
    """What rollback journals in unallocated space kept. roots: the graphroots, each with its store's key."""
    reader, limits = StoreReader(), limits or Limits()
    databases = [_pages(_load(reader, place))[1] for root, _ in roots for place, _, _ in _databases(reader, root)]
    store = roots[0][1] if len(roots) == 1 else None
    for each in hits:
        for offset in limits.first(each.of(JOURNAL), MAX_JOURNALS, "rollback journals", each.space.partition):
            found = _read_journal(each.space, offset, limits)
            pages = {number: content for number, (_, content) in found.items()}

            def locate(
                page: int, at: int, space: Space = each.space, start: int = offset, found: Mapping[int, tuple[int, bytes]] = found
            ) -> Provenance:
                how = f"{space.how_at(start)}, rollback journal of the database"
                return Provenance(space.partition, "", None, space.source.locate(start + found[page][0] + at), how)

            for database in databases or [{}]:
                yield from _clues(pages, _either(pages, database), locate, PROBABLE, "journal", store)


def _either(pages: Mapping[int, bytes], database: Mapping[int, bytes]) -> Callable[[int], bytes | None]:
    """A page as the journal kept it; one that it did not keep was not changed."""
    return lambda number: pages.get(number) or database.get(number)


def _databases(reader: StoreReader, root: Place) -> Iterator[tuple[Place, Place | None, Place | None]]:
    """Each database of a graphroot, with the journal and the write-ahead log that lie beside it."""
    for names in ((), (b"libpod",)):
        place, journal, log = (reader.child(root, *names, b"db.sql" + suffix) for suffix in (b"", b"-journal", b"-wal"))
        if place is not None:
            yield place, journal, log


def _pages(data: bytes) -> tuple[int, dict[int, bytes]]:
    """The page size and all pages of a database, by number."""
    if not data.startswith(MAGIC) or len(data) < HEADER.sizeof():
        return 0, {}
    told = HEADER.parse(data[: HEADER.sizeof()]).page_size
    size = 65536 if told == 1 else told
    if size not in PAGE_SIZES:
        return 0, {}
    return size, {number: data[at : at + size] for number, at in enumerate(range(0, len(data), size), 1)}


def _read_journal(space: Space, offset: int, limits: Limits) -> dict[int, tuple[int, bytes]]:
    run = space.run(offset)
    try:
        data = space.source.read(offset, min(MAX_JOURNAL, run[1] - offset)) if run is not None else b""
    except CtrForensicsError:
        return {}
    size, pages = journal_pages(data)
    if len(data) == MAX_JOURNAL and pages and max(at for at, _ in pages.values()) + 2 * size + 16 > MAX_JOURNAL:
        limits.cut(f"a rollback journal of more than {MAX_JOURNAL:,} bytes: the rest of it was not read", space.partition)
    return pages


def _clues(
    pages: Mapping[int, bytes],
    page_of: Callable[[int], bytes | None],
    locate: Callable[[int, int], Provenance],
    confidence: str,
    kind: str,
    store: str | None,
) -> Iterator[Clue[Container]]:
    """A clue for each container that a row of ContainerConfig, ContainerState or ContainerExitCode tells of."""
    for number, page in sorted(pages.items()):
        rows = (leaf_rows(page, number, page_of), *(freed_rows(page, number, page_of, columns) for columns in COLUMNS))
        for row in chain.from_iterable(rows):
            exited = _exited(row, locate(number, row.offset))
            if exited is not None:
                yield Clue(exited, confidence, kind, store or "podman", ENDED)
            made = _told(row, locate(number, row.offset)) or _told_in_part(row, locate(number, row.offset))
            if made is not None:
                yield Clue(made, confidence, kind, store or "podman", ENVIRONMENT)


def _exited(row: Row, source: Provenance) -> Container | None:
    """ContainerExitCode is (ID, Timestamp, ExitCode), and outlives the container (podman v4.5 to v5, libpod/sqlite_state.go)."""
    own, time, code = row.values if len(row.values) == 3 else (None, None, None)
    if not isinstance(own, bytes) or not _ID.fullmatch(own) or not isinstance(time, int) or not isinstance(code, int):
        return None
    if not 0 < time < MAX_TIME or code not in range(-1, 256):
        return None
    return Container(
        engine="podman",
        namespace=None,
        container_id=own.decode(),
        name=None,
        finished_ns=time * SECOND,
        exit_code=code if code >= 0 else None,
        source=replace(source, how=f"{source.how}, exit code of it"),
    )


def _told(row: Row, source: Provenance) -> Container | None:
    """ContainerConfig is (ID, Name, PodID, JSON), ContainerState (ID, State, ExitCode, JSON)."""
    own, document = (row.values[0], row.values[3]) if len(row.values) == 4 else (None, None)
    if not row.whole or not isinstance(own, bytes) or not isinstance(document, bytes) or not _ID.fullmatch(own):
        return None
    config: LibpodContainer | None = None
    state: LibpodState | None = None
    try:
        if isinstance(row.values[1], bytes):
            config = parse_container(document)
        else:
            state = parse_state(document)
    except FormatError:
        return None
    if config is not None and (config.id != own.decode() or not own_paths(own.decode(), (config.static_dir, config.log_path))):
        return None
    text = document.decode("utf-8", "replace") if config is not None else None
    about = Told(config, text, state, source)
    known = KnownContainer(own.decode(), None, None, None, about, Userdata(), None, source)
    (made,) = storage_containers(StoreReader(), [known], Libpod(), "")
    return replace(made, origin="recovered")


def _told_in_part(row: Row, source: Provenance) -> Container | None:
    """What the own page of a row of ContainerConfig has of it; the pages behind it are lost, or another row's by now."""
    own, name, document = (row.values[0], row.values[1], row.values[3]) if len(row.values) == 4 else (None, None, None)
    if not isinstance(own, bytes) or not isinstance(name, bytes) or not isinstance(document, bytes) or not _ID.fullmatch(own):
        return None
    return config_beginning(own.decode(), name, document[: row.own], replace(source, how=f"{source.how}, the beginning of a row"))
