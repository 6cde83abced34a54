"""VHDX files that were not closed: the log is replayed as QEMU replays it, in memory."""

import contextlib
import random
import shutil
import struct
import time

import google_crc32c
import pytest

from forensics.evidence import open_disk_image
from forensics.images.files import EvidenceFile
from forensics.images.vhdx_log import MAX_ZEROS, ReplayedFile
from parsers import vhdx
from parsers.errors import CtrForensicsError, FormatError
from support.disks import run

LOG = 1 << 20


def with_checksum(raw):
    return raw[:4] + struct.pack("<I", google_crc32c.value(bytes(raw[:4] + bytes(4) + raw[8:]))) + raw[8:]


def last_entry(raw):
    """Where the log's newest entry stands, as QEMU left it."""
    places = [at for at in range(LOG, 2 * LOG, 4096) if raw[at : at + 4] == b"loge"]
    return max(places, key=lambda at: struct.unpack_from("<Q", raw, at + 16)[0])


def left_open(raw):
    """The file as it would be had the power gone off between the log's last entry and what it writes."""
    raw, at = bytearray(raw), last_entry(raw)
    for place in (64 << 10, 128 << 10):
        header = bytearray(raw[place : place + 4096])
        header[48:64] = raw[at + 32 : at + 48]
        raw[place : place + 4096] = with_checksum(header)
    (count,) = struct.unpack_from("<I", raw, at + 24)
    for number in range(count):
        signature, _, _, offset, _ = struct.unpack_from("<4s4s8sQQ", raw, at + 64 + 32 * number)
        assert signature == b"desc"
        raw[offset : offset + 4096] = bytes(4096)
    return bytes(raw)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """A file that was left open, and the disk that it held."""
    path = tmp_path_factory.mktemp("vhdx") / "disk.vhdx"
    run("qemu-img", "create", "-q", "-f", "vhdx", path, "64M")
    run("qemu-io", "-f", "vhdx", "-c", "write -q -P 0x11 0 4M", "-c", "write -q -P 0x22 40M 2M", path)
    run("qemu-img", "convert", "-f", "vhdx", "-O", "raw", path, path.with_name("raw"))
    path.write_bytes(left_open(path.read_bytes()))
    return path, path.with_name("raw").read_bytes()


def content(disk):
    return b"".join(disk.read(offset, 1 << 20) for offset in range(0, disk.size, 1 << 20))


def test_what_the_log_wrote_is_read(tmp_path, dirty):
    path, disk_content = dirty
    before = path.read_bytes()
    with open_disk_image(path) as disk:
        assert (disk.details, disk.problems) == ({"log": "1 entry replayed in memory"}, [])
        assert content(disk) == disk_content
    assert path.read_bytes() == before
    shutil.copy(path, tmp_path / "repaired")
    run("qemu-img", "check", "-r", "all", tmp_path / "repaired")
    run("qemu-img", "convert", "-f", "vhdx", "-O", "raw", tmp_path / "repaired", tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes() == disk_content


def test_a_log_that_is_torn_is_a_problem(tmp_path, dirty):
    raw = bytearray(dirty[0].read_bytes())
    raw[last_entry(raw) + 4096 + 100] ^= 1
    (tmp_path / "disk").write_bytes(raw)
    with open_disk_image(tmp_path / "disk") as disk:
        assert disk.problems == [
            "its log cannot be replayed, and what was written last may be missing: data at byte 1048576: no entry of it is whole"
        ]


def test_any_damage_is_told_in_bounded_time(tmp_path, dirty):
    whole, chance, begin = dirty[0].read_bytes(), random.Random(5), time.monotonic()
    log = [at for at in range(LOG, 2 * LOG) if whole[at]]
    headers = [at for at in range(64 << 10, 192 << 10) if whole[at]]
    for _ in range(60):
        raw = bytearray(whole)
        for at in chance.sample(chance.choice((log, headers)), 2):
            raw[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", bytes([raw[at] ^ 1])))
        at = last_entry(whole)
        raw[at : at + 8192] = with_checksum(bytes(raw[at : at + 8192]))  # damage that the checksum does not tell
        (tmp_path / "disk").write_bytes(raw)
        with contextlib.suppress(CtrForensicsError), open_disk_image(tmp_path / "disk") as disk:
            disk.read(0, 1 << 16)
    assert time.monotonic() - begin < 30


def test_entries_that_lie_in_each_other_cost_no_time():
    log = vhdx.Log(b"g" * 16, LOG, 8 << 20)
    entry = struct.pack("<4sIIIQII16sQQ", b"loge", 0, log.length, 0, 1, 0, 0, log.guid, 0, 0).ljust(4096, b"\0")
    begin = time.monotonic()
    with pytest.raises(FormatError, match="in each other"):
        vhdx.replayable(log, entry * (log.length // 4096))
    assert time.monotonic() - begin < 2


def test_zeros_and_sectors_in_the_order_of_their_writing(tmp_path):
    (tmp_path / "file").write_bytes(b"f" * 20480)
    writes = [vhdx.Write(4096, 4096, b"a" * 4096), vhdx.Write(0, 8192, None), vhdx.Write(4096, 4096, b"b" * 4096),
              vhdx.Write(20480, 4096, b"c" * 4096)]  # fmt: skip
    file = ReplayedFile(EvidenceFile(tmp_path / "file"), writes)
    expected = bytes(4096) + b"b" * 4096 + b"f" * 12288 + b"c" * 4096
    assert file.size == len(expected)
    assert file.read(0, 1 << 20) == expected
    for offset in range(0, len(expected), 999):
        assert file.read(offset, 5000) == expected[offset : offset + 5000]
    with pytest.raises(FormatError, match="runs of zeros"):
        ReplayedFile(EvidenceFile(tmp_path / "file"), [vhdx.Write(0, 4096, None)] * (MAX_ZEROS + 1))
