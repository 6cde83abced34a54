"""Opening raw and split disk images: what is read, what is refused and with which words, and that nothing is written."""

import errno
import gzip
import hashlib
import os
import random
import threading
import zipfile

import pytest

from forensics import evidence
from forensics.evidence import find_segments, hash_disk_image, open_disk_image, open_evidence
from parsers.errors import CtrForensicsError, EvidenceError


def content(size, seed=1):
    return random.Random(seed).randbytes(size)


def split(folder, data, names, size):
    for index, name in enumerate(names):
        (folder / name).write_bytes(data[index * size : (index + 1) * size if index + 1 < len(names) else None])


@pytest.mark.parametrize(
    "names",
    [
        ("disk.img",),
        ("disk.001", "disk.002", "disk.003"),
        ("disk.000", "disk.001", "disk.002", "disk.003"),
        ("disk.00", "disk.01"),
        ("disk.dd.aa", "disk.dd.ab", "disk.dd.ac"),
        ("disk.aaa", "disk.aab"),
    ],
)
def test_any_segment_opens_the_whole(tmp_path, names):
    data = content(10_000)
    split(tmp_path, data, names, 4096 if len(names) < 4 else 2048)
    (tmp_path / "disk.log").write_text("not a segment")
    (tmp_path / "disk.dd.txt").write_text("not a segment")
    for name in names:
        with open_disk_image(tmp_path / name) as disk:
            assert [path.name for path in disk.paths] == list(names)
            assert (disk.name, disk.size) == (names[0], len(data))
            assert disk.read(0, 1 << 20) == data
            for offset, size in ((0, 1), (4095, 2), (4000, 5000), (9999, 1), (9999, 100), (2047, 4097)):
                assert disk.read(offset, size) == data[offset : offset + size]
            assert (disk.read(10_000, 1), disk.read(-1, 5), disk.read(5, 0)) == (b"", b"", b"")
            assert (disk.locate(9999), disk.locate(10_000), disk.locate(-1)) == (9999, None, None)


def test_ftk_goes_on_with_a_fourth_digit(tmp_path):
    names = [f"d.{number:03d}" for number in range(1, 1002)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode().ljust(512))
    assert [path.name for path in find_segments(tmp_path / "d.1000")] == names


@pytest.mark.parametrize(
    ("there", "given", "missing"),
    [
        (("d.001", "d.003"), "d.001", "d.002"),
        (("d.001", "d.003"), "d.003", "d.002"),
        (("d.002", "d.003"), "d.003", "d.001"),
        (("d.003",), "d.003", "d.001"),
        (("d.aa", "d.ac"), "d.aa", "d.ab"),
        (("d.ab", "d.ac"), "d.ac", "d.aa"),
    ],
)
def test_a_missing_segment_is_named(tmp_path, there, given, missing):
    split(tmp_path, content(2048), there, 512)
    with pytest.raises(EvidenceError, match=rf"{missing}: this segment .* is missing"):
        open_disk_image(tmp_path / given)


@pytest.mark.parametrize(
    "name",
    ["disk.img", "disk.dd", "disk.10", "disk.vhd", "2024.01.15", "disk", "disk.raw2", "x.\N{SUPERSCRIPT TWO}\N{SUPERSCRIPT TWO}"],
)
def test_a_file_of_its_own_is_no_segment(tmp_path, name):
    for other in (name, "disk.log", "disk.txt", "notes.01"):
        (tmp_path / other).write_bytes(content(512))
    assert find_segments(tmp_path / name) == (tmp_path / name,)


def test_a_middle_segment_of_another_length(tmp_path):
    for name, size in (("d.001", 1024), ("d.002", 512), ("d.003", 1024)):
        (tmp_path / name).write_bytes(content(size))
    with pytest.raises(EvidenceError, match=r"d\.002: is 512 bytes long, but d\.001 1024"):
        open_disk_image(tmp_path / "d.001")


PACKED = {"zstd": b"\x28\xb5\x2f\xfd", "gzip": gzip.compress(bytes(99)), "xz": b"\xfd7zXZ\0", "bzip2": b"BZh9"}
OTHERS = {"Android sparse": b"\x3a\xff\x26\xed", "AFF": b"AFF10\r\n\0", "Parallels": b"WithoutFreeSpace"}


@pytest.mark.parametrize("name", [*PACKED, *OTHERS])
def test_other_formats_are_named_with_what_to_do(tmp_path, name):
    magic, remedy = (PACKED[name], "--unpack") if name in PACKED else (OTHERS[name], "convert it first")
    (tmp_path / "disk.img").write_bytes(magic.ljust(4096, b"\0"))
    with pytest.raises(EvidenceError) as caught:
        open_disk_image(tmp_path / "disk.img")
    assert name in str(caught.value)
    assert remedy in str(caught.value)


def test_aff4_is_told_from_other_zip_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "disk.aff4", "w") as volume:
        volume.comment = b"aff4://685e15cc-d0fb-4dbc-ba47-48117fc77044"
        volume.writestr("container.description", volume.comment)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("disk.img", bytes(4096))
    assert "AFF4" in problem(tmp_path / "disk.aff4")[1]
    assert "export it first" in problem(tmp_path / "disk.aff4")[1]
    assert "unpack it first: unzip" in problem(tmp_path / "other.zip")[1]


def problem(path):
    with pytest.raises(CtrForensicsError) as caught:
        open_disk_image(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return caught.value.exit_code, str(caught.value)


def test_what_cannot_be_opened_is_one_clear_line(tmp_path):
    (tmp_path / "empty.img").touch()
    (tmp_path / "short.img").write_bytes(b"x" * 511)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop.img").symlink_to("loop.img")
    assert problem(tmp_path / "none.img") == (2, f"{tmp_path}/none.img: no such disk image; check the path")
    assert problem(tmp_path / "short.img" / "x")[0] == 2
    assert problem(tmp_path / "fifo")[0] == 2
    assert problem(tmp_path / "loop.img")[0] == 1
    assert problem(tmp_path / "empty.img") == (1, f"{tmp_path}/empty.img: is empty; it holds no disk image")
    assert problem(tmp_path / "short.img")[1].endswith("is 511 bytes long, too short for a disk image")


@pytest.fixture
def as_somebody(tmp_path):
    """This process without root's rights, in a directory that everybody may enter."""
    if os.geteuid() != 0:
        yield
        return
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    os.setegid(65534)
    os.seteuid(65534)
    yield
    os.seteuid(0)
    os.setegid(0)


def test_reads_without_write_permission_and_leaves_no_trace(tmp_path, request):
    path = tmp_path / "disk.img"
    path.write_bytes(content(3 << 20))
    path.chmod(0o444)
    closed = tmp_path / "closed.img"
    closed.write_bytes(content(512))
    closed.chmod(0o000)
    os.utime(path, ns=(10**18, 10**18 + 1))  # an access before the last change: the next one would be noted
    before = path.stat()
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    os.utime(path, ns=(10**18, 10**18 + 1))
    with open_disk_image(path) as disk:
        assert hash_disk_image(disk, lambda done: None) == {"sha256": expected}
    after = path.stat()
    assert (after.st_atime_ns, after.st_mtime_ns, after.st_size) == (10**18, before.st_mtime_ns, before.st_size)
    request.getfixturevalue("as_somebody")
    with open_disk_image(path) as disk:
        assert hash_disk_image(disk, lambda done: None) == {"sha256": expected}
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    code, line = problem(closed)
    assert code == 1
    assert "permission denied" in line


def test_hash_of_segments_is_that_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "HASH_CHUNK", 1000)
    data = content(12_345)
    split(tmp_path, data, ("d.001", "d.002", "d.003"), 5000)
    done = []
    with open_disk_image(tmp_path / "d.002") as disk:
        assert hash_disk_image(disk, done.append) == {"sha256": hashlib.sha256(data).hexdigest()}
    assert sum(done) == len(data)
    assert len(done) == 13


@pytest.mark.parametrize("bad", [0, 512, 4096 * 3 + 512, 1024 * 1024 - 512])
def test_an_unreadable_sector_is_told_by_its_offset(tmp_path, monkeypatch, bad):
    path = tmp_path / "disk.img"
    data = content(1 << 20)
    path.write_bytes(data)
    pread = os.pread

    def failing(descriptor, size, offset):
        if offset < bad + 512 and offset + size > bad:
            raise OSError(errno.EIO, "Input/output error")
        return pread(descriptor, size, offset)

    with open_disk_image(path) as disk:
        monkeypatch.setattr(os, "pread", failing)
        with pytest.raises(EvidenceError, match=f"cannot be read at byte {bad} .*Input/output error"):
            disk.read(0, 1 << 20)
        with pytest.raises(EvidenceError, match=f"at byte {bad} "):
            disk.read(bad + 3, 5)
        assert disk.read(bad + 512, 4096) == data[bad + 512 : bad + 512 + 4096]


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(content(8192))
    with open_disk_image(path) as disk:
        os.truncate(path, 5000)
        with pytest.raises(EvidenceError, match="became shorter"):
            disk.read(4096, 4096)


def test_many_threads_read_at_once(tmp_path):
    data = content(1 << 20)
    split(tmp_path, data, ("d.001", "d.002"), 600_000)
    wrong = []

    def read(disk, seed):
        numbers = random.Random(seed)
        for _ in range(300):
            offset, size = numbers.randrange(len(data)), numbers.randrange(100_000)
            if disk.read(offset, size) != data[offset : offset + size]:
                wrong.append((offset, size))

    with open_disk_image(tmp_path / "d.001") as disk:
        threads = [threading.Thread(target=read, args=(disk, seed)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_holes_of_the_files_are_known_to_be_zeros(tmp_path):
    """Where a file system tells of no holes, nothing is passed over."""
    size, data = 1 << 20, {0: b"begin", 700_000: b"middle", (3 << 20) - 9: b"close"}
    for number in range(3):
        with (tmp_path / f"d.{number + 1:03}").open("wb") as file:
            file.truncate(size)
            for offset, text in data.items():
                if offset // size == number:
                    file.seek(offset % size)
                    file.write(text)
    with open_disk_image(tmp_path / "d.001") as disk:
        for start in (0, 4096, 699_999, 700_000, 900_000, size, 2 * size - 1, 2 * size, disk.size - 9, disk.size - 1):
            found = disk.data_from(start)
            assert start <= found <= disk.size
            assert not any(disk.read(start, found - start))
        assert disk.data_from(0) == 0
        assert disk.data_from(700_003) <= 700_003 or not any(disk.read(700_003, 10))


def test_evidence_of_several_disks_tells_its_holes(tmp_path):
    for name in ("a.img", "b.img"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 20)
            file.seek((1 << 20) - 1)
            file.write(name[:1].encode())
    with open_evidence([tmp_path / "a.img", tmp_path / "b.img"]) as evidence:
        for start in (0, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 5, (2 << 20) - 1):
            found = evidence.data_from(start)
            assert start <= found < 2 << 20
            assert not any(evidence.read(start, found - start))
