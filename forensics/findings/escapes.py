"""Rules about ways out of a container: their traces in containers' files and commands, and on the host itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

from forensics.filesystem import Filesystem, lookup, resolve
from forensics.filesystems.mounting import rooted
from forensics.findings.changed_files import ChangedFile
from forensics.findings.commands_seen import MAX_LINE, MAX_LINES, suspicious
from forensics.findings.redact import quoted, redacted
from forensics.findings.rule import Rule, rule
from forensics.findings.scene import Container, Scene
from forensics.records import Finding, Gap
from forensics.text import readable
from parsers.errors import EvidenceError, FormatError

MAX_HOST_FILE = 1 << 20
MAX_NAMES = 2000
_TRACES = (
    (rb"/release_agent\b|\brelease_agent\s*=|notify_on_release", "release_agent of cgroups"),
    (rb"/proc/sys/kernel/core_pattern|kernel\.core_pattern\s*=\s*\|", "core_pattern"),
    (rb"/sys/kernel/uevent_helper|/proc/sys/kernel/modprobe\b|/proc/sys/fs/binfmt_misc/register", "helpers that the kernel runs"),
    (rb"nsenter\s[^\n]{0,200}?(?:-t\s*1\b|--target[ =]1\b)", "nsenter into the host's namespaces"),
    (rb"chroot\s+/(?:host|hostfs|rootfs|mnt/host|hostroot)\b", "chroot into the host's files"),
    (rb"mount\s+(?:-\S+\s+)*/dev/(?:sd[a-z]|nvme|vd[a-z]|xvd[a-z]|dm-|mapper/)", "mount of the host's disk"),
    (rb"(?:curl|wget)[^\n]{0,300}?--unix-socket\s*\S*docker\.sock"
     rb"|docker\s+(?:-H\s*\S+\s+)?run\s[^\n]{0,500}?(?:-v|--volume)[ =]/:/"
     rb"|--privileged[^\n]{0,300}?-v\s*/:",
     "engine's socket, or the host's root mounted"),
    (rb"debugfs\s+-w|/proc/1/root/|/proc/sysrq-trigger", "the host's files or kernel from inside"),
)  # fmt: skip
TRACES = tuple((re.compile(pattern), what) for pattern, what in _TRACES)
_WORDS = (b"release", b"core_pattern", b"uevent_helper", b"/sys/kernel", b"binfmt_misc", b"nsenter", b"chroot", b"mount",
          b"docker", b"debugfs", b"/proc/1/root", b"sysrq", b"modprobe", b"privileged")  # fmt: skip
_HARMLESS_DEVICES = frozenset(("1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2", "0:0", "10:200", "10:229", "136:0"))
_LAYER_PATH = re.compile(
    rb"/(?:docker|containers/storage|containerd)/(?:[^\s/]{1,255}/){0,8}?"
    rb"(?:overlay2?|overlay-layers|snapshots|vfs|aufs|rootfs)/[^\s\"']+"
)
_HOST_FILES = (b"/etc/crontab", b"/etc/ld.so.preload", b"/etc/sysctl.conf", b"/etc/rc.local", b"/etc/anacrontab",
               b"/root/.bash_history", b"/root/.bashrc", b"/root/.profile", b"/etc/profile")  # fmt: skip
_HOST_DIRECTORIES = (b"/etc/sysctl.d", b"/etc/cron.d", b"/etc/cron.hourly", b"/etc/cron.daily", b"/var/spool/cron",
                     b"/var/spool/cron/crontabs", b"/etc/systemd/system", b"/etc/udev/rules.d", b"/etc/profile.d",
                     b"/etc/binfmt.d", b"/etc/modprobe.d")  # fmt: skip
_HOST_PLACES = ("/", "/etc", "/root", "/proc", "/var/run", "/run", "/var/lib/docker", "/var/lib/kubelet", "/var/lib/containerd")
_USUAL_CORE_PATTERN = re.compile(rb"\|\s*(?:/usr)?/(?:lib/systemd/systemd-coredump|share/apport/apport|libexec/abrt-hook-ccpp)")


def escape_traces(text: bytes) -> tuple[str, bytes] | None:
    """The first trace of an escape in a text, with its line."""
    if not any(word in text for word in _WORDS):
        return None
    for line in text.split(b"\n")[:MAX_LINES]:
        if any(word in line for word in _WORDS):
            for pattern, what in TRACES:
                if pattern.search(line[:MAX_LINE]):
                    return what, line[:MAX_LINE]
    return None


def in_file(file: ChangedFile) -> Iterator[Finding]:
    """Traces in scripts, histories and programs that a container added or changed."""
    if file.type != "f" or file.packaged in ("verified", "listed"):
        return
    if file.head.startswith((b"#!/proc/self/exe", b"#! /proc/self/exe")):
        yield file.finding("high", "script that makes the runtime overwrite itself", "#!/proc/self/exe, CVE-2019-5736")
        return
    script = file.is_script or b"/." in file.path or file.path.rpartition(b".")[2] in (b"sh", b"py", b"pl", b"rb")
    found = escape_traces(file.text) if script and file.text else None
    if found is not None:
        yield file.finding("high", f"escape by {found[0]}", quoted(found[1]))
    elif file.is_elf and file.is_new_content:
        named = [word for word in (b"/release_agent", b"/proc/sys/kernel/core_pattern") if word in file.head or word in file.tail]
        if named:
            yield file.finding("medium", "program names a way out of containers", named[0].decode("ascii"))


def in_command(container: Container) -> Iterator[Finding]:
    """Traces in the command that a container was started with."""
    found = escape_traces("\n".join(container.command).encode("utf-8", "replace"))
    if found is not None:
        yield container.finding("high", f"command escapes by {found[0]}", quoted(found[1]))


def device_nodes(file: ChangedFile) -> Iterator[Finding]:
    """Devices that somebody made inside a container."""
    if file.type not in "bc" or file.rdev in _HARMLESS_DEVICES or file.lower is not None:
        return
    if file.type == "b":
        told = f"{file.rdev}, mode {file.mode:04o}: the host's disk, if allowed"
        yield file.finding("high", "block device made in a container", told, in_inode=True)
    else:
        severity = "high" if file.rdev in ("1:1", "1:2", "1:4") else "low"
        yield file.finding(severity, "character device made in a container", f"{file.rdev}, mode {file.mode:04o}", in_inode=True)


def on_host(scene: Scene) -> Iterator[Finding]:
    """Traces in the files of the host that run by themselves."""
    for partition, path, text, offset in _host_texts(scene):
        lines = [
            line.strip() for line in text.split(b"\n")[:20_000] if line.strip() and not line.lstrip().startswith((b"#", b";"))
        ]
        history = path.endswith(b"_history")
        for line in lines:
            into_layer = _LAYER_PATH.search(line)
            trace = escape_traces(line)
            pattern = trace is not None and trace[0] == "core_pattern" and _USUAL_CORE_PATTERN.search(line) is not None
            if path == b"/etc/ld.so.preload":
                what, severity = "a library is put into every program of the host", "high"
            elif into_layer is not None and not history:
                what, severity = "the host runs a file in a container's layer", "high"
            elif trace is not None and not pattern and b"/systemd/" not in path:
                what, severity = f"the host's file names {trace[0]}", "medium" if history else "high"
            elif b"/cron" in path and (wrong := suspicious(line)) is not None:
                what, severity = f"cron job of the host {wrong}", "high"
            else:
                continue
            yield Finding(severity, what, quoted(line), None, path, None, partition, offset)
            break


def _host_texts(scene: Scene) -> Iterator[tuple[int, bytes, bytes, int | None]]:
    """Files of installed systems that run by themselves: partition, path, content, offset of the inode."""
    hosts = scene.db.execute("SELECT DISTINCT partition, coalesce(path, '/') FROM host_facts ORDER BY partition").fetchall()
    for partition, top in hosts:
        filesystem = _root_of(scene, partition, top)
        if filesystem is None:
            continue
        for path in _host_paths(scene, partition, filesystem):
            try:
                number = resolve(filesystem, path)
                inode = filesystem.inode(number) if number is not None else None
                if number is None or inode is None or inode.type != "f":
                    continue
                if inode.size > MAX_HOST_FILE:
                    error = f"{inode.size:,} bytes long; only its last {MAX_HOST_FILE:,} were looked into"
                    scene.gaps.append(Gap("findings", error, partition, readable(path), inode.offset))
                yield partition, path, filesystem.read(number, max(0, inode.size - MAX_HOST_FILE), MAX_HOST_FILE), inode.offset
            except (FormatError, EvidenceError):
                continue  # told where the filesystem's problems are


def _root_of(scene: Scene, partition: int, top: str) -> Filesystem | None:
    """A host's root filesystem, with its root directory."""
    filesystem = scene.filesystems.get(partition)
    try:
        root = lookup(filesystem, top.encode()) if filesystem is not None else None
    except (FormatError, EvidenceError):
        return None
    return rooted(filesystem, root) if filesystem is not None and root is not None else None


def _host_paths(scene: Scene, partition: int, filesystem: Filesystem) -> Iterator[bytes]:
    yield from _HOST_FILES
    for directory in _HOST_DIRECTORIES:
        try:
            number = resolve(filesystem, directory)
            if number is not None and filesystem.inode(number).type == "d":
                entries = filesystem.entries(number)
                if len(entries) > MAX_NAMES:
                    error = f"{len(entries):,} names; only {MAX_NAMES:,} of these files were looked into"
                    scene.gaps.append(Gap("findings", error, partition, readable(directory)))
                for entry in entries[:MAX_NAMES]:
                    if entry.type in ("f", None):
                        yield directory + b"/" + entry.name
        except (FormatError, EvidenceError):
            continue


def volumes_of_host(scene: Scene) -> Iterator[Finding]:
    """Named volumes that are a directory or device of the host in disguise."""
    rows = scene.db.execute(
        "SELECT name, options, source_partition, source_offset, engine FROM volume WHERE options IS NOT NULL ORDER BY id"
    )
    for name, options, partition, offset, engine in rows:
        match = re.search(r'"device":\s*"(/[^"]*)"', options)
        if match is not None and match[1] in _HOST_PLACES:
            told = f"{engine} volume with the options {redacted(options)}"
            yield Finding("high", f"volume {name} is {match[1]} of the host", told, partition=partition, offset=offset)


FILE_RULES: tuple[Rule[ChangedFile], ...] = (
    rule(
        "escape",
        "high",
        "Trace of an escape",
        why="release_agent, core_pattern, nsenter into pid 1 and their like run programs on the host from inside a container.",
        check="What the line would have run on the host; whether the container had the power for it (privileged, capabilities).",
        benign="Security tools and tests; documentation.",
        attack=("T1611",),
        look=in_file,
    ),
    rule(
        "device-node",
        "high",
        "Device made in a container",
        why="With a device node of the disk, a container that may use it reads and writes the whole host.",
        check="Major and minor number against the host's disks; capabilities and device rules of the container.",
        benign="Backups that were unpacked; build systems that make root filesystems.",
        attack=("T1611",),
        look=device_nodes,
    ),
)  # fmt: skip
CONTAINER_RULES: tuple[Rule[Container], ...] = (
    rule(
        "escape-command",
        "high",
        "Command that escapes",
        why="The container was started to act on the host.",
        check="Who created it: the engine's logs at that time; then what it did on the host.",
        benign="Node agents that use nsenter on purpose.",
        attack=("T1611", "T1610"),
        look=in_command,
    ),
)  # fmt: skip
SCENE_RULES: tuple[Rule[Scene], ...] = (
    rule(
        "host-trace",
        "high",
        "Trace of an escape on the host",
        why="Cron jobs, sysctl settings or units of the host that name a container's layer were written from inside a container.",
        check="The file's times against containers' runs; the program that it names.",
        benign="Administrators' own scripts; crash handlers of distributions.",
        attack=("T1611", "T1053.003"),
        look=on_host,
    ),
    rule(
        "host-volume",
        "high",
        "Volume that is a directory of the host",
        why="A volume of the local driver can be the host's root directory under a harmless name.",
        check="opts.json of the volume; container_volumes.options and used_by.",
        benign="NFS and bind volumes on purpose, of data directories.",
        attack=("T1610", "T1611"),
        look=volumes_of_host,
    ),
)  # fmt: skip
