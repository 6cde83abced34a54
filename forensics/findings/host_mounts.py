"""Rules about what of the host was mounted into a container."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from forensics.findings.rule import Rule, rule
from forensics.findings.scene import Container
from forensics.records import Finding, Mount

SOCKETS = ("docker.sock", "containerd.sock", "crio.sock", "podman.sock", "cri-dockerd.sock", "dockershim.sock",
           "buildkitd.sock", "containerd.sock.ttrpc")  # fmt: skip
_SOCKET_DIRECTORIES = ("/run", "/var/run", "/run/docker", "/run/containerd", "/var/run/containerd", "/run/podman",
                       "/var/run/podman", "/run/crio", "/var/run/crio")  # fmt: skip
# path, severity where it is writable, severity where it is not, what it is
_PLACES = (
    ("/", "high", "high", "the whole host"),
    ("/etc", "high", "medium", "the host's configuration"),
    ("/root", "high", "medium", "root's home"),
    ("/home", "medium", "low", "users' homes"),
    ("/boot", "high", "low", "the host's boot files"),
    ("/proc", "high", "medium", "the host's /proc"),
    ("/sys", "high", "low", "the host's /sys"),
    ("/sys/fs/cgroup", "medium", "info", "the host's cgroups"),
    ("/dev", "high", "medium", "the host's devices"),
    ("/usr", "high", "low", "the host's programs"),
    ("/bin", "high", "low", "the host's programs"),
    ("/sbin", "high", "low", "the host's programs"),
    ("/lib", "high", "low", "the host's libraries"),
    ("/lib/modules", "low", "info", "the host's kernel modules"),
    ("/var", "high", "medium", "the host's /var"),
    ("/var/lib", "high", "medium", "the host's /var/lib"),
    ("/var/log", "low", "info", "the host's logs"),
    ("/var/spool/cron", "high", "low", "the host's cron jobs"),
    ("/opt", "low", "info", "the host's /opt"),
    ("/var/lib/docker", "high", "medium", "the engine's own files"),
    ("/var/lib/docker/containers", "medium", "low", "the containers' logs and configurations"),
    ("/var/lib/containerd", "high", "medium", "the engine's own files"),
    ("/var/lib/containers", "high", "medium", "the engine's own files"),
    ("/var/lib/kubelet", "high", "medium", "the kubelet's files, with all pods' secrets"),
    ("/var/lib/kubelet/pods", "high", "medium", "all pods' volumes and secrets"),
    ("/etc/kubernetes", "high", "high", "the cluster's keys and static pods"),
    ("/etc/cni/net.d", "medium", "low", "the cluster's network configuration"),
)  # fmt: skip
# files and directories below these places are told as the place is, but for what the exceptions say
_BELOW = ("/etc", "/root", "/proc", "/sys", "/boot", "/etc/kubernetes", "/var/spool/cron")
_HARMLESS = ("/etc/localtime", "/etc/timezone", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/hosts", "/etc/resolv.conf",
             "/etc/hostname", "/etc/machine-id", "/etc/os-release", "/etc/nginx", "/etc/letsencrypt", "/etc/group",
             "/etc/passwd")  # fmt: skip
_ACCOUNT_FILES = ("/etc/group", "/etc/passwd")
_ORDER = ("high", "medium", "low", "info")


def engine_sockets(container: Container) -> Iterator[Finding]:
    """A socket of an engine, itself or in a directory that holds it."""
    for mount in _binds(container):
        source = _normal(mount.source or "")
        name = source.rpartition("/")[2]
        if name in SOCKETS:
            yield _finding(container, mount, "high", f"engine socket {source} mounted")
        elif source in _SOCKET_DIRECTORIES:
            yield _finding(container, mount, "high", f"{source} of the host mounted, where the engines' sockets are")


def host_paths(container: Container) -> Iterator[Finding]:
    """A sensitive directory of the host."""
    for mount in _binds(container):
        source = _normal(mount.source or "")
        if source in _SOCKET_DIRECTORIES or source.rpartition("/")[2] in SOCKETS:
            continue
        severity, what = _weigh(source, mount.rw is not False)
        if severity is not None:
            yield _finding(container, mount, severity, f"{source} of the host mounted: {what}")


def _weigh(source: str, writable: bool) -> tuple[str | None, str]:
    exact = {path: (high if writable else low, what) for path, high, low, what in _PLACES}
    if source in exact:
        return exact[source]
    for place in _HARMLESS:
        if source == place or source.startswith(place + "/"):
            return ("high", "the host's accounts") if writable and source in _ACCOUNT_FILES else (None, "")
    for place in sorted(_BELOW, key=len, reverse=True):
        if source.startswith(place + "/"):
            severity, what = exact[place]
            weaker = severity if place in ("/etc/kubernetes", "/var/spool/cron") else _ORDER[min(_ORDER.index(severity) + 1, 3)]
            return weaker, f"part of {what}"
    return None, ""


def _binds(container: Container) -> Iterator[Mount]:
    for mount in container.mounts:
        if mount.type in ("bind", "volume") and mount.source and mount.source.startswith("/") and mount.name is None:
            yield mount


def _normal(path: str) -> str:
    normal = posixpath.normpath(path)
    return normal[1:] if normal.startswith("//") else normal


def _finding(container: Container, mount: Mount, severity: str, title: str) -> Finding:
    mode = "mode unknown" if mount.rw is None else "writable" if mount.rw else "read-only"
    return Finding(
        severity, title, f"{mount.source} at {mount.destination}, {mode}", container.number,
        mount.destination.encode("utf-8", "surrogateescape"), partition=container.partition, offset=container.offset,
    )  # fmt: skip


RULES: tuple[Rule[Container], ...] = (
    rule(
        "engine-socket",
        "high",
        "Engine socket mounted",
        why="Whoever reaches an engine's socket starts containers with the host's root filesystem: root on the host.",
        check="The view mounts; then the engine's own log for what was asked through the socket.",
        benign="Reverse proxies that discover containers, CI runners, consoles; all of them hold the keys to the host.",
        attack=("T1610", "T1611"),
        look=engine_sockets,
    ),
    rule(
        "host-mount",
        "high",
        "Sensitive directory of the host mounted",
        why="What is mounted from the host can be read there, and written where it is not read-only: accounts, cron jobs, keys.",
        check="The view mounts; then the times of files below the source on the host's own filesystem while the container ran.",
        benign="Log shippers (/var/log), monitoring (/proc, /sys), backups, files such as /etc/localtime.",
        attack=("T1611", "T1552.001"),
        look=host_paths,
    ),
)  # fmt: skip
