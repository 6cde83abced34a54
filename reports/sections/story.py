"""The report in a few sentences, made of what the other sections found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from forensics.text import counted
from reports.sections.deleted import Deleted
from reports.sections.evidence import Examined
from reports.sections.findings import Findings
from reports.sections.inventory import Container, Inventory
from reports.sections.timeline import Timeline
from reports.sections.unread import Unread
from reports.wording import listed, when


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
    where = f" of {listed(hosts)}" if hosts else ""
    disks = len(examined.disk_images)
    evidence = "The disk image" if disks == 1 else f"The evidence ({counted(disks, 'disk image')})"
    evidence += where
    number = len(inventory.containers) + inventory.left_out
    if not number:
        yield f"{evidence} holds no container."
        return
    engines = listed([f"{counted(count, 'store')} of {engine}" for engine, count in sorted(stores.items())])
    if number == 1:
        (container,) = inventory.containers
        yield f"This report is about one container, {container.title}, on {evidence[:1].lower() + evidence[1:]}."
        yield _one_container(container)
        return
    yield f"{evidence} holds {counted(number, 'container')}{f', in {engines}' if engines else ''}."
    yield _states(inventory)


def _one_container(container: Container) -> str:
    made = f", made {_second(container.created_ns)}" if container.created_ns is not None else ""
    image = f" from the container image {container.image}" if container.image else ""
    return f"It is a container of {container.engine}{image}{made}; {_state_of(container)}."


def _state_of(container: Container) -> str:
    state = container.state or "unknown"
    if container.origin != "allocated":
        return "its engine had removed it, and what is told here was recovered"
    if state == "running":
        return "it was running when the host stopped"
    if state == "created":
        return "it was never started"
    if state in ("exited", "dead"):
        code = "" if container.exit_code is None else f" with exit code {container.exit_code}"
        when = "" if container.finished_ns is None else f", {_second(container.finished_ns)}"
        return f"it had ended{code}{when}"
    return f"its state was {state}"


def _states(inventory: Inventory) -> str:
    says = {"running": "running when the host stopped", "exited": "ended", "created": "never started", "paused": "paused"}
    parts = [f"{count} {says.get(state or '', state or 'in an unknown state')}" for state, count in inventory.states]
    if inventory.removed:
        left = "it" if inventory.removed == 1 else "them"
        parts.append(f"{inventory.removed} removed by the engine and recovered from what was left of {left}")
    return f"Of these: {listed(parts)}."


def _what_is_suspicious(findings: Findings, inventory: Inventory) -> Iterator[str]:
    if findings.rules is None:
        yield "Nobody looked for suspicious things: the disk image was carved without findings."
        return
    if not findings.counts:
        yield f"Nothing suspicious was found by {counted(findings.rules, 'rule')}."
        return
    counts = [
        counted(count, "remark") if severity == "info" else f"{count:,} of {severity} severity"
        for severity, count in findings.counts
    ]
    yield f"Findings: {listed(counts)}, by {counted(findings.rules, 'rule')}."
    grave = [suspicion for suspicion in findings.suspicions if suspicion.severity == "high"]
    by_container = Counter(place.container or "the host" for suspicion in grave for place in suspicion.places)
    for name, count in by_container.most_common(3):
        titles = dict.fromkeys(
            _place_text(place.title, place.path)
            for suspicion in grave
            for place in suspicion.places
            if (place.container or "the host") == name
        )
        yield f"In {name}, {counted(count, 'finding')} of high severity: {listed(titles)}."
    clean = [each.title for each in inventory.containers if not each.high and not each.medium and each.rootfs == "complete"]
    if clean and len(inventory.containers) > 1:
        yield f"Nothing of high or medium severity was found in {listed(clean)}."


def _place_text(title: str, path: str | None) -> str:
    return title if path is None or path in title else f"{title} ({path})"


def _what_changed(inventory: Inventory) -> Iterator[str]:
    busy = sorted((each for each in inventory.containers if each.changes), key=lambda each: (-each.changes, each.number))
    if not inventory.containers:
        return
    if not busy:
        yield "No change that a container made to its container image is known."
        return
    told = [_changes_of(each) for each in busy]
    yield f"Paths that differ from the container images: {listed(told, 4)}."


def _changes_of(container: Container) -> str:
    left = "" if container.rootfs == "complete" else ", of what is left,"
    kinds = f"{container.added:,} added, {container.changed:,} changed, {container.deleted:,} deleted"
    return f"{container.title}{left} {container.changes:,} ({kinds})"


def _what_was_deleted(deleted: Deleted) -> Iterator[str]:
    if deleted.total:
        whole = f" Of {counted(deleted.whole, 'file')} every byte is left." if deleted.whole else ""
        number = (
            "all" if deleted.of_containers == deleted.total else f"{deleted.of_containers:,}" if deleted.of_containers else "none"
        )
        own = f"{number} of them containers' own"
        yield f"{counted(deleted.total, 'deleted file')}, directories and the like left traces on the disk, {own}.{whole}"


def _when(timeline: Timeline, inventory: Inventory) -> Iterator[str]:
    first = min((each.created_ns for each in inventory.containers if each.created_ns is not None), default=None)
    starts = [each.started_ns for each in inventory.containers if each.started_ns is not None]
    if first is not None and len(inventory.containers) > 1:
        last = f"the last start was {_second(max(starts))}" if starts else "no record tells of a start"
        yield f"The oldest container was made {_second(first)}; {last}."
    if timeline.total:
        yield f"The timeline has {counted(timeline.total, 'event')}."


def _what_is_missing(unread: Unread) -> Iterator[str]:
    if unread.total:
        yield f"{_upper(counted(unread.total, 'thing'))} could not be read; what they held is not in this report."
    else:
        yield "Everything that was found could be read."
    if unread.altered:
        yield f"{_upper(counted(len(unread.altered), 'layer'))} no longer hold what their container image says."
    for state, says in (("partial", "A part of the filesystem of {} is lost."), ("missing", "The filesystem of {} is gone.")):
        names = [name for name, rootfs, origin in unread.incomplete if rootfs == state and origin == "allocated"]
        removed = sum(rootfs == state and origin != "allocated" for _name, rootfs, origin in unread.incomplete)
        if names or removed:
            yield says.format(listed([*names, *([counted(removed, "removed container")] if removed else [])]))


def _second(ns: int) -> str:
    return f"{when(ns)} UTC"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
