"""snapshots: containerd 1.7 with Docker's image store in namespace moby, and ctr's containers in two others; plain ext4.

Docker keeps its containers' configs and containerd everything else; the namespaces `default` and `k8s.io` are ctr's own.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

from samples.make.disk import Volume, bare
from samples.make.host import Host
from samples.make.rootfs import base_rootfs
from samples.make.tools import Word
from samples.make.truth import ask_changes, merged_views, save

SECOND = r"""
echo v2 > /etc/motd; rm /usr/share/doc/base/07.txt; rm -rf /usr/share/locale; mkdir -p /usr/share/locale/de
echo nur das > /usr/share/locale/de/messages; mkdir -p /srv/www/assets; echo hi > /srv/www/index.html
"""
WORK = r"""
echo booted; echo 1 > /data/counter; rm -rf /srv/www/assets; mkdir /srv/www/assets; echo new > /srv/www/assets/a.css
chmod 4755 /bin/busybox; ln /etc/motd /etc/motd.linked; rm -rf /usr/share/doc; echo 'x:x:0:0::/:/bin/sh' >> /etc/passwd
touch "$(printf '/tmp/caf\351')"; mkfifo /tmp/queue; while true; do sleep 3600; done
"""


def archive(layer: bytes, name: str) -> bytes:
    """An image of one layer as `docker save` writes it; its layer is kept as it is, where `docker import` compresses."""
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-02T03:04:05.678901234Z",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin:/usr/bin"], "Labels": {"org.example.base": "yes"}},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": "2026-01-02T03:04:05.678901234Z", "created_by": "by hand"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in (
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
            ("layer.tar", layer),
        ):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def write_docker(host: Host) -> None:
    """Docker's part: images with and without a name, containers in every state."""
    host.docker("load", stdin=archive(base_rootfs(host.tree / "bin/busybox"), "base:3.1"))
    none = ("--network", "none")
    host.docker("run", "--name", "build", *none, "base:3.1", "sh", "-c", SECOND)
    host.docker("commit", "-m", "second", "build", "shop:1")
    host.docker("rm", "build")
    host.docker("tag", "shop:1", "registry.example:5000/shop/web:1.0")
    host.docker("volume", "create", "data")
    host.docker("run", "--detach", "--name", "web", *none, "--volume", "data:/data", "--env", "DB_PASSWORD=hunter2", "shop:1",
                "sh", "-c", WORK)  # fmt: skip
    host.docker("run", "--name", "failed", *none, "--privileged", "base:3.1", "sh", "-c", "rm /etc/motd; exit 3", check=False)
    host.docker("create", "--name", "never", *none, "base:3.1", "true")
    host.docker("run", "--name", "gone", *none, "base:3.1", "sh", "-c", "echo secret > /root/secret")
    host.docker("save", "-o", "/run/images.tar", "base:3.1", "shop:1")
    host.docker("rm", "gone")


def write_ctr(host: Host) -> None:
    """ctr's part: containers of overlayfs and of native, one with a task when the power goes."""
    for namespace, snapshotter in (("default", "overlayfs"), ("k8s.io", "native")):
        ctr = ("ctr", "--namespace", namespace)
        chosen = ("--snapshotter", snapshotter)
        host.run(*ctr, "images", "import", *chosen, "/run/images.tar")
        shop = "docker.io/library/shop:1"

        def start(name: str, *words: Word, ctr: tuple[str, ...] = ctr, chosen: tuple[str, ...] = chosen) -> None:
            host.run(*ctr, "run", *chosen, "--label", f"app={name}", "--env", f"NAME={name}", *words)

        start("redis", shop, "redis", "sh", "-c", "rm -rf /srv; mkdir /srv; echo hello > /root/hello")
        start("bound", "--mount", "type=bind,src=/etc,dst=/hostetc,options=rbind:ro", shop, "bound", "sh", "-c", "echo b > /b")
        start("doomed", shop, "doomed", "sh", "-c", "echo secret > /root/secret")
        start("live", "--privileged", "--detach", shop, "live", "sleep", "3600")
        host.run(*ctr, "containers", "create", *chosen, shop, "spare", "true")
        host.run(*ctr, "containers", "rm", "doomed")
    host.run("ctr", "namespaces", "label", "default", "tier=back")


def ask_ctr(host: Host, namespace: str, key: str, snapshotter: str) -> list[str]:
    """The directories of a snapshot's mount, top first."""
    words = host.run("ctr", "--namespace", namespace, "snapshots", "--snapshotter", snapshotter, "mounts", "/to", key).split()
    options = words[words.index("-o") + 1].split(",") if "-o" in words else []
    named = dict(option.split("=", 1) for option in options if "=" in option)
    return [named["upperdir"], *named["lowerdir"].split(":")] if "lowerdir" in named else [words[3]]


def ask(host: Host, truth: Path) -> dict[str, list[str]]:
    """Record what the engines say; returns each container's layers, top first."""
    layers = {}
    containers = host.ask("inspect", *host.docker("ps", "--all", "--quiet", "--no-trunc").split())
    images = sorted(set(host.docker("images", "--all", "--quiet", "--no-trunc").split()))
    save(truth, "docker-containers.json", containers)
    save(truth, "docker-images.json", host.ask("image", "inspect", *images))
    save(truth, "version.json", host.ask("version", "--format", "{{json .}}"))
    ask_changes(host, truth)
    for container in containers:
        layers[container["Name"].lstrip("/")] = ask_ctr(host, "moby", container["Id"], "overlayfs")
    for namespace in ("default", "k8s.io"):
        ctr = ("ctr", "--namespace", namespace)
        told: list[Any] = []
        for name in host.run(*ctr, "containers", "ls", "--quiet").split():
            told.append(json.loads(host.run(*ctr, "containers", "info", name)))
            layers[f"{namespace}-{name}"] = ask_ctr(host, namespace, told[-1]["SnapshotKey"], told[-1]["Snapshotter"])
        save(truth, f"ctr-{namespace}.json", {"containers": told, "images": host.run(*ctr, "images", "ls").splitlines()})
    return layers


def make(work: Path, truth: Path) -> Path:
    """Make the disk in `work` and its truth in `truth`; returns the image."""
    root = Volume("root", 96, "/", ("mkfs.ext4", "-q", "-F", "-b", "4096"))
    root.make(work)
    features = {"features": {"containerd-snapshotter": True}, "bridge": "none"}
    with Host(work, "trixie", [root], "snap-01", features) as host:
        host.start_docker()
        write_docker(host)
        write_ctr(host)
        time.sleep(2)  # removed snapshots' directories go a little later
        layers = ask(host, truth)
    disk = work / "disk.img"
    bare(disk, root)
    merged_views(work, [root], layers, truth, "ro")
    return disk
