"""Where the case says that it read its facts: each place is read again.

A record of a file that is there must still lead to that file, by its path and by its byte; a key of a bbolt file must stand at
its byte, and so must the id of a container, wherever it was recovered from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forensics.evidence import Evidence
from forensics.filesystem import Extent, Filesystem, lookup
from forensics.verification.check import Check, Difference, Opened
from forensics.volume import Volume
from parsers.errors import EvidenceError, FormatError

NEAR = 64 << 10  # bytes behind the place of a record in which its container's id must stand
_SAMPLES = 64  # places of a volume that tell whether its bytes stand on the disk as they are read
_RECORDS = (
    ("container", "coalesce(name, container_id)", "container_id"),
    ("container_image", "image_id", "NULL"),
    ("layer", "name", "NULL"),
    ("volume", "name", "NULL"),
    ("network", "name", "NULL"),
    ("build_record", "record_id", "NULL"),
    ("artefact", "name", "NULL"),
)  # fmt: skip


def check_records(opened: Opened) -> Check:
    """Read again where each record of a store was read."""
    facts, unchecked = 0, 0
    differences: list[Difference] = []
    plain = _plain_volumes(opened)
    for table, name, wanted in _RECORDS:
        rows = opened.case.db.execute(
            f"SELECT {name}, {wanted}, source_partition, source_path, source_inode, source_offset, source_how FROM {table}"
            " WHERE source_how IS NOT NULL ORDER BY id"
        )
        for label, container_id, partition, path, inode, offset, how in rows:
            fs = opened.filesystems.get(partition)
            what = f"{table.replace('_', ' ')} {label}"
            checked = False
            if fs is None:
                differences.append(Difference(what, f"partition {partition} has no filesystem that can be read", offset))
                continue
            if how == "allocated" and path.startswith("/") and inode is not None:
                checked = True
                differences += (Difference(what, text, offset) for text in _wrong_file(fs, path, inode, offset))
            if container_id is not None and offset is not None and partition in plain and container_id not in path:
                checked = True
                if container_id.encode() not in _read(opened.evidence, offset, NEAR):
                    differences.append(Difference(what, f"its id does not stand in the {NEAR} bytes from there on", offset))
            facts, unchecked = facts + checked, unchecked + (not checked)
    note = f"{unchecked} recovered records name no file that is there and no id that could be looked for" if unchecked else None
    return Check("records", facts, tuple(differences), note)


def check_log_files(opened: Opened) -> Check:
    """Look whether each log file is where its lines were read."""
    facts = 0
    differences: list[Difference] = []
    rows = opened.case.db.execute(
        "SELECT partition, path, inode, offset FROM log_file WHERE origin = 'allocated' AND inode IS NOT NULL ORDER BY id"
    )
    for partition, path, inode, offset in rows:
        fs = opened.filesystems.get(partition)
        if fs is not None and path.startswith("/"):
            facts += 1
            differences += (Difference(path, text, offset) for text in _wrong_file(fs, path, inode, offset))
    return Check("log files", facts, tuple(differences))


def check_bolt_keys(opened: Opened) -> Check:
    """Read every key of a bbolt file where it is said to stand in the disk image."""
    facts, unchecked = 0, 0
    differences: list[Difference] = []
    plain = _plain_volumes(opened)
    rows = opened.case.db.execute("SELECT file, key, key_raw, partition, offset FROM bolt_key ORDER BY id")
    for file, text, raw, partition, offset in rows:
        if offset is None or partition not in plain:
            unchecked += 1
            continue
        facts += 1
        key = text.encode() if raw is None else raw
        # a key that goes on in the file's next block may go on anywhere on the disk
        key = key[: opened.filesystems[partition].block_size - offset % opened.filesystems[partition].block_size]
        if _read(opened.evidence, offset, len(key)) != key:
            differences.append(Difference(file, f"the key {text} does not stand there", offset))
    note = f"{unchecked} keys stand in no single place of the disk image" if unchecked else None
    return Check("bolt keys", facts, tuple(differences), note)


def _wrong_file(fs: Filesystem, path: str, inode: int, offset: int | None) -> Iterator[str]:
    r"""What is not so in the words `the file at this path has this inode, and this byte of the disk is its own`."""
    try:
        if "\\x" not in path and (found := lookup(fs, path.encode())) != inode:
            yield f"{path} is inode {found}, not {inode}" if found is not None else f"{path} is not there"
        if offset is None:
            return
        own = fs.inode(inode)
        extents = fs.extents(inode)
        if extents is not None and own.offset != offset and not _holds(fs, extents, offset):
            yield f"the byte is none of inode {inode}"
    except (FormatError, EvidenceError) as error:
        yield f"inode {inode} cannot be read: {error}"


def _holds(fs: Filesystem, extents: Sequence[Extent], offset: int) -> bool:
    """Whether a byte of the disk image is one of a file's. Only the block's own place is asked for: replayed ones lie apart."""
    for extent in extents:
        for start in range(0, extent.length, fs.block_size):
            place = None if extent.offset is None else fs.source.locate(extent.offset + start)
            if place is not None and place <= offset < place + min(fs.block_size, extent.length - start):
                return True
    return False


def _plain_volumes(opened: Opened) -> frozenset[int]:
    """The volumes whose bytes stand on the disk as they are read: encrypted ones' do not."""
    return frozenset(
        each.volume.number
        for each in opened.survey.partitions
        if each.filesystem is not None and _is_plain(opened.evidence, each.volume)
    )


def _is_plain(evidence: Evidence, volume: Volume) -> bool:
    source = volume.source
    step = max(512, source.size // _SAMPLES // 512 * 512)
    for at in range(0, min(source.size, _SAMPLES * step), step):
        place = source.locate(at)
        if place is not None and source.read(at, 512) != _read(evidence, place, 512):
            return False
    return True


def _read(evidence: Evidence, offset: int, size: int) -> bytes:
    try:
        return evidence.read(offset, size)
    except EvidenceError:
        return b""
