"""The main job: from a disk image to a case file.

disk image -> volumes and filesystems -> stores -> what was deleted -> layers and their deltas -> hashes of contents -> case file.
What cannot be read becomes a gap, and the job goes on.
"""

from __future__ import annotations

import json
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from forensics.case.writer import CaseWriter
from forensics.content_plan import ContentPlan
from forensics.deleted_files import Fragments, Owners, with_deleted, write_deleted, write_executables, write_fragments
from forensics.disk_pass import read_disks
from forensics.evidence import Evidence, open_evidence
from forensics.filesystem import Filesystem
from forensics.layer_content import LayerContent
from forensics.layers import NumberedLayer, number_layers, rootfs_state
from forensics.logs.containers import LogOwner
from forensics.progress import Progress
from forensics.records import Container, Gap, StoreContents
from forensics.recovery.carving.scan import Hits
from forensics.recovery.carving.space import NONE, UNALLOCATED
from forensics.recovery.clues import Clue
from forensics.recovery.files.deleted import find_all_deleted
from forensics.recovery.files.removed_layers import with_removed_layers
from forensics.recovery.recover import recover
from forensics.stores.all import FoundStore, find_stores
from forensics.stores.bolt_files import bolt_files
from forensics.stores.bolt_keys import bolt_keys
from forensics.stores.host_tree import host_trees
from forensics.stores.reading import Place, StoreReader
from forensics.survey import Survey, survey

if TYPE_CHECKING:
    from forensics.findings.rule import Rule
    from forensics.findings.scene import Scene
    from forensics.logs.journal import Journals
    from forensics.logs.removed import RemovedLogs

LARGE = 1 << 30  # bytes of a disk image from which on a second process costs less than it saves


@dataclass(frozen=True, slots=True)
class CarveOptions:
    """How a disk image is carved.

    hash: which layers' files get a SHA-256: all, changed (the containers' own), none. snapshot: an internal one of the disk
    image, by name or id. unpack: where a compressed archive is unpacked to. findings: where rules look for what
    is suspicious: all, settings (not into the files that containers changed), none.
    yara: rules of the analyst's own, a file or a directory; yara_scope: the files that they look at, one of yara.SCOPES.
    carve: which space is searched for what was removed: unallocated, all or none; carve_executables: for programs, too.
    verify_layers: whether layers of container
    images are held against their archives. logs: whether logs are read. secrets: what opens encrypted volumes.
    """

    hash: str = "all"
    hash_image: bool = False
    replay_journal: bool = True
    snapshot: str | None = None
    unpack: Path | None = None
    command: str = ""
    findings: str = "all"
    carve: str = UNALLOCATED
    carve_executables: bool = False
    yara: Path | None = None
    yara_scope: str = "changed"
    verify_layers: bool = True
    logs: bool = True
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run left behind."""

    case: Path
    containers: int
    gaps: int


def carve(paths: Sequence[Path], case_path: Path, options: CarveOptions, progress: Progress) -> Summary:
    """Read the disk images at `paths`, all of one host, and leave a case file at `case_path`, replacing what is there."""
    started = datetime.now(UTC)
    own_rules = _own_rules(options)
    with (
        open_evidence(paths, options.snapshot, options.unpack) as evidence,
        CaseWriter(case_path, own_process=evidence.size >= LARGE) as case,
    ):
        files = 0
        for number, (start, disk) in enumerate(zip(evidence.starts, evidence.disks, strict=True), 1):
            case.disk_image(number, start, disk, files)
            files += len(disk.paths)
        progress.stage("looking for volumes and filesystems")
        found = survey(evidence, options.replay_journal, options.secrets)
        _write_survey(case, found)
        hits = read_disks(case, evidence, found, options.carve, options.hash_image, progress)
        progress.stage("looking for container stores")
        containers, filesystems = _write_stores(case, found, hits, options, progress)
        _write_problems(case, found)
        progress.stage("completing the case file")
        case.complete_soon()
        from forensics.analysis import analyse

        analyse(case, filesystems, options.findings, own_rules, progress)
        case.run_facts(_run_facts(started, evidence, options))
        gaps = case.gap_count
    return Summary(case_path, containers, gaps)


def _own_rules(options: CarveOptions) -> tuple[Rule[Scene], ...]:
    """The analyst's, compiled before anything is read: what is wrong with them is told at once."""
    if options.yara is None:
        return ()
    from forensics.findings.yara import compiled, yara_rule

    return (yara_rule(compiled(options.yara), options.yara_scope),)


def _write_survey(case: CaseWriter, found: Survey) -> None:
    for partition in found.partitions:
        case.partition(partition, found.mount_points.get(partition.volume.number))
    for number, host in sorted(found.hosts.items()):
        case.host(host, number)
    case.gaps(found.gaps)


def _write_stores(
    case: CaseWriter, found: Survey, hits: Sequence[Hits], options: CarveOptions, progress: Progress
) -> tuple[int, dict[int, Filesystem]]:
    """Write all stores; answers how many containers, and the filesystems with their deleted files."""
    reader = StoreReader()
    stores = list(find_stores(found, reader))
    progress.stage("looking for deleted files")
    deleted = find_all_deleted(_filesystems(found))
    for database in bolt_files(reader, stores):
        case.bolt_keys(bolt_keys(reader, database))
    journals: Journals = {}
    mentions = _mentions(found, stores, journals) if options.logs else []
    recovery = recover(stores, hits, _filesystems(found), deleted, host_trees(found), mentions)
    case.gaps(recovery.gaps)
    for gone in recovery.databases:
        case.bolt_keys(gone.bolt_keys())
    case.run_facts({"carve": options.carve, "tried": json.dumps(recovery.tried), "lost": json.dumps(recovery.lost)})
    roots = {store.contents.store.key: store.root for store in stores if store.root is not None}
    del stores  # what the contents were made of is as large again
    removed = with_removed_layers(recovery.stores, _filesystems(found), deleted)
    filesystems = with_deleted(_filesystems(found), deleted, removed.trees)
    plan = ContentPlan(options.hash)
    content = LayerContent(case, filesystems, plan, progress)
    next_number = 1
    containers: list[LogOwner] = []
    owners = Owners(inferred=removed.inferred)
    all_layers: list[NumberedLayer] = []
    for contents in removed.stores:
        store_id = case.store(contents.store)
        case.gaps(contents.gaps)
        layers, gaps = number_layers(contents.layers, next_number)
        next_number += len(layers)
        case.gaps(gaps)
        progress.stage(f"reading the layers of {contents.store.engine} {contents.store.root}", len(layers), "layers")
        content.write(store_id, layers)
        owners.layers |= {(each.layer.partition, each.layer.path): each.number for each in layers}
        containers += _write_records(case, store_id, contents, layers, content, owners)
        all_layers += layers
    case.layers_complete()
    if options.verify_layers:
        _verify_layers(case, all_layers, filesystems, progress)
    case.gaps(reader.gaps)
    plan.hash_all(case, filesystems, progress)
    write_deleted(case, filesystems, deleted, removed.inside, owners, options.hash != "none", progress)
    fragments = Fragments(max((each.number for each in deleted), default=0))
    if options.carve != NONE and options.hash != "none":
        fragments = write_fragments(case, _filesystems(found), deleted, progress)
    if options.carve_executables:
        write_executables(case, hits, deleted, fragments, progress)
    if options.logs:
        progress.stage("reading logs")
        from forensics.logs.removed import RemovedLogs

        lost = RemovedLogs(_filesystems(found), deleted, hits, recovery.is_containers_own)
        _write_logs(case, found, roots, containers, journals, lost)
    return len(containers), filesystems


def _mentions(found: Survey, stores: Sequence[FoundStore], journals: Journals) -> list[Clue[Container]]:
    """The containers that logs name; journals: systemd's are added to them."""
    from forensics.logs.mentions import log_mentions

    return log_mentions(host_trees(found), [store.contents.store.engine for store in stores], journals)


def _verify_layers(
    case: CaseWriter, layers: Sequence[NumberedLayer], filesystems: Mapping[int, Filesystem], progress: Progress
) -> None:
    from forensics.integrity import verify_layer

    by_number = {each.number: each.layer for each in layers}
    of_images = [each for each in layers if each.layer.kind == "image" and each.layer.origin == "allocated"]
    progress.stage("holding layers against their archives", len(of_images), "layers")
    for each in of_images:
        below = [by_number[number] for number in each.chain[1:] if number in by_number]
        case.verdict(each.number, verify_layer(each.layer, filesystems, below))
        progress.advance(1)


def _write_records(
    case: CaseWriter,
    store_id: int,
    contents: StoreContents,
    layers: Sequence[NumberedLayer],
    content: LayerContent,
    owners: Owners,
) -> list[LogOwner]:
    recovered = {numbered.number for numbered in layers if numbered.layer.origin == "recovered"}
    by_key = {numbered.layer.key: numbered for numbered in layers}
    for image in contents.images:
        top = by_key.get(image.top) if image.top is not None else None
        case.container_image(store_id, image, top.number if top else None)
    written = []
    for container in contents.containers:
        own = by_key.get(container.layer) if container.layer is not None else None
        state = rootfs_state(own, content.present, recovered)
        changes = content.changes.get(own.number) if own is not None else None
        number = case.container(store_id, container, own.number if own else None, state, changes is not None)
        written.append(LogOwner(number, contents.store.key, contents.store.partition, container))
        if own is not None:
            owners.containers.setdefault(own.number, number)
            case.changes(number, changes or ())
    for volume in contents.volumes:
        case.volume(store_id, volume)
    for network in contents.networks:
        case.network(store_id, network)
    for artefact in contents.artefacts:
        case.artefact(store_id, artefact)
    for build in contents.builds:
        own = by_key.get(build.layer) if build.layer is not None else None
        case.build_record(store_id, build, own.number if own else None)
    return written


def _write_logs(
    case: CaseWriter,
    found: Survey,
    roots: Mapping[str, Place],
    owners: Sequence[LogOwner],
    journals: Journals,
    removed: RemovedLogs,
) -> None:
    from forensics.logs.all import read_logs

    gaps: list[Gap] = []
    case.logs(read_logs(found, roots, owners, gaps, journals, removed))
    case.gaps(gaps)


def _filesystems(found: Survey) -> dict[int, Filesystem]:
    return {p.volume.number: p.filesystem for p in found.partitions if p.filesystem is not None}


def _write_problems(case: CaseWriter, found: Survey) -> None:
    """What the filesystems met while they were read."""
    for partition in found.partitions:
        if partition.filesystem is not None:
            number = partition.volume.number
            case.gaps(Gap(p.what, p.error, number, p.where, p.offset) for p in partition.filesystem.problems)


def _run_facts(started: datetime, evidence: Evidence, options: CarveOptions) -> dict[str, str | None]:
    from importlib.metadata import version

    return {
        "tool": f"ctrforensics {version('ctrforensics')}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "pytsk3": version("pytsk3"),
        "started": started.isoformat(),
        "finished": datetime.now(UTC).isoformat(),
        "command": options.command,
        "journal": "replayed" if options.replay_journal else "not replayed",
        "hash": options.hash,
        "findings": options.findings,
        "yara": None if options.yara is None else str(options.yara),
        "verify_layers": json.dumps(options.verify_layers),
        "logs": json.dumps(options.logs),
        "disk_image": evidence.name,
        "snapshot": options.snapshot,
    }
