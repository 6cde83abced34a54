"""The report in a few sentences, made of what the other sections found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from forensics.text import utc
from reports.sections.deleted import Deleted
from reports.sections.evidence import Examined
from reports.sections.findings import Findings
from reports.sections.inventory import Container, Inventory
from reports.sections.timeline import Timeline
from reports.sections.unread import Unread

NAMED = 6  # things that a sentence names


def tell(
    examined: Examined, inventory: Inventory, findings: Findings, deleted: Deleted, timeline: Timeline, unread: Unread
) -> tuple[str, ...]:
    """Paragraphs, most important facts first in each."""
    told = (
        _what_was_found(examined, inventory),
        _what_is_suspicious(findings, inventory),
        _what_changed(inventory),
        _what_was_deleted(deleted),
        _when(timeline, inventory),
        _what_is_missing(unread),
    )
    return tuple(" ".join(sentences) for sentences in map(tuple, told) if sentences)


def _what_was_found(examined: Examined, inventory: Inventory) -> Iterator[str]:
    hosts = [f"{host.hostname or 'a host without a name'}{f' ({host.os})' if host.os else ''}" for host in examined.hosts]
    stores = Counter(store.engine for store in examined.stores)
    where = f" of {_listed(hosts)}" if hosts else ""
    disks = f"{_counted(len(examined.disk_images), 'disk image')}{where}" if examined.disk_images else "The evidence"
    number = len(inventory.containers) + inventory.left_out
    if not number:
        yield f"{_upper(disks)} holds no container."
        return
    engines = _listed([f"{_counted(count, 'store')} of {engine}" for engine, count in sorted(stores.items())])
    if number == 1:
        (container,) = inventory.containers
        yield f"This report is about one container, {container.title}, on {disks[:1].lower() + disks[1:]}."
        yield _one_container(container)
        return
    yield f"{_upper(disks)} holds {_counted(number, 'container')}{f' in {engines}' if engines else ''}."
    yield _states(inventory.containers)


def _one_container(container: Container) -> str:
    made = f", made {_second(container.created_ns)}" if container.created_ns is not None else ""
    image = f" from the container image {container.image}" if container.image else ""
    return f"It is a container of {container.engine}{image}{made}; {_state_of(container)}."


def _state_of(container: Container) -> str:
    state = container.state or "unknown"
    if state == "running":
        return "it was running when the host stopped"
    if state == "created":
        return "it was never started"
    if state in ("exited", "dead"):
        code = "" if container.exit_code is None else f" with exit code {container.exit_code}"
        when = "" if container.finished_ns is None else f", {_second(container.finished_ns)}"
        return f"it had ended{code}{when}"
    return f"its state was {state}"


def _states(containers: tuple[Container, ...]) -> str:
    says = {"running": "running when the host stopped", "exited": "ended", "created": "never started", "paused": "paused"}
    allocated = [each for each in containers if each.origin == "allocated"]
    states = Counter(says.get(each.state or "", each.state or "in an unknown state") for each in allocated)
    parts = [f"{count} {state}" for state, count in states.most_common()]
    removed = len(containers) - len(allocated)
    if removed:
        parts.append(f"{removed} removed by the engine and recovered from what was left of {'it' if removed == 1 else 'them'}")
    return f"Of these, {_listed(parts)}."


def _what_is_suspicious(findings: Findings, inventory: Inventory) -> Iterator[str]:
    if findings.rules is None:
        yield "Nobody looked for suspicious things: the disk image was carved without findings."
        return
    if not findings.counts:
        yield f"None of the {findings.rules} rules found anything suspicious."
        return
    counts = _listed([f"{count} of {severity} severity" for severity, count in findings.counts if severity != "info"])
    info = findings.count("info")
    more = f"{' and ' if counts else ''}{_counted(info, 'remark')}" if info else ""
    yield f"Suspicious: {counts}{more}, by {findings.rules} rules."
    grave = [suspicion for suspicion in findings.suspicions if suspicion.severity == "high"]
    by_container = Counter(place.container or "the host" for suspicion in grave for place in suspicion.places)
    for name, count in by_container.most_common(3):
        titles = dict.fromkeys(
            _place_text(place.title, place.path)
            for suspicion in grave
            for place in suspicion.places
            if (place.container or "the host") == name
        )
        yield f"In {name}, {_counted(count, 'finding')} of high severity: {_listed(titles)}."
    clean = [each.title for each in inventory.containers if not each.high and not each.medium]
    if clean and len(inventory.containers) > 1:
        yield f"Nothing of high or medium severity was found in {_listed(clean)}."


def _place_text(title: str, path: str | None) -> str:
    return title if path is None or path in title else f"{title} ({path})"


def _what_changed(inventory: Inventory) -> Iterator[str]:
    busy = sorted((each for each in inventory.containers if each.changes), key=lambda each: (-each.changes, each.number))
    if not inventory.containers:
        return
    if not busy:
        yield "No container changed anything of its container image."
        return
    told = [
        f"{each.title} {each.changes:,} ({each.added:,} added, {each.changed:,} changed, {each.deleted:,} deleted)"
        for each in busy
    ]
    yield f"Paths that differ from the container images: {_listed(told, 4)}."


def _what_was_deleted(deleted: Deleted) -> Iterator[str]:
    if deleted.total:
        yield f"Of {_counted(deleted.total, 'deleted file')} something is left on the disk; {deleted.whole:,} with every byte."


def _when(timeline: Timeline, inventory: Inventory) -> Iterator[str]:
    first = min((each.created_ns for each in inventory.containers if each.created_ns is not None), default=None)
    starts = [each.started_ns for each in inventory.containers if each.started_ns is not None]
    if first is not None and len(inventory.containers) > 1:
        yield (
            f"The oldest container was made {_second(first)}; the last start was {_second(max(starts))}."
            if starts
            else (f"The oldest container was made {_second(first)}; none was ever started.")
        )
    if timeline.total:
        yield f"The timeline has {_counted(timeline.total, 'event')}."


def _what_is_missing(unread: Unread) -> Iterator[str]:
    if unread.total:
        yield f"{_upper(_counted(unread.total, 'thing'))} could not be read; what they held is not in this report."
    else:
        yield "Everything that was found could be read."
    if unread.altered:
        yield f"{_upper(_counted(len(unread.altered), 'layer'))} no longer hold what their container image says."
    if unread.incomplete:
        yield f"The filesystem of {_listed([name for name, _state in unread.incomplete])} is not whole."


def _second(ns: int) -> str:
    return utc(ns).partition(".")[0].replace("T", " ") + " UTC"


def _counted(number: int, thing: str) -> str:
    return f"{'one' if number == 1 else f'{number:,}'} {thing}{'' if number == 1 else 's'}"


def _listed(names: Iterable[str], most: int = NAMED) -> str:
    """Names as a person would list them."""
    shown = list(names)
    if len(shown) > most:
        shown = [*shown[:most], f"{len(shown) - most} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
