"""What a data-root has of a Swarm: a manager's state is encrypted with a key of that node, and told as a gap."""

from __future__ import annotations

from forensics.stores.reading import Place, StoreReader

LOGS = (b"wal-v3-encrypted", b"wal-v3", b"wal")  # swarmkit manager/state/raft/storage, the newest first


def tell_swarm(reader: StoreReader, swarm: Place | None) -> None:
    """A gap where the node was a manager when the power went: `docker swarm leave` and a demotion remove its log."""
    for name in LOGS:
        log = reader.child(swarm, b"raft", name) if swarm is not None else None
        if log is not None and reader.type(log) == "d" and reader.children(log, "f"):
            reader.gap(
                "Swarm's state",
                "services, secrets, configs and overlay networks of this manager stand encrypted in its raft log: not read",
                log,
            )
