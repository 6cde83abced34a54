"""What the command bolt tells of a bbolt file, as rows: its keys, its pages, what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from forensics.source import Source
from forensics.text import harmless, raw_if_unequal, readable
from parsers.bbolt import Bolt
from parsers.bbolt_tree import Key
from parsers.bolt_values import guess
from parsers.errors import UsageError

Cell = str | int | bytes | None

KEY_COLUMNS = (
    "state", "bucket", "key", "type", "text", "value_bytes", "sequence", "page", "offset", "disk_offset", "txid", "basis",
    "missing", "bucket_raw", "key_raw", "value",
)  # fmt: skip
PAGE_COLUMNS = ("page", "offset", "disk_offset", "kind", "state", "count", "overflow", "previous")
PROBLEM_COLUMNS = ("page", "offset", "disk_offset", "problem")
SHOWN = 100  # characters of a value in a table
MAX_INDENT = 40  # levels


@dataclass(frozen=True, slots=True)
class BoltRow:
    """A key of a bbolt file, live or not. state, basis, missing: as in parsers.bbolt_free; live keys are known by the tree.

    offset: of the key in the file; disk_offset: in the disk image, None where the file is in none. txid: the last transaction
    that can have written it.
    """

    key: Key
    state: str
    disk_offset: int | None
    txid: int | None
    basis: str
    missing: int


def bolt_rows(bolt: Bolt, source: Source, start: tuple[bytes, ...] = (), deleted: bool = False) -> Iterator[BoltRow]:
    """The live keys of a bucket and below it, then, if asked for, the ones that are not live, whose path begins like it."""
    for key in bolt.walk(start=start):
        yield BoltRow(key, "live", source.locate(key.offset), bolt.txid, "tree", 0)
    for gone in bolt.deleted() if deleted else ():
        if not start or (gone.basis != "page" and gone.key.bucket[: len(start)] == start):
            yield BoltRow(gone.key, gone.state, source.locate(gone.key.offset), gone.txid, gone.basis, gone.missing)


def key_cells(row: BoltRow) -> tuple[Cell, ...]:
    """A key's row with everything that is known of it; a bucket path without its beginning begins with null."""
    key = row.key
    bucket, bucket_raw = _bucket(key.bucket, row.basis == "page")
    text = readable(key.key)
    kind, shown = _value(key)
    return (
        row.state, bucket, text, kind, shown, None if key.value is None else len(key.value), key.sequence, key.page, key.offset,
        row.disk_offset, row.txid, row.basis, row.missing, bucket_raw, raw_if_unequal(key.key, text), key.value,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _bucket(path: tuple[bytes, ...], incomplete: bool) -> tuple[str, str | None]:
    """A bucket path as a JSON array of texts and, where these do not give the bytes back, one of hexadecimal names."""
    names = [readable(name) for name in path]
    unequal = any(raw_if_unequal(name, text) is not None for name, text in zip(path, names, strict=True))
    start: list[str | None] = [None] if incomplete else []
    return json.dumps(start + names), json.dumps([name.hex() for name in path]) if unequal else None


def key_lines(rows: Iterable[BoltRow]) -> Iterator[str]:
    """The keys for people: the live tree indented, then what is not live with the whole path that is known of it."""
    yield f"{'state':<10} {'page':>8} {'offset':>12}  key"
    for row in rows:
        key = row.key
        kind, shown = _value(key)
        if len(shown) > SHOWN:
            shown = f"{shown[: SHOWN - 3]}..."
        if row.missing:
            shown += f" ({row.missing} bytes more are lost)"
        if row.state == "live":
            name = "  " * min(key.depth, MAX_INDENT) + readable(key.key)
        else:
            name = "/".join(([".."] if row.basis == "page" else []) + [readable(part) for part in (*key.bucket, key.key)])
        yield f"{row.state:<10} {key.page:>8} {key.offset:>12}  {name}  {kind}{': ' if shown else ''}{shown}"


def _value(key: Key) -> tuple[str, str]:
    if key.value is None:
        place = "inline" if key.inline else f"page {key.root}"
        return "bucket", f"{place}, sequence {key.sequence}" if key.sequence else place
    found = guess(key.key, key.value)
    return found.kind, found.text


def page_cells(bolt: Bolt, source: Source) -> Iterator[tuple[Cell, ...]]:
    """A row for every page of the file."""
    for page in bolt.pages():
        offset = page.id * bolt.page_size
        older = "yes" if page.previous else None
        yield page.id, offset, source.locate(offset), page.kind, page.state, page.count, page.overflow, older


def page_lines(bolt: Bolt) -> Iterator[str]:
    """The pages for people."""
    yield f"{'page':>8} {'offset':>12}  {'kind':<9} {'state':<12} {'count':>6} {'overflow':>8}"
    for page in bolt.pages():
        older = "  in the previous tree" if page.previous else ""
        what = f"{page.kind or '':<9} {page.state:<12} {page.count:>6} {page.overflow:>8}{older}"
        yield f"{page.id:>8} {page.id * bolt.page_size:>12}  {what}"


def problem_cells(bolt: Bolt, source: Source) -> Iterator[tuple[Cell, ...]]:
    """A row for everything that is wrong with the file."""
    for problem in bolt.check():
        yield problem.page, problem.offset, source.locate(problem.offset), problem.what


def typed_bucket(bolt: Bolt, names: Sequence[str]) -> tuple[bytes, ...]:
    """The live bucket whose names a person typed, or copied from our output. UsageError names what there is instead."""
    path: tuple[bytes, ...] = ()
    for name in names:
        there = bolt.buckets(path)
        path = (*path, _typed(name, there, "bucket"))
    return path


def typed_key(bolt: Bolt, bucket: tuple[bytes, ...], name: str) -> bytes:
    """The value of the live key that a person named."""
    values = bolt.bucket(bucket)
    return values[_typed(name, list(values), "key")]


def _typed(name: str, there: Sequence[bytes], what: str) -> bytes:
    raw = name.encode("utf-8", "surrogateescape")
    if raw in there:
        return raw
    alike = [each for each in there if harmless(readable(each)) == name]
    if len(alike) == 1:
        return alike[0]
    shown = ", ".join(harmless(readable(each)) for each in there[:8]) + (" ..." if len(there) > 8 else "")
    raise UsageError(f"there is no {what} {name} here, but {shown}" if there else f"there is no {what} {name} here, and no other")
