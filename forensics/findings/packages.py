"""Which files a package manager put into a container's layer: as its own database in that same layer lists them.

That database is the container's, so whoever was root there could write into it; a file that is listed, and whose content has the
digest that is listed, is as its package had it, or its forger was careful.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from forensics.findings.scene import Scene
from parsers.package_lists import apk_installed, dpkg_conffiles, dpkg_list, dpkg_md5sums, python_record

MAX_DATABASE = 32 << 20  # bytes of one file of a package database
MAX_LISTED = 2_000_000  # paths in all of a layer's databases
_DPKG_INFO = re.compile(rb"/var/lib/dpkg/info/([^/]+)\.(list|md5sums|preinst|postinst|prerm|postrm|config)")
_APK = (b"/lib/apk/db/installed", b"/usr/lib/apk/db/installed")
_RPM = re.compile(rb"(?:/var/lib/rpm|/usr/lib/sysimage/rpm)/(?:rpmdb\.sqlite|Packages|Packages\.db)")
_RECORD = re.compile(rb"(/.*)/([^/]+)\.dist-info/RECORD")
_MERGED = re.compile(rb"/usr(?=/(?:bin|sbin|lib|lib32|lib64|libx32)/)")  # the same directories, since /usr was merged
_ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256"}


@dataclass(frozen=True, slots=True)
class Owner:
    """The package that a file is listed under. manager: dpkg, apk, rpm, pip. digest: in hex, None where none is listed."""

    manager: str
    package: str
    digest: str | None = None

    def matches(self, content: bytes) -> bool | None:
        """Whether a content has the digest that is listed; None where none is."""
        if self.digest is None:
            return None
        return hashlib.new(_ALGORITHMS[len(self.digest)], content, usedforsecurity=False).hexdigest() == self.digest


@dataclass
class Packages:
    """The files that the databases of one layer list. rpm: its database was written to; which files it lists is not read."""

    owners: dict[bytes, Owner] = field(default_factory=dict)
    rpm: bool = False

    def owner(self, path: bytes) -> Owner | None:
        """The package of a path."""
        found = self.owners.get(_MERGED.sub(b"", path, count=1))
        if found is None and self.rpm and path.startswith((b"/usr/", b"/bin/", b"/sbin/", b"/lib", b"/etc/")):
            return Owner("rpm", "a package of its rpm database")
        return found

    def add(self, path: bytes, owner: Owner) -> None:
        """One path that is listed; an entry with a digest counts more."""
        key = _MERGED.sub(b"", path, count=1)
        if len(self.owners) < MAX_LISTED and (owner.digest is not None or key not in self.owners):
            self.owners[key] = owner


def read_packages(scene: Scene, rows: Sequence[tuple[Any, ...]]) -> Packages:
    """The databases among a layer's entries, as changed_files selects them."""
    packages = Packages()
    for text, raw, kind, *rest in rows:
        if kind != "f":
            continue
        path = text.encode() if raw is None else raw
        size, inode, partition = rest[3], rest[8], rest[14]
        if path.startswith(b"/var/lib/dpkg/"):
            _dpkg(packages, path, lambda p=partition, i=inode, s=size: _content(scene, p, i, s))
        elif path in _APK:
            for package, listed, digest in apk_installed(_content(scene, partition, inode, size)):
                packages.add(listed, Owner("apk", package, digest))
        elif path.endswith(b".dist-info/RECORD"):
            _python(packages, path, _content(scene, partition, inode, size))
        elif _RPM.fullmatch(path):
            packages.rpm = True
    return packages


def _content(scene: Scene, partition: int, inode: int, size: int) -> bytes:
    return scene.read(partition, inode, 0, min(size, MAX_DATABASE))


def _dpkg(packages: Packages, path: bytes, content: Any) -> None:
    match = _DPKG_INFO.fullmatch(path)
    if match is not None:
        package = match[1].decode("utf-8", "backslashreplace").partition(":")[0]
        if match[2] not in (b"list", b"md5sums"):
            packages.add(path, Owner("dpkg", package))  # the package's own scripts, which its lists do not have
        elif match[2] == b"list":
            for listed in dpkg_list(content()):
                packages.add(listed, Owner("dpkg", package))
        else:
            for listed, digest in dpkg_md5sums(content()):
                packages.add(listed, Owner("dpkg", package, digest))
    elif path == b"/var/lib/dpkg/status":
        for package, listed, digest in dpkg_conffiles(content()):
            packages.add(listed, Owner("dpkg", package, digest))


def _python(packages: Packages, path: bytes, content: bytes) -> None:
    match = _RECORD.fullmatch(path)
    assert match is not None
    for listed, digest in python_record(content):
        where = posixpath.normpath(match[1] + b"/" + listed)
        packages.add(where, Owner("pip", match[2].decode("utf-8", "backslashreplace"), digest))
