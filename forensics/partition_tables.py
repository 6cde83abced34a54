"""Reading a disk's partition table, intact or not: GPT with its backup, DOS with its logical partitions, or none at all.

Source: Linux 6.6 block/partitions/efi.c and msdos.c decide which table counts and how far a chain is followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from forensics.records import Gap
from forensics.source import Source
from parsers import gpt, magic, mbr
from parsers.superblock_sizes import filesystem_size

SECTOR = 512
SECTOR_SIZES = (512, 4096)
MAX_SECTORS = 1 << 50
ALIGNMENT = 1 << 20
MAX_PROBES = 16384
"""Places that a search looks at before it gives up: 16 GiB without a find."""
_FIRST_PLACES = (63 * SECTOR, 34 * SECTOR)  # where partitioning tools of old put a disk's first partition
_SEARCHED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "lvm2", "luks"})


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


@dataclass(frozen=True, slots=True)
class _GptCopy:
    """One of the two copies of a GPT; place: its header's byte offset."""

    place: int
    sector_size: int
    header: gpt.Header
    table: bytes

    def damage(self) -> tuple[tuple[str, int], ...]:
        """What is wrong with it, and where."""
        wrong = []
        if not self.header.intact:
            wrong.append(("the GPT header's checksum is wrong", self.place))
        if not gpt.is_intact(self.header, self.table):
            wrong.append(("the checksum of the GPT's entries is wrong", self.header.table_lba * self.sector_size))
        return tuple(wrong)


def read_gpt(disk: Source, backup_only: bool = False) -> Table | None:
    """The GPT, None where the disk has none in force.

    Of the two copies the first that is intact is used, else the first that can be read at all, and a gap says so. A stale GPT
    behind a DOS table that does not protect it is none. backup_only: a lone backup at the disk's end counts, too.
    """
    record = mbr.read_boot_record(disk.read(0, SECTOR))
    protected = record is not None and any(slot.system == mbr.PROTECTIVE for slot in record.slots)
    if record is not None and record.slots and not protected:
        return None
    for sector_size in SECTOR_SIZES:
        copies = _gpt_copies(disk, sector_size, protected or backup_only)
        if copies:
            return _gpt_in_force(copies)
    return Table("gpt", (), (Gap("partition table", "neither GPT header can be read", offset=SECTOR),)) if protected else None


def gpt_ends_with(disk: Source) -> bool | None:
    """Whether the GPT says that the disk ends where it does; None where it has no primary header."""
    for sector_size in SECTOR_SIZES:
        primary = _gpt_copy(disk, sector_size, sector_size)
        if primary is not None:
            return primary.header.alternate_lba == disk.size // sector_size - 1
    return None


def _gpt_copies(disk: Source, sector_size: int, lone_backup: bool) -> list[_GptCopy]:
    """The copies that can be read, the primary one first. lone_backup: look for a backup without a primary one."""
    primary = _gpt_copy(disk, sector_size, sector_size)
    if primary is None and not lone_backup:
        return []
    places = {disk.size // sector_size * sector_size - sector_size}
    if primary is not None:
        places.add(primary.header.alternate_lba * sector_size)
    backups = [_gpt_copy(disk, place, sector_size) for place in sorted(places - {sector_size})]
    return [copy for copy in (primary, *backups) if copy is not None]


def _gpt_copy(disk: Source, place: int, sector_size: int) -> _GptCopy | None:
    header = gpt.read_header(disk.read(place, sector_size)) if 0 < place < disk.size else None
    if header is None:
        return None
    return _GptCopy(place, sector_size, header, disk.read(header.table_lba * sector_size, header.table_size))


def _gpt_in_force(copies: list[_GptCopy]) -> Table:
    chosen = next((copy for copy in copies if not copy.damage()), copies[0])
    told: list[tuple[str, int]] = []
    if copies[0].place != copies[0].sector_size:
        told.append(("the primary GPT header is destroyed", copies[0].sector_size))
    if chosen is not copies[0] or chosen.damage():  # a backup that is damaged beside an intact primary costs nothing
        told.extend(copies[0].damage())
    used = "it is read as it is" if chosen.damage() else f"the copy at byte {chosen.place} is used"
    gaps = [Gap("partition table", f"{what}; {used}", offset=place) for what, place in told]
    return Table("gpt", tuple(_gpt_partitions(chosen, gaps)), tuple(gaps))


def _gpt_partitions(copy: _GptCopy, gaps: list[Gap]) -> Iterator[TablePartition]:
    for entry in gpt.read_entries(copy.header, copy.table):
        sectors = entry.last_lba - entry.first_lba + 1
        if not 0 < entry.first_lba < MAX_SECTORS or not 0 < sectors < MAX_SECTORS:
            error = f"is said to lie at sectors {entry.first_lba} to {entry.last_lba}"
            gaps.append(Gap("partition", error, entry.number))
        else:
            yield TablePartition(
                entry.number,
                entry.first_lba * copy.sector_size,
                sectors * copy.sector_size,
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
