"""Reading a disk's partition table, intact or not: GPT with its backup, DOS with its logical partitions, or none at all.

Source: Linux 6.6 block/partitions/efi.c and msdos.c decide which table counts and how far a chain is followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from forensics.records import Gap
from forensics.source import Source
from parsers import gpt, magic, mbr
from parsers.errors import EvidenceError, FormatError
from parsers.superblock_sizes import filesystem_size

SECTOR = 512
SECTOR_SIZES = (512, 4096)
PAGE = 4096
MAX_SECTORS = 1 << 50
ALIGNMENT = 1 << 20
MAX_PROBES = 16384
"""Places that a search looks at before it gives up: 16 GiB without a find."""
_FIRST_PLACES = (63 * SECTOR, 34 * SECTOR)  # where partitioning tools of old put a disk's first partition
_SEARCHED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "lvm2", "luks"})


@dataclass(frozen=True, slots=True)
class Tolerant:
    """A source that fails in some places: what cannot be read is zeros, with a gap in `gaps`."""

    source: Source
    gaps: list[Gap]

    @property
    def name(self) -> str:
        """The source's own."""
        return self.source.name

    @property
    def size(self) -> int:
        """The source's own."""
        return self.source.size

    def locate(self, offset: int) -> int | None:
        """The source's own."""
        return self.source.locate(offset)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`, after an error page by page."""
        try:
            return self.source.read(offset, size)
        except (EvidenceError, FormatError) as error:
            gap = Gap("volume", str(error), offset=self.locate(offset))
            if gap not in self.gaps:
                self.gaps.append(gap)
        return b"".join(self._page(start, min(PAGE, offset + size - start)) for start in range(offset, offset + size, PAGE))

    def _page(self, offset: int, size: int) -> bytes:
        try:
            return self.source.read(offset, size)
        except (EvidenceError, FormatError):
            return bytes(min(size, max(0, self.size - offset)))


@dataclass(frozen=True, slots=True)
class TablePartition:
    """A partition as its table has it, in bytes."""

    number: int
    offset: int
    length: int
    type: str | None
    label: str | None = None
    uuid: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A partition table: gpt, dos, none, or signature."""

    scheme: str
    partitions: tuple[TablePartition, ...]
    gaps: tuple[Gap, ...] = ()


def read_gpt(disk: Source, backup_only: bool = False) -> Table | None:
    """The GPT, None where the disk has none in force.

    Of the two copies the first that is intact is used, else the first that can be read at all, and a gap says so. A stale GPT
    behind a DOS table that does not protect it is none. backup_only: a lone backup at the disk's end counts, too.
    """
    record = mbr.read_boot_record(disk.read(0, SECTOR))
    protected = record is not None and any(slot.system == mbr.PROTECTIVE for slot in record.slots)
    if record is not None and record.slots and not protected:
        return None
    copies: list[tuple[gpt.Header, bytes, int]] = []
    damage: list[tuple[str, int]] = []
    for sector_size in SECTOR_SIZES:
        primary = _header(disk, sector_size, sector_size)
        if primary is None and not protected and not backup_only:
            continue
        places = [sector_size] if primary else []
        last = disk.size // sector_size * sector_size - sector_size
        places += sorted({last, *([primary.alternate_lba * sector_size] if primary else [])} - {sector_size})
        for place in places:
            header = _header(disk, place, sector_size)
            if header is None:
                continue
            table = disk.read(header.table_lba * sector_size, header.table_size)
            copies.append((header, table, sector_size))
            if not header.intact:
                damage.append(("the GPT header's checksum is wrong", place))
            if not gpt.is_intact(header, table):
                damage.append(("the checksum of the GPT's entries is wrong", header.table_lba * sector_size))
        if copies:
            if primary is None:
                damage.append(("the primary GPT header is destroyed", sector_size))
            break
    if not copies:
        return Table("gpt", (), (Gap("partition table", "neither GPT header can be read", offset=SECTOR),)) if protected else None
    whole = [copy for copy in copies if copy[0].intact and gpt.is_intact(copy[0], copy[1])]
    header, table, sector_size = (whole or copies)[0]
    used = f"; the copy at byte {header.lba * sector_size} is used" if whole else "; it is read as it is"
    # A backup that is missing or damaged beside an intact primary costs nothing.
    told = damage if not whole or _is_backup(header) else []
    gaps = tuple(Gap("partition table", what + used, offset=place) for what, place in told)
    return Table("gpt", tuple(_gpt_partitions(header, table, sector_size)), gaps)


def _is_backup(header: gpt.Header) -> bool:
    return header.lba > header.alternate_lba


def _header(disk: Source, place: int, sector_size: int) -> gpt.Header | None:
    return gpt.read_header(disk.read(place, sector_size)) if 0 < place < disk.size else None


def _gpt_partitions(header: gpt.Header, table: bytes, sector_size: int) -> Iterator[TablePartition]:
    for entry in gpt.read_entries(header, table):
        sectors = entry.last_lba - entry.first_lba + 1
        if entry.first_lba > 0 and 0 < sectors < MAX_SECTORS > entry.first_lba:
            yield TablePartition(
                entry.number,
                entry.first_lba * sector_size,
                sectors * sector_size,
                entry.type,
                entry.name or None,
                entry.guid,
            )


def read_dos(disk: Source) -> Table | None:
    """The DOS table with its logical partitions, None where the first sector holds none."""
    record = mbr.read_boot_record(disk.read(0, SECTOR))
    if record is None or record.odd:
        return None
    unit = _dos_unit(disk, record)
    gaps: list[Gap] = []
    partitions: list[TablePartition] = []
    for slot in record.slots:
        if slot.system not in mbr.EXTENDED | {mbr.PROTECTIVE}:
            partitions.append(_dos_partition(slot.index + 1, slot.start, slot, record, unit))
    number = 5
    for extended in record.slots:
        if extended.system in mbr.EXTENDED:
            for start, slot in _logical(disk, extended, unit, gaps):
                partitions.append(_dos_partition(number, start, slot, record, unit))
                number += 1
    return Table("dos", tuple(partitions), tuple(gaps))


def _dos_unit(disk: Source, record: mbr.BootRecord) -> int:
    """The sector size: a DOS table does not tell it, so 4096 only where a filesystem stands there and none at 512."""
    for unit in SECTOR_SIZES:
        for slot in record.slots:
            if slot.system not in mbr.EXTENDED and magic.identify(disk.read(slot.start * unit, magic.HEAD_SIZE)):
                return unit
    return SECTOR


def _dos_partition(number: int, start: int, slot: mbr.Slot, record: mbr.BootRecord, unit: int) -> TablePartition:
    uuid = f"{record.disk_signature:08x}-{number:02x}" if record.disk_signature else None
    return TablePartition(number, start * unit, slot.sectors * unit, slot.type, None, uuid)


def _logical(disk: Source, extended: mbr.Slot, unit: int, gaps: list[Gap]) -> Iterator[tuple[int, mbr.Slot]]:
    """Logical partitions, each with its first sector, along the chain of extended boot records."""
    here, seen = extended.start, set[int]()
    while True:
        if here in seen or len(seen) >= mbr.MAX_LOGICAL:
            gaps.append(Gap("partition table", "the chain of extended boot records has no end", offset=here * unit))
            return
        seen.add(here)
        record = mbr.read_boot_record(disk.read(here * unit, SECTOR))
        if record is None:
            error = "no extended boot record here; logical partitions behind it are unknown"
            gaps.append(Gap("partition table", error, offset=here * unit))
            return
        following = None
        for slot in record.slots:
            if slot.system in mbr.EXTENDED:
                following = following or slot
            elif slot.index < 2 or here + slot.start + slot.sectors <= extended.start + extended.sectors:
                yield here + slot.start, slot
        if following is None:
            return
        here = extended.start + following.start


def search_filesystems(disk: Source) -> tuple[TablePartition, ...]:
    """Filesystems, LUKS and LVM2 volumes at the usual places of a disk whose table is gone, each as a partition of its own."""
    found: list[TablePartition] = []
    end = 0
    for place in _FIRST_PLACES:
        end = max(end, _probe(disk, place, found))
    place, budget = max(ALIGNMENT, _align(end)), MAX_PROBES
    while place < disk.size and budget:
        end = _probe(disk, place, found)
        place, budget = (_align(end), MAX_PROBES) if end else (place + ALIGNMENT, budget - 1)
    return tuple(found)


def _align(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _probe(disk: Source, place: int, found: list[TablePartition]) -> int:
    """The end of what starts at `place`, which is added to `found`; 0 where nothing does."""
    if place >= disk.size or (found and place < found[-1].offset + found[-1].length):
        return 0
    head = disk.read(place, magic.HEAD_SIZE)
    kind = magic.identify(head)
    if kind not in _SEARCHED:
        return 0
    length = filesystem_size(kind, head)
    if length is None:
        return 0
    length = length or disk.size - place
    found.append(TablePartition(len(found) + 1, place, length, None))
    return place + length
