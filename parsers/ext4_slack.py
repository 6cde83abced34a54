"""Names in the slack of a directory block of ext2, ext3 or ext4: behind the end of an entry, up to where its rec_len leads.

Linux before 5.13 leaves an entry that it deletes as it was, and lets the one before it lead past (fs/ext4/namei.c
ext4_generic_delete_entry; since then it is wiped); a block that is split keeps what was moved out of it (dx_pack_dirents).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from parsers.ext4_inode import DIR_ENTRY, DIR_ENTRY_TYPES

HEAD = DIR_ENTRY.size
LEAST = 12


class SlackName(NamedTuple):
    """An entry that was deleted. offset: of it in the block; type: as in Inode.type, None where the entry has none."""

    offset: int
    inode: int
    type: str | None
    name: bytes


def slack_names(block: bytes, wanted: re.Pattern[bytes]) -> Iterator[SlackName]:
    """The names in a block's slack that are wanted; those that are there, and what cannot be an entry, are left out."""
    for start, end in _slack(block):
        for at in range(start, end - LEAST + 1, 4):
            inode, length, name_length, kind = DIR_ENTRY.unpack(block[at : at + HEAD])
            name = block[at + HEAD : at + HEAD + name_length]
            if not name_length or len(name) < name_length or at + HEAD + name_length > end or kind >= len(DIR_ENTRY_TYPES):
                continue
            if length % 4 or length < HEAD + name_length or not wanted.fullmatch(name):
                continue
            yield SlackName(at, inode, DIR_ENTRY_TYPES[kind], name)


def _slack(block: bytes) -> Iterator[tuple[int, int]]:
    """The ranges that no live entry has. What follows a damaged entry is all slack."""
    at = 0
    while at + HEAD <= len(block):
        inode, length, name_length, _ = DIR_ENTRY.unpack(block[at : at + HEAD])
        end = at + length
        if length < HEAD or length % 4 or end > len(block):
            yield at, len(block)
            return
        used = at + (HEAD + name_length + 3 & ~3 if inode else 0)
        if used < end:
            yield used, end
        at = end
