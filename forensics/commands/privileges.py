"""What a container was allowed, as `show` tells it: Docker's hostconfig by its own names, or what an OCI spec gave."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forensics.findings.host_settings import DEFAULT_CAPABILITIES, HostSettings, host_settings
from parsers.id_map import IdRange, from_text
from parsers.oci_spec import Confinement

# What stands out in a hostconfig, by Docker's own names (api/types/container, HostConfig), with what says nothing.
_HOSTCONFIG = (
    ("CapAdd", ()),
    ("CapDrop", ()),
    ("Devices", ()),
    ("DeviceCgroupRules", ()),
    ("DeviceRequests", ()),
    ("SecurityOpt", ()),
    ("PidMode", ()),
    ("IpcMode", ("private", "shareable")),
    ("NetworkMode", ("default", "bridge")),
    ("UTSMode", ()),
    ("UsernsMode", ()),
    ("CgroupnsMode", ("private",)),
    ("ReadonlyRootfs", (False,)),
    ("Binds", ()),
    ("VolumesFrom", ()),
    ("PortBindings", ()),
    ("ExtraHosts", ()),
    ("GroupAdd", ()),
    ("Sysctls", ()),
    ("OomScoreAdj", (0,)),
    ("Runtime", ("runc",)),
)


def privileges(row: Mapping[str, Any], config: dict[str, Any], hostconfig: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Labels and what they say. row: of `containers`; config, hostconfig: its columns of these names, decoded."""
    if row["privileged"]:
        yield "privileged", "yes: all capabilities, all devices, no seccomp, no AppArmor"
    yield "user namespace", _id_map(row["id_map"])
    if row["engine"] == "docker":
        yield from _docker(hostconfig)
        return
    settings = host_settings(row["engine"], bool(row["privileged"]), None, row["config"], row["hostconfig"])
    spec = settings.confinement
    if spec is not None:
        yield from _spec(settings, spec)
        if config.get("createNetNS") is False and ("network", None) in spec.namespaces and not config.get("netNsCtr"):
            yield "network", "none"  # libpod makes none for --network none alone
    security = _inside(hostconfig, "Metadata", "Config", "linux", "security_context")
    if security.get("privileged") is True and not row["privileged"]:
        yield "pod", "may run privileged containers"


def _id_map(text: str | None) -> str | None:
    """Which ids in the container are which on the host."""
    if text is None:
        return None
    maps = from_text(text)
    parts = [f"uids {_ranges(maps.uids)}", *([f"gids {_ranges(maps.gids)}"] if maps.gids != maps.uids else ())]
    return f"{'; '.join(parts)} on the host"


def _ranges(ranges: Sequence[IdRange]) -> str:
    return ", ".join(f"{_ids(each.inside, each.count)} = {_ids(each.outside, each.count)}" for each in ranges)


def _ids(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def _docker(hostconfig: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    for key, usual in _HOSTCONFIG:
        value = hostconfig.get(key)
        if value and value not in usual:
            yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    for key in ("MaskedPaths", "ReadonlyPaths"):
        if hostconfig.get(key) == []:
            yield key, "none: /proc and /sys are open"


def _spec(settings: HostSettings, spec: Confinement) -> Iterator[tuple[str, str | None]]:
    names = {name.upper().removeprefix("CAP_") for name in spec.capabilities or ()}
    if settings.privileged:
        yield "capabilities", f"all {len(names)} that the kernel had"
    else:
        yield "capabilities", ", ".join(sorted(names)) or "none"
        yield "beyond defaults", ", ".join(sorted(names - DEFAULT_CAPABILITIES)) or None
    yield "host namespaces", ", ".join(sorted(settings.namespaces)) or None
    yield "joins", ", ".join(f"{kind} of {path}" for kind, path in spec.namespaces if path) or None
    yield "devices", "all" if spec.all_devices else ", ".join(device.path for device in settings.devices) or None
    yield "seccomp", "off" if settings.seccomp == "off" else "no profile" if settings.seccomp == "none" else None
    yield "AppArmor", spec.apparmor_profile
    yield "SELinux", spec.selinux_label
    yield "/proc and /sys", "open: no masked and no read-only paths" if settings.masks_off else None
    yield "new privileges", "none (no_new_privs)" if spec.no_new_privileges else None
    yield "root", "read-only" if spec.root_readonly else None


def _inside(value: dict[str, Any], *names: str) -> dict[str, Any]:
    """An object within objects; empty where it is not there."""
    for name in names:
        inner = value.get(name)
        value = inner if isinstance(inner, dict) else {}
    return value
