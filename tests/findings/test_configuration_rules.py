"""How a container was started: each rule where it applies, and where nothing is wrong; for Docker, the CRI and Podman."""

import json

import pytest

from forensics.findings.all import find
from forensics.findings.scene import Scene
from support.casebuilder import CaseBuilder

SPEC = {
    "process": {"capabilities": {"bounding": ["CAP_CHOWN", "CAP_NET_RAW"]}},
    "linux": {
        "namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")],
        "maskedPaths": ["/proc/kcore"], "seccomp": {"defaultAction": "SCMP_ACT_ERRNO"},
    },
}  # fmt: skip


def spec(**changes):
    return SPEC | {key: SPEC.get(key, {}) | value for key, value in changes.items()}


@pytest.fixture
def ask(tmp_path):
    """ask(rule, mounts=(), **container): the findings that a rule gives of one container."""

    def run(rule, mounts=(), **container):
        builder = CaseBuilder(tmp_path / "case.db")
        for name in ("config", "hostconfig"):
            if isinstance(container.get(name), dict):
                container[name] = json.dumps(container[name])
        number = builder.container("c" * 64, "web", **container)
        for source, destination, rw in mounts:
            builder.insert("container_mount", container=number, type="bind", source=source, destination=destination, rw=rw)
        found = {text.name: findings for text, findings in find(Scene(builder.db, {}))}
        (tmp_path / "case.db").unlink()
        return [(finding.severity, finding.title) for finding in found[rule]]

    return run


@pytest.mark.parametrize(
    ("rule", "container", "expected"),
    [
        ("privileged", {"hostconfig": {}, "privileged": 1}, ("high", "privileged container")),
        ("capabilities", {"hostconfig": {"CapAdd": ["CAP_SYS_ADMIN"]}}, ("high", "dangerous capabilities: SYS_ADMIN")),
        ("capabilities", {"hostconfig": {"CapAdd": ["ALL"]}}, ("high", "dangerous capabilities: ALL")),
        ("capabilities", {"hostconfig": {"CapAdd": ["sys_ptrace"]}}, ("medium", "dangerous capabilities: SYS_PTRACE")),
        ("capabilities", {"hostconfig": {"CapAdd": ["NET_ADMIN"]}}, ("low", "network capabilities: NET_ADMIN")),
        ("host-namespaces", {"hostconfig": {"NetworkMode": "host", "PidMode": "host"}},
         ("medium", "host namespaces: network, pid")),
        ("host-namespaces", {"hostconfig": {"UTSMode": "host"}}, ("low", "host namespaces: uts")),
        ("seccomp-off", {"hostconfig": {"SecurityOpt": ["seccomp=unconfined"]}}, ("medium", "seccomp is off")),
        ("seccomp-off", {"hostconfig": {"SecurityOpt": ["seccomp:unconfined"]}}, ("medium", "seccomp is off")),
        ("apparmor-off", {"hostconfig": {"SecurityOpt": ["apparmor=unconfined"]}}, ("medium", "AppArmor is off")),
        ("unmasked-proc", {"hostconfig": {"MaskedPaths": []}}, ("medium", "/proc and /sys are not masked")),
        ("devices", {"hostconfig": {"Devices": [{"PathOnHost": "/dev/sda1"}]}}, ("high", "host devices: /dev/sda1")),
        ("devices", {"hostconfig": {"Devices": [{"PathOnHost": "/dev/kvm"}]}}, ("medium", "host devices: /dev/kvm")),
        ("devices", {"hostconfig": {"Devices": [{"PathOnHost": "/dev/fuse"}]}}, ("info", "host devices: /dev/fuse")),
        ("devices", {"hostconfig": {"DeviceCgroupRules": ["b *:* rwm"]}}, ("high", "all devices allowed")),
        ("restart-policy", {"hostconfig": {}, "restart_policy": "always"}, ("info", "restart policy always")),
        ("restart-policy", {"hostconfig": {}, "privileged": 1, "restart_policy": "on-failure:3"},
         ("low", "restart policy on-failure:3")),
    ],
)  # fmt: skip
def test_docker(ask, rule, container, expected):
    assert ask(rule, **container) == [expected]


@pytest.mark.parametrize("engine", ["containerd", "podman", "crio"])
@pytest.mark.parametrize(
    ("rule", "config", "expected"),
    [
        ("capabilities", spec(process={"capabilities": {"bounding": ["CAP_SYS_MODULE"]}}),
         ("high", "dangerous capabilities: SYS_MODULE")),
        ("host-namespaces", spec(linux={"namespaces": [{"type": "mount"}, {"type": "network"}, {"type": "uts"}]}),
         ("medium", "host namespaces: ipc, pid")),
        ("host-namespaces", spec(linux={"namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}, {"type": "network"},
                                                      {"type": "ipc"}, {"type": "uts"}]}), ("medium", "host namespaces: pid")),
        ("seccomp-off", spec(linux={"seccomp": None}), ("info", "no seccomp profile")),
        ("apparmor-off", spec(process={"apparmorProfile": "unconfined"}), ("medium", "AppArmor is off")),
        ("unmasked-proc", spec(linux={"maskedPaths": []}), ("medium", "/proc and /sys are not masked")),
        ("devices", spec(linux={"devices": [{"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}]}),
         ("high", "host devices: /dev/sda")),
    ],
)  # fmt: skip
def test_oci_spec(ask, engine, rule, config, expected):
    if rule == "seccomp-off":
        config = spec(linux={key: value for key, value in config["linux"].items() if key != "seccomp"})
        config["linux"].pop("seccomp")
    text = {"spec": config} if engine == "podman" else config
    assert ask(rule, engine=engine, config=text) == [expected]


def test_a_pod_on_the_hosts_network(ask):
    """The CRI's containers join the sandbox's namespaces by path; that these are the host's, only the request tells."""
    joined = [{"type": name, "path": f"/proc/175/ns/{name}"} for name in ("pid", "network", "ipc", "uts")]
    request = {"Metadata": {"Config": {"linux": {"security_context": {"namespace_options": {"network": 2}}}}}}
    container = {"engine": "containerd", "config": spec(linux={"namespaces": joined}), "hostconfig": request}
    assert ask("host-namespaces", **container) == [("medium", "host namespaces: network")]


@pytest.mark.parametrize(
    "container",
    [
        {"hostconfig": {"CapAdd": ["CHOWN"], "NetworkMode": "bridge", "SecurityOpt": ["no-new-privileges"], "Devices": [],
                        "MaskedPaths": ["/proc/kcore"], "PidMode": "container:abc"}, "restart_policy": "no"},
        {"engine": "containerd", "config": SPEC},
        {"engine": "podman", "config": {"spec": SPEC}},
        {"engine": "podman", "config": "{not json"},
        {"hostconfig": {"CapAdd": "ALL", "Devices": 7, "SecurityOpt": [None], "NetworkMode": ["host"]}},
        {},
    ],
)  # fmt: skip
def test_nothing_is_wrong(ask, container):
    for rule in ("privileged", "capabilities", "host-namespaces", "seccomp-off", "apparmor-off", "unmasked-proc", "devices",
                 "restart-policy", "engine-socket", "host-mount"):  # fmt: skip
        assert ask(rule, **container) == []


@pytest.mark.parametrize(
    ("rule", "mount", "severity"),
    [
        ("engine-socket", ("/run/docker.sock", "/s", 0), "high"),
        ("engine-socket", ("/var/run/docker.sock", "/s", 1), "high"),
        ("engine-socket", ("/run/containerd/containerd.sock", "/s", 1), "high"),
        ("engine-socket", ("/var/run", "/r", 0), "high"),
        ("host-mount", ("/", "/host", 0), "high"),
        ("host-mount", ("//./", "/host", 1), "high"),
        ("host-mount", ("/etc", "/e", 1), "high"),
        ("host-mount", ("/etc/", "/e", 0), "medium"),
        ("host-mount", ("/etc/cron.d", "/e", 1), "medium"),
        ("host-mount", ("/proc", "/p", 0), "medium"),
        ("host-mount", ("/var/lib/kubelet/pods", "/k", 1), "high"),
        ("host-mount", ("/var/lib/docker", "/d", 1), "high"),
        ("host-mount", ("/etc/passwd", "/p", 1), "high"),
        ("host-mount", ("/srv/../etc/kubernetes/pki", "/p", 0), "high"),
        ("host-mount", ("/var/log", "/logs", 0), "info"),
    ],
)  # fmt: skip
def test_mounts_of_the_host(ask, rule, mount, severity):
    assert [found[0] for found in ask(rule, [mount])] == [severity]


@pytest.mark.parametrize(
    "mount",
    [
        ("/srv/www", "/var/www", 1),
        ("/etc/localtime", "/etc/localtime", 0),
        ("/etc/nginx/conf.d", "/etc/nginx/conf.d", 0),
        ("/data/docker.sock.d", "/s", 1),
        ("/etcetera", "/e", 1),
        ("relative", "/e", 1),
        ("/home/shop/data", "/data", 1),
    ],
)
def test_harmless_mounts(ask, mount):
    assert ask("engine-socket", [mount]) == [] == ask("host-mount", [mount])
