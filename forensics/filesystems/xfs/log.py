"""The log: where it begins and ends, and the committed transactions in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from forensics.filesystems.bulk.reading import read_exactly
from forensics.filesystems.xfs.geometry import Geometry
from forensics.source import Source
from parsers.errors import FormatError
from parsers.xfs_log import (
    BASIC_BLOCK,
    FMT_LITTLE,
    MAGIC,
    TRANS_HEADER_SIZE,
    TRANS_MAGIC,
    Op,
    Operation,
    Record,
    item_type,
    operations,
    parse_record,
    record_crc_holds,
    unpack_body,
)

IN_FLIGHT = 8 * (262144 // BASIC_BLOCK)  # basic blocks before the head in which writes may be missing: XLOG_TOTAL_REC_SHIFT
MOST_BYTES = 1 << 30  # of transactions at the same time
MOST_REGIONS = 1 << 20  # of one transaction
_START, _COMMIT, _UNMOUNT, _CONTINUED = map(int, (Op.START, Op.COMMIT, Op.UNMOUNT, Op.WAS_CONTINUED))  # plain ones are quicker


class Item(NamedTuple):
    """One item of a transaction: its regions, the first of which tells its type; places: the byte in the source of each."""

    regions: list[bytes]
    places: list[int]

    @property
    def type(self) -> int:
        """What kind of item it is."""
        return item_type(self.regions[0])[0]


class Transaction(NamedTuple):
    """A committed transaction; lsn: of the record that it begins in."""

    lsn: int
    items: list[Item]


@dataclass
class Open:
    """A transaction that was not committed yet."""

    lsn: int
    items: list[Item] = field(default_factory=list)
    header: bytes | None = None
    regions: int = 0


class Log:
    """The log of a filesystem, from its tail to its head. Raises FormatError where these cannot be found."""

    def __init__(self, source: Source, geometry: Geometry) -> None:
        s = geometry.superblock
        first = geometry.block(s.log_start)
        if first is None or s.log_blocks * s.block_size < 2 * BASIC_BLOCK or first + s.log_blocks > s.blocks:
            raise FormatError("the log is outside the filesystem", source.name)
        self._source = source
        self._start = first * s.block_size
        self.blocks = s.log_blocks * s.block_size // BASIC_BLOCK
        self.has_crc = s.has_crc
        self.tail = self.head = 0
        self.clean = False
        self.damage: list[tuple[str, int]] = []
        self._verified: set[int] = set()
        self._find()

    def read(self, block: int, count: int) -> bytes:
        """Basic blocks of the log, which goes on at its start."""
        block %= self.blocks
        here = min(count, self.blocks - block)
        data = read_exactly(self._source, self._start + block * BASIC_BLOCK, here * BASIC_BLOCK)
        return data if here == count else data + self.read(0, count - here)

    def place(self, block: int) -> int:
        """The byte in the source where a basic block of the log stands."""
        return self._start + block % self.blocks * BASIC_BLOCK

    def place_in(self, block: int, record: Record, at: int) -> int:
        """The byte in the source where byte `at` of a record's body stands."""
        return self.place(block + record.header_blocks + at // BASIC_BLOCK) + at % BASIC_BLOCK

    def _cycle(self, block: int) -> int:
        data = self.read(block, 1)
        return int.from_bytes(data[4:8] if data[:4] == MAGIC.to_bytes(4, "big") else data[:4], "big")

    def _find(self) -> None:
        """Head and tail; xfs_log_recover.c xlog_find_head and xlog_find_tail."""
        first, last = self._cycle(0), self._cycle(self.blocks - 1)
        if not first and not last:
            self.clean = True  # never used
            return
        head = self.blocks if first == last else self._first_with(last, 0, self.blocks - 1)
        head = self._first_gap(head, first, last)
        at = self._last_record(head)
        if at is None:
            raise FormatError("the log has no record", self._source.name, self._start)
        block, record = at
        end = block + record.blocks
        if end > head:  # the last record was not written to its end
            head = block
            at = self._last_record(head)
            if at is None:
                raise FormatError("the log has no whole record", self._source.name, self._start)
            block, record = at
            end = block + record.blocks
        self.head = head
        self.tail = record.tail_lsn & 0xFFFFFFFF
        if self.tail >= self.blocks:
            raise FormatError(f"the log's tail is block {self.tail}", self._source.name, self.place(block))
        if record.operations == 1 and end == head:
            found = next(iter(self.operations_of(block, record)), None)
            self.clean = found is not None and bool(found.flags & Op.UNMOUNT)

    def _first_with(self, cycle: int, low: int, high: int) -> int:
        """The first basic block of a cycle, where those from it to `high` have it and those before do not."""
        while high - low > 1:
            middle = (low + high) // 2
            if self._cycle(middle) == cycle:
                high = middle
            else:
                low = middle
        return high

    def _first_gap(self, head: int, first: int, last: int) -> int:
        """The first block before the head that was not written in the head's cycle: writes end in any order."""
        if head < IN_FLIGHT and last and first != last:
            end = self._unlike(max(head, self.blocks - IN_FLIGHT + head), self.blocks, first - 1)
            if end < self.blocks:
                return end
        return self._unlike(max(0, head - IN_FLIGHT), head, first)

    def _unlike(self, begin: int, end: int, cycle: int) -> int:
        """The first block from `begin` on that is of another cycle; `end` where there is none before it."""
        data = self.read(begin, end - begin) if end > begin else b""
        for block in range(begin, end):
            at = (block - begin) * BASIC_BLOCK
            word = data[at + 4 : at + 8] if data[at : at + 4] == MAGIC.to_bytes(4, "big") else data[at : at + 4]
            if int.from_bytes(word, "big") != cycle:
                return block
        return end

    def _last_record(self, head: int) -> tuple[int, Record] | None:
        """The last record's header before the head; it may be before the log's end when the head is near its start."""
        for back in range(1, min(self.blocks, 2 * IN_FLIGHT) + 1):
            block = (head - back) % self.blocks
            data = self.read(block, 1)
            if data[:4] == MAGIC.to_bytes(4, "big"):
                try:
                    record = parse_record(data)
                except FormatError:
                    continue
                if record.lsn & 0xFFFFFFFF == block:
                    return (block if block < head else block - self.blocks), record
        return None

    def operations_of(self, block: int, record: Record) -> Iterator[Operation]:
        """The operations of the record at a basic block. Raises FormatError where its checksum is wrong."""
        header = self.read(block, record.header_blocks)
        body = self.read(block + record.header_blocks, record.length // BASIC_BLOCK)
        if block not in self._verified and not record_crc_holds(header, body):
            raise FormatError("the checksum of a log record is wrong", self._source.name, self.place(block))
        self._verified.add(block)
        yield from operations(record, unpack_body(record, header, body))

    def transactions(self) -> Iterator[Transaction]:
        """The committed transactions in their order. What is damaged ends the log there, and is told in `damage`."""
        pending: dict[int, Open] = {}
        held = 0
        self.damage.clear()
        block = self.tail
        left = (self.head - self.tail) % self.blocks or self.blocks
        while left > 0:
            try:
                record = parse_record(self.read(block, 1))
                if record.format != FMT_LITTLE:
                    raise FormatError(f"the log is of a host with another byte order (h_fmt {record.format})")
                if record.blocks > left:
                    raise FormatError("a log record goes on behind the log's head")
                for operation in self.operations_of(block, record):
                    held += len(operation.data)
                    if held > MOST_BYTES:
                        raise FormatError(f"more than {MOST_BYTES} bytes of transactions in the log")
                    done = take(pending, operation, record.lsn, self.place_in(block, record, operation.at))
                    if done is not None:
                        held -= sum(len(region) for item in done.items for region in item.regions)
                        yield Transaction(done.lsn, done.items)
            except FormatError as error:
                self.damage.append((error.what, self.place(block)))
                return
            block += record.blocks
            left -= record.blocks


def take(pending: dict[int, Open], operation: Operation, lsn: int, place: int) -> Open | None:
    """Add an operation, which stands at `place`, to its transaction; the transaction where that commits it."""
    if operation.flags & _UNMOUNT:
        return None
    if operation.flags & _START:
        pending[operation.tid] = Open(lsn)
        if not operation.data:
            return None
    open_one = pending.get(operation.tid)
    if open_one is None:
        return None  # it began before the tail: all of it is on the disk
    if operation.flags & _COMMIT:
        return pending.pop(operation.tid)
    if operation.flags & _CONTINUED:
        if open_one.items:
            open_one.items[-1].regions[-1] += operation.data
        elif open_one.header is not None:
            open_one.header += operation.data
        return None
    if operation.data:
        _add_region(open_one, operation.data, place)
    return None


def _add_region(open_one: Open, data: bytes, place: int) -> None:
    if open_one.header is None:
        if int.from_bytes(data[:4], "little") != TRANS_MAGIC and len(data) >= 4:
            raise FormatError("a transaction in the log has no header")
        open_one.header = data[:TRANS_HEADER_SIZE]
        return
    open_one.regions += 1
    if open_one.regions > MOST_REGIONS:
        raise FormatError(f"a transaction of more than {MOST_REGIONS} regions")
    if open_one.items:
        last = open_one.items[-1]
        if len(last.regions) < item_type(last.regions[0])[1]:
            last.regions.append(data)
            last.places.append(place)
            return
    if len(data) < 4:
        raise FormatError("an item of a transaction is cut off")
    open_one.items.append(Item([data], [place]))
