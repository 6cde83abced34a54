"""Every log of a disk image: its files and their lines, in the order in which they are printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from forensics.logs.containers import ContainerLog, LogOwner, LogPlaces, container_logs
from forensics.logs.formats import records
from forensics.logs.journal import Journals, journal_lines
from forensics.logs.lines import Joiner, LogFile, LogLine
from forensics.logs.reading import Budget, read_pieces
from forensics.logs.removed import RemovedLogs, removed_lines
from forensics.logs.syslog import syslog_lines
from forensics.records import Gap
from forensics.stores.host_tree import host_trees
from forensics.stores.reading import Place, StoreReader
from forensics.survey import Survey
from parsers.log_record import Damage, Piece


def read_logs(
    found: Survey,
    roots: Mapping[str, Place],
    owners: Sequence[LogOwner],
    gaps: list[Gap],
    journals: Journals,
    removed: RemovedLogs | None = None,
) -> Iterator[LogFile | LogLine]:
    """The files, and the lines behind the file that they are in; what was deleted last.

    roots: the stores' directories by the stores' keys. gaps: what could not be read is added to them. journals: systemd's
    that were walked over.
    """
    reader = StoreReader()
    numbers, budget = count(1), Budget()
    trees = host_trees(found)
    for log in container_logs(LogPlaces(reader, trees, roots, owners)):
        yield from _container_lines(reader, log, numbers, budget)
    yield from journal_lines(reader, trees, owners, numbers, journals)
    yield from syslog_lines(reader, trees, list(found.hosts.values()), numbers, budget)
    if removed is not None:
        yield from removed_lines(removed, owners, numbers, budget, gaps)
    gaps += reader.gaps


def _container_lines(
    reader: StoreReader, log: ContainerLog, numbers: Iterator[int], budget: Budget
) -> Iterator[LogFile | LogLine]:
    joiner = Joiner(log.owner.number if log.owner else None)
    for place in log.files:
        damage = Damage()
        pieces = read_pieces(place, budget, damage)
        first = next(pieces, None)
        form = log.format or _format(log, first)
        number = next(numbers)
        source = reader.provenance(place)
        yield LogFile(
            number, form, place.partition, place.path, place.inode, source.offset, log.owner.number if log.owner else None,
            log.container_id, log.name,
        )  # fmt: skip
        if first is not None:
            yield from joiner.lines(number, records(form, first, pieces, damage))
        tell_damage(reader, place, damage)
    yield from joiner.rest()


def _format(log: ContainerLog, first: Piece | None) -> str:
    """What the content says: JSON, else lines of the CRI, which Podman calls k8s-file."""
    if first is not None and first[1].startswith(b"{"):
        return "json-file"
    return "k8s-file" if log.owner is not None and log.owner.record.engine == "podman" else "cri"


def tell_damage(reader: StoreReader, place: Place, damage: Damage) -> None:
    """One gap for all that is wrong in a file."""
    if damage.times:
        more = f", and {damage.times - 1} more such places" if damage.times > 1 else ""
        reader.gap("log", f"{damage.what} at byte {damage.position}{more}", place, damage.position)
