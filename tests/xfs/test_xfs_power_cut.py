"""A power cut on XFS in an LVM2 volume of two pieces: what the kernel itself cut off, and what it shows after its own replay."""

import fcntl
import os
import random
import shutil
import struct

import pytest

from forensics.evidence import open_evidence
from forensics.filesystems.open import open_volume
from forensics.volumes import find_volumes
from support.disks import MIB, put_mbr, put_pv, vg_text
from support.kernel_views import differences, in_bulk, mounted, of_directory, one_by_one
from support.xfs_images import SIZE, make

GOING_DOWN = 0x8004587D  # XFS_IOC_GOINGDOWN
WITH_LOG, WITHOUT_LOG = 1, 2
EXTENT = 4 * MIB
PIECES = ((1, 50), (60, SIZE // EXTENT - 50))
"""The volume's extents on the physical volume: from which on, how many."""
PV = "a" * 32
OPTIONS = ((), ("-b", "size=1024", "-m", "rmapbt=1"))


def busy(top, chance):
    """Files, directories, links, attributes, some made, some changed, some removed; a part of it synchronised."""
    for number in range(400):
        place = top / f"d{chance.randrange(12)}"
        place.mkdir(exist_ok=True)
        path = place / f"f{chance.randrange(40)}"
        kind = chance.randrange(10)
        if kind < 4:
            path.write_bytes(chance.randbytes(chance.choice((0, 9, 5000, 70_000))))
        elif kind == 4:
            path.unlink(missing_ok=True)
        elif kind == 5 and path.exists():
            path.rename(top / f"moved{number}")
        elif kind == 6 and path.exists():
            os.setxattr(path, "user.note", chance.randbytes(chance.choice((3, 300, 9000))))
        elif kind == 7 and path.exists():
            os.link(path, top / f"link{number}")
        elif kind == 8:
            shutil.rmtree(place)
        else:
            (top / f"symlink{number}").symlink_to("t" * chance.choice((9, 700)))
        if chance.random() < 0.05:
            descriptor = os.open(top, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def cut(top, how):
    """Let the kernel shut the filesystem down as if the power went."""
    descriptor = os.open(top, os.O_RDONLY)
    fcntl.ioctl(descriptor, GOING_DOWN, struct.pack("<I", how))
    os.close(descriptor)


def in_lvm(path, filesystem):
    """A disk with a partition that is a physical volume, and in it a volume of two pieces with the filesystem."""
    extents = max(first + count for first, count in PIECES)
    segments, done = [], 0
    for first, count in PIECES:
        stripes = f'["pv0", {first}]'
        segments.append({"start_extent": done, "extent_count": count, "type": '"striped"', "stripe_count": 1, "stripes": stripes})
        done += count
    text = vg_text("rhel", [("pv0", PV, extents)], {"root": (True, segments)}, extent_sectors=EXTENT // 512)
    head, size = bytearray(2 * MIB), MIB + extents * EXTENT
    put_mbr(head, [(0x8E, MIB // 512, size // 512)])
    put_pv(head, MIB, size, PV, text)
    with path.open("wb") as disk, filesystem.open("rb") as file:
        disk.truncate(MIB + size)
        disk.write(head)
        for first, count in PIECES:
            disk.seek(2 * MIB + first * EXTENT)
            for _ in range(count):
                piece = file.read(EXTENT)
                disk.seek(len(piece), os.SEEK_CUR) if not any(piece) else disk.write(piece)


@pytest.mark.parametrize(("seed", "how"), [(1, WITH_LOG), (2, WITHOUT_LOG)])
def test_a_volume_whose_power_was_cut(tmp_path, seed, how):
    path = make(tmp_path / "fs.img", *OPTIONS[seed % len(OPTIONS)])
    with mounted(path, tmp_path / "m") as top:
        busy(top, random.Random(seed))
        cut(top, how)
    in_lvm(tmp_path / "disk.img", path)
    with mounted(path, tmp_path / "m"):
        pass  # the kernel replays its log
    with mounted(path, tmp_path / "m", "ro", "noatime") as top:
        truth = of_directory(top)
    assert len(truth) > 30
    with open_evidence([tmp_path / "disk.img"]) as evidence:
        volumes, gaps = find_volumes(evidence)
        assert gaps == ()
        root = next(volume for volume in volumes if volume.name == "rhel/root")
        assert root.offset is None
        fs = open_volume(root)
        assert (fs.state, fs.problems) == ("journal replayed", [])
        assert differences(one_by_one(fs), truth) == {}
        assert differences(in_bulk(open_volume(root)), truth) == {}
        assert differences(in_bulk(open_volume(root, replay_journal=False)), truth) != {}
