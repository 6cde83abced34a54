"""Where the containers' images came from: names, registries, builds on this host, history, integrity of their layers."""

from __future__ import annotations

from dataclasses import dataclass

from reports.scope import Scope, objects, read, words

MAX_IMAGES = 150
MAX_STEPS = 60


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a container image's history, as its maker wrote it. empty: it made no layer."""

    created_ns: int | None
    command: str
    empty: bool


@dataclass(frozen=True, slots=True)
class LayerState:
    """A layer of a container image. integrity: verified, altered, unverifiable; None where nobody compared."""

    layer: str
    diff_id: str | None
    integrity: str | None


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """A container image that containers of the report used. used_by: their names."""

    image_id: str
    refs: tuple[str, ...]
    engine: str
    namespace: str | None
    created_ns: int | None
    updated_ns: int | None
    size_bytes: int | None
    platform: str | None
    origin: str
    source: str | None
    used_by: tuple[str, ...]
    built_here: bool
    layers: tuple[LayerState, ...]
    history: tuple[Step, ...]
    steps_left_out: int

    @property
    def registries(self) -> tuple[str, ...]:
        """Where its names say that it comes from. Source of the rule: distribution/reference, splitDockerDomain."""
        return tuple(sorted({_registry(ref) for ref in self.refs}))


@dataclass(frozen=True, slots=True)
class Provenance:
    """images: the used ones first. left_out: how many others there are. builds: how many steps the build cache keeps."""

    images: tuple[ContainerImage, ...]
    left_out: int
    builds: int


@dataclass(frozen=True, slots=True)
class _Row:
    image_id: str
    refs: str
    engine: str
    namespace: str | None
    created_ns: int | None
    updated_ns: int | None
    size_bytes: int | None
    platform: str | None
    origin: str
    source: str | None
    history: str | None
    parent_image: str | None
    top_layer: str | None
    users: int


def read_provenance(scope: Scope) -> Provenance:
    """The container images: those that containers of the report used, then, for a whole case, those that have a name."""
    used = f"(SELECT count(*) FROM containers c WHERE c.image_id = i.image_id AND {scope.only('c.container_number')})"
    which = f"{used} > 0" if scope.container is not None else f"({used} > 0 OR json_array_length(refs) > 0)"
    rows = read(
        scope,
        _Row,
        f"FROM images i WHERE {which} ORDER BY {used} = 0, engine, namespace, created_ns, image_id LIMIT {MAX_IMAGES}",
        spelled={"platform": "os || '/' || architecture", "users": used},
    )  # fmt: skip
    total = scope.count("images") if scope.container is None else len(rows)
    return Provenance(
        tuple(_image(scope, row) for row in rows), total - len(rows), scope.count("build_records")
    )  # fmt: skip


def _image(scope: Scope, row: _Row) -> ContainerImage:
    users = scope.db.execute(
        "SELECT coalesce(name, substr(container_id, 1, 12)) FROM containers WHERE image_id = ? ORDER BY 1 LIMIT 20",
        (row.image_id,),
    ).fetchall()
    steps = objects(row.history)
    layers = read(
        scope,
        LayerState,
        "FROM layers l JOIN chain h ON h.layer_id = l.layer_number"
        " WHERE h.top = (SELECT layer_number FROM layers WHERE layer = ? LIMIT 1) ORDER BY h.depth DESC",
        (row.top_layer,),
    )
    return ContainerImage(
        row.image_id, words(row.refs), row.engine, row.namespace, row.created_ns, row.updated_ns, row.size_bytes, row.platform,
        row.origin, row.source, tuple(name for (name,) in users), row.parent_image is not None, layers,
        tuple(_step(each) for each in steps[-MAX_STEPS:]), max(0, len(steps) - MAX_STEPS),
    )  # fmt: skip


def _step(step: dict[str, object]) -> Step:
    created, command, comment = step.get("created_ns"), step.get("created_by"), step.get("comment")
    text = command if isinstance(command, str) and command else comment if isinstance(comment, str) else ""
    return Step(created if isinstance(created, int) else None, text, bool(step.get("empty")))


def _registry(ref: str) -> str:
    first, slash, _rest = ref.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        return first
    return "docker.io, or made here"
