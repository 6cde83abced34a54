"""The one pass over whole disks: hashing them, and looking at what no file has, each byte read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from forensics.case.writer import CaseWriter
from forensics.evidence import DiskImage, Evidence, hash_disk_image
from forensics.progress import Progress
from forensics.records import Gap
from forensics.recovery.carving.scan import Hits, Scanner, scan_space, scanners_for
from forensics.recovery.carving.space import Space, spaces
from forensics.survey import Survey
from parsers.errors import EvidenceError


def read_disks(case: CaseWriter, evidence: Evidence, found: Survey, carve: str, hashed: bool, progress: Progress) -> list[Hits]:
    """Look at the space that no file has, as far as `carve` says, and hash the disks, where that is asked for."""
    searched = list(spaces(found, carve))
    hits: list[Hits] = []
    if hashed:
        progress.stage("hashing the disk image", evidence.size, "B")
        for number, (start, disk) in enumerate(zip(evidence.starts, evidence.disks, strict=True), 1):
            scanners = scanners_for(searched, start, disk.size)
            if _hash_disk(case, number, disk, start, scanners, progress):
                hits += [scanner.hits() for _, scanner in scanners]
    done = {id(each.space) for each in hits}
    left = [space for space in searched if id(space) not in done]
    progress.stage("looking at unallocated space", sum(space.size for space in left), "B")
    hits += [scan_space(space, progress.advance, _data_from(evidence, space)) for space in left]
    case.gaps(gap for each in hits for gap in _search_gaps(each))
    return sorted(hits, key=lambda each: each.space.partition)


def _data_from(evidence: Evidence, space: Space) -> Callable[[int], int]:
    """Where in a volume something stands from a byte on, as far as the evidence's files tell: holes in them are not read."""
    start = space.offset
    return (lambda position: position) if start is None else (lambda position: evidence.data_from(start + position) - start)


def _search_gaps(hits: Hits) -> Iterator[Gap]:
    number = hits.space.partition
    if hits.more:
        yield Gap("carving", f"{hits.more} places where something may begin are too many to be looked at", number)
    for position in hits.unreadable:
        yield Gap("carving", "cannot be read", number, offset=hits.space.source.locate(position))


def _hash_disk(
    case: CaseWriter, number: int, disk: DiskImage, start: int, scanners: Sequence[tuple[int, Scanner]], progress: Progress
) -> bool:
    """Hash a disk, and hold it against the hashes that were stored when it was acquired; False where it cannot be read."""

    def look(offset: int, chunk: bytes) -> None:
        for volume, scanner in scanners:
            scanner.look_within(start + offset - volume, chunk)

    try:
        digests = hash_disk_image(disk, progress.advance, look if scanners else None)
    except EvidenceError as error:
        case.gaps([Gap("disk image", f"not hashed: {error}", path=disk.name)])
        return False
    case.disk_hash(number, digests["sha256"])
    for name, digest in digests.items():
        stored = disk.details.get(f"stored {name}", digest)
        if stored != digest:
            differs = f"its content has the {name.upper()} {digest}, but {stored} was stored when it was acquired"
            case.gaps([Gap("disk image", differs, path=disk.name)])
    return True
