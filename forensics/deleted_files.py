"""Deleted files into the case file: what is left of each, and which layer and container it was of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from forensics.case.deleted_rows import deleted_row, executable_row, fragment_row
from forensics.case.writer import CaseWriter
from forensics.filesystem import Filesystem, Tree
from forensics.hashing import Hashed
from forensics.progress import Progress
from forensics.records import Gap
from forensics.recovery.carving.executables import MOST as MOST_EXECUTABLES
from forensics.recovery.carving.executables import find_executables
from forensics.recovery.carving.scan import Hits
from forensics.recovery.carving.space import UNKNOWN
from forensics.recovery.files.content import MOST_ZEROS, Content, examine
from forensics.recovery.files.deleted import Numbered
from forensics.recovery.files.deleted_file import CERTAIN, PROBABLE, DeletedFile
from forensics.recovery.files.extents import extents_of
from forensics.recovery.files.fragments import MOST, MOST_BYTES, find_fragments
from forensics.recovery.files.removed_layers import Inside
from forensics.recovery.files.restored import restored
from forensics.text import readable

MOST_READ = 2  # times its own size that is read of a filesystem: many deleted files can claim the same blocks


@dataclass
class Owners:
    """The layers and containers of a case. layers: numbers by partition and Layer.path; containers: numbers by their layer's.

    inferred: the layers, by partition and Layer.path, that are a container's by inference.
    """

    layers: dict[tuple[int, str], int] = field(default_factory=dict)
    containers: dict[int, int] = field(default_factory=dict)
    inferred: set[tuple[int, str]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Fragments:
    """What was written of contents without names. last: the highest number. told: partition, first byte and size of each."""

    last: int
    told: set[tuple[int, int, int]] = field(default_factory=set)


def with_deleted(
    filesystems: Mapping[int, Filesystem], deleted: Sequence[Numbered], trees: Mapping[int, Mapping[int, Tree]]
) -> dict[int, Filesystem]:
    """The filesystems, in which inode -n is the deleted file n. trees: of removed directories, by partition and number."""
    files: dict[int, dict[int, DeletedFile]] = {}
    for each in deleted:
        files.setdefault(each.partition, {})[each.number] = each.file
    return {
        number: restored(fs, files[number].__getitem__, trees.get(number, {})) if number in files else fs
        for number, fs in filesystems.items()
    }


def write_deleted(
    case: CaseWriter,
    filesystems: Mapping[int, Filesystem],
    deleted: Sequence[Numbered],
    inside: Mapping[int, Inside],
    owners: Owners,
    hashed: bool,
    progress: Progress,
) -> None:
    """Write all deleted files; hashed: with the SHA-256 of those of which all bytes are there."""
    progress.stage("reading deleted files", len(deleted), "files")
    done: dict[int, list[Hashed]] = {}
    for row, each, content in _rows(case, filesystems, deleted, inside, owners, hashed):
        case.insert_rows("deleted_file", tuple(row), [tuple(row.values())])
        if content is not None and content.sha256 is not None:
            done.setdefault(each.partition, []).append(Hashed(-each.number, content.sha256, _first_byte(filesystems, each)))
        progress.advance(1)
    for partition, contents in sorted(done.items()):
        case.contents(partition, contents)


def write_fragments(
    case: CaseWriter, filesystems: Mapping[int, Filesystem], deleted: Sequence[Numbered], progress: Progress
) -> Fragments:
    """Write the contents that nothing names any more, numbered behind the deleted files."""
    progress.stage("looking for contents without names")
    told: set[tuple[int, int, int]] = set()
    number = max((each.number for each in deleted), default=0)
    for partition, fs in sorted(filesystems.items()):
        known = (each.file for each in deleted if each.partition == partition)
        for count, fragment in enumerate(find_fragments(fs, known)):
            if count == MOST:
                case.gaps(
                    [Gap("deleted files", f"more than {MOST} contents without a name; the others are not listed", partition)]
                )
                break
            number += 1
            row = fragment_row(number, partition, fragment, fs.source.locate(fragment.start))
            if fragment.sha256 is None:
                error = f"a content without a name of more than {MOST_BYTES:,} bytes is not hashed"
                case.gaps([Gap("deleted files", error, partition, offset=row["offset"])])
            case.insert_rows("deleted_file", tuple(row), [tuple(row.values())])
            told.add((partition, fragment.start, fragment.size))
    return Fragments(number, told)


def write_executables(
    case: CaseWriter, hits: Sequence[Hits], deleted: Sequence[Numbered], fragments: Fragments, progress: Progress
) -> None:
    """Write the programs that were carved from the space of filesystems, numbered behind all else."""
    progress.stage("looking for programs in unallocated space")
    known, number = extents_of(deleted), fragments.last
    for each in hits:
        space = each.space
        if space.how == UNKNOWN:
            continue  # there is no filesystem to read them back from
        extents = known.get(space.partition)
        for count, found in enumerate(find_executables(each, extents)):
            if count == MOST_EXECUTABLES:
                error = f"more than {MOST_EXECUTABLES} programs in unallocated space; the others are not listed"
                case.gaps([Gap("deleted files", error, space.partition)])
                break
            if (space.partition, found.start, found.size) not in fragments.told:
                number += 1
                row = executable_row(number, space.partition, found, space.source.locate(found.start))
                case.insert_rows("deleted_file", tuple(row), [tuple(row.values())])


def _rows(
    case: CaseWriter,
    filesystems: Mapping[int, Filesystem],
    deleted: Sequence[Numbered],
    inside: Mapping[int, Inside],
    owners: Owners,
    hashed: bool,
) -> Iterator[tuple[dict[str, Any], Numbered, Content | None]]:
    left = {number: MOST_READ * fs.source.size for number, fs in filesystems.items()}
    for each in deleted:
        content = None
        if each.file.type == "f":
            wanted = hashed and left[each.partition] > 0
            content = examine(filesystems[each.partition], each.file, wanted)
            left[each.partition] -= content.recovered
            if wanted and content.sha256 is None and content.recovered == each.file.size and not each.file.lost:
                error = f"more than {MOST_ZEROS:,} bytes of it are holes: it is not hashed"
                case.gaps([Gap("deleted files", error, each.partition, readable(each.file.path or b""))])
            if hashed and not wanted:
                hashed = False
                case.gaps(
                    [Gap("deleted files", "more bytes are claimed than the filesystem has; not all are hashed", each.partition)]
                )
        where = inside.get(each.number)
        layer = owners.layers.get((each.partition, where.layer)) if where is not None else None
        path = where.path if where is not None and layer is not None else each.file.path
        container = owners.containers.get(layer) if layer is not None else None
        row = deleted_row(each, content, path, layer, container)
        if container is not None and where is not None and (each.partition, where.layer) in owners.inferred:
            row["confidence"] = PROBABLE if row["confidence"] == CERTAIN else row["confidence"]
        yield row, each, content


def _first_byte(filesystems: Mapping[int, Filesystem], each: Numbered) -> int | None:
    """Where its content begins in the disk image."""
    first = next((extent.offset for extent in each.file.extents or () if extent.offset is not None), None)
    return None if first is None else filesystems[each.partition].source.locate(first)
