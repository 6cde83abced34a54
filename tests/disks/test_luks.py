"""Encrypted volumes, as cryptsetup and qemu-img make them."""

import contextlib
import json
import random
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.evidence import open_evidence
from forensics.survey import survey
from forensics.volumes import find_volumes
from parsers import luks
from parsers.errors import CtrForensicsError, UnsupportedFormat
from support.cli import ask, run_cli
from support.disks import MIB, Disk, ext_superblock, put_gpt, run

SECRET = b"correct horse"
PLAIN = random.Random(9).randbytes(6 * MIB)
KINDS = {
    "argon2id": ("--pbkdf", "argon2id", "--pbkdf-memory", "32768", "--pbkdf-force-iterations", "4"),
    "argon2i, 4096-byte sectors": (
        *("--pbkdf", "argon2i", "--pbkdf-memory", "32768", "--pbkdf-force-iterations", "4", "--sector-size", "4096"),
    ),
    "pbkdf2, cbc-essiv": ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "-c", "aes-cbc-essiv:sha256", "-s", "256"),
    "pbkdf2, xts of 256 bits": (*("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "-s", "256", "--hash", "sha512"),),
}


def encrypted(folder, plain, options=KINDS["pbkdf2, xts of 256 bits"]):
    """A LUKS2 volume that cryptsetup made of these bytes, without a kernel's help."""
    path, key = folder / "volume", folder / "key"
    path.write_bytes(plain + bytes(32 * MIB))
    key.write_bytes(SECRET)
    run(
        *("cryptsetup", "reencrypt", "--encrypt", "--type", "luks2", "--reduce-device-size", "32M", "-q", "--batch-mode"),
        *("--key-file", key, *options, path),
    )
    return path.read_bytes()


def opened(raw, *secrets):
    volumes, gaps = find_volumes(Disk("disk.img", raw), secrets)
    return [volume for volume in volumes if volume.scheme == "luks"], volumes, gaps


@pytest.mark.parametrize("kind", KINDS)
def test_what_cryptsetup_encrypted(tmp_path, kind):
    raw = encrypted(tmp_path, PLAIN, KINDS[kind])
    (inside,), volumes, gaps = opened(raw, b"wrong", SECRET)
    assert gaps == ()
    assert inside.source.read(0, len(PLAIN)) == PLAIN
    for offset, size in ((1, 1), (511, 2), (4095, 70_000), (len(PLAIN) - 5, 5)):
        assert inside.source.read(offset, size) == PLAIN[offset : offset + size]
    assert volumes[0].holds == "LUKS2, opened as volume 2"
    assert (inside.type, inside.label) == ("LUKS2", None)


def test_without_the_right_secret_it_stays_closed(tmp_path):
    raw = encrypted(tmp_path, PLAIN)
    none, _, gaps = opened(raw, b"wrong")
    assert none == []
    assert [gap.error for gap in gaps] == ["no passphrase or key that was given opens it"]
    assert [gap.artefact for gap in survey(Disk("disk.img", raw), secrets=(b"wrong",)).gaps] == ["LUKS volume"]
    closed = survey(Disk("disk.img", raw))
    assert [partition.state for partition in closed.partitions] == ["unsupported"]
    assert "--passphrase-file" in closed.gaps[0].error


def test_the_copy_of_a_damaged_header_serves(tmp_path):
    raw = bytearray(encrypted(tmp_path, PLAIN))
    raw[4096 + 10] ^= 1
    (inside,), _, _ = opened(bytes(raw), SECRET)
    assert inside.source.read(0, MIB) == PLAIN[:MIB]
    second = raw.index(b"SKUL\xba\xbe")
    raw[second + 4096 + 10] ^= 1
    none, _, gaps = opened(bytes(raw), SECRET)
    assert none == []
    assert "damaged" in gaps[0].error


def encrypted_by_qemu(plain, volume):
    """cryptsetup encrypts no partition tables; qemu-img now and then finds no CPU time spent and gives up (crypto/pbkdf.c)."""
    secret = ("--object", f"secret,id=key,data={SECRET.decode()}", "-o", "key-secret=key,iter-time=10")
    for _ in range(20):
        try:
            run("qemu-img", "convert", "-f", "raw", "-O", "luks", *secret, plain, volume)
        except AssertionError as error:
            if "accurate CPU usage" not in str(error):
                raise
        else:
            return volume.read_bytes()
    pytest.skip("qemu-img cannot tell its CPU time here")


def test_an_encrypted_disk_has_its_partitions(tmp_path):
    disk = bytearray(PLAIN)
    put_gpt(disk, [(2048, 4095, "first"), (4096, 8191, "second")])
    (tmp_path / "plain").write_bytes(disk)
    raw = encrypted_by_qemu(tmp_path / "plain", tmp_path / "volume")
    start = luks.parse_luks(raw).segment.offset
    (inside,), volumes, gaps = opened(raw, SECRET)
    assert gaps == ()
    assert inside.holds == "partitioned, volumes 3 to 4"
    assert [(v.name, v.offset) for v in volumes[2:]] == [("disk-luks-part1", start + MIB), ("disk-luks-part2", start + 2 * MIB)]
    assert volumes[3].source.read(0, MIB) == PLAIN[2 * MIB : 3 * MIB]


def test_carve_and_cat_on_an_encrypted_disk(tmp_path, sample):
    """A whole host's filesystem in LUKS: the key is asked for each time, and never kept."""
    plain = sample("podhost").read_bytes()
    (tmp_path / "disk.img").write_bytes(encrypted(tmp_path, plain))
    (tmp_path / "pass").write_bytes(SECRET + b"\n")
    case, key = tmp_path / "case.db", ("--passphrase-file", tmp_path / "pass")
    run_cli("carve", tmp_path / "disk.img", "-o", case, *key, "--hash", "none")
    (row,) = ask(case, "SELECT container_id FROM containers WHERE rootfs = 'complete' ORDER BY container_id LIMIT 1")
    (file,) = ask(
        case, f"SELECT path, size FROM files WHERE container_id = '{row['container_id']}' AND type = 'f' AND size > 0 LIMIT 1"
    )
    words = ("cat", case, row["container_id"], file["path"])
    assert len(run_cli(*words, *key)) == file["size"]
    assert SECRET not in case.read_bytes()
    run_cli(*words, expect=2)


def volumes_of_files(*paths):
    with open_evidence(paths) as evidence:
        volumes, gaps = find_volumes(evidence, (SECRET,))
        inside = [volume.source.read(0, len(PLAIN)) for volume in volumes if volume.scheme == "luks"]
    return inside, {volume.number: volume.holds for volume in volumes}, gaps


def test_a_header_that_stands_apart_is_given_as_another_disk(tmp_path):
    plain = bytes(1024) + ext_superblock(len(PLAIN) // 4096) + PLAIN[2048:]
    disk, header, key = tmp_path / "disk", tmp_path / "header", tmp_path / "key"
    disk.write_bytes(plain)
    key.write_bytes(SECRET)
    kind = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
    run(
        *("cryptsetup", "reencrypt", "--encrypt", "--type", "luks2", "--header", header, "-q", "--batch-mode"),
        *("--key-file", key, *kind, disk),
    )
    assert disk.read_bytes()[:4096] != plain[:4096]
    inside, holds, gaps = volumes_of_files(disk, header)
    assert (inside, gaps) == ([plain], ())
    assert holds == {1: "LUKS2, opened as volume 3", 2: "LUKS2 header of volume 3", 3: None}
    none, _, gaps = volumes_of_files(header)
    assert none == []
    assert "give that disk as well" in gaps[0].error


def test_a_backup_opens_a_disk_whose_header_was_wiped(tmp_path):
    plain = bytes(1024) + ext_superblock(len(PLAIN) // 4096) + PLAIN[2048:]
    raw = encrypted(tmp_path, plain)
    start = luks.parse_luks(raw).segment.offset
    (tmp_path / "disk").write_bytes(bytes(start) + raw[start:])
    (tmp_path / "backup").write_bytes(raw[:start])
    inside, _, gaps = volumes_of_files(tmp_path / "disk", tmp_path / "backup")
    assert (inside, gaps) == ([plain], ())


@pytest.mark.parametrize(
    ("segments", "error"),
    [
        ({"0": {"type": "crypt", "integrity": {"type": "hmac(sha256)"}}}, r"with integrity \(hmac\(sha256\)\)"),
        ({"0": {"type": "crypt"}, "1": {"type": "crypt"}}, "several segments"),
        ({"0": {"type": "linear"}}, "several segments"),
    ],
)
def test_what_is_not_read_is_named(segments, error):
    document = {"keyslots": {}, "digests": {}, "config": {}, "segments": segments}
    with pytest.raises(UnsupportedFormat, match=error):
        luks._parse_v2({"uuid": b"", "label": b""}, json.dumps(document).encode())


def header_1(iterations=1000, stripes=4000, key_bytes=64):
    raw = luks.MAGIC + struct.pack(">H", 1) + b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0")
    raw += b"sha256".ljust(32, b"\0") + struct.pack(">II", 4096, key_bytes) + bytes(52) + struct.pack(">I", iterations)
    raw += b"11111111-2222-3333-4444-555555555555".ljust(40, b"\0")
    return (raw + struct.pack(">II32sII", luks.ENABLED, iterations, bytes(32), 8, stripes) * 8).ljust(MIB, b"\0")


def test_a_lying_header_costs_no_time():
    start = time.monotonic()
    for raw in (header_1(iterations=(1 << 32) - 1), header_1(stripes=(1 << 32) - 1), header_1(key_bytes=1 << 31)):
        with pytest.raises(CtrForensicsError):
            luks.parse_luks(raw)
    assert time.monotonic() - start < 1


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.integers(0, 800))
def test_any_damage_of_the_first_version_is_an_error_or_a_header(noise, at):
    raw = bytearray(header_1())
    raw[at : at + len(noise)] = noise
    with contextlib.suppress(CtrForensicsError):
        luks.parse_luks(bytes(raw))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["0", "luks2", "crypt", "pbkdf2", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["0", "type", "keyslots", "segments", "digests", "config", "af", "kdf"]), inner)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(JSON)
def test_any_json_in_the_second_version_is_an_error_or_a_header(document):
    with contextlib.suppress(CtrForensicsError):
        luks._parse_v2({"uuid": b"", "label": b""}, json.dumps(document).encode())
