"""QCOW2: written by qemu-img where it is there, and made byte by byte where something is to be wrong."""

import os
import random
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.evidence import open_disk_image
from parsers.errors import EvidenceError, UsageError
from support.disks import run

CLUSTER = 1 << 16
DATA = random.Random(3).randbytes(5 * CLUSTER) + bytes(4 * CLUSTER) + b"text " * CLUSTER + random.Random(4).randbytes(700)
DATA = DATA.ljust(-(-len(DATA) // 512) * 512, b"\0")


def whole(path, snapshot=None):
    with open_disk_image(path, snapshot) as disk:
        return disk.read(0, disk.size)


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "raw.img"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-c",),
        ("-c", "-o", "compression_type=zstd"),
        ("-o", "compat=0.10"),
        ("-o", "cluster_size=512"),
        ("-c", "-o", "cluster_size=2M"),
        ("-o", "extended_l2=on,cluster_size=128k"),
        ("-o", "data_file={folder}/data.raw,data_file_raw=on"),
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_what_qemu_img_wrote(tmp_path, raw, options):
    path = tmp_path / "disk.img"
    run("qemu-img", "convert", "-O", "qcow2", *(each.format(folder=tmp_path) for each in options), raw, path)
    assert whole(path) == DATA
    with open_disk_image(path) as disk:
        assert disk.format == "QCOW2"
        rng = random.Random(5)
        for _ in range(300):
            at, size = rng.randrange(len(DATA)), rng.randrange(1, 3 * CLUSTER)
            assert disk.read(at, size) == DATA[at : at + size]


def test_a_chain_of_backing_files_and_snapshots(tmp_path, raw):
    for name, below, kind in (("a.qcow2", "raw.img", "raw"), ("b.qcow2", "a.qcow2", "qcow2")):
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", tmp_path / below, "-F", kind, tmp_path / name)
    run("qemu-img", "snapshot", "-c", "before", tmp_path / "b.qcow2")
    run("qemu-io", "-c", f"write -P 90 {CLUSTER + 512} {CLUSTER}", tmp_path / "b.qcow2")
    changed = DATA[: CLUSTER + 512] + b"Z" * CLUSTER + DATA[2 * CLUSTER + 512 :]
    assert whole(tmp_path / "b.qcow2") == changed
    assert whole(tmp_path / "b.qcow2", "before") == whole(tmp_path / "b.qcow2", "1") == DATA
    with pytest.raises(UsageError, match="before"):
        open_disk_image(tmp_path / "b.qcow2", "after")
    with pytest.raises(UsageError, match="no internal snapshots"):
        open_disk_image(raw, "before")


def made(names=(), cluster_bits=9, backing=b""):
    """A small image: clusters of 512 bytes, the first raw, the second packed, the third zero, the fourth unallocated."""
    size = 1 << cluster_bits
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 600 if backing else 0, len(backing), cluster_bits, 4 * size, 0, 1, 1024, 0, 0, 0, 0
    )
    header += struct.pack(">QQQIIB7x", 0, 0, 0, 4, 112, 0)
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    packed = packer.compress(b"packed!!" * (size // 8)) + packer.flush()
    l2 = struct.pack(">4Q", 2048 | 1 << 63, 1 << 62 | 2560, 1, 0)
    image = bytearray(4096)
    for at, part in (
        (0, header),
        (600, backing),
        (1024, struct.pack(">Q", 1536)),
        (1536, l2),
        (2048, b"raw" * 200),
        (2560, packed),
    ):
        image[at : at + len(part)] = part
    image[2048 + size : 2560] = b""
    return image


def test_each_kind_of_cluster(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(made())
    assert whole(path) == (b"raw" * 200)[:512] + b"packed!!" * 64 + bytes(1024)


@pytest.mark.parametrize("name", [b"/etc/passwd", b"../../etc/hostname", b"nothing.img", b"file:///etc/passwd"])
def test_a_backing_file_is_never_one_of_the_examiners_own(tmp_path, name):
    path = tmp_path / "disk"
    path.write_bytes(made(backing=name))
    with pytest.raises(EvidenceError, match="not beside it"):
        open_disk_image(path)
    (tmp_path / os.path.basename(name.decode())).write_bytes(b"beside".ljust(2048, b"."))
    assert whole(path).endswith(b"." * 512)


def test_backing_files_in_a_circle(tmp_path):
    (tmp_path / "a").write_bytes(made(backing=b"b"))
    (tmp_path / "b").write_bytes(made(backing=b"a"))
    with pytest.raises(EvidenceError, match="circle"):
        open_disk_image(tmp_path / "a")


@settings(deadline=None, derandomize=True)
@given(st.data())
def test_any_damage_is_an_error_or_a_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("qcow2") / "disk"
    raw = made()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(4, 120), st.integers(1024, 1600), st.integers(2560, 2600)))
        raw[at] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.one_of(st.just(len(raw)), st.integers(512, len(raw)))) :]
    path.write_bytes(raw)
    try:
        with open_disk_image(path) as disk:
            for offset in range(0, min(disk.size, 4096), 512):
                assert len(disk.read(offset, 512)) <= 512
    except EvidenceError as error:
        assert "\n" not in str(error)
