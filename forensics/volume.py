"""What a volume is: a partition, a whole disk, a logical volume, an array, or what an encrypted volume holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forensics.source import Source


@dataclass(frozen=True, slots=True)
class Volume:
    """A partition, a whole disk without partitions, or a logical volume.

    number: unique in a disk image; a partition's own, those of volumes that stand on others follow. scheme: gpt, dos, none, lvm,
    md, luks, btrfs, or signature where no table told of it. offset: in the disk image, None where the volume is in several
    pieces. length: as the table has it.
    label, uuid: the table's, not the filesystem's. source: what of it can be read, empty where nothing can; error says why.
    collection: the directory or archive that it is instead of a disk's part.
    holds: where it is no filesystem but a part of other volumes, what kind of part, and which volumes.
    """

    number: int
    scheme: str
    name: str
    offset: int | None
    length: int
    type: str | None
    label: str | None
    uuid: str | None
    source: Source
    error: str | None = None
    holds: str | None = None
    collection: Path | None = None
