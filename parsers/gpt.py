"""The GUID partition table.

Source: UEFI specification 2.10, chapter 5 (GPT header and entry); Linux 6.6 block/partitions/efi.c for what is accepted.
"""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass

from construct import Bytes, ConstructError, Int32ul, Int64ul, Struct

SIGNATURE = b"EFI PART"
MIN_ENTRY_SIZE = 128
MAX_TABLE_SIZE = 4 << 20
MAX_ENTRIES = 4096

gpt_header = Struct(
    "Signature" / Bytes(8),
    "Revision" / Int32ul,
    "HeaderSize" / Int32ul,
    "HeaderCRC32" / Int32ul,
    "Reserved" / Int32ul,
    "MyLBA" / Int64ul,
    "AlternateLBA" / Int64ul,
    "FirstUsableLBA" / Int64ul,
    "LastUsableLBA" / Int64ul,
    "DiskGUID" / Bytes(16),
    "PartitionEntryLBA" / Int64ul,
    "NumberOfPartitionEntries" / Int32ul,
    "SizeOfPartitionEntry" / Int32ul,
    "PartitionEntryArrayCRC32" / Int32ul,
)
gpt_entry = Struct(
    "PartitionTypeGUID" / Bytes(16),
    "UniquePartitionGUID" / Bytes(16),
    "StartingLBA" / Int64ul,
    "EndingLBA" / Int64ul,
    "Attributes" / Int64ul,
    "PartitionName" / Bytes(72),
)

# UEFI, the Discoverable Partitions Specification, and gptfdisk's own names.
TYPES = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system",
    "21686148-6449-6e6f-744e-656564454649": "BIOS boot",
    "024dee41-33e7-11d3-9d69-0008c781f39f": "MBR partition scheme",
    "0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux filesystem",
    "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "Linux swap",
    "e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
    "a19d880f-05fc-4d3b-a006-743f0f84911e": "Linux RAID",
    "933ac7e1-2eb4-4f13-b844-0e14e2aef915": "Linux home",
    "3b8f8425-20e0-4f3b-907f-1a25a76f98e8": "Linux server data",
    "4d21b016-b534-45c2-a9fb-5c16e091fd2d": "Linux variable data",
    "7ec6f557-3bc5-4aca-b293-16ef5df639d1": "Linux temporary data",
    "44479540-f297-41b2-9af7-d131d5f0458a": "Linux root (x86)",
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root (x86-64)",
    "69dad710-2ce4-4e3c-b16c-21a1d49abed3": "Linux root (ARM)",
    "b921b045-1df0-41c3-af44-4c6f280d3fae": "Linux root (ARM-64)",
    "8484680c-9521-48c6-9c11-b0720656f69e": "Linux /usr (x86-64)",
    "bc13c2ff-59e6-4262-a352-b275fd6f7172": "Linux extended boot",
    "ca7d7ccb-63ed-4c53-861c-1742536059cc": "Linux LUKS",
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "Microsoft basic data",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac": "Windows recovery",
    "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3": "Windows LDM metadata",
    "48465300-0000-11aa-aa11-00306543ecac": "Apple HFS+",
    "7c3457ef-0000-11aa-aa11-00306543ecac": "Apple APFS",
    "516e7cba-6ecf-11d6-8ff8-00022d09712b": "FreeBSD ZFS",
    "516e7cb6-6ecf-11d6-8ff8-00022d09712b": "FreeBSD UFS",
    "3cb8e202-3b7e-47dd-8a3c-7ff2a13cfcec": "ChromeOS root",
    "fe3a2a5d-4f32-41a7-b725-accc3285a309": "ChromeOS kernel",
    "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6": "CoreOS /usr",
    "c95dc21a-df0e-4340-8d7b-26cbfa9a03e0": "CoreOS OEM",
    "3884dd41-8582-4404-b9a8-e9b84f2df50e": "CoreOS root",
}


@dataclass(frozen=True, slots=True)
class Header:
    """One of a disk's two GPT headers; intact: its checksum is right. table_lba: where the partition entries are."""

    lba: int
    alternate_lba: int
    disk_guid: str
    table_lba: int
    entry_count: int
    entry_size: int
    table_crc: int
    intact: bool

    @property
    def table_size(self) -> int:
        """Length of the partition entries in bytes."""
        return self.entry_count * self.entry_size


@dataclass(frozen=True, slots=True)
class Entry:
    """A partition. number: its place in the table, from 1. last_lba belongs to it. type: a name, or a GUID that has none."""

    number: int
    type: str
    guid: str
    first_lba: int
    last_lba: int
    name: str


def _guid(raw: bytes) -> str:
    return str(uuid.UUID(bytes_le=raw))


def read_header(sector: bytes) -> Header | None:
    """The header that a sector holds; None where it holds none, or one whose table no disk can have."""
    try:
        raw = gpt_header.parse(sector)
    except ConstructError:
        return None
    if raw.Signature != SIGNATURE:
        return None
    entry_count, entry_size = raw.NumberOfPartitionEntries, raw.SizeOfPartitionEntry
    if (
        entry_size < MIN_ENTRY_SIZE
        or entry_size % 8
        or not 0 < entry_count <= MAX_ENTRIES
        or entry_count * entry_size > MAX_TABLE_SIZE
    ):
        return None
    size = raw.HeaderSize
    intact = (
        gpt_header.sizeof() <= size <= len(sector)
        and zlib.crc32(sector[:16] + bytes(4) + sector[20:size]) == raw.HeaderCRC32
    )  # fmt: skip
    return Header(
        raw.MyLBA,
        raw.AlternateLBA,
        _guid(raw.DiskGUID),
        raw.PartitionEntryLBA,
        entry_count,
        entry_size,
        raw.PartitionEntryArrayCRC32,
        intact,
    )


def is_intact(header: Header, table: bytes) -> bool:
    """Whether the partition entries are whole and have the checksum that the header gives."""
    return len(table) == header.table_size and zlib.crc32(table) == header.table_crc


def read_entries(header: Header, table: bytes) -> tuple[Entry, ...]:
    """The partitions in use, as many as `table` still has; the caller is to check where they lie."""
    entries = []
    for index in range(min(header.entry_count, len(table) // header.entry_size)):
        raw = table[index * header.entry_size :][: gpt_entry.sizeof()]
        if not any(raw[:16]):
            continue
        entry = gpt_entry.parse(raw)
        kind = _guid(entry.PartitionTypeGUID)
        name = entry.PartitionName.decode("utf-16-le", "replace").split("\0", 1)[0]
        guid = _guid(entry.UniquePartitionGUID)
        entries.append(Entry(index + 1, TYPES.get(kind, kind), guid, entry.StartingLBA, entry.EndingLBA, name))
    return tuple(entries)
