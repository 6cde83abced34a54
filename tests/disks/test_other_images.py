"""VMDK, VHD, VHDX and VDI as qemu-img writes them, and compressed raw disk images."""

import bz2
import contextlib
import gzip
import lzma
import random
import time

import pytest
import zstandard

from forensics.evidence import open_disk_image, open_evidence
from forensics.images.unpack import unpack
from forensics.volumes import find_volumes
from parsers.errors import CtrForensicsError, EvidenceError, UsageError
from support.disks import Disk, put_gpt, run

DATA = random.Random(6).randbytes(3 << 20) + bytes(2 << 20) + b"words " * (1 << 17)
DATA = DATA.ljust(-(-len(DATA) // (1 << 20)) * (1 << 20), b"\0")
FORMATS = {
    "vmdk": ("monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"),
    "vpc": ("dynamic", "fixed"),
    "vhdx": ("dynamic", "fixed"),
    "vdi": ("",),
}


@pytest.mark.parametrize(("kind", "subformat"), [(kind, sub) for kind, subs in FORMATS.items() for sub in subs])
def test_what_qemu_img_wrote(tmp_path, kind, subformat):
    (tmp_path / "raw").write_bytes(DATA)
    options = (f"subformat={subformat}",) if subformat else ("static=off",)
    if kind == "vpc":
        options = (f"{options[0]},force_size=on",)
    path = tmp_path / "disk.of-another-name"
    run("qemu-img", "convert", "-f", "raw", "-O", kind, "-o", *options, tmp_path / "raw", path)
    with open_disk_image(path) as disk:
        assert disk.format == {"vmdk": "VMDK", "vpc": "VHD", "vhdx": "VHDX", "vdi": "VDI"}[kind]
        assert disk.size == len(DATA)
        assert disk.read(0, disk.size) == DATA
        for offset in range(0, len(DATA), 99_991):
            assert disk.read(offset, 5000) == DATA[offset : offset + 5000]


@pytest.mark.parametrize("kind", ["vmdk", "vpc", "vhdx", "vdi"])
def test_what_is_cut_short_is_an_error_and_no_crash(tmp_path, kind):
    (tmp_path / "raw").write_bytes(DATA)
    run("qemu-img", "convert", "-f", "raw", "-O", kind, tmp_path / "raw", tmp_path / "disk")
    packed = (tmp_path / "disk").read_bytes()
    for length in (600, 5000, 70_000, 300_000, len(packed) // 2, len(packed) - 700):
        (tmp_path / "short").write_bytes(packed[:length])
        try:
            with open_disk_image(tmp_path / "short") as disk:
                for offset in range(0, disk.size, 1 << 20):
                    assert len(disk.read(offset, 1 << 20)) <= 1 << 20
        except EvidenceError as error:
            assert "\n" not in str(error)


def test_a_vmdk_leads_to_no_file_of_the_examiners_own(tmp_path):
    (tmp_path / "raw").write_bytes(DATA)
    run(
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        "subformat=monolithicFlat",
        tmp_path / "raw",
        tmp_path / "disk.vmdk",
    )
    text = (tmp_path / "disk.vmdk").read_text()
    (tmp_path / "disk.vmdk").write_text(text.replace('"disk-flat.vmdk"', '"/etc/passwd"'))
    with pytest.raises(EvidenceError, match="beside"):
        open_disk_image(tmp_path / "disk.vmdk")


@pytest.mark.parametrize(
    ("kind", "subformat"),
    [("vmdk", "monolithicSparse"), ("vmdk", "streamOptimized"), ("vpc", "dynamic"), ("vhdx", "dynamic"), ("vdi", "")],
)
def test_any_damage_is_an_error_or_other_bytes_in_bounded_time(tmp_path, kind, subformat):
    (tmp_path / "raw").write_bytes(DATA)
    path = tmp_path / "disk"
    options = ("-o", f"subformat={subformat}") if subformat else ()
    run("qemu-img", "convert", "-f", "raw", "-O", kind, *options, tmp_path / "raw", path)
    whole = path.read_bytes()
    told = [at for at in (*range(1 << 17), *range(len(whole) - 2048, len(whole))) if at < len(whole) and whole[at]]
    chance, begin = random.Random(kind + subformat), time.monotonic()
    for _ in range(60):
        damaged = bytearray(whole)
        for at in chance.sample(told, chance.choice((1, 1, 3))):
            damaged[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", bytes([damaged[at] ^ 1])))
        path.write_bytes(damaged[: chance.choice((None, None, None, chance.randrange(len(whole))))])
        with contextlib.suppress(CtrForensicsError), open_disk_image(path) as disk:
            for offset in (0, 1 << 20, 2 << 20, max(0, min(disk.size, 1 << 40) - 512)):
                with contextlib.suppress(CtrForensicsError):
                    assert len(disk.read(offset, 1 << 16)) <= 1 << 16
    assert time.monotonic() - begin < 60


def test_what_cannot_be_read_alone_says_what_to_give(tmp_path):
    (tmp_path / "raw").write_bytes(DATA)
    run("qemu-img", "convert", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", tmp_path / "raw", tmp_path / "d.vmdk")
    with pytest.raises(EvidenceError, match=r"give the .vmdk file that names it"):
        open_disk_image(tmp_path / "d-s001.vmdk")
    for kind in ("qcow", "qed", "parallels"):
        run("qemu-img", "convert", "-O", kind, tmp_path / "raw", tmp_path / kind)
        with pytest.raises(EvidenceError, match="convert it first: qemu-img convert -O raw"):
            open_disk_image(tmp_path / kind)


PACKERS = {"gz": gzip.compress, "zst": zstandard.compress, "xz": lzma.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_compressed_disk_is_unpacked_when_asked(tmp_path, suffix):
    packed = tmp_path / f"disk.img.{suffix}"
    packed.write_bytes(PACKERS[suffix](DATA))
    with pytest.raises(EvidenceError, match="--unpack"):
        open_disk_image(packed)
    done = []
    (tmp_path / "out").mkdir()
    path = unpack(packed, tmp_path / "out", False, done.append)
    assert path == tmp_path / "out" / "disk.img"
    assert path.read_bytes() == DATA
    assert sum(done) == len(DATA)
    with pytest.raises(UsageError, match="--force"):
        unpack(packed, tmp_path / "out", False, done.append)
    packed.write_bytes(packed.read_bytes()[:-300])
    with pytest.raises(EvidenceError, match="cannot be unpacked"):
        unpack(packed, tmp_path / "out", True, done.append)
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["disk.img"]


def test_several_disks_of_one_host_have_one_address_space(tmp_path):
    for number in (1, 2):
        disk = bytearray(4 << 20)
        put_gpt(disk, [(2048, 4095, f"part{number}")])
        disk[1 << 20] = number
        (tmp_path / f"{number}.img").write_bytes(disk)
    with open_evidence([tmp_path / "1.img", tmp_path / "2.img", tmp_path / "1.img"]) as evidence:
        volumes, gaps = find_volumes(evidence)
        assert gaps == ()
        assert [(v.number, v.name, v.offset) for v in volumes] == [(1, "p1", 1 << 20), (2, "d2p1", 5 << 20)]
        assert [v.source.read(0, 1)[0] for v in volumes] == [1, 2]
        assert [evidence.read(v.source.locate(0), 1)[0] for v in volumes] == [1, 2]
        assert len(evidence.read(3 << 20, 9 << 20)) == 5 << 20


def test_a_disk_alone_keeps_its_numbers():
    disk = bytearray(4 << 20)
    put_gpt(disk, [(2048, 4095, "only")])
    assert [v.name for v in find_volumes(Disk("disk", bytes(disk)))[0]] == ["p1"]
