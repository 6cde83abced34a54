"""PAX members, read back by Python's tarfile and by GNU tar."""

import io
import shutil
import subprocess
import tarfile
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.pax import Member, decimal, header, padding, trailer

name_bytes = st.binary(min_size=1, max_size=300).filter(lambda raw: b"\0" not in raw and raw.strip(b"/") and b"//" not in raw)
names = name_bytes.map(lambda raw: b"n" + raw.strip(b"/") + b"n")
xattr_names = st.binary(min_size=1, max_size=40).filter(lambda raw: not set(raw) & set(b"\0=\n%"))
members = st.builds(
    Member,
    name=names,
    type=st.sampled_from("fdlcbph"),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    size=st.just(0),
    mtime_ns=st.none() | st.integers(-(2**90), 2**90),
    atime_ns=st.none() | st.integers(-(2**63), 2**63),
    ctime_ns=st.none() | st.integers(-(2**63), 2**63),
    link=names,
    device=st.tuples(st.integers(0, 2**21 - 1), st.integers(0, 2**21 - 1)),
    xattrs=st.dictionaries(xattr_names.map(lambda raw: b"user." + raw), st.binary(max_size=300), max_size=4),
)
NS = 1_700_000_000_123_456_789
TYPES = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "c": tarfile.CHRTYPE, "b": tarfile.BLKTYPE,
         "p": tarfile.FIFOTYPE, "h": tarfile.LNKTYPE}  # fmt: skip


def archive(*wanted):
    data = b"".join(map(header, wanted))
    return data + trailer(len(data))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(members)
def test_python_reads_back_every_field(member):
    with tarfile.open(fileobj=io.BytesIO(archive(member)), encoding="utf-8", errors="surrogateescape") as tar:
        (read,) = tar.getmembers()
    assert read.name.encode("utf-8", "surrogateescape") == member.name
    assert (read.type, read.mode, read.uid, read.gid) == (TYPES[member.type], member.mode, member.uid, member.gid)
    if member.type in "lh":
        assert read.linkname.encode("utf-8", "surrogateescape") == member.link
    if member.type in "cb":
        assert (read.devmajor, read.devminor) == member.device
    for key, ns in (("mtime", member.mtime_ns), ("atime", member.atime_ns), ("ctime", member.ctime_ns)):
        assert (None if ns is None else Decimal(ns).scaleb(-9)) == (Decimal(read.pax_headers[key]) if ns is not None else None)
    found = {k: v for k, v in read.pax_headers.items() if k.startswith("SCHILY.xattr.")}
    assert {k[13:].encode("utf-8", "surrogateescape"): v.encode("utf-8", "surrogateescape") for k, v in found.items()} == dict(
        member.xattrs
    )


def test_numbers_beyond_the_old_fields():
    far = Member(b"far", "c", 0, 2**31, 2**32 - 1, 2**40, device=(2**25, 2**26))
    with tarfile.open(fileobj=io.BytesIO(header(far) + trailer(0))) as tar:
        read = tar.next()
    assert (read.uid, read.gid, read.size) == (2**31, 2**32 - 1, 2**40)
    assert (read.pax_headers["SCHILY.devmajor"], read.pax_headers["SCHILY.devminor"]) == (str(2**25), str(2**26))


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, b"0"), (-1, b"-0.000000001"), (10**9, b"1"), (-(10**9), b"-1"), (15 * 10**8, b"1.500000000"), (2**80, None)],
)
def test_times_are_exact(ns, text):
    assert Decimal(decimal(ns).decode()) * 10**9 == ns
    assert text is None or decimal(ns) == text


def test_an_archive_is_whole_records():
    for size in (0, 1, 511, 512, 513, 9216, 10240):
        assert (size + len(padding(size)) + len(trailer(size + len(padding(size))))) % 10240 == 0


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs tar")
def test_gnu_tar_reads_it_without_a_word(tmp_path):
    content = b"content"
    plain = [
        Member(b"./", "d", 0o755, 0, 0, mtime_ns=-1),
        Member(b"a/" * 80 + b"long", "f", 0o4755, 2**31, 5, len(content), NS, 5, 6, xattrs={b"user.x": b"\0\xff\n="}),
        Member("ä\n".encode(), "l", 0o777, 0, 0, link=b"t" * 200),
        Member(b"n" * 100, "c", 0o600, 0, 0, device=(7, 300)),
        Member(b"m" * 101, "p", 0o1777, 1, 2),
    ]  # fmt: skip
    blocks = b"".join(header(m) + (content + padding(len(content)) if m.type == "f" else b"") for m in plain)
    path = tmp_path / "x.tar"
    path.write_bytes(blocks + trailer(len(blocks)))
    done = subprocess.run(["tar", "-tvf", path, "--full-time"], capture_output=True, check=True, env={"TZ": "UTC", "LC_ALL": "C"})
    assert done.stderr == b""
    assert done.stdout.count(b"\n") == len(plain)
    assert b"2023-11-14 22:13:20.123456789" in done.stdout
    assert b"7,300" in done.stdout
