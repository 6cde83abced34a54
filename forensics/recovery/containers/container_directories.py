"""What the directory of a removed container tells by itself, where nothing in it is left: that there was one, and when.

An engine makes a container's directory right after it has noted the time of creation, and deletes it last of all when it
removes the container (moby v20 to v29 daemon/create.go, delete.go; containers/storage v1.40 to v1.59 containers.go). A file's
name may tell which log driver it was for. That is left even where the drive was told to forget every freed block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from forensics.recovery.files.deleted_file import DeletedFile

ID = rb"[0-9a-f]{64}"
RECORDS = (b"config.v2.json", b"hostconfig.json")
_OWN = re.compile(rb".*?/(?:containers|[\w-]+-containers)/" + ID)
_MOUNT = re.compile(rb".*?/image/[\w-]+/layerdb/mounts/" + ID)
_WORD = rb"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*"  # containerd's names: pkg/identifiers/validate.go
TASK = rb"/io\.containerd\.runtime\.v(?:1\.linux|2\.task)/(?P<namespace>" + _WORD + rb")/(?P<id>" + _WORD + rb")"
"""The directory of a shim of containerd's, there while a container has a task: core/runtime/v2/bundle.go."""
_TASK = re.compile(rb".*?" + TASK)
_LOGS = (
    (re.compile(rb".*/containers/(" + ID + rb")/\1-json\.log"), "json-file"),
    (re.compile(rb".*/containers/" + ID + rb"/local-logs/container\.log"), "local"),
)


def is_own_directory(file: DeletedFile) -> bool:
    """Whether a deleted directory was a container's own."""
    return file.type == "d" and file.path is not None and _OWN.fullmatch(file.path) is not None


def own_directory(files: Iterable[DeletedFile]) -> DeletedFile | None:
    """The container's own directory among the deleted files whose paths name it; as it was last."""
    found = [file for file in files if is_own_directory(file)]
    return max(found, key=lambda file: (file.crtime_ns or 0, file.deleted_ns or 0, file.inode), default=None)


def removed_ns(directory: DeletedFile | None) -> int | None:
    """When a container's directory went; None where only a time is known before which it did."""
    return directory.deleted_ns if directory is not None and not directory.no_later else None


def log_driver(files: Iterable[DeletedFile]) -> str | None:
    """The log driver whose files some of them were."""
    paths = [file.path or b"" for file in files]
    return next((driver for pattern, driver in _LOGS if any(pattern.fullmatch(path) for path in paths)), None)


def lost_contents(files: Iterable[DeletedFile]) -> str:
    """The names of a container's own records, of which the deleted files are no more than names; in words."""
    return " and ".join(sorted({file.name.decode() for file in files if file.name in RECORDS}))


def is_mount(file: DeletedFile) -> bool:
    """Whether a deleted directory was a container's in Docker's layerdb, which is made right after its layer."""
    return file.type == "d" and file.path is not None and _MOUNT.fullmatch(file.path) is not None


def is_task(file: DeletedFile) -> bool:
    """Whether a deleted directory was that of a shim of containerd's, which is made after the container and its snapshot."""
    return file.type == "d" and file.path is not None and _TASK.fullmatch(file.path) is not None
