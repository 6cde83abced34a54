"""Which removed snapshot was a container's own, where no record tells any more: the one that was made when the container was.

Docker notes the time, then has the snapshot of its own files for the container made (`-init`), then the container's own on that.
So the directories that were born within a second of that time, and before the next container's, are these two, the own one last.
Where there are more of them, none is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from forensics.records import Container

TICK = 10_000_000  # ns that the clock of directories is behind at most
SOON = 1_000_000_000
BOTH = 2


def layers_by_birth(containers: Iterable[Container], births: Sequence[tuple[int, str]]) -> dict[str, str]:
    """The layer of each removed container without one, by container id. births: when each removed layer's directory was made."""
    dated = sorted((each for each in containers if each.created_ns is not None), key=lambda each: each.created_ns or 0)
    used = {each.layer for each in dated}
    found: dict[str, str] = {}
    for at, container in enumerate(dated):
        if container.layer is not None or container.origin != "recovered" or container.engine != "docker":
            continue
        since = (container.created_ns or 0) - TICK
        until = since + TICK + SOON
        if at + 1 < len(dated):
            until = min(until, (dated[at + 1].created_ns or 0) - TICK)
        near = sorted((born, key) for born, key in births if since <= born < until)
        if 0 < len(near) <= BOTH and near[-1][1] not in used:
            found[container.container_id] = near[-1][1]
    return found
