"""Filesystems in memory as the survey of a disk would tell of them."""

from types import SimpleNamespace

from forensics.host import Host
from forensics.stores.reading import StoreReader
from forensics.survey import Partition, Survey
from forensics.volume import Volume
from support.memory_filesystem import MemoryFilesystem


def survey_of(*trees):
    """The survey of a disk with a filesystem of each tree, the first being the host's own, and a reader."""
    partitions = []
    for number, tree in enumerate(trees, 1):
        fs = MemoryFilesystem(tree)
        volume = Volume(number, "gpt", f"p{number}", 0, 0, None, None, None, fs.source)
        partitions.append(Partition(volume, fs, "memory", "clean"))
    host = Host(1, "host", None, None, None, None, ())
    return Survey(SimpleNamespace(), tuple(partitions), {1: host}, {}, ()), StoreReader()
