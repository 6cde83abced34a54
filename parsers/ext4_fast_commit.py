"""Fast commits of ext4: small records, at the journal's end, of what changed since the last transaction.

All fields are little-endian. A block is a run of tags, each of them a type, a length and a value; no tag crosses a block's end.
The first tag of the area is HEAD with the number of the transaction that was running. Each commit ends with TAIL, which holds a
CRC-32C of the commit's tags; what follows the last good TAIL was not committed.
Source: Linux fs/ext4/fast_commit.h, fs/ext4/fast_commit.c (6.18).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from construct import Int16ul, Int32ul, Struct

from parsers.crc32c import crc32c
from parsers.ext4 import GOOD_OLD_INODE_SIZE
from parsers.ext4_inode import EXTENT, Run, extent_run
from parsers.layout import Layout

ADD_RANGE, DEL_RANGE, CREAT, LINK, UNLINK, INODE, PAD, TAIL, HEAD = range(1, 10)

_SUPPORTED_FEATURES = 0
_NAME_LEN = 255
_MOST_RECORDS = 300_000  # the usual area of 256 blocks holds a fifth of that

_TL = Layout(Struct("fc_tag" / Int16ul, "fc_len" / Int16ul))
_HEAD = Layout(Struct("fc_features" / Int32ul, "fc_tid" / Int32ul))
_TAIL = Layout(Struct("fc_tid" / Int32ul, "fc_crc" / Int32ul))
_ADD_RANGE = Layout(Struct("fc_ino" / Int32ul))  # and an EXTENT
_DEL_RANGE = Layout(Struct("fc_ino" / Int32ul, "fc_lblk" / Int32ul, "fc_len" / Int32ul))
_DENTRY = Layout(Struct("fc_parent_ino" / Int32ul, "fc_ino" / Int32ul))
_INODE = Layout(Struct("fc_ino" / Int32ul))


@dataclass(frozen=True, slots=True)
class AddRange:
    """Blocks of a file now stand here."""

    inode: int
    run: Run


@dataclass(frozen=True, slots=True)
class DelRange:
    """Blocks of a file are a hole now: `count` of them from `logical` on."""

    inode: int
    logical: int
    count: int


@dataclass(frozen=True, slots=True)
class Dentry:
    """A name came (CREAT with a new inode, LINK) or went (UNLINK)."""

    tag: int
    parent: int
    inode: int
    name: bytes


@dataclass(frozen=True, slots=True)
class InodeRecord:
    """An inode as it was: all of it where it holds inline data, else up to its extra fields. Its i_block is not to be used.

    block, offset: where `raw` stands, by block of the fast-commit area.
    """

    inode: int
    raw: bytes
    block: int
    offset: int


Record = AddRange | DelRange | Dentry | InodeRecord


@dataclass(frozen=True, slots=True)
class FastCommits:
    """The records of all good commits, in order, and why the kernel would refuse to mount, where it would."""

    commits: int
    records: tuple[Record, ...]
    refused: str | None


NONE = FastCommits(0, (), None)


def scan(blocks: Iterable[bytes], transaction: int, inode_size: int) -> FastCommits:
    """Read the fast-commit area's blocks until the last good commit onto `transaction`, as the kernel's recovery does."""
    good: list[Record] = []
    pending: list[Record] = []
    commits = crc = 0

    def ended(refused: str | None = None) -> FastCommits:
        return FastCommits(commits, tuple(good), None if commits else refused)

    for number, block in enumerate(blocks):
        if number == 0 and _TL.unpack(block)[0] != HEAD:
            return ended()
        at = 0
        while at + _TL.size <= len(block):
            tag, length = _TL.unpack(block, at)
            value = at + _TL.size
            if length > len(block) - value or not _length_valid(tag, length, inode_size):
                return ended("a fast commit has no end")
            if tag == TAIL:
                told, told_crc = _TAIL.unpack(block, value)
                crc = crc32c(block[at : value + 4], crc)
                if told != transaction or told_crc != crc:
                    return ended("the first fast commit is damaged")
                commits += 1
                good.extend(pending)
                pending, crc = [], 0
            else:
                if tag == HEAD:
                    features, told = _HEAD.unpack(block, value)
                    if features & ~_SUPPORTED_FEATURES:
                        return FastCommits(commits, tuple(good), f"fast commits with unknown features {features:#x}")
                    if told != transaction:
                        return ended()
                elif tag != PAD:
                    if len(good) + len(pending) == _MOST_RECORDS:
                        return FastCommits(commits, tuple(good), f"more than {_MOST_RECORDS} fast-commit records")
                    pending.append(_record(tag, block, value, length, number))
                crc = crc32c(block[at : value + length], crc)
            at = value + length
    return ended()


def _length_valid(tag: int, length: int, inode_size: int) -> bool:
    if tag in (CREAT, LINK, UNLINK):
        return 1 <= length - _DENTRY.size <= _NAME_LEN
    if tag == INODE:
        return GOOD_OLD_INODE_SIZE <= length - _INODE.size <= inode_size
    if tag == TAIL:
        return length >= _TAIL.size
    if tag == PAD:
        return True
    exact = {ADD_RANGE: _ADD_RANGE.size + EXTENT.size, DEL_RANGE: _DEL_RANGE.size, HEAD: _HEAD.size}
    return exact.get(tag) == length


def _record(tag: int, block: bytes, value: int, length: int, number: int) -> Record:
    if tag == ADD_RANGE:
        return AddRange(_ADD_RANGE.unpack(block, value)[0], extent_run(*EXTENT.unpack(block, value + _ADD_RANGE.size)))
    if tag == DEL_RANGE:
        return DelRange(*_DEL_RANGE.unpack(block, value))
    if tag == INODE:
        raw = value + _INODE.size
        return InodeRecord(_INODE.unpack(block, value)[0], block[raw : value + length], number, raw)
    parent, inode = _DENTRY.unpack(block, value)
    return Dentry(tag, parent, inode, block[value + _DENTRY.size : value + length])
