"""Which removed snapshot was a container's own, where no record tells any more: the one that was made when the container was.

Docker notes the time, then has the snapshot of its own files for the container made (`-init`), then the container's own on that.
So the directories that were born within a second after that time, and before the next container's, are these two, the own one
last; where the first of them is known to be an init layer, the own one is the next after it. Clients of containerd have the
snapshot made first, and containerd notes the time of the container then: its directory is the only one born within a second
before, and after the container before it. Where there are more, none is taken.

Where the time is lost too, the births of the container's own directories tell: Docker makes them right after the layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from forensics.records import Container

TICK = 10_000_000  # ns that the clock of directories is behind at most
SOON = 1_000_000_000
_MOST = {"docker": 2, "containerd": 1}


def layers_by_birth(
    containers: Iterable[Container], births: Sequence[tuple[int, str]], inits: Sequence[tuple[int, str]] = ()
) -> dict[str, str]:
    """The layer of each removed container without one, by container id.

    births: when each removed layer's directory was made. inits: the same of known init layers, ascending.
    """
    dated = [(each.created_ns, each) for each in containers if each.created_ns is not None]
    dated.sort(key=lambda each: (each[0], each[1].container_id))
    used = {each.layer for _, each in dated}
    found: dict[str, str] = {}
    for at, (created, container) in enumerate(dated):
        most = _MOST.get(container.engine)
        if container.layer is not None or container.origin != "recovered" or most is None:
            continue
        if container.engine == "docker":
            since, until = created - TICK, created + SOON
            if at + 1 < len(dated):
                until = min(until, dated[at + 1][0] - TICK)
        else:
            since, until = created - SOON, created
            if at:
                since = max(since, dated[at - 1][0])
        near = sorted((born, key) for born, key in births if since <= born < until)
        init = next((born for born, _ in inits if since <= born < until), None) if container.engine == "docker" else None
        if init is not None:
            near = [each for each in near if each[0] >= init][:1]
        if 0 < len(near) <= most and near[-1][1] not in used:
            found[container.container_id] = near[-1][1]
    return found


def layers_before(made: Iterable[tuple[int, str]], births: Iterable[tuple[int, str]], most: int) -> dict[str, str]:
    """The layer that was made last before each container's own directory, by container id.

    made: when the directory of each container whose layer is not known was born, with its id. births: when each layer that is
    nobody's yet was. most: how many are made for one container, its own last; where there are more within a second before
    its directory, and behind the container before it, none is taken.
    """
    in_order = sorted([(born, 0, key) for born, key in births] + [(born, 1, container) for born, container in made])
    found: dict[str, str] = {}
    pending: list[tuple[int, str]] = []
    for born, is_container, name in in_order:
        if not is_container:
            pending.append((born, name))
            continue
        near = [key for before, key in pending if born - before < SOON]
        if 0 < len(near) <= most:
            found[name] = near[-1]
        pending = []
    return found
