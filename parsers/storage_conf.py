"""storage.conf of containers/storage and containers.conf of Podman, in TOML.

Source of the fields: containers/storage v1.20 to v1.60, types/options.go, pkg/config/config.go; containers/common v0.40 to v0.64,
pkg/config/config.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.toml_document import parse_toml


@dataclass(frozen=True, slots=True)
class StorageConf:
    """One storage.conf. mount_program: of the overlay driver; additional_stores: other graphroots, whose layers may be used."""

    driver: str | None
    graph_root: str | None
    run_root: str | None
    image_store: str | None
    rootless_path: str | None
    additional_stores: tuple[str, ...]
    mount_program: str | None
    mount_options: str | None
    transient: bool

    def over(self, other: StorageConf) -> StorageConf:
        """What another one says, except where this one says otherwise; their additional stores are added up."""
        return StorageConf(
            driver=self.driver or other.driver,
            graph_root=self.graph_root or other.graph_root,
            run_root=self.run_root or other.run_root,
            image_store=self.image_store or other.image_store,
            rootless_path=self.rootless_path or other.rootless_path,
            additional_stores=tuple(dict.fromkeys((*other.additional_stores, *self.additional_stores))),
            mount_program=self.mount_program or other.mount_program,
            mount_options=self.mount_options or other.mount_options,
            transient=self.transient or other.transient,
        )


@dataclass(frozen=True, slots=True)
class EngineConf:
    """What one containers.conf says of places: of the database, the volumes and the networks."""

    static_dir: str | None
    volume_path: str | None
    network_dir: str | None


def parse_storage_conf(data: bytes, source: str = "") -> StorageConf:
    """Raises FormatError where the document is no TOML."""
    storage = _table(parse_toml(data, source), "storage")
    options = _table(storage, "options")
    overlay = _table(options, "overlay")
    return StorageConf(
        driver=_text(storage, "driver"),
        graph_root=_text(storage, "graphroot"),
        run_root=_text(storage, "runroot"),
        image_store=_text(storage, "imagestore") or _text(options, "imagestore"),
        rootless_path=_text(storage, "rootless_storage_path"),
        additional_stores=_texts(options, "additionalimagestores"),
        mount_program=_text(overlay, "mount_program") or _text(options, "mount_program"),
        mount_options=_text(overlay, "mountopt") or _text(options, "mountopt"),
        transient=storage.get("transient_store") is True,
    )


def parse_containers_conf(data: bytes, source: str = "") -> EngineConf:
    """Raises FormatError where the document is no TOML."""
    top = parse_toml(data, source)
    engine = _table(top, "engine")
    return EngineConf(
        static_dir=_text(engine, "static_dir"),
        volume_path=_text(engine, "volume_path"),
        network_dir=_text(_table(top, "network"), "network_config_dir"),
    )


def _table(values: dict[str, object], name: str) -> dict[str, object]:
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def _text(values: dict[str, object], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) and value else None


def _texts(values: dict[str, object], name: str) -> tuple[str, ...]:
    value = values.get(name)
    return tuple(each for each in value if isinstance(each, str) and each) if isinstance(value, list) else ()
