"""Every check of a case file against its evidence, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from forensics.case.deleted_rows import find_deleted_file
from forensics.case.lookup import Case
from forensics.content import open_contents
from forensics.progress import Progress
from forensics.recovery.files.restored import restored
from forensics.survey import survey
from forensics.verification.again import check_again
from forensics.verification.check import Check, Opened
from forensics.verification.contents import check_contents, check_deleted_files
from forensics.verification.disk import check_case_file, check_disk_images, check_volumes
from forensics.verification.layers import check_entries, check_integrity
from forensics.verification.provenance import check_bolt_keys, check_log_files, check_records


def verify(case: Case, images: Sequence[Path], secrets: Sequence[bytes], again: bool, progress: Progress) -> Iterator[Check]:
    """Hold a case file against its evidence, which is opened as it was carved.

    images, secrets: as open_contents has them. again: whether the evidence is carved once more and the two cases are compared.
    """
    with open_contents(case, images, secrets) as contents:
        progress.stage("looking for volumes and filesystems")
        found = survey(contents.disk, contents.replay_journal, secrets)
        live = {p.volume.number: p.filesystem for p in found.partitions if p.filesystem is not None}
        whole = {number: restored(fs, lambda n: find_deleted_file(case.db, n).file, {}) for number, fs in live.items()}
        opened = Opened(case, contents.disk, found, whole, progress)
        yield check_case_file(opened)
        yield check_disk_images(opened)
        yield check_volumes(opened)
        yield check_records(opened)
        yield check_bolt_keys(opened)
        yield check_log_files(opened)
        yield check_entries(opened)
        yield check_contents(opened)
        yield check_deleted_files(opened)
        yield check_integrity(opened)
        paths = [disk.paths[0] for disk in contents.disk.disks]
    if again:
        yield check_again(case, paths, secrets, progress)
