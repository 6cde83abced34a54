"""CNI's networks of a host, and which of a containerd's containers were attached to them.

/etc/cni/net.d/[<namespace>/]*.conflist
/var/lib/cni/results/<network>-<container>-<interface>
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from forensics.records import Container, Endpoint, Network
from forensics.stores.containerd.discover import ContainerdRoot
from forensics.stores.host_tree import resolve_or_none
from forensics.stores.reading import Place, StoreReader
from parsers.cni import CachedResult, parse_cached_result, parse_network_list
from parsers.nerdctl import Hosts

CONFIGS = b"/etc/cni/net.d"
RESULTS = b"/var/lib/cni/results"
SUFFIXES = (b".conflist", b".conf")
CONTAINERD_ROOTLESS = b"/.local/share/containerd"
ROOTLESS = ((CONFIGS, b"/.config/cni/net.d"), (RESULTS, b"/.local/share/cni/results"))
MAX_FILE = 1 << 20
MAX_FILES = 10_000


def cni_networks(
    reader: StoreReader, root: ContainerdRoot, containers: Sequence[Container], hosts: Mapping[tuple[str, str], Hosts]
) -> tuple[Network, ...]:
    """nerdctl's networks, and those that a container of this containerd was attached to.

    hosts: of nerdctl, by namespace and id: they tell addresses where CNI's cache is lost.
    """
    results = [result for place in _files(reader, root, RESULTS) if (result := _result(reader, place)) is not None]
    ids = {each.container_id: each.container_id for each in containers}
    ids |= {f"{each.namespace}-{each.container_id}": each.container_id for each in containers}  # as nerdctl calls them
    mine = [(result, ids[result.container_id]) for result in results if result.container_id in ids]
    known = {(result.network, own) for result, own in mine}
    for (_, own), told in sorted(hosts.items()):
        given = [CachedResult(network, own, *rest) for network, *rest in told.networks if (network, own) not in known]
        mine += [(result, own) for result in given if own in ids]
    networks = []
    for place in _configs(reader, root):
        config = reader.load(place, "CNI network", parse_network_list, MAX_FILE)
        if config is None or config.name is None:
            continue
        reader.tell("CNI network", config.problems, place)
        endpoints = tuple(
            Endpoint(own, result.interface or "", result.address, result.mac)
            for result, own in mine
            if result.network == config.name
        )
        if config.nerdctl_id is None and not endpoints:
            continue
        inode = reader.inode(place)
        networks.append(
            Network(
                engine="nerdctl" if config.nerdctl_id is not None else "cni",
                name=config.name,
                network_id=config.nerdctl_id or config.name,
                driver=config.driver,
                subnets=config.subnets,
                endpoints=endpoints,
                created_ns=inode.mtime_ns if inode is not None else None,
                labels=config.labels,
                source=reader.provenance(place),
            )
        )
    return tuple(networks)


def _result(reader: StoreReader, place: Place) -> CachedResult | None:
    return reader.load(place, "CNI result", parse_cached_result, MAX_FILE)


def _configs(reader: StoreReader, root: ContainerdRoot) -> Iterator[Place]:
    for place in _files(reader, root, CONFIGS, "fd"):
        inside = reader.children(place, "f") if reader.type(place) == "d" else (place,)
        yield from (each for each in inside if each.name.endswith(SUFFIXES))


def _files(reader: StoreReader, root: ContainerdRoot, path: bytes, kinds: str = "f") -> Sequence[Place]:
    if root.tree is None or root.host_path is None:
        return ()
    home = root.host_path.removesuffix(CONTAINERD_ROOTLESS)
    if home != root.host_path:
        path = home + dict(ROOTLESS)[path]
    return reader.children(resolve_or_none(root.tree, path), kinds, MAX_FILES)
