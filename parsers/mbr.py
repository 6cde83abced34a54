"""The DOS partition table: master and extended boot records.

Source: Linux 6.6 block/partitions/msdos.c and include/linux/msdos_partition.h (struct msdos_partition).
"""

from __future__ import annotations

from dataclasses import dataclass

from construct import Byte, Bytes, Const, ConstructError, Int16ul, Int32ul, Struct

EXTENDED = frozenset({0x05, 0x0F, 0x85})
PROTECTIVE = 0xEE
MAX_LOGICAL = 256
"""More logical partitions than the kernel gives minor numbers to."""

msdos_partition = Struct(
    "boot_ind" / Byte,
    "chs_start" / Bytes(3),
    "sys_ind" / Byte,
    "chs_end" / Bytes(3),
    "start_sect" / Int32ul,
    "nr_sects" / Int32ul,
)
boot_record = Struct(
    "code" / Bytes(440),
    "disk_signature" / Int32ul,
    "reserved" / Int16ul,
    "partitions" / msdos_partition[4],
    "magic" / Const(b"\x55\xaa"),
)

# util-linux 2.38, include/pt-mbr-partnames.h, those that Linux hosts and their neighbours have.
TYPES = {
    0x01: "FAT12", 0x04: "FAT16 <32M", 0x05: "Extended", 0x06: "FAT16", 0x07: "HPFS/NTFS/exFAT", 0x0B: "W95 FAT32",
    0x0C: "W95 FAT32 (LBA)", 0x0E: "W95 FAT16 (LBA)", 0x0F: "W95 Ext'd (LBA)", 0x11: "Hidden FAT12", 0x12: "Compaq diagnostics",
    0x1B: "Hidden W95 FAT32", 0x27: "Hidden NTFS WinRE", 0x41: "PPC PReP Boot", 0x42: "SFS", 0x63: "GNU HURD or SysV",
    0x82: "Linux swap / Solaris", 0x83: "Linux", 0x84: "OS/2 hidden or Intel hibernation", 0x85: "Linux extended",
    0x88: "Linux plaintext", 0x8E: "Linux LVM", 0xA5: "FreeBSD", 0xA6: "OpenBSD", 0xA8: "Darwin UFS", 0xA9: "NetBSD",
    0xAF: "HFS / HFS+", 0xBE: "Solaris boot", 0xBF: "Solaris", 0xDA: "Non-FS data", 0xDE: "Dell Utility", 0xEA: "Extended boot",
    0xEE: "GPT", 0xEF: "EFI (FAT-12/16/32)", 0xFB: "VMware VMFS", 0xFC: "VMware VMKCORE", 0xFD: "Linux raid autodetect",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slot:
    """One of a boot record's four slots that is in use. start: sectors, from where the kind of record says."""

    index: int
    system: int
    start: int
    sectors: int

    @property
    def type(self) -> str:
        """The partition type's name, or its number where none is known."""
        return TYPES.get(self.system, f"0x{self.system:02x}")


@dataclass(frozen=True, slots=True)
class BootRecord:
    """A boot record with its slots in use. odd: a boot indicator is neither 0x00 nor 0x80, so this may be no table at all."""

    disk_signature: int
    slots: tuple[Slot, ...]
    odd: bool


def read_boot_record(sector: bytes) -> BootRecord | None:
    """The boot record that a sector holds, None where its signature 55 aa is not there."""
    try:
        raw = boot_record.parse(sector)
    except ConstructError:
        return None
    slots = tuple(
        Slot(index, slot.sys_ind, slot.start_sect, slot.nr_sects)
        for index, slot in enumerate(raw.partitions)
        if slot.sys_ind != 0 and slot.nr_sects != 0
    )
    return BootRecord(raw.disk_signature, slots, any(slot.boot_ind not in (0x00, 0x80) for slot in raw.partitions))
