"""Removed containers of Podman's in old pages of libpod's db.sql: free ones in the file, and those that rollback journals kept.

SQLite copies every page into a journal before a transaction changes it, and deletes the journal afterwards; so each removal
leaves the row as it was in unallocated space, until that is written again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from forensics.file_source import FileSource
from forensics.records import Container, Provenance
from forensics.recovery.clues import CERTAIN, ENVIRONMENT, PROBABLE, Clue
from forensics.recovery.scan import JOURNAL, Hits
from forensics.recovery.space import Space
from forensics.stores.podman.containers import storage_containers
from forensics.stores.podman.join import KnownContainer
from forensics.stores.podman.libpod import Libpod, Told
from forensics.stores.podman.userdata import Userdata
from forensics.stores.reading import Place, StoreReader
from forensics.stores.sqlite import MAX_DATABASE
from forensics.text import readable
from parsers.errors import CtrForensicsError, FormatError
from parsers.libpod import LibpodContainer, LibpodState, parse_container, parse_state
from parsers.sqlite_file import HEADER, MAGIC, PAGE_SIZES
from parsers.sqlite_pages import Row, journal_pages, leaf_rows

MAX_JOURNAL = 64 << 20
MAX_JOURNALS = 10_000

_ID = re.compile(rb"[0-9a-f]{64}")


def database_clues(root: Place, store: str) -> Iterator[Clue[Container]]:
    """What old pages in the database of a graphroot still hold. store: its key."""
    reader = StoreReader()
    for place in _databases(reader, root):
        size, pages = _pages(reader.load(place, "libpod's db.sql", bytes, MAX_DATABASE) or b"")
        file = FileSource(place.fs, place.inode, readable(place.path))

        def locate(page: int, offset: int, file: FileSource = file, size: int = size, place: Place = place) -> Provenance:
            at = (page - 1) * size + offset
            return Provenance(place.partition, file.name, place.inode, file.locate(at), "old page of the database")

        yield from _clues(pages, pages.get, locate, CERTAIN, "database", store)


def journal_clues(hits: Sequence[Hits], roots: Sequence[tuple[Place, str]]) -> Iterator[Clue[Container]]:
    """What rollback journals in unallocated space kept. roots: the graphroots, each with its store's key."""
    reader = StoreReader()
    databases = [
        _pages(reader.load(place, "db.sql", bytes, MAX_DATABASE) or b"")[1]
        for root, _ in roots
        for place in _databases(reader, root)
    ]
    store = roots[0][1] if len(roots) == 1 else None
    for each in hits:
        for offset in each.of(JOURNAL)[:MAX_JOURNALS]:
            found = _read_journal(each.space, offset)
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


def _databases(reader: StoreReader, root: Place) -> list[Place]:
    found = (reader.child(root, b"db.sql"), reader.child(root, b"libpod", b"db.sql"))
    return [place for place in found if place is not None]


def _pages(data: bytes) -> tuple[int, dict[int, bytes]]:
    """The page size and all pages of a database, by number."""
    if not data.startswith(MAGIC) or len(data) < HEADER.sizeof():
        return 0, {}
    told = HEADER.parse(data[: HEADER.sizeof()]).page_size
    size = 65536 if told == 1 else told
    if size not in PAGE_SIZES:
        return 0, {}
    return size, {number: data[at : at + size] for number, at in enumerate(range(0, len(data), size), 1)}


def _read_journal(space: Space, offset: int) -> dict[int, tuple[int, bytes]]:
    run = space.run(offset)
    try:
        data = space.source.read(offset, min(MAX_JOURNAL, run[1] - offset)) if run is not None else b""
    except CtrForensicsError:
        return {}
    return journal_pages(data)[1]


def _clues(
    pages: Mapping[int, bytes],
    page_of: Callable[[int], bytes | None],
    locate: Callable[[int, int], Provenance],
    confidence: str,
    kind: str,
    store: str | None,
) -> Iterator[Clue[Container]]:
    """A clue for each container that a row of ContainerConfig or ContainerState tells of."""
    for number, page in sorted(pages.items()):
        for row in leaf_rows(page, number, page_of):
            told = _told(row, locate(number, row.offset))
            if told is None:
                continue
            own, about = told
            known = KnownContainer(own, None, None, None, about, Userdata(), None, about.source)
            (made,) = storage_containers(StoreReader(), [known], Libpod(), "")
            yield Clue(replace(made, origin="recovered"), confidence, kind, store or "podman", ENVIRONMENT)


def _told(row: Row, source: Provenance) -> tuple[str, Told] | None:
    """ContainerConfig is (ID, Name, PodID, JSON), ContainerState (ID, State, ExitCode, JSON)."""
    own, document = (row.values[0], row.values[3]) if len(row.values) == 4 else (None, None)
    if not isinstance(own, bytes) or not isinstance(document, bytes) or not _ID.fullmatch(own):
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
    if config is not None and config.id != own.decode():
        return None
    text = document.decode("utf-8", "replace") if config is not None else None
    return own.decode(), Told(config, text, state, source)
