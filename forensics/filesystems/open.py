"""Which back end opens which filesystem. All but ext's are imported when there is something for them to open."""

from __future__ import annotations

from collections.abc import Callable

from forensics.filesystem import Filesystem
from forensics.filesystems.ext4.mount import open_ext4
from forensics.records import Gap
from forensics.source import Source
from forensics.tolerant import Tolerant
from forensics.volume import Volume
from parsers import magic
from parsers.errors import EvidenceError, UnsupportedFormat

Opener = Callable[[Source, str, bool], Filesystem]


def _open_ext4(source: Source, kind: str, replay_journal: bool) -> Filesystem:
    return open_ext4(source, replay_journal)


def _open_btrfs(source: Source, kind: str, replay_journal: bool) -> Filesystem:
    from forensics.filesystems.btrfs.reader import open_btrfs

    return open_btrfs(source, replay_journal)


def _open_xfs(source: Source, kind: str, replay_journal: bool) -> Filesystem:
    from forensics.filesystems.xfs.mount import open_xfs

    return open_xfs(source, replay_journal)


def _open_tsk(source: Source, kind: str, replay_journal: bool) -> Filesystem:
    from forensics.filesystems.tsk import open_tsk

    return open_tsk(source, kind)


BACK_ENDS: tuple[tuple[tuple[str, ...], Opener], ...] = (
    (("ext2", "ext3", "ext4"), _open_ext4),
    (("btrfs",), _open_btrfs),
    (("xfs",), _open_xfs),
    (("fat", "exfat", "ntfs", "iso9660", "hfs", "ufs"), _open_tsk),
)

_REMEDIES = {
    "luks": "which is encrypted; give its --passphrase-file or --key-file",
    "bitlocker": "which is encrypted; unlock it and give the disk image of what it holds",
    "md_raid": "a member of a Linux RAID with a damaged superblock; assemble it with mdadm and give the disk image of the whole",
    "apfs": "a container of volumes that The Sleuth Kit's Python module cannot open",
}

# Where ext's first backup superblock stands, by the block size: at the start of the second block group.
_EXT_BACKUPS = tuple((size, size * 8 * size + (1024 if size == 1024 else 0)) for size in (4096, 1024, 2048, 65536))


def identify(volume: Source) -> str | None:
    """What stands in a volume, by its signature; None where nothing is recognised. EvidenceError where that cannot be read."""
    gaps: list[Gap] = []
    source = Tolerant(volume, gaps)
    raid_level = next(
        (level for place in magic.md_at_end(source.size) if (level := _raid_level(source, place)) is not None), None
    )
    kind = magic.identify(source.read(0, magic.HEAD_SIZE))
    if raid_level is not None and (raid_level != 1 or kind is None):
        return "md_raid"  # a mirror's leg reads as the filesystem that it mirrors; any other level does not
    if kind is None and any(magic.is_ext_backup(source.read(place, 1024), size) for size, place in _EXT_BACKUPS):
        return "ext4"
    if kind is None:
        from forensics.filesystems.xfs.backups import is_backed_up

        kind = "xfs" if is_backed_up(source) else None
    if kind is None and gaps:
        raise EvidenceError(gaps[0].error)
    return kind


def _raid_level(source: Source, place: int) -> int | None:
    return magic.md_level(source.read(place, 4096)) if place > 0 else None


def open_volume(volume: Volume, replay_journal: bool = True) -> Filesystem | None:
    """The filesystem in a volume, or the collection that it is; see `open_filesystem`."""
    if volume.collection is None:
        return open_filesystem(volume.source, replay_journal)
    if volume.scheme == "directory":
        from forensics.filesystems.collected.directory import open_directory

        return open_directory(volume.collection)
    from forensics.filesystems.collected.archive import open_archive

    return open_archive(volume.source)


def open_filesystem(source: Source, replay_journal: bool = True) -> Filesystem | None:
    """The filesystem in a source, None where nothing is recognised.

    UnsupportedFormat names what is recognised and not read; FormatError says what is damaged.
    """
    kind = identify(source)
    if kind is None:
        return None
    for kinds, opener in BACK_ENDS:
        if kind in kinds:
            return opener(source, kind, replay_journal)
    raise UnsupportedFormat(f"holds {kind}, {_REMEDIES.get(kind, 'which is not read yet')}", source.name)
