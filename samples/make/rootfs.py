"""A root filesystem to build container images from: busybox and a little of everything that a filesystem can hold."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

APPLETS = """
    [ awk basename cat chmod chown cp date dd echo env false find grep gunzip gzip head hostname id kill ln ls md5sum mkdir
    mkfifo mknod mv nc ps pwd rm rmdir sed seq setsid sh sleep sort stat sync tail tar tee test touch tr true uname vi wget whoami
"""
BUILT = 1_700_000_000  # seconds since 1970: when the base image claims to have been built
NET_BIND = bytes.fromhex("0100000200040000" + "00" * 12)
"""linux/capability.h struct vfs_cap_data: revision 2, effective, permitted cap_net_bind_service."""
DIRECTORIES = {
    "bin": 0o755, "dev": 0o755, "etc": 0o755, "etc/init.d": 0o755, "home": 0o755, "opt": 0o755, "proc": 0o555, "root": 0o700,
    "run": 0o755, "srv": 0o755, "sys": 0o555, "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755, "usr/share": 0o755,
    "usr/share/doc": 0o755, "usr/share/doc/base": 0o755, "usr/share/locale": 0o755, "var": 0o755, "var/cache": 0o755,
    "var/cache/shared": 0o2775, "var/log": 0o755, "var/mail": 0o1777,
}  # fmt: skip
TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nshop:x:1000:1000:shop:/srv:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/group": "root:x:0:\nshop:x:1000:\n",
    "etc/motd": "Welcome to the base image.\n",
    "etc/os-release": "ID=tiny\nVERSION_ID=3.1\n",
    "etc/init.d/rcS": "#!/bin/sh\nmount -a\n",
    "root/.profile": "umask 022\n",
    "var/log/build.log": "built\n",
}


def base_rootfs(busybox: Path) -> bytes:
    """The base image's layer as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, kind: bytes, mode: int, data: bytes = b"", link: str = "", **more: int | dict[str, str]) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size, info.linkname, info.mtime = kind, mode, len(data), link, BUILT
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))

        for name, mode in DIRECTORIES.items():
            add(name, tarfile.DIRTYPE, mode)
        add("bin/busybox", tarfile.REGTYPE, 0o755, busybox.read_bytes())
        for applet in APPLETS.split():
            add(f"bin/{applet}", tarfile.SYMTYPE, 0o777, link="busybox")
        for name, text in TEXTS.items():
            add(name, tarfile.REGTYPE, 0o644, text.encode())
        for number in range(24):
            add(f"usr/share/doc/base/{number:02}.txt", tarfile.REGTYPE, 0o644, b"page %d\n" % number * (number + 1))
        for language in ("de", "el", "fr", "ja"):
            add(f"usr/share/locale/{language}", tarfile.DIRTYPE, 0o755)
            add(f"usr/share/locale/{language}/messages", tarfile.REGTYPE, 0o644, language.encode() * 50)
        add("etc/shadow", tarfile.REGTYPE, 0o640, b"root:*:19700:0:99999:7:::\n", gid=42)
        add("usr/bin/su", tarfile.REGTYPE, 0o4755, b"#!/bin/sh\nexec sh\n")
        capability = {"SCHILY.xattr.security.capability": NET_BIND.decode("latin-1")}
        add("usr/bin/listen", tarfile.REGTYPE, 0o755, b"#!/bin/sh\nexec nc -l -p 80\n", pax_headers=capability)
        add("usr/bin/pager", tarfile.REGTYPE, 0o755, b"#!/bin/sh\nexec cat\n")
        add("usr/bin/more", tarfile.LNKTYPE, 0o755, link="usr/bin/pager")
        add("var/mail/root", tarfile.SYMTYPE, 0o777, link="/root/mbox")
        add("dev/console", tarfile.CHRTYPE, 0o600, devmajor=5, devminor=1)
        add("dev/far", tarfile.BLKTYPE, 0o660, devmajor=259, devminor=70000, gid=6)
        add("run/initctl", tarfile.FIFOTYPE, 0o600)
    return out.getvalue()


def build_context(dockerfile: str, files: dict[str, str]) -> bytes:
    """What `docker build -` reads: a Dockerfile and files, as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, text in {"Dockerfile": dockerfile, **files}.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(text.encode()), BUILT, 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()
