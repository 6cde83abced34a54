"""powercut: Docker 20.10 on a DOS disk, its data-root moved to a logical volume, user namespaces on; the power goes at work.

The journals are dirty: what the last commands wrote is in them alone.
"""

from __future__ import annotations

from pathlib import Path

from samples.make.disk import Volume, dos_with_lvm
from samples.make.host import Host
from samples.make.rootfs import base_rootfs, build_context
from samples.make.truth import ask_changes, ask_docker, merged_views, save

DOCKERFILE = r"""
FROM base:3.1
RUN mkdir -p /srv/queue/in /srv/queue/out && echo 1 > /srv/queue/in/job && ln -s in/job /srv/queue/next
RUN chown -R 1000 /srv/queue
RUN rm -r /usr/share/doc && echo 'not a directory now' > /usr/share/doc && rm -r /var/log && mkdir /var/log
CMD ["sleep", "3600"]
"""

SENDER = r"""
echo started; cd /srv/queue; mv out sent; mkdir out; for i in 1 2 3; do echo mail $i > out/$i; ln out/$i sent/$i; done
rm -r in; mkdir in; chmod 2750 in; echo more >> /etc/passwd; rm /usr/share/doc; mkdir /usr/share/doc
exec 9> /tmp/spool; echo held open >&9; rm /tmp/spool; while true; do sleep 3600; done
"""

LAST = "echo 'the very last line' > /root/last; rm /etc/group; mv /root/.profile /tmp/p"
DAEMON = {"data-root": "/srv/containers", "userns-remap": "default", "log-driver": "local"}
REMAP = b"dockremap:100000:65536\n"
SMALL = ("mkfs.ext4", "-q", "-F", "-b", "1024", "-I", "256")


def write(host: Host, truth: Path) -> None:
    """What happens on the host until just before the power goes."""
    host.docker("import", "-c", 'CMD ["sh"]', "-", "base:3.1", stdin=base_rootfs(host.tree / "bin/busybox"))
    host.docker("build", "-t", "mail/queue:2", "-", stdin=build_context(DOCKERFILE, {}))
    host.docker("network", "create", "--internal", "--subnet", "172.30.0.0/16", "mailnet")
    host.docker("run", "--detach", "--name", "sender", "--network", "mailnet", "--volume", "spool:/var/mail", "--restart",
                "unless-stopped", "mail/queue:2", "sh", "-c", SENDER)  # fmt: skip
    host.docker("run", "--name", "once", "--network", "none", "--user", "1000", "base:3.1",
                "sh", "-c", "echo done > /tmp/done; exit 1", check=False)  # fmt: skip
    host.docker("create", "--name", "rescue", "--privileged", "--userns", "host", "--cap-add", "SYS_ADMIN", "mail/queue:2", "sh")
    host.docker("run", "--name", "moved", "--network", "none", "base:3.1", "true")
    host.docker("run", "--name", "lost", "--network", "none", "base:3.1", "sh", "-c", "echo private > /root/key; rm /etc/motd")
    host.sync()
    save(truth, "removed.json", host.ask("inspect", "lost", "moved"))
    host.docker("rm", "lost")


def make(work: Path, truth: Path) -> Path:
    """Make the disk in `work` and its truth in `truth`; returns the image."""
    root, data = Volume("root", 24, "/", SMALL), Volume("containers", 96, "/srv/containers", SMALL)
    for volume in (root, data):
        volume.make(work)
    with Host(work, "bookworm", [root, data], "mail-2", DAEMON) as host:
        host.run("useradd", "--system", "--no-create-home", "dockremap")
        for ids in ("/etc/subuid", "/etc/subgid"):
            host.run("tee", ids, stdin=REMAP)
            (host.disk / ids[1:]).write_bytes(REMAP)
        host.start_docker()
        write(host, truth)
        layers = ask_docker(host, truth)
        host.docker("exec", "sender", "sh", "-c", LAST)
        upper = layers["sender"][0]
        host.freeze_disk(f"{upper}/root/last", f"{upper}/etc")
        ask_changes(host, truth)  # the question makes Docker unmount something, which syncs the disk: so only now
    disk = work / "disk.img"
    save(truth, "segments.json", dos_with_lvm(disk, root, data, swap=8))
    merged_views(work, [root, data], layers, truth, "ro")
    return disk
