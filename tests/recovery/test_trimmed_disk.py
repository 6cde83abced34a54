"""A drive that was told to forget every freed block (fstrim): what the journal still tells of what was removed."""

import json
import re
import shutil
import subprocess

import pytest

from support.cli import ask, run_cli

pytestmark = pytest.mark.skipif(shutil.which("dumpe2fs") is None, reason="dumpe2fs (e2fsprogs) is not installed")

_REMOVED = """SELECT container_id, created_ns, removed_ns, layer, log_driver, rootfs, confidence, name, sources, container_number
    FROM containers WHERE origin = 'recovered' ORDER BY container_id"""


@pytest.fixture(scope="module")
def trimmed(sample, carved, tmp_path_factory):
    """The case file of a sample of which e2fsprogs' free blocks are zeros, as a drive gives them after fstrim."""
    directory = tmp_path_factory.mktemp("trimmed")
    disk = directory / "disk.img"
    shutil.copy(sample("webshop"), disk)
    offset = ask(carved("webshop"), "SELECT offset FROM partitions WHERE filesystem = 'ext4'")[0]["offset"]
    told = subprocess.run(["dumpe2fs", f"{disk}?offset={offset}"], capture_output=True, text=True, check=True).stdout
    size = int(re.search(r"Block size:\s+(\d+)", told)[1])
    with disk.open("r+b") as file:
        for line in re.findall(r"Free blocks: (.*)", told):
            for first, last in re.findall(r"(\d+)(?:-(\d+))?", line):
                file.seek(offset + int(first) * size)
                file.write(bytes(size * (int(last or first) - int(first) + 1)))
    run_cli("carve", disk, "-o", directory / "case.db", "--no-findings", "--no-logs", "--no-verify-layers")
    return directory / "case.db"


def test_ids_times_and_layers_come_back(trimmed, carved):
    whole = {row["container_id"]: row for row in ask(carved("webshop"), _REMOVED)}
    rows = ask(trimmed, _REMOVED)
    assert {row["container_id"] for row in rows} <= whole.keys()
    for name in ("scan-1", "scan-2"):
        known = next(row for row in whole.values() if row["name"] == name)
        row = next(row for row in rows if row["container_id"] == known["container_id"])
        assert 0 <= row["created_ns"] - known["created_ns"] < 10**9
        assert row["removed_ns"] == known["removed_ns"]
        assert (row["layer"], row["log_driver"], row["rootfs"]) == (known["layer"], "json-file", "partial")


def test_what_is_lost_is_said_and_nothing_is_made_up(trimmed, carved):
    for row in ask(trimmed, _REMOVED):
        directories = [each for each in json.loads(row["sources"]) if "/docker/containers/" in each["path"]]
        if not row["name"] and directories:
            assert any("config.v2.json" in source["how"] and "lost" in source["how"] for source in directories)
    contents = "SELECT path, sha256 FROM deleted_files WHERE size > 0 AND sha256 IS NOT NULL"
    there = {(row["path"], row["sha256"]) for row in ask(carved("webshop"), contents)}
    assert {(row["path"], row["sha256"]) for row in ask(trimmed, contents)} <= there
    lost = ask(trimmed, "SELECT sha256, confidence FROM deleted_files WHERE type = 'f' AND size > 0 AND recovered_bytes = 0")
    assert lost
    assert all(row["sha256"] is None and row["confidence"] != "certain" for row in lost)


def test_files_of_layers_that_only_times_tell_are_no_more_than_probable(trimmed):
    told = {row["container_number"]: json.loads(row["sources"]) for row in ask(trimmed, _REMOVED)}
    numbers = [str(number) for number, sources in told.items() if not any("layer" in source["gives"] for source in sources)]
    rows = ask(trimmed, f"SELECT confidence FROM deleted_files WHERE container_number IN ({', '.join(numbers)})")
    assert rows
    assert {row["confidence"] for row in rows} <= {"probable", "possible"}


def test_the_removal_is_in_the_timeline(trimmed):
    for row in ask(trimmed, _REMOVED):
        if row["removed_ns"] is not None:
            events = ask(trimmed, f"SELECT time_ns FROM timeline WHERE container_number = {row['container_number']}"
                         " AND event = 'container removed'")  # fmt: skip
            assert [each["time_ns"] for each in events] == [row["removed_ns"]]
