"""The case file as a database, and the disk images as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator

from forensics.evidence import hash_disk_image
from forensics.verification.check import Check, Difference, Opened
from parsers.errors import EvidenceError

MAX_FAULTS = 100


def check_case_file(opened: Opened) -> Check:
    """Hold the case file against what SQLite itself demands of a database, and its references against each other."""
    db = opened.case.db
    faults = [text for (text,) in db.execute(f"PRAGMA integrity_check({MAX_FAULTS})") if text != "ok"]
    loose = [f"row {row} of {table} refers to a row of {other} that is not there"
             for table, row, other, _ in db.execute("PRAGMA foreign_key_check").fetchmany(MAX_FAULTS)]  # fmt: skip
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").fetchone()
    return Check("case file", tables, tuple(Difference(str(opened.case.path), text) for text in (*faults, *loose)))


def check_disk_images(opened: Opened) -> Check:
    """Hash every disk that has a hash to be held against: the one that the carve took, or those of its acquisition."""
    differences, facts, unhashed = [], 0, []
    opened.progress.stage("hashing the disk image", opened.evidence.size, "B")
    rows = opened.case.db.execute("SELECT sha256, details FROM disk_image ORDER BY number")
    for disk, (recorded, details) in zip(opened.evidence.disks, rows, strict=True):
        expected = dict(_stored(details))
        if recorded is not None:
            expected["sha256"] = recorded
        if not expected:
            unhashed.append(disk.name)
            continue
        try:
            digests = hash_disk_image(disk, opened.progress.advance)
        except EvidenceError as error:
            differences.append(Difference(disk.name, f"cannot be read whole: {error}"))
            continue
        for name in sorted(expected.keys() & digests.keys()):
            facts += 1
            if digests[name] != expected[name]:
                text = f"has the {name.upper()} {digests[name]}, but {expected[name]} is recorded"
                differences.append(Difference(disk.name, text))
    note = f"no hash of {', '.join(unhashed)} is recorded; carve --hash-image takes one" if unhashed else None
    return Check("disk image", facts, tuple(differences), note)


def _stored(details: str) -> Iterator[tuple[str, str]]:
    for name, value in json.loads(details).items():
        if name.startswith("stored "):
            yield name.removeprefix("stored "), value


def check_volumes(opened: Opened) -> Check:
    """Hold volumes and their filesystems against those of the case."""
    found = {each.volume.number: each for each in opened.survey.partitions}
    columns = ("offset", "length", "filesystem", "uuid")
    differences, facts = [], 0
    for number, *recorded in opened.case.db.execute(f"SELECT number, {', '.join(columns)} FROM partition ORDER BY number"):
        facts += 1
        partition = found.get(number)
        if partition is None:
            differences.append(Difference(f"p{number}", "is no volume of the disk image any more", recorded[0]))
            continue
        fs, volume = partition.filesystem, partition.volume
        now = (volume.offset, volume.length, partition.kind, (fs.uuid if fs is not None else None) or volume.uuid)
        for name, old, new in zip(columns, recorded, now, strict=True):
            if old != new:
                differences.append(Difference(f"p{number}", f"{name} is {new}, not {old}", volume.offset))
    return Check("volumes", facts, tuple(differences))
