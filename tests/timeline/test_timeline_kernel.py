"""The timeline against the running kernel: what is done in a container's mounted overlay, one thing after the other, and when."""

import os
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest

from support.cli import ask, run_cli
from support.overlay_lab import mounted

TICK = 10_000_000  # nanoseconds: what the kernel stamps on an inode is its last clock tick, not now
DOC = "/usr/share/doc/base"


@contextmanager
def disk(image, offset, where):
    where.mkdir()
    done = subprocess.run(["mount", "-o", f"loop,offset={offset}", image, where], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"this kernel mounts no disk images here: {done.stderr.decode()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def write(path, text, mode="w"):
    with open(path, mode) as file:
        file.write(text)


def made_anew(path):
    shutil.rmtree(path)
    os.mkdir(path)


# what is done below the mounted root, and the events that it must be: (event, path, whether the time is a bound only)
STEPS = {
    "create": (lambda top: write(f"{top}/new", "1"), [("file created", "/new")]),
    "append": (
        lambda top: write(f"{top}/etc/os-release", "x", "a"),
        [("file copied up", "/etc/os-release"), ("file modified", "/etc/os-release")],
    ),
    "open": (lambda top: write(f"{top}/etc/group", "", "a"), [("file copied up", "/etc/group")]),
    "chmod": (lambda top: os.chmod(f"{top}/usr/bin/listen", 0o4755), [("file copied up", "/usr/bin/listen")]),
    "break": (lambda top: write(f"{top}/usr/bin/more", "x", "a"), [("file copied up", "/usr/bin/more")]),
    "delete": (lambda top: os.unlink(f"{top}{DOC}/00.txt"), [("file deleted (earliest)", f"{DOC}/00.txt")]),
    "rename": (
        lambda top: os.rename(f"{top}{DOC}/02.txt", f"{top}{DOC}/renamed"),
        [("file copied up", f"{DOC}/renamed"), ("file renamed", f"{DOC}/02.txt")],
    ),
    "replace": (lambda top: made_anew(f"{top}/usr/share/locale/de"), [("directory replaced", "/usr/share/locale/de")]),
    "write": (lambda top: write(f"{top}/new", "2", "a"), [("file modified", "/new")]),
    "link": (lambda top: os.link(f"{top}/new", f"{top}/etc/linked"), [("file changed", "/new")]),
    "set time": (lambda top: os.utime(f"{top}/usr/bin/more", ns=(10**18, 10**18)), [("timestomp suspected", "/usr/bin/more")]),
    "last": (lambda top: os.unlink(f"{top}{DOC}/01.txt"), [("file deleted (latest)", f"{DOC}/01.txt")]),
}


@pytest.fixture(scope="module")
def done(sample, carved, tmp_path_factory):
    """The case of a disk on which all that was done in the container `migrate`, and when: (start, end) of each step."""
    if os.geteuid() != 0:
        pytest.skip("mounting a disk image needs root")
    where, before = tmp_path_factory.mktemp("kernel"), carved("webshop")
    image, times = where / "disk.img", {}
    shutil.copy(sample("webshop"), image)
    chain = ask(
        before,
        "SELECT l.path, p.offset FROM container c JOIN chain h ON h.top = c.layer_id JOIN layer l ON l.id = h.layer_id"
        " JOIN partition p ON p.number = l.partition WHERE c.name = 'migrate' ORDER BY h.depth",
    )
    with disk(image, chain[0]["offset"], where / "disk") as top:
        own, *lower = [top / layer["path"].lstrip("/") for layer in chain]
        (where / "m").mkdir()
        with mounted(lower, where / "m", "", (own, own.parent / "work")) as merged:
            for name, (act, _) in STEPS.items():
                time.sleep(0.03)
                start = time.time_ns()
                act(merged)
                times[name] = (start - TICK, time.time_ns())
    case = where / "case.db"
    run_cli("carve", image, "-o", case, "--hash", "changed")
    return case, times


@pytest.mark.parametrize("step", STEPS)
def test_each_thing_stands_where_it_was_done(done, step):
    case, times = done
    start, end = times[step]
    for event, path in STEPS[step][1]:
        found = [row["time_ns"] for row in ask(case, f"SELECT time_ns FROM timeline WHERE event = '{event}' AND path = '{path}'")]
        assert [ns for ns in found if start <= ns <= end], (event, path, start, found)


def test_bounds_of_deletions_hold(done):
    case, times = done
    for step, name in (("delete", "00.txt"), ("rename", "02.txt"), ("last", "01.txt")):
        rows = ask(case, f"SELECT event, time_ns FROM timeline WHERE path = '{DOC}/{name}' AND source = 'whiteout'")
        assert rows, name
        start, end = times[step]
        for row in rows:
            if not row["event"].endswith("(latest)"):
                assert row["time_ns"] <= end
            if not row["event"].endswith("(earliest)"):
                assert row["time_ns"] >= start


def test_what_was_only_opened_or_changed_in_mode_is_not_modified_here(done):
    case, _ = done
    for path in ("/etc/group", "/usr/bin/listen", f"{DOC}/renamed"):
        (row,) = ask(case, f"SELECT event FROM timeline WHERE container = 'migrate' AND source = 'mtime' AND path = '{path}'")
        assert row["event"] == "file modified before copy-up", path


def test_the_last_mount_is_ours(done):
    case, times = done
    (row,) = ask(case, "SELECT time_ns FROM timeline WHERE container = 'migrate' AND event = 'layer last mounted'")
    assert 0 <= times["create"][0] - row["time_ns"] < 60 * 10**9
