"""ext2/3/4 images for tests, and journals written into them block by block, in the way that a host leaves them."""

import re
import shutil
import struct
from pathlib import Path

from forensics.source import Buffer
from parsers.crc32c import crc32c
from parsers.jbd2 import crc32_be
from support.disks import run

MIB = 1 << 20
MAGIC = bytes.fromhex("c03b3998")
DESCRIPTOR, COMMIT, REVOKE = 1, 2, 5
CHECKSUM, BIT64, ASYNC, CSUM_V2, CSUM_V3, FAST_COMMIT = 1, 2, 4, 8, 16, 32
ESCAPE, SAME_UUID, LAST_TAG = 1, 2, 8
RECOVER = 4
TIME = 1_700_000_000


class Image(Buffer):
    """A disk image in memory, whose bytes stand where they are read."""

    def locate(self, offset):
        return offset if 0 <= offset < self.size else None


def image(path):
    return Image(Path(path).name, Path(path).read_bytes())


def make(path, *options, size=16 * MIB, kind="ext4"):
    """A new filesystem made by mke2fs."""
    with Path(path).open("wb") as file:
        file.truncate(size)
    run("mke2fs", "-q", "-F", "-t", kind, "-E", "lazy_itable_init=0", *options, path)
    return path


def debugfs(path, *commands):
    """Run debugfs commands that write."""
    return run("debugfs", "-w", "-f", "/dev/stdin", path, stdin="\n".join(commands) + "\n")


def after_e2fsck(path, *options):
    """A copy of an image whose journal e2fsck has replayed."""
    copy = Path(path).with_suffix(".replayed")
    shutil.copyfile(path, copy)
    # Exit code 1: errors were corrected; the journal was one.
    run("sh", "-c", 'e2fsck -y "$@" || [ $? -le 1 ]', "sh", *options, copy)
    return copy


def journal_blocks(path):
    """The filesystem blocks of the journal's file in order, as debugfs tells them."""
    told = run("debugfs", "-R", "stat <8>", path)
    runs = re.findall(r"\(\d+(?:-\d+)?\):(\d+)(?:-(\d+))?", told)
    return [block for first, last in runs for block in range(int(first), int(last or first) + 1)]


class JournalWriter:
    """Writes a log into the journal of an image; `close` makes the filesystem need recovery."""

    def __init__(self, path, compat=0, incompat=0, start=1, sequence=1, maxlen=None, fast_blocks=256):
        self.path = path
        self.data = bytearray(Path(path).read_bytes())
        self.block_size = 1024 << self.data[1024 + 24]
        self.blocks = journal_blocks(path)
        (self.first,) = struct.unpack_from(">I", self.journal(0), 20)
        self.maxlen = maxlen or len(self.blocks)
        self.fast_blocks = fast_blocks if incompat & FAST_COMMIT else 0
        self.end = self.maxlen - self.fast_blocks
        self.compat, self.incompat = compat, incompat
        self.uuid = bytes(self.journal(0)[48:64])
        self.start = self.next = start
        self.first_sequence = self.sequence = sequence
        self.checksummed = bool(incompat & (CSUM_V2 | CSUM_V3))
        self.seed = crc32c(self.uuid)

    def journal(self, number):
        at = self.blocks[number] * self.block_size
        return memoryview(self.data)[at : at + self.block_size]

    def put(self, block):
        """The next block of the ring; its number."""
        number = self.next
        self.journal(number)[:] = block.ljust(self.block_size, b"\0")
        self.next = self.first if number + 1 == self.end else number + 1
        return number

    def header(self, kind):
        return MAGIC + struct.pack(">II", kind, self.sequence)

    def sealed(self, block):
        """A descriptor or revoke block with its checksum."""
        block = block.ljust(self.block_size, b"\0")
        return block[:-4] + struct.pack(">I", crc32c(block, self.seed)) if self.checksummed else block

    def tag(self, block, flags, data):
        crc = crc32c(data, crc32c(struct.pack(">I", self.sequence), self.seed))
        high = block >> 32
        if self.incompat & CSUM_V3:
            tag = struct.pack(">IIII", block & 0xFFFFFFFF, flags, high, crc)
        else:
            tag = struct.pack(">IHH", block & 0xFFFFFFFF, crc & 0xFFFF if self.checksummed else 0, flags)
            tag += struct.pack(">I", high) if self.incompat & BIT64 else b""
            tag += b"\0\0" if self.checksummed else b""
        return tag if flags & SAME_UUID else tag + self.uuid

    def transaction(self, writes, revokes=(), commit=True, seconds=TIME):
        """One transaction with one descriptor block: writes is block number to content. The journal blocks it took, in order."""
        placed, crc = [], 0xFFFFFFFF
        if revokes:
            body = struct.pack(f">{len(revokes)}{'Q' if self.incompat & BIT64 else 'I'}", *revokes)
            placed.append(self.put(self.sealed(self.header(REVOKE) + struct.pack(">I", 16 + len(body)) + body)))
        if writes:
            tags, copies = b"", []
            for number, (block, data) in enumerate(writes.items()):
                flags = (SAME_UUID if number else 0) | (LAST_TAG if number == len(writes) - 1 else 0)
                escaped = data[:4] == MAGIC
                copies.append(bytes(4) + data[4:] if escaped else data)
                tags += self.tag(block, flags | (ESCAPE if escaped else 0), copies[-1])
            for block in (self.sealed(self.header(DESCRIPTOR) + tags), *copies):
                placed.append(self.put(block))
                crc = crc32_be(block.ljust(self.block_size, b"\0"), crc)
        if commit:
            placed.append(self.put(self.commit_block(seconds, crc)))
            self.sequence = (self.sequence + 1) & 0xFFFFFFFF
        return placed

    def commit_block(self, seconds, crc):
        kind = (1, 4, crc) if self.compat & CHECKSUM else (0, 0, 0)
        block = self.header(COMMIT) + struct.pack(">BBHI28xQI", *kind[:2], 0, kind[2], seconds, 5)
        block = block.ljust(self.block_size, b"\0")
        if self.checksummed:
            block = block[:16] + struct.pack(">I", crc32c(block, self.seed)) + block[20:]
        return block

    def fast_commit(self, records, index=0, head=True, transaction=None):
        """One fast commit into the area's blocks from `index` on; the index after it. records: (tag, value)."""
        tid = self.sequence if transaction is None else transaction
        tags = ([(9, struct.pack("<II", 0, tid))] if head else []) + list(records)
        block, crc = b"", 0
        area = self.end + 1
        for tag, value in [*tags, (None, b"")]:
            entry = b"" if tag is None else struct.pack("<HH", tag, len(value)) + value
            if len(block) + max(len(entry), 12) > self.block_size - 4:
                pad = self.block_size - len(block) - 4
                block += struct.pack("<HH", 7, pad) + bytes(pad)
                crc = crc32c(block, crc)
                self.journal(area + index)[:] = block
                block, index = b"", index + 1
            block += entry
        block += struct.pack("<HHI", 8, self.block_size - len(block) - 4, tid)
        block += struct.pack("<I", crc32c(block, crc))
        self.journal(area + index)[:] = block.ljust(self.block_size, b"\0")
        return index + 1

    def close(self):
        """Write both superblocks."""
        journal = bytearray(self.journal(0))
        struct.pack_into(">IIIII", journal, 12, self.block_size, self.maxlen, self.first, self.first_sequence, self.start)
        struct.pack_into(">II", journal, 36, self.compat, self.incompat | 1)
        journal[80] = 4 if self.checksummed else 0
        struct.pack_into(">I", journal, 84, self.fast_blocks)
        struct.pack_into(">I", journal, 252, 0)
        if self.checksummed:
            struct.pack_into(">I", journal, 252, crc32c(journal[:1024]))
        self.journal(0)[:] = journal
        self.recover()
        Path(self.path).write_bytes(self.data)
        return self.path

    def recover(self):
        """Set the needs_recovery feature."""
        (incompat,) = struct.unpack_from("<I", self.data, 1024 + 0x60)
        struct.pack_into("<I", self.data, 1024 + 0x60, incompat | RECOVER)
        if self.data[1024 + 0x65] & 4:  # metadata_csum
            struct.pack_into("<I", self.data, 1024 + 0x3FC, crc32c(bytes(self.data[1024 : 1024 + 0x3FC])))
