"""What a survey says of whole disk images: kinds, states, hosts, gaps."""

import os
import struct
from dataclasses import replace

import pytest

from forensics.evidence import open_disk_image
from forensics.filesystems.open import identify, open_filesystem
from forensics.survey import survey
from parsers import magic
from parsers.errors import EvidenceError, UnsupportedFormat
from support.disks import MIB, Disk, ext_superblock, put, put_gpt, put_mbr, run

SIGNATURES = {
    "btrfs": {65536 + 64: b"_BHRfS_M"},
    "luks": {0: b"LUKS\xba\xbe\0\2"},
    "md_raid": {4096: b"\xfc\x4e\x2b\xa9\1\0\0\0"},
    "zfs": {0x20000: b"\x0c\xb1\xba\0\0\0\0\0"},
    "bcache": {4096 + 24: magic.BCACHE_UUID},
    "bcachefs": {4096 + 24: magic.BCACHEFS_UUID},
    "f2fs": {1024: b"\x10\x20\xf5\xf2"},
    "apfs": {32: b"NXSB"},
}


def disk_with(content, size=4):
    disk = bytearray(size * MIB)
    put_gpt(disk, [(2048, size * MIB // 512 - 34, "")])
    for offset, data in content.items():
        put(disk, MIB + offset, data)
    return Disk("disk.img", bytes(disk))


@pytest.mark.parametrize("kind", SIGNATURES)
def test_what_is_recognised_and_not_read_is_named(kind):
    found = survey(disk_with(SIGNATURES[kind]))
    (partition,) = found.partitions
    if partition.state == "damaged" or partition.filesystem is not None:
        pytest.skip("there is a back end for it")
    assert (partition.kind, partition.state, partition.filesystem) == (kind, "unsupported", None)
    (gap,) = found.gaps
    assert (gap.artefact, gap.partition, gap.offset) == ("filesystem", 1, MIB)
    assert f"holds {kind}" in gap.error
    with pytest.raises(UnsupportedFormat):
        open_filesystem(partition.volume.source)


@pytest.mark.parametrize(
    ("content", "kind", "state"),
    [({4086: b"SWAPSPACE2"}, "swap", "swap"), ({}, None, "empty"), ({65526: b"S1SUSPEND\0"}, "hibernation", None)],
)
def test_what_holds_no_files_is_no_gap(content, kind, state):
    found = survey(disk_with(content))
    assert found.gaps == ()
    assert found.partitions[0].kind == kind
    assert state in (found.partitions[0].state, None)


def test_what_nobody_knows_is_a_gap():
    found = survey(disk_with({MIB: b"something"}))
    assert (found.partitions[0].kind, found.partitions[0].state) == (None, "unknown")
    assert [gap.error for gap in found.gaps] == ["no known filesystem stands here"]


def test_boot_code_is_no_gap(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(4 * MIB))
    run("sgdisk", "-o", "-n1:2048:0", "-t1:ef02", path)
    with open_disk_image(path) as disk:
        found = survey(disk)
    assert found.partitions[0].volume.type == "BIOS boot"
    assert found.gaps == ()


@pytest.mark.parametrize(
    ("level", "major", "kind"), [(1, 1, "ext2"), (5, 1, "md_raid"), (0, 0, "md_raid"), (1, 0, "ext2"), (None, 1, "ext2")]
)
def test_a_mirror_s_leg_reads_as_what_it_mirrors(level, major, kind):
    """md's superblocks 1.0 and 0.90 stand at the end, so that the filesystem of a RAID 1 stands at the start."""
    content = bytearray(4 * MIB)
    put(content, 1024, ext_superblock(1000))
    if level is not None:
        place = magic.md_at_end(len(content))[0 if major else 1]
        raid = bytearray(4096)
        struct.pack_into("<II", raid, 0, 0xA92B4EFC, major)
        struct.pack_into("<i", raid, 72 if major else 28, level)
        put(content, place, raid[: len(content) - place])
    assert identify(Disk("p1", bytes(content))) == kind


@pytest.mark.parametrize(
    ("features", "kind"),
    [
        ((0, 0, 0), "ext2"),
        ((4, 2, 3), "ext3"),
        ((4, 0x42, 3), "ext4"),
        ((4, 2, 0x400), "ext4"),
        ((0, 8, 0), "ext_journal"),
        ((4, 0xFFFFFFFF, 0x46B), "ext4"),
        ((4, 0x2CA, 0x46B), "ext4"),
    ],
)
def test_which_ext_it_is(features, kind):
    head = bytearray(magic.HEAD_SIZE)
    put(head, 1024, ext_superblock(1000))
    struct.pack_into("<III", head, 1024 + 92, *features)
    assert magic.identify(bytes(head)) == kind


class Failing(Disk):
    """A disk image of which some bytes cannot be read."""

    def read(self, offset, size):
        if offset < self.bad + 512 and offset + size > self.bad:
            raise EvidenceError(f"disk.img: cannot be read at byte {self.bad}")
        return super().read(offset, size)


class FailingInFirst(Failing):
    bad = MIB + 1024


class FailingAtStart(Failing):
    bad = 0


class FailingInHead(Failing):
    bad = MIB + 100_352


def test_a_bad_sector_costs_its_own_volume():
    disk = bytearray(8 * MIB)
    put_mbr(disk, [(0x83, 2048, 4096), (0x82, 8192, 4096)])
    put(disk, 4 * MIB + 4086, b"SWAPSPACE2")
    found = survey(FailingInFirst("disk.img", bytes(disk)))
    assert [partition.state for partition in found.partitions] == ["unreadable", "swap"]
    assert f"at byte {MIB + 1024}" in found.gaps[0].error


def test_a_bad_first_sector_leaves_the_gpt_in_force():
    disk = bytearray(4 * MIB)
    put_gpt(disk, [(2048, 4095, "")])
    put(disk, MIB + 4086, b"SWAPSPACE2")
    found = survey(FailingAtStart("disk.img", bytes(disk)))
    assert [(p.volume.scheme, p.state) for p in found.partitions] == [("gpt", "swap")]
    assert [gap.error for gap in found.gaps] == ["disk.img: cannot be read at byte 0"]


def test_a_bad_sector_beside_the_signature_hides_nothing():
    disk = disk_with({1024: ext_superblock(700)})
    (volume,) = (p.volume for p in survey(disk).partitions)
    failing = FailingInHead("disk.img", disk.data)
    assert identify(replace(volume.source, parent=failing)) == "ext2"


def host_on(tmp_path, path, offset, megabytes):
    """An ext4 filesystem with a host in it, at a place of a disk image."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "usr/lib").mkdir(parents=True)
    (root / "etc/hostname").write_text("db-1\n")
    (root / "usr/lib/os-release").write_text('PRETTY_NAME="Testix 1"\n')
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    (root / "etc/fstab").write_text("LABEL=root / ext4\nLABEL=data /var/lib/docker ext4\n")
    own = tmp_path / "fs.img"
    for label, folder in (("root", root), ("data", root / "usr")):
        own.write_bytes(bytes(megabytes * MIB))
        run("mkfs.ext4", "-q", "-F", "-L", label, "-d", folder, own)
        with path.open("r+b") as disk:
            disk.seek(offset)
            disk.write(own.read_bytes())
        offset += megabytes * MIB


def test_a_host_with_a_data_partition(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(34 * MIB))
    run("sfdisk", "-q", path, stdin="label: dos\nstart=2048,size=32768\nstart=34816,size=32768\n")
    host_on(tmp_path, path, MIB, 16)
    with open_disk_image(path) as disk:
        found = survey(disk)
        assert [(p.kind, p.state, p.filesystem.label) for p in found.partitions] == [
            ("ext4", "clean", "root"),
            ("ext4", "clean", "data"),
        ]
        assert found.mount_points == {1: "/", 2: "/var/lib/docker"}
        assert list(found.hosts) == [1]
        assert (found.hosts[1].hostname, found.hosts[1].os) == ("db-1", "Testix 1")
        assert found.gaps == ()


def test_a_filesystem_longer_than_its_disk_is_read_with_a_gap(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(33 * MIB))
    host_on(tmp_path, path, 0, 16)
    os.truncate(path, 12 * MIB)
    with open_disk_image(path) as disk:
        found = survey(disk)
        assert [problem.what for problem in found.partitions[0].filesystem.problems] == ["filesystem"]
        assert f"the last {4 * MIB} bytes of the filesystem are missing" in found.partitions[0].filesystem.problems[0].error
        assert found.hosts[1].hostname == "db-1"


def test_a_partition_of_a_lost_table_is_found_by_its_signature(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(34 * MIB))
    host_on(tmp_path, path, MIB, 16)
    with open_disk_image(path) as disk:
        found = survey(disk)
        assert [(p.volume.offset, p.volume.length, p.state) for p in found.partitions] == [
            (MIB, 16 * MIB, "clean, found by signature"),
            (17 * MIB, 16 * MIB, "clean, found by signature"),
        ]
        assert found.mount_points == {1: "/", 2: "/var/lib/docker"}
