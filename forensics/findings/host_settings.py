"""How a container was set apart from its host, whatever the engine: from Docker's hostconfig.json or from an OCI spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from parsers.errors import FormatError
from parsers.json_fields import Fields, parse_object
from parsers.oci_spec import Confinement, SpecDevice, parse_confinement

# moby v28 daemon/pkg/oci/caps/defaults.go, containerd v2.1 pkg/oci/spec.go; Podman's and CRI-O's defaults are among them
DEFAULT_CAPABILITIES = frozenset((
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
))  # fmt: skip
SPEC_NAMESPACES = ("network", "pid", "ipc", "uts")  # a spec without these shares the host's; user and cgroup are often shared
_NODE = 2  # runtime.v1 NamespaceMode NODE, of the CRI


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the host that was given to a container."""

    host_path: str
    path: str
    permissions: str | None = None


class HostSettings(NamedTuple):
    """What a container was given beyond an engine's defaults.

    capabilities: without CAP_, beyond the defaults. namespaces: those shared with the host. seccomp, apparmor: `off` where
    somebody switched it off, `none` where the engine set none, None where there was a profile or nothing tells. masks_off: the
    engine's protection of /proc and /sys was switched off. confinement: what the OCI spec says, where it is one that tells these.
    """

    privileged: bool = False
    capabilities: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    seccomp: str | None = None
    apparmor: str | None = None
    devices: tuple[Device, ...] = ()
    all_devices: bool = False
    masks_off: bool = False
    restart_policy: str | None = None
    confinement: Confinement | None = None


def host_settings(
    engine: str, privileged: bool | None, restart_policy: str | None, config: str | None, hostconfig: str | None
) -> HostSettings:
    """The settings as the columns of the same names in `containers` tell them; a text that is damaged tells nothing."""
    if engine == "docker" and hostconfig is not None:
        return _docker(bool(privileged), restart_policy, _fields(hostconfig))
    top = _fields(config)
    spec = top.fields("spec") if "spec" in top else top
    if "process" not in spec:
        return HostSettings(privileged=bool(privileged), restart_policy=restart_policy)
    cri = _fields(hostconfig).fields("Metadata").fields("Config").fields("linux").fields("security_context")
    return _oci(bool(privileged), restart_policy, parse_confinement(spec), cri, engine)


def _fields(text: str | None) -> Fields:
    if text is None:
        return Fields({})
    try:
        return parse_object(text.encode("utf-8", "replace"))
    except FormatError:
        return Fields({})


def _docker(privileged: bool, restart_policy: str | None, host: Fields) -> HostSettings:
    modes = (("network", "NetworkMode"), ("pid", "PidMode"), ("ipc", "IpcMode"), ("uts", "UTSMode"), ("user", "UsernsMode"))
    options = [option.replace(":", "=", 1) if "=" not in option else option for option in host.texts("SecurityOpt") or ()]
    rules = [rule.split() for rule in host.texts("DeviceCgroupRules") or ()]
    return HostSettings(
        privileged=privileged,
        capabilities=_added(host.texts("CapAdd") or ()),
        namespaces=frozenset(name for name, field in modes if host.text(field) == "host"),
        seccomp="off" if "seccomp=unconfined" in options else None,
        apparmor="off" if "apparmor=unconfined" in options else None,
        devices=tuple(
            Device(each.text("PathOnHost") or "", each.text("PathInContainer") or "", each.text("CgroupPermissions") or None)
            for each in host.items("Devices")
        ),
        all_devices=any(rule[:1] == ["a"] or rule[1:2] == ["*:*"] for rule in rules),
        masks_off=not privileged and "MaskedPaths" in host and host.texts("MaskedPaths") == (),
        restart_policy=restart_policy,
    )


def _oci(privileged: bool, restart_policy: str | None, spec: Confinement, cri: Fields, engine: str) -> HostSettings:
    options = cri.fields("namespace_options")
    own = {name for name, path in spec.namespaces if path is None or "/1/ns/" not in path}
    shared = {name for name in SPEC_NAMESPACES if name not in own}
    shared |= {name for name in SPEC_NAMESPACES if options.integer(name) == _NODE}
    if options:
        shared -= {"uts"}  # follows the network namespace in a pod
    return HostSettings(
        privileged=privileged,
        capabilities=_added(spec.capabilities or ()),
        namespaces=frozenset(shared),
        seccomp=None if spec.seccomp or privileged else "none",
        apparmor="off" if spec.apparmor_profile == "unconfined" and not privileged else None,
        devices=() if privileged else tuple(_device(device) for device in spec.devices),
        all_devices=spec.all_devices and not privileged,
        masks_off=not (privileged or spec.masked_paths or spec.readonly_paths or cri or engine == "buildah"),
        restart_policy=restart_policy,
        confinement=spec,
    )


def _device(device: SpecDevice) -> Device:
    return Device(device.path, device.path)


def _added(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.upper().removeprefix("CAP_") for name in names) - DEFAULT_CAPABILITIES
