"""The files that a container added or changed, with what lay below them in its image, and their contents within bounds."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from forensics.findings.packages import Owner, Packages, read_packages
from forensics.findings.scene import Container, Scene
from forensics.records import Finding

HEAD = 128 << 10  # bytes read of a file's beginning: scripts and configuration are seldom longer
WHOLE = 16 << 20  # bytes up to which two contents are compared
WHOLE_PACKAGED = 64 << 20  # bytes up to which a content is held against its package's digest
TEMPORARY = (b"/tmp/", b"/var/tmp/", b"/dev/", b"/run/", b"/var/run/", b"/proc/", b"/sys/")
# directories with a dot that programs make by themselves
_USUAL_HIDDEN = re.compile(
    rb"/\.(?:git|hg|svn|cache|config|local|npm|nvm|yarn|pnpm-store|cargo|rustup|pyenv|rbenv|venv|virtualenv|m2|gradle|sdkman|gem|bundle"
    rb"|cpan|cpanm|vscode|vscode-server|vscode-remote|vscode-server-insiders|cursor-server|jenkins|bun|deno|nuget|dotnet|java|go|ivy2|sbt"
    rb"|stack|ghcup|opam|tox|nox|eggs|bin|next|nuxt|output|svelte-kit|terraform|terraform\.d|pulumi|serverless|wine|steam|mozilla"
    rb"|juliaup|conda|ipython|jupyter|pyp|claude|husky|github|gitlab|circleci|docker|kube|helm|azure|aws|gcloud|s2i|pki)(?=/|$)"
)
_DULL = re.compile(
    rb"/usr/(?:share|local/share)/(?:doc|man|info|locale|i18n|zoneinfo|icons|fonts|perl|perl5|mime|X11|bash-completion|vim)/|"
    rb"/var/(?:lib/(?:dpkg|apt|apk|rpm|dnf|pacman)|cache)/|/lib/apk/|/usr/lib/python3/dist-packages/|/proc/|/sys/"
)  # text in great amounts that no rule has anything to say about
_DATA = re.compile(
    rb"\.(?:jpe?g|png|gif|webp|ico|svgz|ttf|otf|woff2?|eot|mp[34]|webm|ogg|wav|avi|mov|pdf|pyc|mo|gmo|gz|xz|bz2|zst|zip|whl|tgz|parquet"
    rb"|sqlite3?|ibd|frm|MYD|MYI|a|o|class|h|hpp)$"
)  # whose content no rule looks into, but where it may be run, or lies in a temporary or hidden place
_UNLIKE_BELOW = (
    " AND :base IS NOT NULL AND NOT EXISTS (SELECT 1 FROM entry b WHERE b.layer_id = :base AND b.path = e.path"
    " AND b.type = e.type AND b.mode = e.mode AND b.uid = e.uid AND b.gid = e.gid AND b.size = e.size"
    " AND b.mtime_ns IS e.mtime_ns AND b.xattrs IS e.xattrs AND b.target IS e.target)"
)
_TEXT = re.compile(rb"[\x00\x01-\x06\x0e-\x1a\x1c-\x1f]")
ELF = b"\x7fELF"


def hides(path: bytes) -> bool:
    """Whether a dot hides a path, apart from directories that ordinary programs hide."""
    return b"/." in _USUAL_HIDDEN.sub(b"", path)


@dataclass(frozen=True, slots=True)
class Lower:
    """The file at the same path in the image."""

    type: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int | None
    xattrs: str | None
    partition: int
    inode: int
    sha256: str | None
    target: str | None


class ChangedFile:
    """One entry of a container's own layer that the container's processes saw; directories are none.

    owner: the package that the container's own package database lists it under. layer_born_ns: when the layer's directory
    was made.
    """

    def __init__(self, scene: Scene, container: Container, row: tuple[Any, ...], lower: Lower | None, owner: Owner | None,
                 layer_born_ns: int | None) -> None:  # fmt: skip
        (text, raw, self.type, self.mode, self.uid, self.gid, self.size, self.mtime_ns, self.ctime_ns, self.crtime_ns, self.nlink,
         self.inode, self.offset, target, target_raw, self.rdev, self._xattrs, self.partition, self.sha256, self.content_offset,
         self.metacopy, self.entry) = row  # fmt: skip
        self.path: bytes = text.encode() if raw is None else raw
        self.target: bytes | None = target_raw if target_raw is not None else None if target is None else target.encode()
        self.scene, self.container = scene, container
        self.lower, self.owner, self.layer_born_ns = lower, owner, layer_born_ns

    @property
    def name(self) -> bytes:
        """The last part of its path."""
        return self.path.rpartition(b"/")[2]

    @property
    def is_executable(self) -> bool:
        """Whether somebody may run it."""
        return self.type == "f" and bool(self.mode & 0o111)

    @property
    def is_temporary(self) -> bool:
        """Whether it is where programs do not belong."""
        return self.path.startswith(TEMPORARY)

    @cached_property
    def is_hidden(self) -> bool:
        """Whether a dot hides it, apart from directories that ordinary programs hide."""
        return hides(self.path)

    @cached_property
    def xattrs(self) -> Mapping[str, bytes]:
        """Its extended attributes."""
        return _decoded(self._xattrs)

    @cached_property
    def lower_xattrs(self) -> Mapping[str, bytes]:
        """Those of the file below."""
        return _decoded(self.lower.xattrs) if self.lower is not None else {}

    @property
    def is_data(self) -> bool:
        """Whether its name says that it is data of a kind that nobody runs, and nothing else speaks against that."""
        return not self.mode & 0o111 and _DATA.search(self.path) is not None and not (self.is_temporary or self.is_hidden)

    @cached_property
    def head(self) -> bytes:
        """The beginning of its content, HEAD bytes at most."""
        if self.type != "f" or self.metacopy or self.is_data:
            return b""
        return self.scene.read(self.partition, self.inode, 0, min(self.size, HEAD))

    @cached_property
    def tail(self) -> bytes:
        """The end of its content, as many bytes; empty where `head` is all of it."""
        if self.type != "f" or self.metacopy or self.size <= HEAD:
            return b""
        length = min(self.size - HEAD, HEAD)
        return self.scene.read(self.partition, self.inode, self.size - length, length)

    @cached_property
    def is_text(self) -> bool:
        """Whether its beginning is text of some kind."""
        return bool(self.head) and _TEXT.search(self.head[:4096]) is None

    @property
    def is_elf(self) -> bool:
        """Whether it is a program or library of Linux."""
        return self.head.startswith(ELF)

    @property
    def is_script(self) -> bool:
        """Whether it names its interpreter."""
        return self.head.startswith(b"#!")

    @cached_property
    def lower_head(self) -> bytes:
        """The beginning of the content below, HEAD bytes at most."""
        if self.lower is None or self.lower.type != "f":
            return b""
        return self.scene.read(self.lower.partition, self.lower.inode, 0, min(self.lower.size, HEAD))

    @cached_property
    def text(self) -> bytes:
        """What of it is to be searched for words: the beginning of text that is new, and that no package brought along."""
        if self.type != "f" or not self.size or _DULL.match(self.path) or not self.is_new_content or not self.is_text:
            return b""
        return b"" if self.owner is not None and self.packaged != "differs" else self.head

    @cached_property
    def packaged(self) -> str | None:
        """What the container's package database says of it: `verified`, its content has the digest that is listed; `listed`, it
        is there without one, or too large to tell; `differs`; None, it is not there.
        """
        if self.owner is None:
            return None
        if self.owner.digest is None or self.type != "f" or self.metacopy or self.size > WHOLE_PACKAGED:
            return "listed"
        if len(self.owner.digest) == 64 and self.sha256 is not None:
            return "verified" if self.sha256 == self.owner.digest else "differs"
        content = self.head if self.size <= HEAD else self.scene.read(self.partition, self.inode, 0, self.size)
        if len(content) < self.size:
            return "listed"
        return "verified" if self.owner.matches(content) else "differs"

    @property
    def package_words(self) -> str:
        """What the package database says, in words."""
        if self.owner is None:
            return ""
        state = {"verified": "and has the content that is listed", "listed": "without a digest to compare"}
        return (
            f"{self.owner.manager} lists it in {self.owner.package}, {state.get(self.packaged or '', 'but with other content')}"
        )

    @cached_property
    def is_new_content(self) -> bool:
        """Whether its content is not the one at the same path in the image."""
        lower = self.lower
        if self.type != "f" or self.metacopy:
            return False
        if lower is None or lower.type != "f" or lower.size != self.size:
            return True
        if lower.sha256 is not None and self.sha256 is not None:
            return bool(lower.sha256 != self.sha256)
        if self.head != self.lower_head or self.size > WHOLE:
            return self.head != self.lower_head or self.mtime_ns != lower.mtime_ns
        return self.scene.read(self.partition, self.inode, 0, self.size) != self.scene.read(
            lower.partition, lower.inode, 0, lower.size
        )

    def finding(self, severity: str, title: str, detail: str, in_inode: bool = False) -> Finding:
        """A finding that points to its content, or to its inode where that is what tells."""
        content = None if in_inode else self.content_offset
        offset = self.offset if content is None else content
        return Finding(severity, title, detail, self.container.number, self.path, self.sha256, self.partition, offset)


def changed_files(scene: Scene, container: Container) -> Iterator[ChangedFile]:
    """What a container's own layer shows: nothing of its image, and nothing where the layer is gone."""
    if container.layer is None:
        return
    base = None if container.stacked else _base(scene, container)
    lower = _lower_files(scene, container, base)
    rows = _rows(scene, container, base)
    born = next((row[9] for row in rows if row[0] == "/"), None)
    packages = read_packages(scene, rows)
    for row in rows:
        if row[2] != "d":
            path = row[0].encode() if row[1] is None else row[1]
            yield ChangedFile(scene, container, row, lower.get(row[0]), _owner(packages, path), born)


def removed_logs(scene: Scene) -> Iterator[tuple[int, str, int | None, int | None, int | None]]:
    """Logs and histories of their images that containers deleted: the container's number, path, size, partition, and the offset
    of what hides it, or its own.
    """
    # CROSS JOIN keeps the order: of each container what its layer hides, not of each hidden entry who hides it
    yield from scene.db.execute(
        "SELECT c.id, e.path, e.size, hl.partition, coalesce(b.offset, e.offset) FROM container c"
        " CROSS JOIN hidden h ON h.layer_id = c.layer_id JOIN entry e ON e.id = h.entry_id"
        " LEFT JOIN entry b ON b.id = h.by_entry JOIN layer hl ON hl.id = h.layer_id"
        " WHERE h.reason IN ('whiteout', 'opaque') AND e.type = 'f'"
        " AND (e.path LIKE '/var/log/%' OR e.path LIKE '%hist%' OR e.path LIKE '%info' OR e.path LIKE '%tmp')"
        " AND NOT EXISTS (SELECT 1 FROM entry n WHERE n.layer_id = h.layer_id AND n.path = e.path AND n.mark IS NULL)"
        " ORDER BY c.id, e.path, h.entry_id"
    )


def _rows(scene: Scene, container: Container, base: int | None) -> list[tuple[Any, ...]]:
    """The layer's entries by path; of a layer that is a whole root filesystem, those that the layer it began as has not so."""
    rows = scene.db.execute(
        "SELECT e.path, e.path_raw, e.type, e.mode, e.uid, e.gid, e.size, e.mtime_ns, e.ctime_ns, e.crtime_ns, e.nlink, e.inode,"
        " e.offset, e.target, e.target_raw, e.rdev, e.xattrs, l.partition, k.sha256, k.offset, e.metacopy, e.id"
        " FROM entry e JOIN layer l ON l.id = e.layer_id LEFT JOIN content k ON k.partition = l.partition AND k.inode = e.inode"
        f" WHERE e.layer_id = :layer AND e.mark IS NULL{'' if container.stacked else _UNLIKE_BELOW} ORDER BY e.path, e.path_raw",
        {"layer": container.layer, "base": base},
    )
    return rows.fetchall()


def _lower_files(scene: Scene, container: Container, base: int | None) -> dict[str, Lower]:
    """By path, what the layer hides of the view below it; of a whole root filesystem, what the layer that it began as has."""
    columns = "e.path, e.type, e.mode, e.uid, e.gid, e.size, e.mtime_ns, e.xattrs, l.partition, e.inode, k.sha256, e.target"
    source = "JOIN layer l ON l.id = e.layer_id LEFT JOIN content k ON k.partition = l.partition AND k.inode = e.inode"
    if container.stacked:
        sql = (
            f"SELECT {columns} FROM hidden h JOIN entry e ON e.id = h.entry_id AND e.type <> 'd' JOIN entry o ON"
            f" o.layer_id = h.layer_id AND o.path = e.path AND o.mark IS NULL {source} WHERE h.layer_id = ?"
        )
    else:
        sql = f"SELECT {columns} FROM entry e {source} WHERE e.layer_id = ? AND e.type <> 'd' AND e.mark IS NULL"
    return {path: Lower(*rest) for path, *rest in scene.db.execute(sql, (container.layer if container.stacked else base,))}


def _base(scene: Scene, container: Container) -> int | None:
    """The layer that a whole root filesystem began as: the store says which by its name or chain id."""
    row = scene.db.execute(
        "SELECT b.id FROM layer l JOIN layer b ON b.store_id = l.store_id AND (b.name = l.parent OR b.chain_id = l.parent)"
        " WHERE l.id = ? AND b.id <> l.id ORDER BY b.kind = 'init', b.id LIMIT 1",
        (container.layer,),
    ).fetchone()
    return row[0] if row is not None else None


def _owner(packages: Packages, path: bytes) -> Owner | None:
    return packages.owner(path)


def _decoded(text: str | None) -> dict[str, bytes]:
    return {name: base64.b64decode(value) for name, value in json.loads(text).items()} if text else {}
