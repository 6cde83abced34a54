"""Removed containers that the host's logs still name: what engines said of them, in systemd's journal and in syslog's files.

A line of a container's own is no engine's word, whoever wrote it down: it may say anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from forensics.file_source import FileSource
from forensics.logs.journal import WANTED, Journals, Walked, journal_files, wanted
from forensics.logs.reading import Budget, read_pieces
from forensics.logs.rotation import group_rotated
from forensics.logs.syslog import NAMES
from forensics.records import Container, Provenance
from forensics.recovery.clues import POSSIBLE, Clue
from forensics.recovery.containers.host_traces import runtime_of
from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.engine_messages import CREATED, EXITED, KUBERNETES, REMOVED, STARTED, Mention, may_mention, mentions
from parsers.errors import EvidenceError, FormatError
from parsers.journal import JournalFile
from parsers.log_record import Damage, split_lines
from parsers.syslog import parse_syslog

KIND = "log"
FILES = (*NAMES, b"kern.log")
MAX_CONTAINERS = 100_000
WEAK = frozenset(("name", "created_ns", "started_ns", "finished_ns", "removed_ns", "exit_code"))
"""What any other source tells better: a line is written when it is written, and its name may be a pod's."""

_ID = re.compile(rb"[0-9a-f]{64}")
_SCOPE = re.compile(rb"UNIT=[a-z-]+-[0-9a-f]{64}\.scope")
_FULL = b"CONTAINER_ID_FULL="
_OF_CONTAINER = (b"CONTAINER_ID", b"CONTAINER_ID_FULL")
_KERNEL = b"_TRANSPORT=kernel"
_MENTIONING, _LOGGED = 1, 2
_WRITERS = {b"dockerd": "docker", b"conmon": "podman", b"podman": "podman"}


@dataclass
class _Known:
    """All that one file's lines say of a container. where: of the first of them."""

    id: str
    where: Provenance
    engine: str | None = None
    namespace: str | None = None
    name: str | None = None
    image: str | None = None
    pod: str | None = None
    sandbox: str | None = None
    times: dict[str, int] = field(default_factory=dict)
    exit_code: int | None = None

    def add(self, mention: Mention, time_ns: int | None) -> None:
        """One more line. Of creation the first time counts, of what may come again the last."""
        for name in ("engine", "namespace", "name", "image", "pod", "sandbox"):
            setattr(self, name, getattr(self, name) or getattr(mention, name))
        self.exit_code = self.exit_code if mention.exit_code is None else mention.exit_code
        at = mention.time_ns if mention.time_ns is not None else time_ns
        if mention.event is not None and at is not None:
            known = self.times.get(mention.event)
            first = mention.event == CREATED
            self.times[mention.event] = at if known is None else min(known, at) if first else max(known, at)


def log_mentions(trees: Sequence[HostTree], engines: Sequence[str], journals: Journals) -> list[Clue[Container]]:
    """A clue for each container and file that names it; most are there still, and theirs are for nothing.

    engines: of the stores. journals: systemd's are added to them.
    """
    reader = StoreReader()  # what is damaged is told when the lines are read
    runtime = runtime_of(engines)
    clues: list[Clue[Container]] = []
    for place in journal_files(reader, trees):
        clues += _clues(_in_journal(place, journals), runtime)
    budget = Budget()
    for tree in trees:
        files = reader.children(resolve_or_none(tree, b"/var/log"), "f")
        for parts in group_rotated(files, list(FILES)).values():
            for place in parts:
                clues += _clues(_in_syslog(place, budget), runtime)
    return clues


_Said = tuple[Mention, int | None, Provenance]


def _clues(said: Iterable[_Said], runtime: str) -> Iterator[Clue[Container]]:
    known: dict[str, _Known] = {}
    for mention, time_ns, where in said:
        if mention.id in known or len(known) < MAX_CONTAINERS:
            known.setdefault(mention.id, _Known(mention.id, where)).add(mention, time_ns)
    for each in known.values():
        sandbox = known.get(each.sandbox or "")
        engine = each.engine or (sandbox.engine if sandbox is not None else None) or runtime
        made = Container(
            engine=engine,
            namespace=each.namespace or (KUBERNETES if engine == "containerd" and each.engine is None else None),
            container_id=each.id,
            name=each.name,
            image=each.image,
            created_ns=each.times.get(CREATED),
            started_ns=each.times.get(STARTED),
            finished_ns=each.times.get(EXITED),
            removed_ns=each.times.get(REMOVED),
            exit_code=each.exit_code,
            pod=each.pod or (sandbox.pod if sandbox is not None else None),
            source=each.where,
        )
        yield Clue(made, POSSIBLE, KIND, None, WEAK)


def _wanted(value: bytes) -> int:
    """What an entry with this field is wanted for."""
    mentioning = value in WANTED or value == _KERNEL or value.startswith(_FULL) or _SCOPE.fullmatch(value) is not None
    return (_MENTIONING if mentioning else 0) | (_LOGGED if wanted(value) else 0)


def _in_journal(place: Place, journals: Journals) -> Iterator[_Said]:
    file = FileSource(place.fs, place.inode, readable(place.path))
    walked = journals[place.partition, place.inode] = Walked()
    try:
        size = place.fs.inode(place.inode).size
        journal = JournalFile(lambda offset, length: place.fs.read(place.inode, offset, length), size, walked.damage)
        for entry in journal.entries(_wanted):
            if entry.wanted & _LOGGED:
                walked.offsets.append(entry.offset)
            if not entry.wanted & _MENTIONING:
                continue
            where = Provenance(place.partition, file.name, place.inode, file.locate(entry.offset), "line of systemd's journal")
            own = entry.fields.get(b"CONTAINER_ID_FULL", b"")
            if _ID.fullmatch(own):
                yield _by_fields(own, entry.fields), None, where
            elif not any(name in entry.fields for name in _OF_CONTAINER) and may_mention(entry.fields.get(b"MESSAGE", b"")):
                program = readable(entry.fields.get(b"SYSLOG_IDENTIFIER") or entry.fields.get(b"_COMM") or b"")
                for mention in mentions(program, entry.fields[b"MESSAGE"].decode("utf-8", "replace")):
                    yield mention, entry.realtime_ns, where
    except (FormatError, EvidenceError) as error:
        walked.damage.at(getattr(error, "offset", None) or 0, str(error))


def _by_fields(own: bytes, fields: dict[bytes, bytes]) -> Mention:
    """What Docker (daemon/logger/journald) and conmon put beside a container's line."""
    named = {name: readable(fields[name]) for name in (b"CONTAINER_NAME", b"IMAGE_NAME") if fields.get(name)}
    engine = _WRITERS.get(fields.get(b"_COMM", b""))
    return Mention(own.decode(), engine, None, None, named.get(b"CONTAINER_NAME"), named.get(b"IMAGE_NAME"))


def _in_syslog(place: Place, budget: Budget) -> Iterator[_Said]:
    file = FileSource(place.fs, place.inode, readable(place.path))
    packed = place.fs.read(place.inode, 0, 2) if _is_file(place) else b""
    damage = Damage()
    for position, line in split_lines(read_pieces(place, budget, damage), damage):
        parsed = parse_syslog(position, line) if may_mention(line) else None
        if parsed is None:
            continue
        at = file.locate(0 if packed in (b"\x1f\x8b", b"\xfd7") else position)
        where = Provenance(place.partition, file.name, place.inode, at, "line of syslog")
        for mention in mentions(readable(parsed.program), parsed.text.decode("utf-8", "replace")):
            yield mention, parsed.time_ns, where


def _is_file(place: Place) -> bool:
    try:
        return place.fs.inode(place.inode).type == "f"
    except FormatError:
        return False
