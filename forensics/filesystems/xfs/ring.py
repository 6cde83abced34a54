"""All committed transactions that the log's ring still holds, also those that were written to their places long ago.

The log is never wiped: behind its head stand the records of the round before, oldest first. Each record tells its place and
round, and its checksum whether it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forensics.filesystems.xfs.log import Log, Open, Transaction, take
from parsers.errors import FormatError
from parsers.xfs_log import BASIC_BLOCK, CRC_AT, FMT_LITTLE, MAGIC, parse_record

STEP = 1 << 13  # basic blocks that are searched for headers at the same time
MOST_READ = 128 << 20  # bytes of records, the newest, that are read: checksums of more would take minutes
MOST_HELD = 1 << 28  # bytes of transactions that are open at the same time
MOST_OPEN = 1 << 12


def ring_transactions(log: Log, live: bool) -> Iterator[Transaction | None]:
    """The transactions, oldest first. live: also those that are not written to their places yet, from the log's tail on.

    Of a transaction of which a record is damaged, or written over, nothing is taken; None stands where records are lost.
    """
    pending: dict[int, Open] = {}
    held = 0
    expected = -1
    for block in _headers(log, live):
        if block != expected:
            pending.clear()
            held = 0
            if expected >= 0:
                yield None
        try:
            header = log.read(block, 1)
            record = parse_record(header)
            expected = (block + record.blocks) % log.blocks
            if log.has_crc and record.operations and not any(header[CRC_AT : CRC_AT + 4]):
                raise FormatError("a record without a checksum")
            if record.format != FMT_LITTLE and record.operations:
                raise FormatError("of a host with another byte order")
            done = []
            for operation in log.operations_of(block, record):
                held += len(operation.data)
                one = take(pending, operation, record.lsn, log.place_in(block, record, operation.at))
                if one is not None:
                    done.append(Transaction(one.lsn, one.items))
                if held > MOST_HELD or len(pending) > MOST_OPEN:
                    raise FormatError("transactions that never end")
        except FormatError:
            pending.clear()
            held, expected = 0, log.blocks
            continue
        for transaction in done:
            held -= sum(len(region) for item in transaction.items for region in item.regions)
            yield transaction
        held = held if pending else 0
    if expected == log.blocks:
        yield None


def _headers(log: Log, live: bool) -> list[int]:
    """The basic blocks at which records begin, in the order in which they were written."""
    if log.clean and not log.head:
        return []
    found = []
    for first in range(0, log.blocks, STEP):
        count = min(STEP, log.blocks - first)
        words = np.frombuffer(log.read(first, count), ">u4").reshape(count, BASIC_BLOCK // 4)
        at = np.flatnonzero(words[:, 0] == MAGIC)
        at = at[(words[at, 5] == at + first) & (words[at, 1] == words[at, 4])]  # h_lsn tells its round and its place
        found.append(np.stack([at + first, words[at, 1].astype(np.int64), words[at, 3].astype(np.int64)], axis=1))
    table = np.concatenate(found)
    head = log.head % log.blocks
    table = table[np.argsort((table[:, 0] - head) % log.blocks, kind="stable")]
    if not len(table):
        return []
    # Those before the head are of the newest round, those behind it of the one before; others are older, or made up.
    newest = int(table[table[:, 0] < head][-1, 1]) if head and (table[:, 0] < head).any() else int(table[-1, 1])
    table = table[table[:, 1] == np.where(table[:, 0] < head, newest, newest - (1 if head else 0))]
    if not live:
        reach = (log.tail - head) % log.blocks
        table = table[(table[:, 0] - head) % log.blocks < reach] if not log.clean else table
    read = np.cumsum(table[::-1, 2])[::-1]
    blocks: list[int] = table[read <= MOST_READ][:, 0].tolist()
    return blocks
