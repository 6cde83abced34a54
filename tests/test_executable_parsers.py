"""ELF headers, file capabilities, account files and package databases: against what the system's own tools make, and damaged."""

import base64
import hashlib
import os
import shutil
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.account_files import parse_authorized_keys, parse_group, parse_passwd, parse_shadow, parse_sudoers
from parsers.elf import has_symbol_table, parse_elf_header
from parsers.errors import FormatError
from parsers.file_capabilities import parse_file_capabilities
from parsers.package_lists import apk_installed, dpkg_conffiles, dpkg_list, dpkg_md5sums, python_record


def test_the_header_of_a_real_program():
    with open(os.path.realpath(sys.executable), "rb") as file:
        header = parse_elf_header(file.read(64))
    assert header.type in ("program", "library or program")
    assert header.bits == struct.calcsize("P") * 8
    assert header.little_endian == (sys.byteorder == "little")


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("strip")), reason="needs gcc and strip")
def test_symbols_are_seen_until_strip_takes_them(tmp_path):
    (tmp_path / "a.c").write_text("int main(void) { return 0; }")
    subprocess.run(["gcc", "-o", tmp_path / "a", tmp_path / "a.c"], check=True)

    def told():
        data = (tmp_path / "a").read_bytes()
        header = parse_elf_header(data)
        return has_symbol_table(header, data[header.section_table :])

    assert told()
    subprocess.run(["strip", tmp_path / "a"], check=True)
    assert not told()


@pytest.mark.skipif(not shutil.which("setcap") or os.geteuid() != 0, reason="needs setcap, and root")
def test_capabilities_as_setcap_writes_them(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"")
    if subprocess.run(["setcap", "cap_net_raw,cap_setuid+ep cap_bpf+i", file], check=False).returncode:
        pytest.skip("this filesystem keeps no file capabilities")
    found = parse_file_capabilities(os.getxattr(file, "security.capability"))
    assert (found.permitted, found.inheritable, found.effective, found.root_id) == (("SETUID", "NET_RAW"), ("BPF",), True, None)


def test_capabilities_of_every_revision():
    one = parse_file_capabilities(struct.pack("<III", 0x01000000, 1 << 21, 0))
    assert (one.permitted, one.effective) == (("SYS_ADMIN",), False)
    three = parse_file_capabilities(struct.pack("<IIIIII", 0x03000001, 0, 0, 1 << 7, 0, 100_000))
    assert (three.permitted, three.root_id) == (("BPF",), 100_000)
    assert parse_file_capabilities(struct.pack("<IIIII", 0x02000000, 0, 0, 1 << 31, 0)).permitted == ("63",)


def test_account_files():
    accounts = parse_passwd(b"root:x:0:0:r:/root:/bin/sh\nroot:x:5:5::/:/bin/x\n\xff:x:1:1::/:\nbad:x:-1:0::/:/b\nshort:x:1\n")
    assert {name: (a.uid, a.may_log_in) for name, a in accounts.items()} == {"root": (0, True), "\\xff": (1, True)}
    assert parse_shadow(b"a:!:1::\nb::\n:x\n") == {"a": "!", "b": ""}
    assert parse_group(b"sudo:x:27:eve,adam\nx:y\n") == {"sudo": ("eve", "adam")}
    assert parse_sudoers(
        b"# x=1\nDefaults a=b\nUser_Alias A = b\neve  ALL=(ALL) \\\n NOPASSWD: ALL # why\n@includedir /x=y\n"
    ) == ["eve ALL=(ALL) NOPASSWD: ALL"]
    keys = parse_authorized_keys(
        b'# ssh-rsa AAAA no\nssh-rsa AAAA me@home\ncommand="echo ssh-x",no-pty ssh-ed25519 BBBB\nssh-rsa\n'
    )
    assert [(key.type, key.comment, key.options) for key in keys] == [("ssh-rsa", "me@home", False), ("ssh-ed25519", None, True)]


@pytest.mark.skipif(not os.path.exists("/var/lib/dpkg/info/base-files.list"), reason="needs Debian")
def test_dpkgs_own_database():
    with open("/var/lib/dpkg/info/base-files.list", "rb") as file:
        paths = set(dpkg_list(file.read()))
    with open("/var/lib/dpkg/info/base-files.md5sums", "rb") as file:
        sums = dict(dpkg_md5sums(file.read()))
    assert b"/etc/debian_version" in paths
    assert sums.keys() <= paths
    path = b"/usr/share/base-files/profile"
    with open(path, "rb") as file:
        assert hashlib.md5(file.read()).hexdigest() == sums[path]
    with open("/var/lib/dpkg/status", "rb") as file:
        assert ("base-files", b"/etc/debian_version") in {(package, path) for package, path, _ in dpkg_conffiles(file.read())}


def test_apk_and_python_databases():
    digest = base64.b64encode(hashlib.sha1(b"x").digest())
    text = b"P:musl\nV:1\nF:lib\nR:ld.so\na:0:0:755\nZ:Q1" + digest + b"\nR:two\n\nP:b\nF:\nR:root\nZ:Q2zz\n"
    assert list(apk_installed(text)) == [
        ("musl", b"/lib/ld.so", hashlib.sha1(b"x").hexdigest()), ("musl", b"/lib/two", None), ("b", b"/root", None),
    ]  # fmt: skip
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"x").digest()).rstrip(b"=")
    assert list(python_record(b'"a,b.py",sha256=' + digest + b",1\nRECORD,,\n")) == [
        (b"a,b.py", hashlib.sha256(b"x").hexdigest()), (b"RECORD", None),
    ]  # fmt: skip


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x7fELF\x02\x01", b"\x7fELF\x01\x02", b"\x01\0\0\x02", b"\x01\0\0\x03"]))
def test_damage_is_a_format_error(tail, head):
    data = head + tail
    for parse in (parse_elf_header, parse_file_capabilities):
        try:
            parsed = parse(data)
        except FormatError:
            continue
        if parse is parse_elf_header:
            has_symbol_table(parsed, data)


@given(st.binary(max_size=300) | st.text(":\nR:F:Z:Q1,\"'\\# =ALL", max_size=300).map(str.encode))
def test_text_files_take_any_bytes(data):
    for parse in (parse_passwd, parse_shadow, parse_group, parse_sudoers, parse_authorized_keys):
        parse(data)
    for each in (dpkg_list, dpkg_md5sums, dpkg_conffiles, apk_installed, python_record):
        list(each(data))
