"""A view of a case as a PAX archive: the same bytes every time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import BinaryIO

from forensics.case.view import KINDS, Entry, View
from forensics.content import Contents, Note
from forensics.pax import Member, header, padding, trailer
from parsers.errors import CtrForensicsError

_ZEROS = bytes(1 << 20)
_ARCHIVED = "fdlcbp"


def write_archive(view: View, contents: Contents, stream: BinaryIO) -> Iterator[Note]:
    """Write everything in the view, each directory before what is in it; yields what is not there as it stands in the evidence.

    Of the names of one file, the first carries the content and the others are hard links to it. A file that cannot be read
    at all is there with no content; one that cannot be read to its end, with zeros for the rest.
    """
    written = 0
    names: dict[tuple[int, int], bytes] = {}
    for entry in view.below(b"/"):
        if entry.type not in _ARCHIVED:
            yield Note(entry.path, f"{KINDS[entry.type]}, which no archive can hold")
            continue
        if not entry.is_plain:
            yield Note(entry.path, "a name that would lead out of the archive")
            continue
        if entry.type != "f":
            written += stream.write(header(_member(entry, entry.type)))
            continue
        name = names.setdefault((entry.partition, entry.inode), entry.path)
        if name is not entry.path:
            written += stream.write(header(_member(entry, "h", link=name[1:])))
            continue
        size, chunks, error = _begin(view, contents, entry)
        written += stream.write(header(_member(entry, "f", size)))
        done = 0
        try:
            for chunk in chunks:
                done += stream.write(chunk)
        except CtrForensicsError as failure:
            error = f"{failure}; zeros stand for it from byte {done} on"
        written += done + _fill(stream, size - done) + stream.write(padding(size))
        if error:
            yield Note(entry.path, error, unread=True)
    stream.write(trailer(written))


def _begin(view: View, contents: Contents, entry: Entry) -> tuple[int, Iterator[bytes], str]:
    """The size of a file's content, the content, and why there is none: nothing is promised before the first bytes were read."""
    try:
        size = contents.size(view, entry)
        chunks = contents.chunks(view, entry)
        return size, itertools.chain([next(chunks, b"")], chunks), ""
    except CtrForensicsError as failure:
        return 0, iter(()), f"{failure}; archived without content"


def _fill(stream: BinaryIO, count: int) -> int:
    for done in range(0, count, len(_ZEROS)):
        stream.write(_ZEROS[: min(len(_ZEROS), count - done)])
    return max(count, 0)


def _member(entry: Entry, kind: str, size: int = 0, link: bytes = b"") -> Member:
    name = entry.path[1:] or b"."
    return Member(
        name + b"/" if kind == "d" else name, kind, entry.mode, entry.uid, entry.gid, size, entry.mtime_ns, entry.atime_ns,
        entry.ctime_ns, link or entry.target or b"", entry.rdev or (0, 0), {} if kind == "h" else entry.xattrs,
    )  # fmt: skip
