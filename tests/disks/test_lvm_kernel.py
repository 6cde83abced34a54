"""LVM2 volumes as LVM2 itself makes them: against the mapping that lvs prints, and the bytes that the kernel shows."""

import os
import random
import re
import shutil

import pytest

from support.disks import MIB, put, put_mbr, run
from support.lvm_disks import volumes_of


class Lvm:
    """A volume group over partitions of a disk image, made by the real tools without device mapper."""

    def __init__(self, path, partitions):
        self.path = path
        self.loops = []
        for offset, length in partitions:
            self.loops.append(run("losetup", "-f", "--show", "-o", offset, "--sizelimit", length, path).strip())
        accept = ",".join(f'"a|^{loop}$|"' for loop in self.loops)
        self.config = (
            f'devices {{ filter=[{accept},"r|.*|"] use_devicesfile=0 scan=["/dev"] }} '
            "activation { udev_sync=0 udev_rules=0 } backup { backup=0 archive=0 }"
        )

    def __call__(self, verb, *args):
        return run(verb, "--driverloaded", "n", "--config", self.config, *args)

    def close(self):
        for loop in self.loops:
            run("losetup", "-d", loop)


@pytest.fixture
def lvm(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    if shutil.which("lvcreate", path="/usr/sbin:/sbin") is None:
        pytest.skip("lvm2 is not installed")
    path = tmp_path / "disk.img"
    size, count = 24 * MIB, 3
    disk = bytearray(random.Random(3).randbytes(MIB + size * count))
    put(disk, 0, bytes(MIB))
    put_mbr(disk, [(0x8E, (MIB + n * size) // 512, size // 512) for n in range(count)])
    path.write_bytes(disk)
    partitions = [(MIB + n * size, size) for n in range(count)]
    made = Lvm(path, partitions)
    try:
        made("pvcreate", "-ff", "-y", *made.loops)
        made("vgcreate", "-s", "512k", "my-vg", *made.loops)
        yield made
    finally:
        made.close()


NEW = ("-an", "-Zn", "-Wn", "-y", "-n")


def test_volumes_as_lvm2_made_them(lvm):
    one, two, three = lvm.loops
    lvm("lvcreate", *NEW, "a", "-L", "2M", "my-vg", one)
    lvm("lvcreate", *NEW, "b", "-L", "1M", "my-vg", one)
    lvm("lvextend", "-L", "4M", "my-vg/a", one)
    lvm("lvextend", "-L", "6M", "my-vg/a", two)
    lvm("lvcreate", *NEW, "st", "-i", "3", "-I", "64k", "-L", "6M", "my-vg")
    lvm("lvextend", "-i", "2", "-I", "8k", "-L", "9M", "my-vg/st", two, three)
    lvm("lvextend", "-i", "1", "-L", "10M", "my-vg/st", three)
    lvm("lvcreate", *NEW, "z", "--type", "zero", "-L", "1M", "my-vg")
    for n in range(40):  # many texts later the ring has been written on
        lvm("lvchange", "--addtag", f"tag{n}", "my-vg/b")
    data = lvm.path.read_bytes()
    columns = "lv_name,seg_start_pe,seg_size_pe,stripes,stripesize,seg_pe_ranges,lv_uuid,segtype"
    rows = lvm("lvs", "--noheadings", "--units", "b", "--nosuffix", "--separator", "|", "-o", columns, "my-vg").splitlines()
    expected, uuids = {}, {}
    for row in sorted((row.strip().split("|") for row in rows), key=lambda row: (row[0], int(row[1]))):
        name, _, count, stripes, chunk, ranges, lv_uuid, kind = row
        uuids[name] = lv_uuid
        if kind == "zero":
            continue
        columns_of = []
        for device, first in re.findall(r"(/dev/\w+):(\d+)-\d+", ranges):
            start = MIB + lvm.loops.index(device) * 24 * MIB + MIB + int(first) * 512 * 1024
            columns_of.append(data[start : start + int(count) * 512 * 1024 // int(stripes)])
        step = int(chunk) or len(columns_of[0])
        for at in range(0, len(columns_of[0]), step):
            expected[name] = expected.get(name, b"") + b"".join(column[at : at + step] for column in columns_of)
    volumes, errors = volumes_of(data)
    assert sorted(expected) == ["a", "b", "st"]
    for name, content in expected.items():
        volume = volumes[f"my-vg/{name}"]
        assert (volume.uuid, volume.length) == (uuids[name], len(content))
        assert volume.source.read(0, volume.source.size) == content
    assert errors == ["my-vg/z: logical volumes of the type zero are not read"]
