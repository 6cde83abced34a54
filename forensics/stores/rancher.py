"""k3s and rke2: Kubernetes distributions that keep a containerd, and static pods, in a data directory of their own."""

from __future__ import annotations

from forensics.stores.host_tree import HostTree, resolve_or_none
from forensics.stores.reading import StoreReader
from forensics.stores.services import service_commands
from parsers.rancher import PROGRAM, config_of, option_of

DEFAULTS = {"k3s": b"/var/lib/rancher/k3s", "rke2": b"/var/lib/rancher/rke2"}
MAX_FILE = 1 << 20


def data_directories(reader: StoreReader, tree: HostTree) -> tuple[bytes, ...]:
    """Where command lines and config files say that they are, and the defaults."""
    found: list[bytes | None] = []
    for name, default in DEFAULTS.items():
        found += [option_of(argv) for argv, _ in service_commands(reader, tree, PROGRAM, name)]
        config = resolve_or_none(tree, b"/etc/rancher/" + name.encode() + b"/config.yaml")
        found += [reader.load(config, f"{name}'s config.yaml", config_of, MAX_FILE), default]
    return tuple(dict.fromkeys(path for path in found if path is not None))
