"""The pages of a bbolt file and their states, and what is wrong between them: the freelist against what the tree reaches.

Source: go.etcd.io/bbolt v1.3.6, freelist.go (read), tx_check.go (check). A freelist page holds `count` sorted page ids; where
count is 0xFFFF, the first number is the real count. Its own pages are not in it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from parsers.bbolt_layouts import BRANCH, FREELIST, HEADER, LEAF, META, PageFile, Problem, page_header, pages_in
from parsers.bbolt_tree import Bucket, Claims, walk
from parsers.errors import FormatError

KINDS = {BRANCH: "branch", LEAF: "leaf", META: "meta", FREELIST: "freelist"}


@dataclass(frozen=True, slots=True)
class PageState:
    """One page. kind: branch, leaf, overflow, meta, freelist, or None where its header tells nothing; state:

    live, the chosen meta's tree or that meta itself refers to it; broken, it does, but the page is not sound; free, the
    freelist has it, or there is none and nothing refers to the page; unreachable, neither the tree nor the freelist has it;
    unused, it is behind the pages that the meta counts. previous: it is not in the live tree but in the older meta's.
    """

    id: int
    kind: str | None
    state: str
    count: int
    overflow: int
    previous: bool


@dataclass(frozen=True)
class Survey:
    """What refers to which page. freelist: pages of the list itself; free: the ids in it, None where it was not synced."""

    claims: Claims
    freelist: range
    free: list[int] | None


def survey(file: PageFile, root: Bucket, freelist: int | None) -> Survey:
    """Walks the whole tree and reads the freelist; what is wrong becomes a problem of the file."""
    claims = Claims(file.limit)
    for _ in walk(file, root, (), claims):
        pass
    if freelist is None:
        return Survey(claims, range(0), None)
    try:
        free = list(freelist_ids(file, freelist))
    except FormatError as error:
        file.report(Problem(error.what, freelist, error.offset or 0))
        return Survey(claims, range(0), [])
    header = page_header(file, freelist)
    overflow = header[3] if header is not None else 0
    return Survey(claims, range(freelist, min(freelist + overflow + 1, file.limit)), free)


def freelist_ids(file: PageFile, pgid: int) -> Iterator[int]:
    """The ids of the free pages, as a freelist page lists them. FormatError where it is no freelist page or is cut off."""
    offset = pgid * file.page_size
    header = page_header(file, pgid) if 2 <= pgid < file.limit else None
    if header is None or header[0] != pgid or header[1] != FREELIST:
        raise FormatError(f"page {pgid} is no freelist page", file.reader.name, offset)
    _, _, count, overflow = header
    number = file.layouts.order + "Q"
    at = offset + HEADER
    if count == 0xFFFF:
        raw = file.read(at, 8)
        if len(raw) < 8:
            raise FormatError("the freelist is cut off", file.reader.name, at)
        (count,) = struct.unpack(number, raw)
        at += 8
    end = min(offset + min(overflow + 1, file.limit - pgid) * file.page_size, file.reader.size)
    if count > (end - at) // 8:
        raise FormatError(f"a freelist of {count} pages does not fit its own page", file.reader.name, offset)
    while count:
        raw = file.read(at, 8 * min(count, 1 << 16))
        if not raw or len(raw) % 8:
            raise FormatError("the freelist is cut off", file.reader.name, at)
        yield from (ident for (ident,) in struct.iter_unpack(number, raw))
        at += len(raw)
        count -= len(raw) // 8


def check(file: PageFile, found: Survey) -> None:
    """Reports pages that are free and in use, free twice, or neither; what `bbolt check` reports, and where."""
    free: set[int] = set()
    for pgid in found.free or ():
        offset = pgid * file.page_size
        if pgid in free:
            file.report(Problem(f"page {pgid} is in the freelist twice", pgid, offset))
        elif not 2 <= pgid < file.limit:
            file.report(
                Problem(f"the freelist has page {pgid}, which the file does not", pgid, found.freelist.start * file.page_size)
            )
        elif found.claims.kind[pgid] or found.claims.taken[pgid] or pgid in found.freelist:
            file.report(Problem(f"page {pgid} is in use and in the freelist", pgid, offset))
        free.add(pgid)
    for pgid in found.freelist:
        if found.claims.taken[pgid]:
            file.report(Problem(f"page {pgid} is in the tree and holds the freelist", pgid, pgid * file.page_size))
    if found.free is not None:
        for pgid in range(2, file.limit):
            if not found.claims.taken[pgid] and pgid not in free and pgid not in found.freelist:
                file.report(Problem(f"page {pgid} is neither in use nor free", pgid, pgid * file.page_size))


def page_states(file: PageFile, found: Survey, previous: Claims | None) -> Iterator[PageState]:
    """Every page of the file in order, those behind the high-water mark included."""
    free = set(found.free or ())
    for pgid in range(pages_in(file.reader, file.page_size)):
        header = page_header(file, pgid)
        kind = KINDS.get(header[1]) if header is not None and header[0] == pgid else None
        count, overflow = header[2:] if header is not None and kind is not None else (0, 0)
        older = previous is not None and pgid < len(previous.taken) and bool(previous.taken[pgid])
        state = "unreachable" if found.free is not None else "free"
        if pgid < 2:
            state = "live" if kind == "meta" else "broken"
        elif pgid in found.claims.broken:
            state = "broken"
        elif pgid in found.freelist:
            state = "live"
        elif pgid >= file.limit:
            state = "unused"
        elif found.claims.taken[pgid]:
            state = "live"
        elif pgid in free:
            state = "free"
        if state == "live" and pgid >= 2 and pgid != found.freelist.start and not found.claims.kind[pgid]:
            kind, count, overflow = "overflow", 0, 0
        yield PageState(pgid, kind, state, count, overflow, older)
