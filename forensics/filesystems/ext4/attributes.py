"""Extended attributes and inline data of an inode, wherever they stand."""

from __future__ import annotations

from collections.abc import Callable

from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import read_exactly
from forensics.filesystems.ext4.inodes import InodeTables
from parsers.errors import FormatError
from parsers.ext4_inode import InodeRecord
from parsers.ext4_xattr import (
    ACL_ACCESS,
    ACL_DEFAULT,
    INLINE_DATA,
    SYSTEM,
    XattrEntry,
    XattrList,
    parse_block,
    parse_ibody,
    shown_acl,
)

MAX_VALUE = 65536  # XATTR_SIZE_MAX: no longer value passes getxattr
CACHED_BLOCKS = 4096  # attribute blocks are shared by files with the same attributes


class Attributes:
    """Reads attributes; `value_of` reads an inode's content (number, size), for values that have inodes of their own."""

    def __init__(self, tables: InodeTables, problems: ProblemLog, value_of: Callable[[int, int], bytes]) -> None:
        self._tables = tables
        self._source = tables.source
        self._geometry = tables.geometry
        self._problems = problems
        self._value_of = value_of
        self._blocks: dict[int, XattrList] = {}

    def read(self, number: int, raw: bytes, extra_isize: int, file_acl: int) -> dict[bytes, bytes]:
        """The attributes of an inode by full name."""
        found: dict[bytes, bytes] = {}
        body = parse_ibody(raw, extra_isize)
        if body.damage is not None:
            error, at = body.damage
            self._report(number, error, None if number in self._tables.overrides else self._tables.offset(number) + at)
        self._take(number, body.entries, found)
        if file_acl:
            self._take(number, self._block(number, file_acl).entries, found)
        return found

    def inline_data(self, raw: bytes, record: InodeRecord) -> bytes:
        """All bytes that an inline file or directory has room for, to be cut at its size."""
        return record.block + self.inline_rest(raw, record)

    def inline_rest(self, raw: bytes, record: InodeRecord) -> bytes:
        """The part of inline data that did not fit into i_block."""
        for entry in parse_ibody(raw, record.extra_isize).entries:
            if entry.index == SYSTEM and entry.name == INLINE_DATA and entry.value is not None:
                return entry.value
        return b""

    def _block(self, number: int, block: int) -> XattrList:
        cached = self._blocks.get(block)
        if cached is not None:
            return cached
        size = self._geometry.superblock.block_size
        listed = XattrList([], None)
        if not self._geometry.is_block(block):
            self._report(number, f"attribute block {block} is outside the filesystem", None)
            return listed
        try:
            listed = parse_block(read_exactly(self._source, block * size, size))
            if listed.damage is not None:
                self._report(number, listed.damage[0], block * size + listed.damage[1])
        except FormatError as error:
            self._report(number, error.what, block * size)
        if len(self._blocks) >= CACHED_BLOCKS:
            self._blocks.clear()
        self._blocks[block] = listed
        return listed

    def _take(self, number: int, entries: list[XattrEntry], found: dict[bytes, bytes]) -> None:
        for entry in entries:
            name = entry.full_name
            if name is None or name in found:
                continue
            try:
                value = entry.value if entry.value is not None else self._far_value(entry)
                found[name] = shown_acl(value) if entry.index in (ACL_ACCESS, ACL_DEFAULT) else value
            except FormatError as error:
                shown = name.decode("utf-8", "backslashreplace")
                self._report(number, f"attribute {shown}: {error.what}", None)

    def _far_value(self, entry: XattrEntry) -> bytes:
        if entry.size > MAX_VALUE:
            raise FormatError(f"the value is {entry.size} bytes long, more than the {MAX_VALUE} that are possible")
        value = self._value_of(entry.inode, entry.size)
        if len(value) < entry.size:
            raise FormatError(f"inode {entry.inode} holds {len(value)} of the value's {entry.size} bytes")
        return value

    def _report(self, number: int, error: str, offset: int | None) -> None:
        self._problems.add("extended attributes", number, error, offset)
