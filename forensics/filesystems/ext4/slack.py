"""Names in the slack of one directory's blocks, as they are and as the journal has older copies of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from forensics.filesystems.bulk.reading import read_or_nothing
from forensics.filesystems.ext4.history import read_history
from forensics.filesystems.ext4.reader import Ext4
from parsers.errors import FormatError
from parsers.ext4_slack import SlackName, slack_names

MOST_BLOCKS = 1 << 16  # of one directory


class FoundName(NamedTuple):
    """A name, where it stands in the disk image, and whether that is in the journal."""

    name: SlackName
    offset: int | None
    in_journal: bool


def directory_slack(fs: Ext4, number: int, wanted: re.Pattern[bytes]) -> Iterator[FoundName]:
    """The wanted names in the slack of a directory that is there. What is damaged is left out, and nothing is raised."""
    try:
        extents = fs.extents(number) or ()
    except FormatError:  # told when the directory was read
        return
    size = fs.block_size
    blocks = [
        start // size
        for extent in extents
        if extent.offset is not None
        for start in range(extent.offset, extent.offset + extent.length, size)
    ][:MOST_BLOCKS]
    history = read_history(fs)
    for block in blocks:
        for name in slack_names(read_or_nothing(fs.source, block * size, size), wanted):
            yield FoundName(name, fs.source.locate(block * size + name.offset), False)
        for row in history.rows(block) if history is not None else ():
            if history is not None:
                for name in slack_names(history.data(np.array([row]))[0].tobytes(), wanted):
                    yield FoundName(name, history.source.locate(int(history.place[row]) + name.offset), True)
