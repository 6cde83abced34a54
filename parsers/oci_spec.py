"""An OCI runtime spec: config.json of a bundle, or the spec in an engine's database.

Source of the fields: opencontainers/runtime-spec v1.0 to v1.2, specs-go/config.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from parsers.json_fields import Fields, parse_object


@dataclass(frozen=True, slots=True)
class SpecMount:
    """One of `mounts`, in their order."""

    destination: str
    type: str | None
    source: str | None
    options: tuple[str, ...]

    @property
    def rw(self) -> bool:
        """Whether it can be written to: the last of `ro` and `rw` counts, without either it can."""
        said = [option for option in self.options if option in ("ro", "rw", "rro")]
        return not said or said[-1] == "rw"

    @property
    def is_bind(self) -> bool:
        """Whether it shows a path of the host."""
        return self.type == "bind" or bool({"bind", "rbind"} & set(self.options))


@dataclass(frozen=True, slots=True)
class SpecDevice:
    """One of `linux.devices`."""

    path: str
    type: str | None
    major: int | None
    minor: int | None


class Confinement(NamedTuple):
    """How a container's processes were set apart from their host.

    capabilities: the bounding set. namespaces: type, and the path of a namespace that is joined. all_devices: the device
    cgroup allows every device.
    """

    capabilities: tuple[str, ...] | None
    no_new_privileges: bool | None
    apparmor_profile: str | None
    selinux_label: str | None
    root_readonly: bool | None
    namespaces: tuple[tuple[str, str | None], ...]
    devices: tuple[SpecDevice, ...]
    all_devices: bool
    masked_paths: tuple[str, ...]
    readonly_paths: tuple[str, ...]
    seccomp: bool

    @property
    def privileged(self) -> bool | None:
        """Whether it was given what engines give privileged containers, as far as the spec tells; no spec says it by name."""
        if self.capabilities is None:
            return None
        return "CAP_SYS_ADMIN" in self.capabilities and not (self.masked_paths or self.readonly_paths or self.seccomp)


class OciSpec(NamedTuple):
    """What a container's first process was given."""

    args: tuple[str, ...] | None
    env: tuple[str, ...] | None
    cwd: str | None
    user: str | None
    terminal: bool | None
    hostname: str | None
    root: str | None
    mounts: tuple[SpecMount, ...]
    confinement: Confinement
    cgroups_path: str | None
    annotations: dict[str, str]
    problems: tuple[str, ...]

    @property
    def privileged(self) -> bool | None:
        """As its confinement tells."""
        return self.confinement.privileged


def parse_spec(data: bytes, source: str = "") -> OciSpec:
    """Raises FormatError where the document is no JSON object."""
    return parse_spec_fields(parse_object(data, source))


def parse_spec_fields(top: Fields) -> OciSpec:
    """A spec that stands inside another document."""
    process, linux, root = top.fields("process"), top.fields("linux"), top.fields("root")
    return OciSpec(
        args=process.texts("args"),
        env=process.texts("env") or () if process else None,
        cwd=process.text("cwd") or None,
        user=_user(process.fields("user")),
        terminal=process.flag("terminal"),
        hostname=top.text("hostname") or None,
        root=root.text("path") or None,
        mounts=tuple([_mount(mount) for mount in top.items("mounts")]),
        confinement=_confinement(process, root, linux),
        cgroups_path=linux.text("cgroupsPath") or None,
        annotations=top.text_map("annotations") or {},
        problems=tuple(top.problems),
    )


def parse_confinement(top: Fields) -> Confinement:
    """The part of a spec that says how its processes were set apart."""
    return _confinement(top.fields("process"), top.fields("root"), top.fields("linux"))


def _confinement(process: Fields, root: Fields, linux: Fields) -> Confinement:
    return Confinement(
        capabilities=process.fields("capabilities").texts("bounding") or () if process else None,
        no_new_privileges=process.flag("noNewPrivileges"),
        apparmor_profile=process.text("apparmorProfile") or None,
        selinux_label=process.text("selinuxLabel") or None,
        root_readonly=root.flag("readonly"),
        namespaces=tuple([(each.text("type") or "", each.text("path") or None) for each in linux.items("namespaces")]),
        devices=tuple([_device(device) for device in linux.items("devices")]),
        all_devices=any(_allows_all(rule) for rule in linux.fields("resources").items("devices")),
        masked_paths=linux.texts("maskedPaths") or (),
        readonly_paths=linux.texts("readonlyPaths") or (),
        seccomp="seccomp" in linux,
    )


def _user(user: Fields) -> str | None:
    if user.text("username"):
        return user.text("username")
    uid, gid = user.integer("uid"), user.integer("gid")
    return None if uid is None else f"{uid}:{gid or 0}"


def _mount(mount: Fields) -> SpecMount:
    return SpecMount(
        mount.text("destination") or "", mount.text("type") or None, mount.text("source") or None, mount.texts("options") or ()
    )


def _device(device: Fields) -> SpecDevice:
    return SpecDevice(device.text("path") or "", device.text("type") or None, device.integer("major"), device.integer("minor"))


def _allows_all(rule: Fields) -> bool:
    """Whether a rule of the device cgroup names no device and allows."""
    unlimited = not (rule.text("type") or "a").strip("a") and rule.integer("major") in (None, -1)
    return bool(rule.flag("allow")) and unlimited
