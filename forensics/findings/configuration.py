"""Rules about how a container was started: what the engine was asked to give it."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.findings.rule import Rule, rule
from forensics.findings.scene import Container
from forensics.records import Finding

# With one of these alone, a process in a container reaches the host; capabilities(7).
HIGH_CAPABILITIES = frozenset(("SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF", "SYS_BOOT", "MAC_ADMIN", "ALL"))
CAPABILITIES = HIGH_CAPABILITIES | {"SYS_PTRACE", "SYSLOG", "MAC_OVERRIDE", "PERFMON", "SYS_TIME", "LINUX_IMMUTABLE"}
NETWORK_CAPABILITIES = frozenset(("NET_ADMIN", "NET_BROADCAST"))
_SHARED = {
    "network": "network",
    "pid": "processes",
    "ipc": "shared memory and semaphores",
    "uts": "host name",
    "user": "user ids",
}
_HIGH_DEVICES = ("/dev/sd", "/dev/nvme", "/dev/vd", "/dev/xvd", "/dev/dm-", "/dev/mapper", "/dev/md", "/dev/mem", "/dev/kmem",
                 "/dev/port", "/dev/mmcblk", "/dev/loop", "/dev/disk")  # fmt: skip
_USUAL_DEVICES = ("/dev/dri", "/dev/nvidia", "/dev/kfd", "/dev/snd", "/dev/video", "/dev/fuse", "/dev/net/tun", "/dev/tty",
                  "/dev/bus", "/dev/accel", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
                  "/dev/console")  # fmt: skip
_PERSISTING = ("always", "unless-stopped", "on-failure")


def privileged(container: Container) -> Iterator[Finding]:
    """Privileged mode."""
    if container.settings.privileged:
        yield container.finding(
            "high", "privileged container", "it had all capabilities, all devices, and no seccomp or AppArmor"
        )


def capabilities(container: Container) -> Iterator[Finding]:
    """Capabilities beyond the defaults; a privileged container has them all, which is told once."""
    if container.settings.privileged:
        return
    added = container.settings.capabilities
    dangerous = added & CAPABILITIES
    if dangerous:
        severity = "high" if dangerous & HIGH_CAPABILITIES or "pid" in container.settings.namespaces else "medium"
        yield container.finding(severity, f"dangerous capabilities: {_listed(dangerous)}", f"added: {_listed(added)}")
    elif added & NETWORK_CAPABILITIES:
        yield container.finding(
            "low", f"network capabilities: {_listed(added & NETWORK_CAPABILITIES)}", f"added: {_listed(added)}"
        )


def namespaces(container: Container) -> Iterator[Finding]:
    """Namespaces shared with the host."""
    shared = container.settings.namespaces
    if shared:
        what = ", ".join(_SHARED[name] for name in _SHARED if name in shared)
        weak = shared <= {"uts", "ipc", "network"} and "network" not in shared
        yield container.finding(
            "low" if weak else "medium", f"host namespaces: {_listed(shared)}", f"it shared the host's {what}"
        )


def seccomp(container: Container) -> Iterator[Finding]:
    """Seccomp switched off; where the engine sets none by itself, that is worth less."""
    if container.settings.privileged:
        return
    if container.settings.seccomp == "off":
        yield container.finding("medium", "seccomp is off", "seccomp=unconfined: every system call was allowed")
    elif container.settings.seccomp == "none":
        yield container.finding("info", "no seccomp profile", "the engine set none, as is the default of ctr and of the CRI")


def apparmor(container: Container) -> Iterator[Finding]:
    """AppArmor switched off."""
    if container.settings.apparmor == "off" and not container.settings.privileged:
        yield container.finding(
            "medium", "AppArmor is off", "apparmor=unconfined: no profile bounds it, even where the host has one"
        )


def masks(container: Container) -> Iterator[Finding]:
    """The protection of /proc and /sys switched off."""
    if container.settings.masks_off:
        yield container.finding("medium", "/proc and /sys are not masked", "no masked and no read-only paths")


def devices(container: Container) -> Iterator[Finding]:
    """Devices of the host."""
    settings = container.settings
    if settings.all_devices:
        yield container.finding("high", "all devices allowed", "its device rules allow every block or character device")
    for severity, given in (
        ("high", [d for d in settings.devices if d.host_path.startswith(_HIGH_DEVICES)]),
        ("medium", [d for d in settings.devices if not d.host_path.startswith((*_HIGH_DEVICES, *_USUAL_DEVICES))]),
        ("info", [d for d in settings.devices if d.host_path.startswith(_USUAL_DEVICES)]),
    ):
        if given:
            told = ", ".join(f"{d.host_path} as {d.path} ({d.permissions or 'rwm'})" for d in given[:20])
            yield container.finding(severity, f"host devices: {_listed({d.host_path for d in given})}", told)


def restart_policy(container: Container) -> Iterator[Finding]:
    """A policy that brings the container back."""
    policy = container.settings.restart_policy or ""
    if policy.startswith(_PERSISTING):
        powerful = container.settings.privileged or container.settings.capabilities & HIGH_CAPABILITIES
        yield container.finding(
            "low" if powerful else "info", f"restart policy {policy}", "it comes back after each reboot or failure"
        )


def _listed(names: frozenset[str] | set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "")


RULES: tuple[Rule[Container], ...] = (
    rule(
        "privileged",
        "high",
        "Privileged container",
        why="A privileged container has all capabilities and devices and no confinement: root in it is root on the host.",
        check="docker inspect's HostConfig.Privileged, in hostconfig.json; in Kubernetes the pod's securityContext.",
        benign="Docker in Docker, network and storage plugins, node agents.",
        attack=("T1610", "T1611"),
        look=privileged,
    ),
    rule(
        "capabilities",
        "high",
        "Dangerous capabilities",
        why="Capabilities such as SYS_ADMIN, SYS_MODULE or DAC_READ_SEARCH are enough to leave a container.",
        check="HostConfig.CapAdd in hostconfig.json, or process.capabilities of the OCI spec, against the defaults.",
        benign="Debuggers and profilers (SYS_PTRACE), VPNs (NET_ADMIN), FUSE filesystems (SYS_ADMIN).",
        attack=("T1610", "T1611"),
        look=capabilities,
    ),
    rule(
        "host-namespaces",
        "medium",
        "Namespaces shared with the host",
        why="A container in the host's namespaces sees its processes, traffic or memory, and can act on them.",
        check="NetworkMode, PidMode, IpcMode, UTSMode and UsernsMode in hostconfig.json; linux.namespaces of the OCI spec.",
        benign="Monitoring agents, proxies and node services that need the host's network or processes.",
        attack=("T1610", "T1611"),
        look=namespaces,
    ),
    rule(
        "seccomp-off",
        "medium",
        "Seccomp off",
        why="Without a seccomp profile, system calls are open that many escapes need (mount, keyctl, ptrace, unshare ...).",
        check="HostConfig.SecurityOpt in hostconfig.json; linux.seccomp of the OCI spec.",
        benign="Browsers, debuggers, older databases; Kubernetes without SeccompDefault has no profile at all.",
        attack=("T1562.001", "T1611"),
        look=seccomp,
    ),
    rule(
        "apparmor-off",
        "medium",
        "AppArmor off",
        why="The engine's AppArmor profile stops writes to /proc and mounts; somebody asked for none.",
        check="HostConfig.SecurityOpt in hostconfig.json; process.apparmorProfile of the OCI spec.",
        benign="systemd or nested containers inside a container.",
        attack=("T1562.001", "T1611"),
        look=apparmor,
    ),
    rule(
        "unmasked-proc",
        "medium",
        "/proc and /sys not masked",
        why="Engines hide or write-protect paths such as /proc/kcore and /proc/sys; here that was switched off.",
        check="MaskedPaths and ReadonlyPaths in hostconfig.json; linux.maskedPaths of the OCI spec.",
        benign="Nested containers (systempaths=unconfined).",
        attack=("T1562.001", "T1611"),
        look=masks,
    ),
    rule(
        "devices",
        "high",
        "Devices of the host",
        why="With a disk or memory device, a container reads and writes the host below every permission.",
        check="HostConfig.Devices and DeviceCgroupRules in hostconfig.json; linux.devices of the OCI spec.",
        benign="Graphics cards, FUSE, tun, sound, serial ports; backup tools with a disk.",
        attack=("T1610", "T1611"),
        look=devices,
    ),
    rule(
        "restart-policy",
        "low",
        "Restart policy that persists",
        why="A container that the engine starts by itself is a way to survive reboots.",
        check="HostConfig.RestartPolicy in hostconfig.json; restart_policy in libpod's config; labels of nerdctl.",
        benign="Nearly every long-running service has one.",
        attack=("T1543.005",),
        look=restart_policy,
    ),
)  # fmt: skip
