"""Rules about what runs again by itself: cron, systemd, init, the dynamic linker, shells' start-up files, PAM, kernel modules."""

from __future__ import annotations

import re
from collections.abc import Iterator

from forensics.findings.changed_files import ChangedFile
from forensics.findings.commands_seen import MAX_LINE, suspicious
from forensics.findings.redact import quoted
from forensics.findings.rule import Rule, rule
from forensics.records import Finding

QUOTED_LINES = 10
_CRON = re.compile(
    rb"/etc/crontab|/etc/anacrontab|/etc/cron\.(?:d|hourly|daily|weekly|monthly)/[^/]+|/var/spool/(?:cron|at|anacron)/.+"
    rb"|/etc/periodic/[^/]+/[^/]+|/etc/crontabs/[^/]+"
)
_UNITS = re.compile(
    rb"(?:/etc|/usr/lib|/lib|/usr/local/lib|/run)/systemd/(?:system|user)/.*\.(?:service|timer|path|socket|target|mount)(?:/.*\.conf)?"
    rb"|/(?:root|home/[^/]+)/\.config/systemd/user/.+|/(?:etc|usr/lib|lib)/systemd/system-generators/.+"
)
_INIT = re.compile(
    rb"/etc/init\.d/[^/]+|/etc/rc\.local|/etc/rc\d?\.d/[^/]+|/etc/inittab|/etc/init/[^/]+\.conf|/etc/local\.d/[^/]+|/etc/runit/.+"
    rb"|/etc/sv/[^/]+/run|/etc/s6[^/]*/.+/(?:run|up)|/etc/supervisor(?:d?\.conf|/conf\.d/[^/]+|\.d/[^/]+)|/etc/xdg/autostart/.+"
    rb"|/etc/xinetd\.d/[^/]+|/etc/inetd\.conf|/etc/udev/rules\.d/[^/]+|/etc/update-motd\.d/[^/]+|/etc/apt/apt\.conf\.d/[^/]+"
    rb"|/etc/NetworkManager/dispatcher\.d/.+|/etc/network/if-[^/]+\.d/[^/]+|/docker-entrypoint\.d/[^/]+"
)
_SHELL = re.compile(
    rb"/etc/(?:profile|bash\.bashrc|bashrc|bash_profile|zshrc|zsh/[^/]+|csh\.[^/]+|environment|ksh\.kshrc)|/etc/profile\.d/[^/]+"
    rb"|/etc/bash_completion\.d/[^/]+|/(?:root|home/[^/]+|var/www|var/lib/[^/]+)/\.(?:bashrc|bash_profile|bash_login|bash_logout"
    rb"|bash_aliases|profile|zshrc|zprofile|zshenv|zlogin|kshrc|cshrc|login|ashrc|shrc|config/fish/.+|ssh/rc|ssh/environment|pam_environment)"
)
_PYTHON = re.compile(
    rb".*/(?:site|dist)-packages/(?:[^/]+\.pth|sitecustomize\.py|usercustomize\.py)|.*/python[0-9.]+/sitecustomize\.py"
)
_PAM_MODULE = re.compile(rb".*/security/pam_[^/]+\.so|/etc/pam\.d/.+/?pam_[^/]+\.so")
_MADE_BY_PACKAGES = re.compile(rb"/etc/pam\.d/common-[a-z-]+|/etc/systemd/system/.*\.wants/.*|/etc/rc\d\.d/.*|/etc/environment")
_HIJACKS = re.compile(
    rb"LD_PRELOAD|LD_LIBRARY_PATH=[^\n]*/(?:tmp|dev/shm)|PROMPT_COMMAND=.*(?:curl|wget|nc )|alias (?:sudo|su|ssh|passwd)="
)
_RUNS = re.compile(
    rb"(?:Exec(?:Start|StartPre|StartPost|Stop|Reload|Condition)\s{0,9}=|RUN\+?=|command\s{0,9}=|DPkg::|APT::Update::)"
)


def cron(file: ChangedFile) -> Iterator[Finding]:
    """Cron and at jobs."""
    if not _CRON.fullmatch(file.path) or not file.is_new_content or not file.size:
        return
    lines = _new_lines(file)
    jobs = [line for line in lines if not re.match(rb"\s*[A-Za-z_]+\s*=", line)]
    if file.name in (b".placeholder", b".SEQ") or not jobs:
        return
    yield from _weighed(file, "cron job", jobs)


def systemd(file: ChangedFile) -> Iterator[Finding]:
    """Units of systemd."""
    if not _UNITS.fullmatch(file.path):
        return
    if file.type == "l":
        if file.lower is None and file.target is not None and file.target.startswith((b"/tmp/", b"/var/tmp/", b"/dev/shm/")):
            yield file.finding("high", "systemd unit from a temporary place", f"-> {quoted(file.target)}", in_inode=True)
        return
    if file.is_new_content and file.size:
        yield from _weighed(file, "systemd unit", [line for line in _new_lines(file) if _RUNS.match(line)])


def init(file: ChangedFile) -> Iterator[Finding]:
    """Scripts of other init systems, and what else runs at certain moments."""
    if _INIT.fullmatch(file.path) and file.is_new_content and file.size:
        lines = _new_lines(file)
        if file.path.startswith((b"/etc/apt/", b"/etc/udev/")):
            lines = [line for line in lines if _RUNS.match(line) or b"RUN" in line or b"Invoke" in line]
            if not lines:
                return
        yield from _weighed(file, "start-up script", lines)


def preload(file: ChangedFile) -> Iterator[Finding]:
    """What the dynamic linker puts into every program."""
    if file.path == b"/etc/ld.so.preload" and file.type in "fl" and (file.head.strip() or file.type == "l"):
        lines = [line for line in file.head.split() if line not in file.lower_head.split()] or [file.target or b""]
        if file.type == "l" or file.is_new_content:
            yield file.finding(
                "high", "a library is put into every program", "; ".join(quoted(line) for line in lines[:QUOTED_LINES])
            )
    elif file.path.startswith((b"/etc/ld.so.conf", b"/etc/ld-musl-")) and file.is_new_content and file.packaged is None:
        odd = [
            line for line in _new_lines(file) if line.startswith((b"/tmp", b"/var/tmp", b"/dev/shm", b"/home")) or b"/." in line
        ]
        if odd:
            yield file.finding("high", "libraries are looked for in an odd place", "; ".join(quoted(line) for line in odd[:5]))


def shell_startup(file: ChangedFile) -> Iterator[Finding]:
    """Files that shells read when they start."""
    if not _SHELL.fullmatch(file.path) or not file.is_new_content or not file.size or file.packaged == "verified":
        return
    skeleton = _skeleton(file)
    lines = [line for line in _new_lines(file) if line not in skeleton]
    hijack = [line for line in lines if _HIJACKS.search(line)]
    if hijack:
        yield file.finding("high", "shell start-up file hijacks commands", "; ".join(quoted(line) for line in hijack[:5]))
    elif lines:
        yield from _weighed(file, "shell start-up file", lines, "low")


def pam(file: ChangedFile) -> Iterator[Finding]:
    """How PAM lets people in."""
    if file.type == "f" and _PAM_MODULE.fullmatch(file.path) and file.is_new_content:
        severity = {"verified": "info", "listed": "low"}.get(file.packaged or "", "high")
        what = "changed" if file.lower is not None else "new"
        yield file.finding(severity, f"{what} PAM module", file.package_words or "no package lists it")
    elif file.path.startswith((b"/etc/pam.d/", b"/etc/pam.conf")) and file.is_new_content and file.packaged != "verified":
        lines = _new_lines(file)
        loose = [line for line in lines if re.search(rb"sufficient\s+(?:\S*/)?pam_permit\.so|pam_exec\.so|nullok_secure", line)]
        loose = [line for line in loose if not (b"pam_permit" in line and line.lstrip().startswith((b"session", b"-session")))]
        if loose:
            yield file.finding("high", "PAM lets people in, or runs a program", "; ".join(quoted(line) for line in loose[:5]))
        elif lines:
            severity = "info" if _MADE_BY_PACKAGES.fullmatch(file.path) and file.owner is None else "medium"
            yield file.finding(severity, "PAM configuration changed", "; ".join(quoted(line) for line in lines[:QUOTED_LINES]))


def python_startup(file: ChangedFile) -> Iterator[Finding]:
    """What Python runs whenever it starts."""
    if not _PYTHON.fullmatch(file.path) or not file.is_new_content or file.packaged in ("verified", "listed"):
        return
    code = [line for line in _new_lines(file) if not file.path.endswith(b".pth") or line.startswith((b"import ", b"import\t"))]
    odd = [line for line in code if re.search(rb"exec\(|eval\(|socket|subprocess|os\.system|base64|urlopen", line)]
    if odd:
        yield file.finding("medium", "Python runs this whenever it starts", "; ".join(quoted(line) for line in odd[:5]))


def kernel_module(file: ChangedFile) -> Iterator[Finding]:
    """Modules for the host's kernel."""
    if file.type == "f" and re.search(rb"\.ko(?:\.(?:xz|gz|zst))?$", file.path) and file.is_new_content:
        if file.packaged in ("verified", "listed"):
            yield file.finding("info", "kernel module from a package", file.package_words)
        elif file.is_elf or file.head.startswith((b"\xfd7zXZ", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
            yield file.finding(
                "high", "kernel module in a container", f"{file.size} bytes; a container has no use for one of its own"
            )


def _weighed(file: ChangedFile, what: str, lines: list[bytes], plain: str = "medium") -> Iterator[Finding]:
    """A finding as grave as the worst of the lines that run something."""
    new = "changed" if file.lower is not None else "new"
    for line in lines:
        wrong = suspicious(line)
        if wrong is not None and file.packaged != "verified":
            yield file.finding("high", f"{new} {what} {wrong}", quoted(line))
            return
    by_package = file.packaged in ("verified", "listed") or _MADE_BY_PACKAGES.fullmatch(file.path)
    detail = "; ".join(quoted(line) for line in lines[:QUOTED_LINES])
    words = f"{file.package_words}: " if file.owner is not None else ""
    yield file.finding("info" if by_package else plain, f"{new} {what}", f"{words}{detail}")


def _new_lines(file: ChangedFile) -> list[bytes]:
    """The lines that the file has and the image's has not, without comments and empty ones; none of what is no text."""
    if not file.is_text:
        return [] if not file.head else [b"(no text)"]
    known = set(file.lower_head.split(b"\n"))
    lines = (line[:MAX_LINE].strip() for line in file.head.split(b"\n") if line not in known)
    return [line for line in lines if line and not line.startswith((b"#", b";", b"//"))]


def _skeleton(file: ChangedFile) -> set[bytes]:
    """The lines that new homes are given, /etc/skel, so that a new account is not told twice."""
    row = file.scene.db.execute(
        "SELECT l.partition, e.inode, e.size FROM chain ch JOIN layer l ON l.id = ch.layer_id JOIN entry e ON e.layer_id = l.id"
        " WHERE ch.top = ? AND e.path = ? AND e.type = 'f' ORDER BY ch.depth LIMIT 1",
        (file.container.layer, f"/etc/skel/{file.name.decode('utf-8', 'backslashreplace')}"),
    ).fetchone()
    if row is None:
        return set()
    return {line.strip() for line in file.scene.read(row[0], row[1], 0, min(row[2], 1 << 16)).split(b"\n")}


RULES: tuple[Rule[ChangedFile], ...] = (
    rule(
        "cron",
        "high",
        "New or changed cron job",
        why="A cron job runs again and again; one that runs something hidden, temporary or downloaded is seldom meant well.",
        check="Read the job, and look at the program that it runs: its times, its hash, and the logs of cron.",
        benign="Packages bring jobs along; entrypoints write the schedule that they were given.",
        attack=("T1053.003",),
        look=cron,
    ),
    rule(
        "systemd-unit",
        "high",
        "New or changed systemd unit",
        why="A unit starts a program whenever systemd does; in a container with the host's files, on the host.",
        check="Read ExecStart and the program that it names.",
        benign="Packages bring units along, which nothing runs in most containers.",
        attack=("T1543.002",),
        look=systemd,
    ),
    rule(
        "init-script",
        "high",
        "New or changed start-up script",
        why="rc.local, init scripts, supervisors, udev rules and package hooks run by themselves at certain moments.",
        check="Compare with the image's file, if it had one.",
        benign="Packages; supervisors' configuration written by an entrypoint.",
        attack=("T1037.004",),
        look=init,
    ),
    rule(
        "ld-preload",
        "high",
        "Library put into every program",
        why="ld.so.preload is how userland rootkits hide files and processes and steal passwords.",
        check="Look at the library that is named; it may be deleted, and recoverable.",
        benign="jemalloc or libfaketime, which images usually set with LD_PRELOAD instead.",
        attack=("T1574.006", "T1014"),
        look=preload,
    ),
    rule(
        "shell-startup",
        "high",
        "Shell start-up file changed",
        why="What is written there runs whenever somebody opens a shell.",
        check="Compare with the image's file, or with /etc/skel.",
        benign="Installers that add to PATH (nvm, rustup, conda); new accounts' copies of /etc/skel.",
        attack=("T1546.004",),
        look=shell_startup,
    ),
    rule(
        "pam",
        "high",
        "PAM changed",
        why="A module or a line in PAM's configuration can let anybody in, or write passwords down.",
        check="Compare the module's hash with its package's; read the lines that are new.",
        benign="Packages regenerate /etc/pam.d/common-*.",
        attack=("T1556.003",),
        look=pam,
    ),
    rule(
        "python-startup",
        "medium",
        "Python start-up hook",
        why="sitecustomize.py and .pth files run in every Python program.",
        check="Read the file; see which package, if any, has it in its RECORD.",
        benign="Coverage and tracing tools, editable installs.",
        attack=("T1554",),
        look=python_startup,
    ),
    rule(
        "kernel-module",
        "high",
        "Kernel module in a container",
        why="A container shares the host's kernel: a module that it loads is a rootkit on the host.",
        check="modinfo on the extracted file; the host's /etc/modules and its journal for what was loaded.",
        benign="Packages of kernels, VPN or driver containers.",
        attack=("T1014", "T1611"),
        look=kernel_module,
    ),
)  # fmt: skip
