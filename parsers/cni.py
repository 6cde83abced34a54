"""CNI's network lists, as nerdctl writes one for each of its networks, and what CNI answered for each container.

Source of the fields: containernetworking/cni v1.1, libcni/api.go (cachedInfo), pkg/types/100/types.go; plugins/ipam/host-local;
nerdctl v0.8 to v2.1, pkg/netutil/netutil.go (nerdctlID, nerdctlLabels).
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers.json_fields import Fields, parse_object


@dataclass(frozen=True, slots=True)
class NetworkList:
    """A conflist. driver: the type of its first plugin. nerdctl_id: None for a network that nerdctl did not make."""

    name: str | None
    nerdctl_id: str | None
    labels: dict[str, str]
    driver: str | None
    subnets: tuple[str, ...]
    problems: tuple[str, ...]


def parse_network_list(data: bytes, source: str = "") -> NetworkList:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    drivers: list[str] = []
    subnets: list[str] = []
    for plugin in top.items("plugins"):
        drivers.append(plugin.text("type") or "")
        ipam = plugin.fields("ipam")
        subnets.append(ipam.text("subnet") or "")
        for pool in ipam.arrays("ranges"):
            subnets += [each.text("subnet") or "" for each in pool]
    return NetworkList(
        name=top.text("name") or None,
        nerdctl_id=top.text("nerdctlID") or None,
        labels=top.text_map("nerdctlLabels") or {},
        driver=next(filter(None, drivers), None),
        subnets=tuple(dict.fromkeys(filter(None, subnets))),
        problems=tuple(top.problems),
    )


@dataclass(frozen=True, slots=True)
class CachedResult:
    """A file in CNI's cache. container_id: CNI's own, which nerdctl makes of the namespace and the id.

    pod: `namespace/name` of what a kubelet's runtime asked for (containerd v1.4 to v2.2, internal/cri/server/sandbox_run.go).
    """

    network: str | None
    container_id: str | None
    interface: str | None
    address: str | None
    mac: str | None
    pod: str | None = None


def parse_cached_result(data: bytes, source: str = "") -> CachedResult:
    """Raises FormatError where the document is no JSON object."""
    top = parse_object(data, source)
    result = top.fields("result")
    addresses = [each.text("address") for each in result.items("ips")]
    own = [each.text("mac") for each in result.items("interfaces") if each.text("sandbox")]
    return CachedResult(
        network=top.text("networkName") or None,
        container_id=top.text("containerId") or None,
        interface=top.text("ifName") or None,
        address=next(filter(None, addresses), None),
        mac=next(filter(None, own), None),
        pod=_pod(top),
    )


def _pod(top: Fields) -> str | None:
    """cniArgs is an array of pairs."""
    told = dict(pair for pair in top.text_arrays("cniArgs") if len(pair) == 2)
    namespace, name = told.get("K8S_POD_NAMESPACE"), told.get("K8S_POD_NAME")
    return f"{namespace}/{name}" if namespace and name else None
