"""What else a graphroot tells: pods, secrets (not their values), and when its lock files were last written."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from forensics.records import Artefact
from forensics.stores.podman.discover import DRIVERS
from forensics.stores.podman.libpod import Libpod
from forensics.stores.reading import Place, StoreReader
from forensics.text import readable
from parsers.container_storage import parse_lock
from parsers.libpod import parse_secrets

MAX_SECRETS = 16 << 20
MAX_LOCK = 4096
LOCKS = ((b"-layers", b"layers.lock"), (b"-images", b"images.lock"), (b"-containers", b"containers.lock"))


def storage_artefacts(reader: StoreReader, engine: str, root: Place, libpod: Libpod) -> Iterator[Artefact]:
    """Pods, secrets and locks, each by name."""
    yield from _pods(engine, libpod)
    yield from _secrets(reader, engine, root)
    yield from _locks(reader, engine, root)


def _pods(engine: str, libpod: Libpod) -> Iterator[Artefact]:
    members: dict[str, list[str]] = {}
    for cid, told in sorted(libpod.containers.items()):
        if told.config is not None and told.config.pod_id is not None:
            members.setdefault(told.config.pod_id, []).append(cid)
    for own, (pod, where) in sorted(libpod.pods.items()):
        details = {f"label {name}": value for name, value in pod.labels.items()}
        details |= {"id": own, "containers": " ".join(members.get(own, ()))}
        if pod.create_command is not None:
            details["create command"] = shlex.join(pod.create_command)
        yield Artefact(engine, "pod", pod.name or own, time_ns=pod.created_ns, details=details, source=where)


def _secrets(reader: StoreReader, engine: str, root: Place) -> Iterator[Artefact]:
    place = reader.child(root, b"secrets", b"secrets.json")
    if place is None:
        return
    secrets, problems = reader.load(place, "secrets.json", parse_secrets, MAX_SECRETS) or ((), ())
    reader.tell("secrets.json", problems, place)
    for secret in secrets:
        details = {"id": secret.id, "driver": secret.driver or ""}
        yield Artefact(
            engine,
            "secret",
            secret.name,
            path=secret.path,
            time_ns=secret.created_ns,
            details=details,
            source=reader.provenance(place),
        )


def _locks(reader: StoreReader, engine: str, root: Place) -> Iterator[Artefact]:
    """The process that last wrote what a lock guards, and when."""
    for driver in DRIVERS:
        for part, name in LOCKS:
            place = reader.child(root, driver + part, name)
            lock = reader.load(place, "lock file", parse_lock, MAX_LOCK)
            if place is not None and lock is not None:
                yield Artefact(
                    engine,
                    "lock",
                    readable(driver + part + b"/" + name),
                    path=readable(place.path),
                    time_ns=lock.written_ns,
                    details={"pid": str(lock.pid), "writes": str(lock.counter)},
                    source=reader.provenance(place),
                )
