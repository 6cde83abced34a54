"""The contents: every SHA-256 of the case is taken again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from forensics.case.deleted_rows import find_deleted_file
from forensics.hashing import hash_files
from forensics.recovery.files.content import examine
from forensics.verification.check import Check, Difference, Opened
from parsers.errors import EvidenceError, FormatError


def check_contents(opened: Opened) -> Check:
    """Hash the files of layers again."""
    rows = opened.case.db.execute("SELECT partition, inode, sha256, offset FROM content ORDER BY partition, inode").fetchall()
    if not rows:
        return Check("contents", 0, note="no file of a layer was hashed; carve --hash all does it")
    differences: list[Difference] = []
    for partition, group in groupby(rows, key=itemgetter(0)):
        differences += _differing(opened, partition, {inode: (sha256, offset) for _, inode, sha256, offset in group})
    return Check("contents", len(rows), tuple(differences))


def _differing(opened: Opened, partition: int, recorded: dict[int, tuple[str, int | None]]) -> Iterator[Difference]:
    fs = opened.filesystems.get(partition)
    if fs is None:
        yield Difference(f"p{partition}", f"its {len(recorded)} contents cannot be read: it has no filesystem")
        return
    files, lost = [], {}
    for inode in recorded:
        try:
            files.append((inode, fs.inode(inode).size))
        except (FormatError, EvidenceError) as error:
            lost[inode] = str(error)
    opened.progress.stage("hashing contents again", sum(size for _, size in files), "B")
    wrong = [(inode, f"cannot be read: {error}") for inode, error in lost.items()]
    for done in hash_files(fs, files, opened.progress):
        sha256, offset = recorded[done.inode]
        if done.sha256 != sha256:
            text = f"cannot be read: {done.error}" if done.sha256 is None else f"has the SHA-256 {done.sha256}, not {sha256}"
            wrong.append((done.inode, text))
        elif done.content_offset != offset:
            wrong.append((done.inode, f"begins at byte {done.content_offset} of the disk image, not {offset}"))
    for inode, text in sorted(wrong):
        yield Difference(_name(opened, partition, inode), text, recorded[inode][1])


def _name(opened: Opened, partition: int, inode: int) -> str:
    """A path of the file in a layer."""
    row = opened.case.db.execute(
        "SELECT l.path || e.path FROM entry e JOIN layer l ON l.id = e.layer_id WHERE l.partition = ? AND e.inode = ?"
        " ORDER BY e.id LIMIT 1", (partition, inode)
    ).fetchone()  # fmt: skip
    return row[0] if row is not None else f"p{partition} inode {inode}"


def check_deleted_files(opened: Opened) -> Check:
    """Hash again what is left of deleted files."""
    rows = opened.case.db.execute(
        "SELECT id, sha256, recovered_bytes, coalesce(path, host_path, 'deleted file ' || id), offset FROM deleted_file"
        " WHERE sha256 IS NOT NULL ORDER BY id"
    ).fetchall()
    opened.progress.stage("hashing deleted files again", len(rows), "files")
    differences = []
    for number, sha256, recovered, path, offset in rows:
        found = find_deleted_file(opened.case.db, number)
        fs = opened.filesystems.get(found.partition)
        content = examine(fs, found.file) if fs is not None else None
        opened.progress.advance(1)
        if content is None or content.sha256 != sha256:
            left = "nothing" if content is None else f"{content.recovered} of {recovered} bytes"
            text = f"has the SHA-256 {content.sha256}, not {sha256}" if content and content.sha256 else f"{left} can be read"
            differences.append(Difference(path, text, offset))
    return Check("deleted files", len(rows), tuple(differences))
