"""Files that the running kernel deleted on XFS, on a disk that was copied while it was mounted."""

import os
import subprocess
import time

import pytest

from forensics.filesystems.xfs.mount import open_xfs
from forensics.recovery.files.content import read_deleted
from forensics.recovery.files.deleted import find_deleted
from support import xfs_images as lab


@pytest.fixture
def cut(tmp_path):
    """A disk as a power cut leaves it: a file held open without a name, another removed, and one that stays."""
    if os.geteuid() != 0:
        pytest.skip("mounting a disk image needs root")
    path, where, copy = lab.make(tmp_path / "fs.img"), tmp_path / "m", tmp_path / "cut.img"
    where.mkdir()
    if subprocess.run(["mount", "-o", "loop", path, where], check=False, capture_output=True).returncode:
        pytest.skip("this kernel mounts no XFS here")
    try:
        (where / "d").mkdir()
        for name in ("held", "gone", "stays"):
            (where / "d" / name).write_bytes(name.encode() * 3000)
        subprocess.run(["umount", where], check=True)
        subprocess.run(["mount", "-o", "loop", path, where], check=True)
        with (where / "d/held").open("rb"):
            (where / "d/held").unlink()
            (where / "d/gone").unlink()
            os.statvfs(where)  # lets the kernel free it
            time.sleep(0.5)
            subprocess.run(["sync", "-f", where], check=True)
            subprocess.run(["cp", "--sparse=always", path, copy], check=True)
    finally:
        subprocess.run(["umount", where], check=True)
    return copy


def test_an_unlinked_file_that_was_open_is_whole(cut):
    fs = open_xfs(lab.Image(cut))
    found = {file.path: file for file in find_deleted(fs)}
    held = found.get(b"/d/held") or found[None]
    assert held.method == "orphan"
    assert (held.confidence, held.reuse, held.size) == ("certain", "none", 12000)
    assert b"".join(read_deleted(fs, held))[:12000] == b"held" * 3000
    assert b"/d/stays" not in found


def test_what_the_log_removes_is_found_on_the_disk_as_it_lies(cut):
    fs = open_xfs(lab.Image(cut))
    if fs.state != "journal replayed":
        pytest.skip("the kernel had written the log to its places")
    gone = [file for file in find_deleted(fs) if file.path == b"/d/gone"]
    for file in gone:
        assert (file.method, file.confidence) in (
            ("log", "probable"),
            ("orphan", "certain"),
            ("journal", "probable"),
        )  # if the kernel had not freed it yet
        assert b"".join(read_deleted(fs, file))[:12000] == b"gone" * 3000
    assert gone


def test_a_filesystem_that_was_unmounted_has_none(tmp_path):
    assert list(find_deleted(open_xfs(lab.Image(lab.make(tmp_path / "fs.img"))))) == []
