"""nerdctl's own store: names, logs, volumes, hosts files and networks, joined to containerd's containers."""

import json

import pytest

from forensics.records import Container, Endpoint, Mount
from forensics.stores.containerd.nerdctl import nerdctl_volumes, read_nerdctl
from forensics.stores.containerd.networks import cni_networks
from support.containerd_hosts import contents_of, data_directory, host, roots_of

HOSTS = {
    "Namespace": "default", "ID": "c" * 64, "Hostname": "shop-host", "ExtraHosts": {"db": "10.9.9.9"}, "Name": "shop",
    "Networks": {"bridge": {"cniVersion": "1.0.0", "ips": [{"address": "10.4.0.7/24"}],
                            "interfaces": [{"name": "nerdctl0", "mac": "aa:aa:aa:aa:aa:aa"},
                                           {"name": "eth0", "mac": "12:34:56:78:9a:bc", "sandbox": "/proc/7/ns/net"}]}},
}  # fmt: skip


@pytest.mark.parametrize(("base", "root"), [
    ("/var/lib/nerdctl", "/var/lib/containerd"),
    ("/srv/homes/eve/.local/share/nerdctl", "/srv/homes/eve/.local/share/containerd"),
])  # fmt: skip
def test_hosts_files_of_nerdctl_tell_names_and_addresses(base, root):
    cid = "c" * 64
    store = {"etchosts": {"default": {cid: {"hosts": b"", "meta.json": json.dumps(HOSTS).encode()}}},
             "containers": {"default": {cid: {}}}}  # fmt: skip
    tree = host(root, data_directory())
    here = tree
    for part in [*base.strip("/").split("/"), "1935db59"]:
        here = here.setdefault(part, {})
    here |= store
    tree["etc"]["passwd"] = b"eve:x:1001:1001::/srv/homes/eve:/bin/sh\n"
    conflist = {"name": "bridge", "nerdctlID": 1, "plugins": [{"type": "bridge"}]}
    configs = tree["etc"] if base.startswith("/var") else tree["srv"]["homes"]["eve"].setdefault(".config", {})
    configs["cni"] = {"net.d": {"nerdctl-bridge.conflist": json.dumps({**conflist, "nerdctlID": "ab"}).encode()}}
    (found_root,), reader = roots_of(tree)
    found = read_nerdctl(reader, found_root, [("default", cid)])
    assert (found.name("default", cid), found.hostname("default", cid)) == ("shop", "shop-host")
    assert found.hosts["default", cid].extra == {"db": "10.9.9.9"}
    user = Container("containerd", "default", cid, "shop")
    (network,) = cni_networks(reader, found_root, [user], found.hosts)
    assert network.endpoints == (Endpoint(cid, "eth0", "10.4.0.7/24", "12:34:56:78:9a:bc"),)
    assert reader.gaps == []


def test_nerdctl_names_logs_and_volumes():
    cid = "c" * 64
    own = {f"{cid}-json.log": b"", "log-config.json": b'{"driver":"json-file"}',
           "lifecycle.json": b'{"started_at":"2026-11-20T23:57:14.125772613Z"}'}  # fmt: skip
    store = {"1935db59": {"containers": {"default": {cid: own}}, "names": {"default": {"shop": cid.encode()}},
                          "volumes": {"default": {"data": {"_data": {}, "volume.json": b'{"Labels":{"a":"b"}}'}}}}}  # fmt: skip
    tree = host("/var/lib/containerd", data_directory())
    tree["var"]["lib"]["nerdctl"] = store
    (root,), reader = roots_of(tree)
    found = read_nerdctl(reader, root, [("default", cid)])
    assert found.name("default", cid) == "shop"
    assert found.log("default", cid) == (f"/var/lib/nerdctl/1935db59/containers/default/{cid}/{cid}-json.log", "json-file")
    assert found.lifecycle("default", cid).started_ns == 1795219034125772613
    path = "/var/lib/nerdctl/1935db59/volumes/default/data/_data"
    user = Container("containerd", "default", cid, "shop", mounts=(Mount("volume", path, "/data", True),))
    (volume,) = nerdctl_volumes(reader, found, [user])
    assert (volume.name, volume.path, volume.used_by, volume.labels) == ("data", path, (cid,), {"a": "b"})
    assert reader.gaps == []


def test_networks_of_nerdctl_and_who_was_attached():
    conflist = {
        "name": "front", "nerdctlID": "n" * 64, "nerdctlLabels": {"tier": "front"},
        "plugins": [{"type": "bridge", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.4.1.0/24"}]]}}],
    }  # fmt: skip
    result = {
        "kind": "cniCacheV1", "networkName": "front", "containerId": "default-redis", "ifName": "eth0",
        "result": {"ips": [{"address": "10.4.1.7/24"}], "interfaces": [{"mac": "02:00:00:00:00:01"},
                   {"mac": "02:00:00:00:00:02", "sandbox": "/var/run/netns/x"}]},
    }  # fmt: skip
    other = {"name": "podnet", "plugins": [{"type": "bridge", "ipam": {"subnet": "10.5.0.0/16"}}]}
    tree = host("/var/lib/containerd", data_directory())
    files = {"front.conflist": json.dumps(conflist).encode(), "podnet.conflist": json.dumps(other).encode(), "x.conflist": b"{"}
    tree["etc"]["cni"] = {"net.d": files}
    tree["var"]["lib"]["cni"] = {"results": {"front-default-redis-eth0": json.dumps(result).encode()}}
    contents = contents_of(tree)
    (network,) = contents.networks
    assert (network.engine, network.name, network.driver, network.subnets) == ("nerdctl", "front", "bridge", ("10.4.1.0/24",))
    assert network.endpoints == (Endpoint("redis", "eth0", "10.4.1.7/24", "02:00:00:00:00:02"),)
    assert [gap.path for gap in contents.gaps if gap.artefact == "CNI network"] == ["/etc/cni/net.d/x.conflist"]
