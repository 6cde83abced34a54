"""The whole content of a small deleted file, for those who parse it."""

from __future__ import annotations

from forensics.filesystem import Filesystem
from forensics.recovery.files.content import examine, read_deleted
from forensics.recovery.files.deleted_file import DeletedFile
from parsers.errors import FormatError

LIMIT = 4 << 20


def small_content(fs: Filesystem, file: DeletedFile, limit: int = LIMIT) -> bytes:
    """A deleted file's bytes. Raises FormatError where a part of them is lost, or where they are more than `limit`."""
    if file.size is None:
        raise FormatError("its size is not known")
    if file.size > limit:
        raise FormatError(f"{file.size} bytes long, more than the {limit} that such a file may have")
    left = examine(fs, file, hashed=False)
    if left.recovered < file.size:
        raise FormatError(f"{file.size - left.recovered} of its {file.size} bytes are lost")
    return b"".join(read_deleted(fs, file))[: file.size]
