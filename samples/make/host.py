"""A host of its own for real engines: a Debian release in namespaces, with its state on the volumes of a disk to be."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from samples.make.disk import Volume
from samples.make.tools import Word, attach, run, unmount_below

CACHE = Path(os.environ.get("SAMPLES_CACHE", "/tmp/ctrforensics-make"))
PACKAGES = "attr,busybox-static,ca-certificates,containerd,docker.io,fuse-overlayfs,iproute2,iptables,netavark,podman,runc,uidmap"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEPT = ("etc/docker", "etc/containerd", "var/lib/docker", "var/lib/containerd", "var/log", "srv")
"""What of the host stands on the disk; the rest of the release is read from its cached tree."""
CONTAINERD = 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'


def release_tree(release: str) -> Path:
    """The release's root tree with its engines, made by debootstrap once."""
    root = CACHE / "roots" / release
    if not (root / ".complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        packages = PACKAGES + ("" if release == "bookworm" else ",docker-cli")
        run("debootstrap", "--variant=minbase", f"--include={packages}", release, root)
        (root / ".complete").touch()
    return root


class Host:
    """A powered-on host; leaving the context is a power cut. What it wrote is in the volumes' files."""

    def __init__(
        self,
        work: Path,
        release: str,
        volumes: Sequence[Volume],
        name: str,
        daemon: dict[str, Any],
        kept: Sequence[str] = KEPT,
    ) -> None:
        self.kept = kept
        self.work, self.tree, self.name = work, release_tree(release), name
        self.volumes = sorted((volume for volume in volumes if volume.point), key=lambda volume: str(volume.point))
        self.disk = work / "host"
        self.daemon = {"iptables": False, "ip6tables": False, **daemon}
        self.engines: list[subprocess.Popen[bytes]] = []
        self.loops: list[str] = []
        self.first: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def __enter__(self) -> Self:
        """Mount the volumes, write the host's configuration and start its first process."""
        try:
            self._mount()
            self._configure()
            self._boot()
        except BaseException:
            self.power_off()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Cut the power; the filesystems are left clean."""
        self.power_off()

    def _mount(self) -> None:
        for volume in self.volumes:
            where = self.disk / str(volume.point).lstrip("/")
            where.mkdir(parents=True, exist_ok=True)
            self.loops.append(attach(volume.image))
            run("mount", self.loops[-1], where)

    def _configure(self) -> None:
        for kept in (*self.kept, "root", "tmp", "run", "usr/lib"):
            (self.disk / kept).mkdir(parents=True, exist_ok=True)
        etc = self.disk / "etc"
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "machine-id").write_text("7b0f4a1c9d3e4f5a8b6c2d1e0f9a8b7c\n")
        (etc / "timezone").write_text("Europe/Vienna\n")
        (etc / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Vienna")
        (etc / "os-release").symlink_to("../usr/lib/os-release")
        shutil.copy(self.tree / "usr/lib/os-release", self.disk / "usr/lib/os-release")
        (etc / "docker/daemon.json").write_text(json.dumps(self.daemon, indent=2) + "\n")
        (etc / "containerd/config.toml").write_text(CONTAINERD)

    def _boot(self) -> None:
        top = self.work / "top"
        for made in ("upper", "inner", "root"):
            (top / made).mkdir(parents=True)
        binds = "\n".join(f"mkdir -p {top}/root/{d}; mount --rbind {self.disk}/{d} {top}/root/{d}" for d in self.kept)
        script = f"""
            set -e
            mount -t tmpfs tmpfs {top}/inner
            mkdir {top}/inner/upper {top}/inner/work
            mount -t overlay overlay -o lowerdir={self.tree},upperdir={top}/inner/upper,workdir={top}/inner/work {top}/root
            mount -t proc proc {top}/root/proc
            mount --rbind /sys {top}/root/sys
            mount --rbind /dev {top}/root/dev
            mount -t tmpfs tmpfs {top}/root/run
            {binds}
            hostname {self.name}
            cd {top}/root && mkdir -p .old && pivot_root . .old && umount -l .old && rmdir .old
            ip link set lo up
            touch /run/up && exec sleep infinity
        """
        namespaces = ("--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child", "--propagation", "private")
        self.first = subprocess.Popen(
            ["unshare", *namespaces, "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - no host may outlive its script; nothing here has threads
        )
        children = Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children")
        for _ in range(100):
            time.sleep(0.1)
            pids = children.read_text().split() if self.first.poll() is None else []
            if pids and Path(f"/proc/{pids[0]}/root/run/up").exists():
                self.pid = int(pids[0])
                return
        raise RuntimeError("the host did not start")

    def _inside(self, *words: Word) -> list[Word]:
        enter = ("nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts", "--ipc", "--net", "--root")
        return [*enter, "env", "-i", "-C", "/", f"PATH={PATH}", "HOME=/root", "DOCKER_BUILDKIT=0", *words]

    def run(self, *words: Word, stdin: bytes | None = None, check: bool = True) -> str:
        """Run a command on the host."""
        return run(*self._inside(*words), stdin=stdin, check=check)

    def docker(self, *words: Word, stdin: bytes | None = None, check: bool = True) -> str:
        """Run a docker command on the host."""
        return self.run("docker", *words, stdin=stdin, check=check)

    def ask(self, *words: Word) -> Any:
        """What docker answers, where that is JSON."""
        return json.loads(self.docker(*words))

    def start_docker(self) -> None:
        """Start containerd and dockerd and wait until they answer."""
        commands = {
            ("ctr", "version"): ("containerd", "-c", "/etc/containerd/config.toml"),
            ("docker", "version"): ("dockerd", "--containerd", "/run/containerd/containerd.sock"),
        }
        for probe, command in commands.items():
            log = self.work / f"{command[0]}.log"
            with log.open("ab") as said:
                words = [str(word) for word in self._inside(*command)]
                engine = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
            self.engines.append(engine)
            deadline = time.monotonic() + 30
            while not self._answers(*probe):
                if engine.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not run:\n{log.read_text()[-3000:]}")
                time.sleep(0.2)

    def _answers(self, *words: Word) -> bool:
        return subprocess.run([str(word) for word in self._inside(*words)], capture_output=True, check=False).returncode == 0

    def api(self, path: str) -> Any:
        """What Docker's API answers; its client prints some of that in ways that names with newlines break."""
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(f"/proc/{self.pid}/root/run/docker.sock")
        connection.request("GET", path)
        with connection.getresponse() as answer:
            return json.load(answer)

    def sync(self) -> None:
        """Write what is dirty to the volumes, theirs only."""
        for volume in self.volumes:
            run("sync", "-f", self.disk / str(volume.point).lstrip("/"))

    def freeze_disk(self, *committed: str) -> None:
        """The power goes now: the volumes as they are at this instant are the evidence.

        `committed` are paths on the host that are fsynced first, which commits the journal and no more.
        """
        for path in committed:
            opened = os.open(self.disk / path.lstrip("/"), os.O_RDONLY)
            os.fsync(opened)
            os.close(opened)
        for volume in self.volumes:
            run("cp", "--sparse=always", volume.image, volume.image.with_suffix(".cut"))

    def _wait_for_unmount(self) -> None:
        """A filesystem is clean on the disk only when the last namespace that knew it is gone, which takes its time."""
        deadline = time.monotonic() + 30
        while any(run("losetup", "--associated", volume.image).strip() for volume in self.volumes):
            if time.monotonic() > deadline:
                raise RuntimeError("a volume is still mounted")
            time.sleep(0.1)

    def power_off(self) -> None:
        """End every process of the host at once and unmount its volumes."""
        paused = (
            self.docker("ps", "--quiet", "--no-trunc", "--filter", "status=paused", check=False).split() if self.engines else []
        )
        for engine in reversed(self.engines):
            engine.kill()
            engine.wait()
        self.engines = []
        if self.first:
            self.first.kill()
            self.first.wait()
            self.first = None
        for key in paused:  # what is frozen by a cgroup of version 1 cannot even be killed
            for state in Path("/sys/fs/cgroup/freezer").glob(f"**/{key}/freezer.state"):
                state.write_text("THAWED")
        unmount_below(self.disk)
        for loop in self.loops:
            run("losetup", "--detach", loop)
        self.loops = []
        self._wait_for_unmount()
        for volume in self.volumes:
            cut = volume.image.with_suffix(".cut")
            if cut.exists():
                cut.replace(volume.image)


def _die_with_parent() -> None:
    """In a child before exec: be killed when this process ends."""
    set_death_signal = 1  # linux/prctl.h PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
