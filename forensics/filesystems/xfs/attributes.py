"""Extended attributes of an inode, wherever they stand."""

from __future__ import annotations

from forensics.filesystems.bulk.problems import ProblemLog
from forensics.filesystems.bulk.reading import read_exactly
from forensics.filesystems.xfs.forks import attr_map
from forensics.filesystems.xfs.inodes import InodeTables
from forensics.filesystems.xfs.remote import Places, read_remote
from parsers.errors import FormatError
from parsers.xfs_attr import (
    MAX_DEPTH,
    MAX_VALUE,
    REMOTE_MAGIC,
    Attribute,
    Node,
    acl_name,
    attr_crc_holds,
    parse_attr_block,
    parse_short_form,
    shown_acl,
)
from parsers.xfs_inode import Format, InodeRecord

MOST_BYTES = 64 << 20  # of names and values of one inode; the kernel has no list longer than 64 KiB

CACHED = 4096  # forks with attributes: whole trees of files have the same label


class Attributes:
    """Reads attributes; what is damaged becomes a problem."""

    def __init__(self, tables: InodeTables, problems: ProblemLog) -> None:
        self._tables = tables
        self._source = tables.source
        self._superblock = tables.geometry.superblock
        self._problems = problems
        self._cache: dict[bytes, dict[bytes, bytes]] = {}

    def read(self, number: int, record: InodeRecord) -> dict[bytes, bytes]:
        """The attributes of an inode by full name."""
        if record.attr_format == Format.LOCAL:
            return self.read_short(number, record.attr_fork, record.attr_fork_at)
        found: dict[bytes, bytes] = {}
        if record.attr_format in (Format.EXTENTS, Format.BTREE):
            if record.attr_format == Format.BTREE or record.attr_extents:
                self._far(number, record, found)
        elif record.attr_fork:
            self._report(number, f"an attribute fork of format {record.attr_format}", self._tables.offset(number))
        return found

    def read_short(self, number: int, fork: bytes, at: int) -> dict[bytes, bytes]:
        """The attributes in an attribute fork of format LOCAL, which stands at byte `at` of its inode."""
        if not fork:
            return {}
        key = fork[: int.from_bytes(fork[:2], "big")]
        cached = self._cache.get(key)
        if cached is not None:
            return dict(cached)
        found: dict[bytes, bytes] = {}
        listed = parse_short_form(fork)
        if listed.damage is not None:
            error, place = listed.damage
            self._report(number, error, self._tables.offset(number) + at + place)
        self._take(number, listed.list, None, found)
        if listed.damage is None and len(self._cache) < CACHED:
            self._cache[key] = dict(found)
        return found

    def _far(self, number: int, record: InodeRecord, found: dict[bytes, bytes]) -> None:
        """The attributes in blocks: from block 0 down the nodes to each leaf."""
        mapped = attr_map(self._source, self._tables.geometry, record, self._tables.offset(number))
        for damage in mapped.damage:
            self._report(number, damage.error, damage.offset)
        places = Places(mapped.runs, self._superblock.block_size)
        pending = [(0, -1)]
        seen: set[int] = set()
        taken = 0
        while pending and taken < MOST_BYTES:
            block, level = pending.pop()
            place = places.of(block)
            if place is None or block in seen:
                self._report(number, f"block {block} of the attributes is out of place", None)
                continue
            seen.add(block)
            try:
                data = read_exactly(self._source, place, self._superblock.block_size)
                parsed = parse_attr_block(data, self._superblock.has_crc)
            except FormatError as error:
                self._report(number, error.what, place)
                continue
            if self._superblock.has_crc and not attr_crc_holds(data):
                self._report(number, "the checksum of a block of attributes is wrong", place)
            if isinstance(parsed, Node):
                if parsed.level == level or (level < 0 and parsed.level <= MAX_DEPTH):
                    pending += [(child, parsed.level - 1) for child in reversed(parsed.children)]
                else:
                    self._report(number, f"a node of attributes of level {parsed.level} is out of place", place)
                continue
            if parsed.damage is not None:
                self._report(number, parsed.damage[0], place + parsed.damage[1])
            taken += self._take(number, parsed.list, places, found)

    def _take(self, number: int, attributes: list[Attribute], places: Places | None, found: dict[bytes, bytes]) -> int:
        """Add attributes to those found; how many bytes they have."""
        taken = 0
        for attribute in attributes:
            if attribute.name in found:
                continue
            try:
                value = attribute.value
                if value is None:
                    value = self._remote(number, attribute, places)
                found[attribute.name] = value
                taken += len(value) + len(attribute.name)
                acl = acl_name(attribute.name)
                if acl is not None:
                    found[acl] = shown_acl(value)
            except FormatError as error:
                shown = attribute.name.decode("utf-8", "backslashreplace")
                self._report(number, f"attribute {shown}: {error.what}", error.offset)
            if taken > MOST_BYTES:
                self._report(number, f"more than {MOST_BYTES} bytes of attributes; the others are left out", None)
                break
        return taken

    def _remote(self, number: int, attribute: Attribute, places: Places | None) -> bytes:
        if attribute.size > MAX_VALUE:
            raise FormatError(f"the value is {attribute.size} bytes long, more than the {MAX_VALUE} that are possible")
        if places is None:
            raise FormatError("a value in blocks of its own, of which the inode has none")

        def report(error: str, place: int) -> None:
            self._report(number, error, place)

        return read_remote(self._source, places, attribute.block, attribute.size, self._superblock, REMOTE_MAGIC, report)

    def _report(self, number: int, error: str, offset: int | None) -> None:
        self._problems.add("extended attributes", number, error, offset)
