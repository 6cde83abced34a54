"""A host's files as a tar archive, with owners and xattrs of one's choice: evidence that takes no root to make."""

import io
import tarfile
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Item:
    """One name. data: bytes of a file, a symlink's target as text, or None for a directory."""

    data: bytes | str | None
    uid: int = 0
    gid: int = 0
    mode: int = 0o755
    xattrs: dict[str, bytes] = field(default_factory=dict)


def host_archive(path, items):
    """Write the archive; items: by path, `/etc/passwd`; directories on the way are made."""
    items = {"/" + name.strip("/"): item for name, item in items.items()}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted({**items, **{parent: None for each in items for parent in _parents(each) if parent not in items}}):
            item = items.get(name) or Item(None)
            info = tarfile.TarInfo(name.strip("/"))
            info.uid, info.gid, info.mode, info.mtime = item.uid, item.gid, item.mode, 1_700_000_000
            info.pax_headers = {f"SCHILY.xattr.{key}": value.decode("latin-1") for key, value in item.xattrs.items()}
            if item.data is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(item.data, str):
                info.type, info.linkname = tarfile.SYMTYPE, item.data
            else:
                info.size = len(item.data)
            archive.addfile(info, io.BytesIO(item.data) if isinstance(item.data, bytes) else None)
    return path


def _parents(name):
    parts = name.strip("/").split("/")
    return ["/" + "/".join(parts[:end]) for end in range(1, len(parts))]
