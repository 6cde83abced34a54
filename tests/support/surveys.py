"""A survey of one filesystem made of a dict: what a disk with a host on it would give."""

from types import SimpleNamespace

from forensics.filesystem import lookup
from forensics.host import Host
from forensics.stores.reading import Place
from forensics.survey import Partition, Survey
from forensics.volume import Volume
from support.memory_filesystem import MemoryFilesystem


def survey_of(tree, timezone=None):
    """The survey, and a function that gives the place of a path."""
    fs = MemoryFilesystem(tree)
    volume = Volume(1, "gpt", "p1", 0, 0, None, None, None, fs.source)
    host = Host(1, "host", None, None, timezone, None)
    found = Survey(SimpleNamespace(), (Partition(volume, fs, "memory", "clean"),), {1: host}, {1: "/"}, ())
    return found, lambda path: Place(1, fs, lookup(fs, path.encode()), path.encode())
