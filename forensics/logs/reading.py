"""The content of a log's file, piece by piece, unpacked where it is packed: bounded, whatever it claims to be."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from forensics.filesystem import Filesystem
from forensics.stores.reading import Place
from parsers.errors import EvidenceError, FormatError
from parsers.log_record import Damage, Piece

PIECE = 1 << 20  # bytes that are read, and unpacked, at a time
MAX_UNPACKED = 1 << 30  # bytes that one packed file may give
MAX_MEMBERS = 1000  # gzip streams in one file; engines write one
MAX_XZ_MEMORY = 128 << 20
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"


@dataclass
class Budget:
    """How many bytes may still be unpacked in this case: so many bombs cost no more than a large log."""

    left: int = 16 << 30


def read_pieces(place: Place, budget: Budget, damage: Damage) -> Iterator[Piece]:
    """The content of a file; what cannot be read is damage, and missing."""
    yield from unpacked(_as_it_lies(place, damage), budget, damage)


def unpacked(pieces: Iterator[Piece], budget: Budget, damage: Damage) -> Iterator[Piece]:
    """The same pieces, or what they unpack to."""
    first = next(pieces, None)
    if first is None:
        return
    whole = _again(first, pieces)
    if first[1].startswith(_GZIP):
        yield from _bounded(_gunzipped(whole, damage), budget, damage)
    elif first[1].startswith(_XZ):
        yield from _bounded(_unxzed(whole, damage), budget, damage)
    else:
        yield from whole


def _again(first: Piece, rest: Iterator[Piece]) -> Iterator[Piece]:
    yield first
    yield from rest


def _as_it_lies(place: Place, damage: Damage) -> Iterator[Piece]:
    """The parts of a file that stand on the disk; holes have no lines, and are passed over however long they are."""
    try:
        ranges = _ranges(place.fs, place.inode)
    except (FormatError, EvidenceError) as error:
        damage.at(0, str(error))
        return
    for start, end in ranges:
        for at in range(start, end, PIECE):
            try:
                data = place.fs.read(place.inode, at, min(PIECE, end - at))
            except (FormatError, EvidenceError) as error:
                damage.at(at, str(error))
                continue
            if data:
                yield at, data


def _ranges(fs: Filesystem, number: int) -> list[tuple[int, int]]:
    size = fs.inode(number).size
    extents = fs.extents(number)
    if extents is None:
        return [(0, size)]
    ranges: list[tuple[int, int]] = []
    for extent in sorted(extents, key=lambda extent: extent.logical):
        start, end = extent.logical, min(size, extent.logical + extent.length)
        if extent.offset is None or start >= end:
            continue
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return ranges


def _bounded(unpacked: Iterable[bytes], budget: Budget, damage: Damage) -> Iterator[Piece]:
    at = 0
    for piece in unpacked:
        budget.left -= len(piece)
        if at + len(piece) > MAX_UNPACKED or budget.left < 0:
            damage.at(at, "unpacks to more than is read of packed logs")
            return
        yield at, piece
        at += len(piece)


def _gunzipped(pieces: Iterable[Piece], damage: Damage) -> Iterator[bytes]:
    """Docker puts JSON without a subfield's header into a header's extra field (FEXTRA): zlib passes over it unread."""
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    members = 1
    try:
        for _, piece in pieces:
            packed = piece
            while packed:
                unpacked = stream.decompress(packed, PIECE)
                packed = stream.unconsumed_tail
                if unpacked:
                    yield unpacked
                if not stream.eof:
                    continue
                packed = stream.unused_data
                if packed and not packed.startswith(_GZIP):
                    return
                if members == MAX_MEMBERS:
                    damage.at(0, f"more than {MAX_MEMBERS} gzip streams")
                    return
                stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
                members += 1
        if rest := stream.flush():
            yield rest
        if not stream.eof and not (members > 1 and not rest):
            damage.at(0, "a gzip stream that is cut off")
    except zlib.error as error:
        damage.at(0, f"a damaged gzip stream: {error}")


def _unxzed(pieces: Iterable[Piece], damage: Damage) -> Iterator[bytes]:
    stream = lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY)
    try:
        for _, piece in pieces:
            packed = piece
            while not stream.eof and (packed or not stream.needs_input):
                if unpacked := stream.decompress(packed, PIECE):
                    yield unpacked
                packed = b""
        if not stream.eof:
            damage.at(0, "an xz stream that is cut off")
    except lzma.LZMAError as error:
        damage.at(0, f"a damaged xz stream: {error}")
