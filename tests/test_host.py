"""What a host says of itself, and which volume it mounts where."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.host import Host, mount_points, read_host
from forensics.source import Buffer
from forensics.volume import Volume
from parsers import host_files
from support.memory_filesystem import DamagedFilesystem, MemoryFilesystem

OS_RELEASE = b'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\n'
MACHINE_ID = "5d1f6f0c4d2b4a0bb0a1d6c0f3e2a1b0"


def boot_record(kind, release, user=b"reboot"):
    return struct.pack("<hxxi32s4s32s256s4siii16s20x", kind, 0, b"~", b"~~", user, release, bytes(4), 0, 1, 2, bytes(16))


def debian():
    """A merged-/usr host, whose files in /etc are links."""
    return {
        "bin": "usr/bin",
        "lib": "usr/lib",
        "etc": {
            "hostname": b"# made by hand\nweb-7\n",
            "os-release": "../usr/lib/os-release",
            "machine-id": MACHINE_ID.encode() + b"\n",
            "localtime": "/usr/share/zoneinfo/Europe/Vienna",
            "timezone": b"Etc/UTC\n",
            "fstab": b"UUID=aaaa / ext4 errors=remount-ro 0 1\n",
            "systemd": {
                "system": {"var-lib-docker.mount": b"[Unit]\nWhat=no\n[Mount]\n# x\nWhat=LABEL=docker\nWhere=/var/lib/docker\n"}
            },
        },
        "usr": {"lib": {"os-release": OS_RELEASE, "modules": {"6.1.0-9-amd64": {}, "6.1.0-28-amd64": {}, "5.10.0-99": {}}}},
        "var": {
            "log": {"wtmp": boot_record(2, b"6.1.0-17-amd64") + boot_record(2, b"6.1.0-21-amd64") + boot_record(7, b"10.0.0.9")}
        },
    }


def test_a_host_of_today():
    fs = MemoryFilesystem(debian())
    host = read_host(fs, 3)
    assert host == Host(
        3,
        "web-7",
        "Debian GNU/Linux 12 (bookworm)",
        "6.1.0-21-amd64",
        "Europe/Vienna",
        MACHINE_ID,
        (
            host_files.FstabEntry("UUID=aaaa", "/", "ext4", "errors=remount-ro"),
            host_files.FstabEntry("LABEL=docker", "/var/lib/docker", None, None),
        ),
    )
    assert fs.problems == []


def test_where_facts_come_from_when_the_first_place_has_none():
    tree = debian()
    del tree["var"]["log"]["wtmp"]
    tree["etc"]["localtime"] = b"TZif2"
    tree["etc"]["machine-id"] = b"uninitialized\n"
    tree["etc"]["os-release"] = "/gone"
    tree["var"]["lib"] = {"dbus": {"machine-id": MACHINE_ID.encode()}}
    host = read_host(MemoryFilesystem(tree), 1)
    facts = (host.os, host.kernel, host.timezone, host.machine_id)
    assert facts == ("Debian GNU/Linux 12 (bookworm)", "6.1.0-28-amd64", "Etc/UTC", MACHINE_ID)


@pytest.mark.parametrize(
    "tree", [{}, {"etc": {}}, {"etc": {"docker": {}}}, {"etc": b"a file"}, {"etc": "/nowhere"}, {"etc": "etc"}]
)
def test_no_host(tree):
    assert read_host(MemoryFilesystem(tree), 1) is None


def test_damage_costs_one_fact_and_is_told():
    fs = MemoryFilesystem(debian())
    etc = fs.find(fs.root, b"etc")
    fs.problems.clear()
    host = read_host(DamagedFilesystem(fs, broken=[fs.find(etc, b"hostname")]), 1)
    assert (host.hostname, host.machine_id) == (None, MACHINE_ID)
    assert [(problem.what, problem.where) for problem in fs.problems] == [("host", "/etc/hostname")]


def test_an_absurd_size_is_not_believed():
    tree = debian()
    tree["etc"]["hostname"] = b"a\n" * (1 << 20)
    fs = MemoryFilesystem(tree)
    assert read_host(fs, 1).hostname is None
    assert "more than the" in fs.problems[0].error


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (OS_RELEASE.decode(), "Debian GNU/Linux 12 (bookworm)"),
        ("NAME=Alpine\nVERSION='3.19 x'\n", "Alpine 3.19 x"),
        ('PRETTY_NAME="a \\"b\\" \\$c"\n', 'a "b" $c'),
        ("PRETTY_NAME=\n", None),
        ("", None),
    ],
)
def test_os_release(text, name):
    assert host_files.os_release(text) == name


def test_fstab_with_all_that_it_may_hold():
    text = "# /etc/fstab\n\nUUID=1 / ext4 rw 0 1\n/dev/sdb1\t/mnt/with\\040space\tauto\n  #x y\nlonely\nLABEL=a\\134b /b\n"
    assert [(entry.spec, entry.file, entry.vfstype, entry.options) for entry in host_files.fstab(text)] == [
        ("UUID=1", "/", "ext4", "rw"),
        ("/dev/sdb1", "/mnt/with space", "auto", None),
        ("LABEL=a\\b", "/b", None, None),
    ]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=2000))
def test_any_bytes_in_the_files(data):
    text = data.decode("utf-8", "backslashreplace")
    host_files.os_release(text)
    host_files.fstab(text)
    host_files.mount_unit("[Mount]\n" + text)
    host_files.last_booted_kernel(data)
    host_files.newest_kernel([text, "6" * 5000, "6.1"])


# -- mounts -----------------------------------------------------------------------------------------------------------------


def volume(number, scheme="gpt", name=None, label=None, uuid=None):
    return Volume(number, scheme, name or f"p{number}", 0, 0, None, label, uuid, Buffer("p", b""))


def points(fstab, volumes, root=2):
    host = Host(root, "h", None, None, None, None, host_files.fstab(fstab))
    return mount_points(host, volumes)


ROOT = (volume(2), MemoryFilesystem({}, uuid="c2d2f1cd-12bd-4e21-9fef-15071b432a46"))


@pytest.mark.parametrize(
    "spec",
    [
        "UUID=47BA3F88-820f-46bc-b460-c25b37b6eca5",
        'UUID="47ba3f88-820f-46bc-b460-c25b37b6eca5"',
        "/dev/disk/by-uuid/47ba3f88-820f-46bc-b460-c25b37b6eca5",
        "LABEL=data",
        "/dev/disk/by-label/data",
        "PARTUUID=6A1323F1-ea40-496f-8c3f-614f376de837",
        "PARTLABEL=Docker\\040data",
        "/dev/disk/by-partlabel/Docker\\134x20data",
        "/dev/sda3",
        "/dev/nvme0n1p3",
    ],
)
def test_a_data_partition_by_any_name(spec):
    data = volume(3, label="Docker data", uuid="6a1323f1-ea40-496f-8c3f-614f376de837")
    fs = MemoryFilesystem({}, uuid="47ba3f88-820f-46bc-b460-c25b37b6eca5", label="data")
    fstab = f"UUID=c2d2f1cd-12bd-4e21-9fef-15071b432a46 / ext4\n{spec} /var/lib/docker/ ext4\n"
    assert points(fstab, [ROOT, (data, fs)]) == {2: "/", 3: "/var/lib/docker"}


@pytest.mark.parametrize("spec", ["/dev/mapper/my--vg-docker--data", "/dev/my-vg/docker-data"])
def test_a_logical_volume_by_any_name(spec):
    assert points(f"{spec} /srv xfs\n", [ROOT, (volume(7, "lvm", "my-vg/docker-data"), None)]) == {2: "/", 7: "/srv"}


@pytest.mark.parametrize(
    ("fstab", "expected"),
    [
        ("UUID=x / ext4\n/dev/sdb1 /data ext4\n", {2: "/", 3: "/data"}),  # the first disk's p1 has no filesystem
        ("/dev/sda2 / ext4\n/dev/sdb1 /data ext4\n", {2: "/", 3: "/data"}),
        ("/dev/sdb2 / ext4\n/dev/sda1 /data ext4\n", {2: "/", 3: "/data"}),
        ("UUID=x / ext4\n/dev/sdb /data ext4\n", {2: "/"}),  # which has a partition table
        ("/dev/sda2 / ext4\n/dev/sdb1 /data ext4\n/dev/sdc1 /more ext4\n", {2: "/"}),  # which of the two is here?
    ],
)
def test_a_disk_beside_the_one_that_the_root_is_on(fstab, expected):
    data = (volume(3, name="d2p1"), MemoryFilesystem({}))
    assert points(fstab, [(volume(1), None), ROOT, data]) == expected


def test_encrypted_volumes_and_arrays_have_names_of_their_own():
    tree = {"etc": {"fstab": b"/dev/mapper/data /data xfs\n/dev/md0 /raid ext4\n/dev/md/more /more ext4\n",
                    "crypttab": b"# name device\nother UUID=2222 none\ndata UUID=ABCD-1 /root/key luks\nshort\n"}}  # fmt: skip
    host = read_host(MemoryFilesystem(tree), 2)
    volumes = [volume(3, "luks", "p5-luks", uuid="abcd-1"), volume(4, "md", "0"), volume(5, "md", "more")]
    assert mount_points(host, [ROOT, *((each, None) for each in volumes)]) == {2: "/", 3: "/data", 4: "/raid", 5: "/more"}


def test_a_whole_disk_beside_the_one_that_the_root_is_on():
    whole = (volume(3, "none", "disk2"), MemoryFilesystem({}))
    assert points("UUID=x / ext4\n/dev/sdb /data ext4\n", [(volume(1), None), ROOT, whole]) == {2: "/", 3: "/data"}


@pytest.mark.parametrize(
    ("fstab", "expected"),
    [
        ("/dev/sda2 / ext4\n/dev/sda3 /data ext4\n/dev/sdb3 /other ext4\n", {2: "/", 3: "/data"}),
        ("/dev/sdb2 / ext4\n/dev/sdb3 /data ext4\n/dev/sda3 /other ext4\n", {2: "/", 3: "/data"}),
        ("/dev/sda1 / ext4\n/dev/sda3 /data ext4\n", {2: "/"}),  # not this disk: / is on another partition
        ("UUID=x / ext4\n/dev/sda3 /data ext4\n/dev/sdb3 /other ext4\n", {2: "/"}),  # which of them is this disk?
        ("/dev/sda3 none swap\n", {2: "/"}),
        ("/dev/sda99999999999999999999 /data ext4\n", {2: "/"}),
    ],
)
def test_which_disk_is_this_one(fstab, expected):
    assert points(fstab, [ROOT, (volume(3), None)]) == expected
