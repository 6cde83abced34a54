"""podhost: Podman 5.4's stores in every way that it has to lay them out, on ext4 without partitions, the power cut off.

root's own store (overlay), alice's rootless one (user.overlay.*), and two graphroots elsewhere: one with fuse-overlayfs, one
with the vfs driver.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samples.make.disk import Volume, bare
from samples.make.host import KEPT, PATH, Host
from samples.make.rootfs import base_rootfs
from samples.make.tools import Word
from samples.make.truth import merged_views, save

PODMAN = ("podman", "--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=runc")
ALICE = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "env", "-i", "-C", "/home/alice", f"PATH={PATH}",
         "HOME=/home/alice", "USER=alice", "XDG_RUNTIME_DIR=/run/user/1000")  # fmt: skip
STORES: dict[str, tuple[Sequence[str], str]] = {
    "root": (PODMAN, "ro"),
    "alice": ((*ALICE, *PODMAN), "ro,userxattr"),
    "fuse": ((*PODMAN, "--root", "/srv/fuse", "--storage-opt", "overlay.mount_program=/usr/bin/fuse-overlayfs"), "fuse"),
    "vfs": ((*PODMAN, "--root", "/srv/vfs", "--storage-driver", "vfs"), "ro"),
}
"""How each store is spoken to, and how the kernel is told to merge its layers."""

SECOND = r"""
echo v2 > /etc/motd; rm /usr/share/doc/base/07.txt; rm -rf /usr/share/locale; mkdir -p /usr/share/locale/de
echo nur das > /usr/share/locale/de/messages; mkdir -p /srv/www/assets; echo hi > /srv/www/index.html
mv /usr/bin/pager /usr/bin/less
"""
WORK = r"""
echo booted; echo warning >&2; echo 1 > /data/counter
rm -rf /srv/www/assets; mkdir /srv/www/assets; echo new > /srv/www/assets/a.css
chmod 4755 /usr/bin/less; ln /etc/motd /etc/motd.linked; rm -rf /usr/share/doc; echo 'x:x:0:0::/:/bin/sh' >> /etc/passwd
touch "$(printf '/tmp/caf\351')"; ln -s ../../etc/shadow /tmp/link; mkfifo /tmp/queue; while true; do sleep 3600; done
"""
INTRUSION = r"""
mkdir -p /var/tmp/.x; echo payload > /var/tmp/.x/run; chmod 755 /var/tmp/.x/run; echo '* * * * * /var/tmp/.x/run' > /etc/crontab
rm -f /root/.profile /var/log/build.log; exit 137
"""


class Store:
    """One store of the host, spoken to."""

    def __init__(self, host: Host, name: str) -> None:
        self.host, self.name = host, name
        self.command, self.options = STORES[name]

    def __call__(self, *words: Word, check: bool = True) -> str:
        """Run a podman command there."""
        return self.host.run(*self.command, *words, check=check)

    def fill(self) -> None:
        """Images of up to three layers, and containers in every state."""
        self("import", "-c", 'CMD=["/bin/sh"]', "/srv/base.tar", "localhost/base:3.1")
        none = ("--network", "none")
        self("run", "--name", "build", *none, "localhost/base:3.1", "sh", "-c", SECOND)
        self("commit", "-q", "build", "localhost/shop:1")
        self("rm", "build")
        self("volume", "create", "--label", "keep=yes", "data")
        self("run", "--detach", "--name", f"{self.name}-web", *none, "--volume", "data:/data", "--volume", "/etc:/hostetc:ro",
             "--tmpfs", "/scratch", "--env", "DB_PASSWORD=hunter2", "--label", "team=shop", "--restart", "on-failure:3",
             "--workdir", "/srv", "--entrypoint", "sh", "localhost/shop:1", "-c", WORK)  # fmt: skip
        self("create", "--name", f"{self.name}-never", *none, "localhost/shop:1", "true")
        if self.name == "vfs":
            return
        self("run", "--name", f"{self.name}-debug", *none, "--privileged", "localhost/shop:1", "sh", "-c", INTRUSION, check=False)
        self("commit", "-q", f"{self.name}-debug", "localhost/shop:2")
        self("tag", "localhost/shop:2", "registry.example:5000/shop/web:latest")
        self("run", "--detach", "--rm", "--name", f"{self.name}-fleeting", *none, "localhost/shop:2", "sleep", "3600")
        self("pod", "create", "--name", "crew", "--infra=false", "--share", "")
        self("create", "--pod", "crew", "--name", f"{self.name}-member", *none, "localhost/base:3.1", "sh")

    def ask(self, *words: Word) -> Any:
        """What Podman answers, where that is JSON."""
        return json.loads(self(*words))


def ask_podman(store: Store, told: dict[str, list[Any]]) -> dict[str, list[str]]:
    """Add what Podman says to `told`; returns each container's layers, top first."""
    containers = store.ask("inspect", *store("ps", "--all", "--quiet", "--no-trunc").split())
    told["containers"] += containers
    told["images"] += store.ask("image", "inspect", *sorted(set(store("images", "--all", "--quiet", "--no-trunc").split())))
    told["volumes"] += store.ask("volume", "inspect", "--all")
    layers = {}
    for container in containers:
        data = container["GraphDriver"]["Data"] or {}
        if "UpperDir" in data:
            layers[container["Name"]] = [data["UpperDir"], *data["LowerDir"].split(":")]
    if store.name == "vfs":
        for record in json.loads((store.host.disk / "srv/vfs/vfs-containers/containers.json").read_text()):
            layers[record["names"][0]] = [f"/srv/vfs/vfs/dir/{record['layer']}"]
    return layers


def make(work: Path, truth: Path) -> Path:
    """Make the disk in `work` and its truth in `truth`; returns the image."""
    root = Volume("root", 96, "/", ("mkfs.ext4", "-q", "-F", "-b", "4096"))
    root.make(work)
    told: dict[str, list[Any]] = {"containers": [], "images": [], "volumes": []}
    views = {}
    with Host(work, "trixie", [root], "pod-01", {}, (*KEPT, "etc/containers", "home", "var/lib/containers")) as host:
        passwd = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\n"
        (host.disk / "etc/passwd").write_text(passwd)
        policy = '{"default": [{"type": "insecureAcceptAnything"}]}\n'
        (host.disk / "etc/containers/policy.json").write_text(policy)
        (host.disk / "srv/base.tar").write_bytes(base_rootfs(host.tree / "bin/busybox"))
        host.run("sh", "-c", "grep -q alice /etc/passwd || echo alice:x:1000:1000::/home/alice:/bin/sh >> /etc/passwd;"
                 "echo alice:100000:65536 | tee /etc/subuid /etc/subgid; mkdir -p /home/alice /run/user/1000;"
                 "chown 1000:1000 /home/alice /run/user/1000")  # fmt: skip
        host.run(*PODMAN, "network", "create", "--subnet", "10.40.50.0/24", "--label", "tier=front", "shopnet")
        told["networks"] = json.loads(host.run(*PODMAN, "network", "inspect", "shopnet"))
        for name in STORES:
            store = Store(host, name)
            store.fill()
            views[name] = ask_podman(store, told)
        (host.disk / "srv/base.tar").unlink()
    disk = work / "disk.img"
    bare(disk, root)
    for answer, content in told.items():
        save(truth, f"podman-{answer}.json", content)
    for name, layers in views.items():
        merged_views(work / name, [root], layers, truth, STORES[name][1])
    return disk
