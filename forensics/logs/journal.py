"""systemd's journal on a host: what the engines logged, and what containers did whose logs go there."""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from forensics.logs.containers import LogOwner
from forensics.logs.lines import Joiner, LogFile, LogLine
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.errors import EvidenceError, FormatError
from parsers.journal import JournalEntry, JournalFile, header
from parsers.log_record import Damage, LogRecord, as_text

PLACES = (b"/var/log/journal", b"/run/log/journal")
PROGRAMS = (
    b"dockerd",
    b"docker",
    b"containerd",
    b"kubelet",
    b"podman",
    b"crio",
    b"cri-o",
    b"conmon",
    b"buildkitd",
    b"nerdctl",
    b"cri-dockerd",
    b"containerd-shim",
    b"runc",
    b"crun",
    b"k3s",
    b"rke2",
)
_UNITS = tuple(program + b".service" for program in PROGRAMS)
WANTED = frozenset((
    *(name + b"=" + program for name in (b"SYSLOG_IDENTIFIER", b"_COMM") for program in PROGRAMS),
    *(name + b"=" + unit for name in (b"_SYSTEMD_UNIT", b"UNIT") for unit in _UNITS),
))  # fmt: skip
_CONTAINER = (b"CONTAINER_ID_FULL=", b"CONTAINER_ID=")
_FILE = re.compile(rb".+\.journal~?")
ERRORS = b"3"  # the priority that Docker and Podman give what containers write to stderr


def wanted(value: bytes) -> bool:
    """Whether an entry with this field is an engine's or a container's."""
    return value in WANTED or value.startswith(_CONTAINER)


@dataclass(frozen=True)
class Walked:
    """What a walk over a journal file found: where the entries stand that are engines' and containers', and what is damaged.

    Such a walk takes long, so who looks for what the lines mention notes this for who reads the lines.
    """

    offsets: array[int] = field(default_factory=lambda: array("Q"))
    damage: Damage = field(default_factory=Damage)


Journals = dict[tuple[int, int], Walked]
"""The journal files that were walked over, by partition and inode."""


@dataclass
class _Journal:
    """One file on its way into the case. files: the LogFiles' numbers, by the container whose lines they hold, None: engines'."""

    place: Place
    offset: int | None
    owners: Mapping[str, LogOwner]
    files: dict[str | None, int] = field(default_factory=dict)
    joiners: dict[str, Joiner] = field(default_factory=dict)


def journal_lines(
    reader: StoreReader, trees: Sequence[HostTree], owners: Sequence[LogOwner], numbers: Iterator[int], journals: Journals
) -> Iterator[LogFile | LogLine]:
    """The files, one for each container in a journal file and one for the engines, and their lines.

    journals: those of which it is known where the lines stand; the others are walked over.
    """
    known: dict[str, LogOwner] = {}
    for owner in owners:
        known.setdefault(owner.record.container_id, owner)
        known.setdefault(owner.record.container_id[:12], owner)
    for place in journal_files(reader, trees):
        yield from _lines(reader, place, known, numbers, journals.get((place.partition, place.inode)))


def journal_files(reader: StoreReader, trees: Sequence[HostTree]) -> list[Place]:
    """The journal's files in the order in which they were begun: the one that is written to has a name that sorts first."""
    found: dict[tuple[int, int], tuple[int, bytes, Place]] = {}
    for tree in trees:
        for top in PLACES:
            for directory in reader.children(resolve_or_none(tree, top), "d"):
                for place in reader.children(directory, "f"):
                    if _FILE.fullmatch(place.name):
                        found[place.partition, place.inode] = (_begun(place), place.path, place)
    return [place for _, _, place in sorted(found.values(), key=lambda each: each[:2])]


def _begun(place: Place) -> int:
    """The time of a file's first entry; 0 where it is damaged, which is told when it is read."""
    try:
        return int(header.fields(place.fs.read(place.inode, 0, header.size))["head_entry_realtime"])
    except (FormatError, EvidenceError, struct.error):
        return 0


def _lines(
    reader: StoreReader, place: Place, owners: Mapping[str, LogOwner], numbers: Iterator[int], walked: Walked | None
) -> Iterator[LogFile | LogLine]:
    damage = Damage()
    journal = _Journal(place, reader.provenance(place).offset, owners)
    try:
        size = place.fs.inode(place.inode).size
        file = JournalFile(lambda offset, length: place.fs.read(place.inode, offset, length), size, damage)
        for entry in file.entries(wanted) if walked is None else file.entries_at(walked.offsets):
            yield from _entry(journal, entry, numbers)
    except (FormatError, EvidenceError) as error:
        damage.at(getattr(error, "offset", None) or 0, str(error))
    for joiner in journal.joiners.values():
        yield from joiner.rest()
    damage = damage if walked is None else walked.damage
    if damage.times:
        more = f", and {damage.times - 1} more such places" if damage.times > 1 else ""
        reader.gap("journal", f"{damage.what} at byte {damage.position}{more}", place, damage.position)


def _entry(journal: _Journal, entry: JournalEntry, numbers: Iterator[int]) -> Iterator[LogFile | LogLine]:
    fields = entry.fields
    if b"MESSAGE" not in fields:
        return
    container = readable(fields.get(b"CONTAINER_ID_FULL") or fields.get(b"CONTAINER_ID") or b"") or None
    owner = journal.owners.get(container) if container is not None else None
    if container not in journal.files:
        number = journal.files[container] = next(numbers)
        name = readable(fields[b"CONTAINER_NAME"]) if container is not None and b"CONTAINER_NAME" in fields else None
        yield LogFile(
            number, "journald", journal.place.partition, journal.place.path, journal.place.inode, journal.offset,
            owner.number if owner is not None else None, container, name,
        )  # fmt: skip
    file = journal.files[container]
    text, raw = as_text(fields[b"MESSAGE"])
    if container is None:
        yield LogLine(file, None, entry.realtime_ns, None, _program(fields), text, raw, entry.offset, None, 0)
        return
    stream = "stderr" if fields.get(b"PRIORITY") == ERRORS else "stdout"
    partial = fields.get(b"CONTAINER_PARTIAL_MESSAGE") == b"true" and fields.get(b"CONTAINER_PARTIAL_LAST") != b"true"
    joiner = journal.joiners.setdefault(container, Joiner(owner.number if owner is not None else None))
    yield from joiner.lines(file, [LogRecord(entry.offset, entry.realtime_ns, stream, text, raw, not partial)])


def _program(fields: Mapping[bytes, bytes]) -> str | None:
    for name in (b"SYSLOG_IDENTIFIER", b"_COMM", b"_SYSTEMD_UNIT"):
        if fields.get(name):
            return readable(fields[name])
    return None
