"""Btrfs on several devices: all of them given together, or one of them missing."""

import os
import random
import subprocess

import pytest

from forensics.evidence import open_evidence
from forensics.recovery.carving.space import UNALLOCATED, spaces
from forensics.survey import survey
from parsers.errors import FormatError
from support.disks import run
from support.kernel_views import differences, fill, in_bulk, noise, of_directory, one_by_one

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
PROFILES = {"raid0": ("raid1", 2), "raid1": ("raid1", 2), "raid10": ("raid10", 4), "raid5": ("raid5", 3), "raid6": ("raid6", 4)}
GONE = random.Random(8).randbytes(300_000)
REDUNDANT = sorted(set(PROFILES) - {"raid0"})


@pytest.fixture(scope="module", params=PROFILES)
def disks(request, tmp_path_factory):
    """The profile, the devices' disk images, and what the kernel shows."""
    place = tmp_path_factory.mktemp(request.param)
    metadata, count = PROFILES[request.param]
    images = [place / f"{number}.img" for number in range(count)]
    loops = []
    top = place / "m"
    top.mkdir()
    try:
        for image in images:
            with image.open("wb") as file:
                file.truncate(400 << 20)
            loops.append(run("losetup", "-f", "--show", image).strip())
        run("mkfs.btrfs", "-q", "-f", "-d", request.param, "-m", metadata, *loops)
        run("mount", loops[0], top)
        fill(top, noise())
        (top / "gone").write_bytes(GONE)
        run("btrfs", "filesystem", "sync", top)
        (top / "gone").unlink()
        run("umount", top)
        run("btrfs", "device", "scan", *loops)
        run("mount", "-o", "ro,noatime", loops[-1], top)
        truth = of_directory(top)
        run("umount", top)
    finally:
        for loop in loops:
            subprocess.run(["losetup", "-d", loop], check=False)
        subprocess.run(["btrfs", "device", "scan", "-u"], check=False, capture_output=True)
    yield request.param, images, truth
    for image in images:
        image.unlink()


def test_all_devices_are_one_volume(disks):
    _, images, truth = disks
    with open_evidence(images) as evidence:
        found = survey(evidence)
        (fs,) = (each.filesystem for each in found.partitions if each.filesystem is not None)
        assert found.partitions[-1].volume.scheme == "btrfs"
        assert all(each.state.startswith("device of Btrfs") for each in found.partitions[:-1])
        assert differences(one_by_one(fs), truth) == {}
        assert differences(in_bulk(fs), truth) == {}
        assert fs.problems == []


@pytest.mark.parametrize("missing", [0, -1])
def test_one_device_is_missing(disks, missing):
    profile, images, truth = disks
    here = [image for image in images if image != images[missing]]
    with open_evidence(here) as evidence:
        (fs,) = (each.filesystem for each in survey(evidence).partitions if each.filesystem is not None)
        (problem,) = fs.problems
        number = missing % len(images) + 1
        assert f"device {number} (" in problem.error
        if profile in REDUNDANT:
            assert differences(one_by_one(fs), truth) == {}
        else:
            with pytest.raises(FormatError, match=f"on device {number}, not in the evidence"):
                one_by_one(fs)
        assert len(fs.problems) == 1


def test_what_was_deleted_stands_in_free_space_as_one_piece(disks):
    _, images, _ = disks
    with open_evidence(images) as evidence:
        together, *each = spaces(survey(evidence), UNALLOCATED)
        assert any(GONE in together.source.read(start, length) for start, length in runs(together))
        assert len(each) == len(images)
        assert all(space.partition == together.partition and space.ends.max() <= space.source.size for space in each)


@pytest.mark.parametrize("missing", [0, -1])
def test_it_does_so_where_a_device_is_missing(disks, missing):
    """Of two disks of a mirror only one is here, at whose places other things stand than at the other's."""
    profile, images, _ = disks
    if profile not in REDUNDANT:
        pytest.skip("a part of it is nowhere")
    free = []
    for here in (images, [image for image in images if image != images[missing]]):
        with open_evidence(here) as evidence:
            together, *_ = spaces(survey(evidence), UNALLOCATED)
            free.append([*runs(together)])
            assert any(GONE in together.source.read(start, length) for start, length in free[-1])
    assert free[0] == free[1]


def runs(space):
    return zip(space.starts.tolist(), (space.ends - space.starts).tolist(), strict=True)
