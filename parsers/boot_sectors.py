"""Label and identifier of filesystems that The Sleuth Kit opens without telling them, in the form that blkid and fstab use.

Source: Microsoft's fatgen103 (FAT) and exFAT specification 1.00; Linux 6.6 fs/ntfs3/ntfs.h (NTFS_BOOT); ECMA-119 8.4 (ISO 9660).
"""

from __future__ import annotations

FAT_NO_LABEL = ("NO NAME", "")
ISO_DESCRIPTOR = 32768


def identity(kind: str, head: bytes) -> tuple[str | None, str | None]:
    """Label and identifier by the start of a volume, each None where it has none or keeps it elsewhere."""
    if kind == "fat":
        # A FAT32 boot sector has no FAT size in the older, 16-bit field.
        place = 67 if head[22:24] == b"\0\0" else 39
        label = head[place + 4 : place + 15].decode("cp437").rstrip(" \0")
        return (None if label in FAT_NO_LABEL else label), _serial(head[place : place + 4])
    if kind == "exfat":
        return None, _serial(head[100:104])
    if kind == "ntfs":
        return None, head[72:80][::-1].hex().upper()
    if kind == "iso9660":
        created = head[ISO_DESCRIPTOR + 813 : ISO_DESCRIPTOR + 829].decode("ascii", "replace")
        label = head[ISO_DESCRIPTOR + 40 : ISO_DESCRIPTOR + 72].decode("latin-1").rstrip(" \0")
        parts = (created[:4], *(created[at : at + 2] for at in range(4, 16, 2)))
        return label or None, "-".join(parts) if created.isdigit() else None
    return None, None


def _serial(raw: bytes) -> str:
    number = raw[::-1].hex().upper()
    return f"{number[:4]}-{number[4:]}"
