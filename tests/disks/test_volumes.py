"""Partition tables, whole and damaged, against sfdisk, sgdisk and The Sleuth Kit, and what is found where there is none."""

import random
import struct
import time

import pytest
import pytsk3
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.evidence import open_disk_image, tsk_image
from forensics.volumes import find_volumes
from parsers import gpt, mbr
from parsers.errors import CtrForensicsError
from support.disks import MIB, Disk, ext_superblock, put, put_gpt, put_mbr, run


def disk_of(size_mib, *layout):
    disk = bytearray(size_mib * MIB)
    for offset, data in layout:
        put(disk, offset, data)
    return disk


def found(disk):
    volumes, gaps = find_volumes(Disk("disk.img", bytes(disk)))
    return [(v.number, v.scheme, v.offset, v.length) for v in volumes], [gap.error for gap in gaps]


def as_tsk_sees_it(source):
    table = pytsk3.Volume_Info(tsk_image(source))
    size = int(table.info.block_size)
    used = [part for part in table if int(part.flags) & int(pytsk3.TSK_VS_PART_FLAG_ALLOC)]
    return sorted((int(part.start) * size, int(part.len) * size) for part in used)


SFDISK = {
    "primary": "label-id: 0xdeadbeef\nstart=2048,size=4096,type=83,bootable\nstart=8192,size=4096,type=82\n",
    "logical": "start=2048,size=2048\nstart=6144,size=40960,type=5\n"
    + "".join(f"start={start},size=2048,type=8e\n" for start in (8192, 14336, 20480)),
    "four and logical": "".join(f"start={start},size=2048\n" for start in (2048, 4096, 6144))
    + "start=8192,size=40000,type=f\n"
    + "".join(f"start={10240 + 4096 * n},size=2048\n" for n in range(6)),
    "out of order": "2:start=2048,size=2048\n1:start=8192,size=2048\n",
}


@pytest.mark.parametrize("name", SFDISK)
def test_dos_tables_as_sfdisk_made_them(tmp_path, name):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(32 * MIB))
    run("sfdisk", "-q", path, stdin=f"label: dos\n{SFDISK[name]}")
    dump = [line for line in run("sfdisk", "-d", path).splitlines() if "start=" in line]
    expected = []
    for line in dump:
        fields = dict(field.strip().split("=") for field in line.split(":", 1)[1].split(",") if "=" in field)
        if fields["type"] not in ("5", "f"):
            number = int(line.split(" ", 1)[0].rsplit("img", 1)[1])
            expected.append((number, "dos", int(fields["start"]) * 512, int(fields["size"]) * 512))
    identifier = next(
        line.split("0x")[1] for line in run("sfdisk", "-d", path).splitlines() if line.startswith("label-id")
    )  # fmt: skip
    with open_disk_image(path) as disk:
        volumes, gaps = find_volumes(disk)
        assert [(v.number, v.scheme, v.offset, v.length) for v in volumes] == expected
        assert [v.uuid for v in volumes] == [f"{identifier}-{v.number:02x}" for v in volumes]
        assert gaps == ()
        assert sorted((v.offset, v.length) for v in volumes) == as_tsk_sees_it(disk)


def test_gpt_as_sgdisk_made_it(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(64 * MIB))
    run(
        "sgdisk",
        "-n1:2048:+8M",
        "-t1:ef02",
        "-n2:0:+8M",
        "-t2:ef00",
        "-c2:EFI System",
        "-n7:0:0",
        "-t7:8300",
        "-c7:racine é",
        path,
    )
    with open_disk_image(path) as disk:
        volumes, gaps = find_volumes(disk)
        assert gaps == ()
        assert [(v.number, v.name, v.type, v.label) for v in volumes] == [
            (1, "p1", "BIOS boot", None),
            (2, "p2", "EFI system", "EFI System"),
            (7, "p7", "Linux filesystem", "racine é"),
        ]
        for volume in volumes:
            told = dict(line.split(": ", 1) for line in run("sgdisk", f"-i{volume.number}", path).splitlines() if ": " in line)
            assert volume.uuid == told["Partition unique GUID"].lower()
            assert volume.offset == int(told["First sector"].split()[0]) * 512
        assert sorted((v.offset, v.length) for v in volumes) == as_tsk_sees_it(disk)


PARTS = [(2048, 4095, "one"), (4096, 8191, "two")]
PLACES = [(1, "gpt", MIB, MIB), (2, "gpt", 2 * MIB, 2 * MIB)]


@pytest.mark.parametrize("sector", [512, 4096])
def test_gpt_made_by_hand(sector):
    disk = bytearray(64 * MIB)
    put_gpt(disk, PARTS, sector)
    expected = [(1, "gpt", 2048 * sector, 2048 * sector), (2, "gpt", 4096 * sector, 4096 * sector)]
    assert found(disk) == (expected, [])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda disk: put(disk, 512, bytes(512)), "the primary GPT header is destroyed"),
        (lambda disk: put(disk, 512 + 20, b"\xff"), "the GPT header's checksum is wrong"),
        (lambda disk: put(disk, 1024 + 40, b"\xff\xff"), "the checksum of the GPT's entries is wrong"),
        (lambda disk: put(disk, 512, random.Random(1).randbytes(33 * 512)), "the primary GPT header is destroyed"),
    ],
)
def test_the_backup_gpt_serves_where_the_primary_is_damaged(damage, says):
    disk = bytearray(8 * MIB)
    put_gpt(disk, PARTS)
    damage(disk)
    places, errors = found(disk)
    assert places == PLACES
    assert errors == [f"{says}; the copy at byte {8 * MIB - 512} is used"]


def test_a_gpt_that_is_damaged_twice_is_read_as_it_is():
    disk = bytearray(8 * MIB)
    put_gpt(disk, PARTS)
    put(disk, 512 + 16, b"\0\0\0\0")
    put(disk, 8 * MIB - 512, bytes(512))
    places, errors = found(disk)
    assert places == PLACES
    assert errors == ["the GPT header's checksum is wrong; it is read as it is"]


def test_a_gpt_without_its_protective_mbr():
    disk = bytearray(8 * MIB)
    put_gpt(disk, PARTS, protective=False)
    assert found(disk) == (PLACES, [])
    put(disk, 0, bytes(34 * 512))
    places, errors = found(disk)
    assert places == PLACES
    assert "the primary GPT header is destroyed" in errors[0]


def test_a_hybrid_mbr_leaves_the_gpt_in_force():
    disk = bytearray(8 * MIB)
    put_gpt(disk, PARTS)
    put_mbr(disk, [(0xEE, 1, 2047), (0x83, 2048, 2048)])
    assert found(disk) == (PLACES, [])


def test_a_stale_gpt_behind_a_dos_table_is_not_in_force():
    disk = bytearray(8 * MIB)
    put_gpt(disk, PARTS)
    put_mbr(disk, [(0x83, 4096, 4096)])
    assert found(disk) == ([(1, "dos", 2 * MIB, 2 * MIB)], [])


def test_a_gpt_of_which_nothing_is_left():
    disk = bytearray(8 * MIB)
    put_mbr(disk, [(0xEE, 1, 16383)])
    places, errors = found(disk)
    assert places == [(1, "none", 0, 8 * MIB)]
    assert errors[0] == "neither GPT header can be read"


def test_an_image_that_was_cut_short_gives_what_is_there():
    disk = bytearray(8 * MIB)
    put_gpt(disk, [(2048, 4095, ""), (4096, 12287, ""), (12288, 16000, "")])
    cut = Disk("disk.img", bytes(disk[: 3 * MIB]))
    volumes, gaps = find_volumes(cut)
    assert [(v.offset, v.length, v.source.size) for v in volumes] == [
        (MIB, MIB, MIB),
        (2 * MIB, 4 * MIB, MIB),
        (6 * MIB, (16000 - 12288 + 1) * 512, 0),
    ]
    assert [gap.partition for gap in gaps] == [2, 3]
    assert f"ends {3 * MIB} of its {4 * MIB} bytes behind the end of the disk image" in gaps[0].error
    put_mbr(disk, [(0x83, 2048, 2048), (0x83, 4096, 1 << 31)])
    volumes, gaps = find_volumes(Disk("disk.img", bytes(disk[: 3 * MIB])))
    assert [(v.scheme, v.source.size) for v in volumes] == [("dos", MIB), ("dos", MIB)]
    assert len(gaps) == 1


def test_partitions_that_overlap():
    disk = disk_of(8)
    put_mbr(disk, [(0x83, 2048, 4096), (0x83, 4096, 4096), (0x83, 2048, 10)])
    places, errors = found(disk)
    assert len(places) == 3
    assert errors == ["overlaps partition 3", "overlaps partition 1"]


def extended(disk, at, logical, following, start=2048, signature=True):
    put_mbr(disk, [(0x83, *logical) if logical else (0, 0, 0), (0x05, following - start, 100) if following else (0, 0, 0)], at, 0)
    if not signature:
        put(disk, at * 512 + 510, b"\0\0")


def test_a_chain_of_extended_records_that_loops_or_breaks():
    for following, signature, says in ((2048, True, "has no end"), (4096, False, "no extended boot record here")):
        disk = disk_of(8)
        put_mbr(disk, [(0x05, 2048, 10000)])
        extended(disk, 2048, (63, 100), 3072)
        extended(disk, 3072, (63, 200), following)
        if not signature:
            extended(disk, 4096, (63, 300), None, signature=False)
        places, errors = found(disk)
        assert places == [(5, "dos", (2048 + 63) * 512, 51200), (6, "dos", (3072 + 63) * 512, 102400)]
        assert len(errors) == 1
        assert says in errors[0]


def test_dos_table_of_a_disk_with_4096_byte_sectors():
    disk = disk_of(32, (256 * 4096 + 1024, ext_superblock(1000)))
    put_mbr(disk, [(0x83, 256, 4096)])
    assert found(disk) == ([(1, "dos", MIB, 16 * MIB)], [])


def test_a_filesystem_on_the_whole_disk():
    assert found(disk_of(4, (1024, ext_superblock(1024)))) == ([(1, "none", 0, 4 * MIB)], [])
    boot = bytearray(512)
    put(boot, 0, b"\xeb\x58\x90mkfs.fat" + struct.pack("<HBHBHHBH", 512, 8, 32, 2, 0, 0, 0xF8, 0))
    put(boot, 32, struct.pack("<I", 8192))
    put(boot, 446, random.Random(0).randbytes(64))  # a FAT's boot code stands where an MBR has its partitions
    put(boot, 510, b"\x55\xaa")
    assert found(disk_of(4, (0, boot))) == ([(1, "none", 0, 4 * MIB)], [])


def test_filesystems_are_found_where_the_table_is_gone():
    disk = disk_of(
        32,
        (MIB + 1024, ext_superblock(1024)),
        (2 * MIB + 1024, ext_superblock(99)),  # inside the first one
        (9 * MIB, b"XFSB" + struct.pack(">IQ", 4096, 2048)),
        (20 * MIB + 1024, ext_superblock(256, group=1)),  # a backup
        (24 * MIB + 1024, ext_superblock(512)),
    )
    places, errors = found(disk)
    assert places == [
        (1, "signature", MIB, 4 * MIB),
        (2, "signature", 9 * MIB, 8 * MIB),
        (3, "signature", 24 * MIB, 2 * MIB),
    ]
    assert errors == ["no partition table and no filesystem at the start of the disk; found by signature: 3"]


def test_a_disk_of_nothing():
    places, errors = found(bytes(4 * MIB))
    assert places == [(1, "none", 0, 4 * MIB)]
    assert "found by signature: 0" in errors[0]


def test_entries_that_no_disk_can_have():
    disk = bytearray(8 * MIB)
    put_gpt(disk, [(2048, 4095, ""), (4096, 4000, ""), (0, 100, ""), (1 << 60, (1 << 60) + 5, ""), (5, (1 << 64) - 1, "")])
    places, errors = found(disk)
    assert places == PLACES[:1]
    assert len(errors) == 4
    assert "sectors 4096 to 4000" in errors[0]


def test_more_partitions_than_linux_knows():
    disk = bytearray(8 * MIB)
    put_gpt(disk, [(4096 + n, 4096 + n, "") for n in range(300)], entries=512)
    places, errors = found(disk)
    assert len(places) == 256
    assert "300 partitions" in errors[0]


def whole_and_quick(data):
    start = time.monotonic()
    source = Disk("disk.img", data)
    try:
        volumes, _ = find_volumes(source)
    except CtrForensicsError as error:
        raise AssertionError("a damaged table is a gap, no error") from error
    for volume in volumes:
        assert volume.offset >= 0
        assert 0 < volume.length < 1 << 63
        assert volume.source.size <= volume.length
        volume.source.read(0, 4096)
    assert len({volume.number for volume in volumes}) == len(volumes)
    assert time.monotonic() - start < 5


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(["gpt", "dos"]), st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=8), st.integers(0, 6)
)
def test_any_damage_to_a_table_is_survived(kind, changes, zeroed):
    disk = bytearray(6 * MIB)
    if kind == "gpt":
        put_gpt(disk, PARTS)
    else:
        put_mbr(disk, [(0x83, 2048, 2048), (0x05, 4096, 8000)])
        extended(disk, 4096, (63, 100), 4200, 4096)
        extended(disk, 4200, (63, 200), None, 4096)
    for offset, value in changes:
        disk[offset % 1200 if offset % 2 else 4096 * 512 + offset % 512] = value
    put(disk, zeroed * 512, bytes(512 if zeroed else 0))
    whole_and_quick(bytes(disk))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 3 * MIB), st.sampled_from(["gpt", "dos"]))
def test_any_cut_is_survived(size, kind):
    disk = bytearray(3 * MIB)
    if kind == "gpt":
        put_gpt(disk, PARTS[:1])
    else:
        put_mbr(disk, [(0x83, 2048, 2048)])
    if size:
        whole_and_quick(bytes(disk[:size]))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=600))
def test_the_parsers_take_any_bytes(data):
    header = gpt.read_header(data)
    if header is not None:
        gpt.read_entries(header, data)
    mbr.read_boot_record(data)
    mbr.read_boot_record(data.ljust(510, b"\1")[:510] + b"\x55\xaa")
    forged = gpt.read_header(b"EFI PART" + data.ljust(84, b"\xff"))
    assert forged is None or forged.table_size <= gpt.MAX_TABLE_SIZE
