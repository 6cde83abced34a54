"""Kubernetes on containerd: its containers, and what the kubelet keeps of their pods."""

import json

import pytest

from forensics.records import Container, Mount
from forensics.stores.kubelet import find_kubelets, read_kubelet
from support.bolt_files import bolt_bytes
from support.containerd_hosts import POD, SIDECAR, STATUS, UID, WEB, contents_of, host
from support.containerd_stores import META
from support.on_disk import survey_of


def test_containers_of_kubernetes():
    status = json.dumps(STATUS).encode()
    store = {
        META: {"meta.db": bolt_bytes("cri-2.1-meta")},
        "io.containerd.grpc.v1.cri": {"containers": {WEB: {"status": status}, SIDECAR: {"status": b"{"}}},
        "io.containerd.runtime.v2.task": {"k8s.io": {POD: {}}},
    }
    contents = contents_of(host("/var/lib/containerd", store))
    found = {each.container_id: each for each in contents.containers}
    assert len(found) == 4
    web, pod = found[WEB], found[POD]
    assert (web.name, web.pod, web.state, web.exit_code, web.oom_killed) == ("web", "default/shop", "exited", 137, True)
    assert (web.started_ns, web.finished_ns, web.pid, web.restart_count) == (20, 30, None, 0)
    assert web.log_path == f"/var/log/pods/default_shop_{UID}/web/0.log"
    assert (pod.name, pod.pod, pod.state) == ("shop", "default/shop", "running")
    # Its pod was asked to run privileged containers; the sandbox's own process has 14 capabilities and masked paths.
    assert not any(each.privileged for each in found.values())
    assert found[SIDECAR].state is None
    assert any(gap.artefact == "CRI status" for gap in contents.gaps)


@pytest.mark.parametrize("path", ["/var/lib/kubelet", "/var/snap/microk8s/common/var/lib/kubelet", "/var/lib/k0s/kubelet"])
def test_a_kubelet_is_found_where_its_distribution_keeps_it(path):
    found, reader = survey_of(host(path, {"pods": {UID: {"containers": {"web": {}}}}}))
    (root,) = find_kubelets(found, reader)
    assert root.host_path == path.encode()


def test_volumes_and_static_pods_of_a_kubelet():
    volumes = {"kubernetes.io~secret": {"db": {"password": b"x"}}, "kubernetes.io~empty-dir": {"cache": {}}}
    kubelet = {"pods": {UID: {"volumes": volumes, "containers": {"web": {}}}}, "config.yaml": b"staticPodPath: /srv/pods\n"}
    tree = host("/var/lib/kubelet", kubelet, srv={"pods": {"etcd.yaml": b"spec:\n  containers:\n  - image: etcd:3.5\n"}})
    found, reader = survey_of(tree)
    (root,) = find_kubelets(found, reader)
    base = f"/var/lib/kubelet/pods/{UID}/volumes"
    user = Container("containerd", "k8s.io", WEB, "web", pod="default/shop", labels={"io.kubernetes.pod.uid": UID},
                     mounts=(Mount("bind", f"{base}/kubernetes.io~secret/db", "/secret", False),))  # fmt: skip
    contents = read_kubelet(root, [user])
    assert {(each.name, each.driver, each.used_by) for each in contents.volumes} == {
        (f"{UID}/db", "kubernetes.io/secret", (WEB,)), (f"{UID}/cache", "kubernetes.io/empty-dir", ()),
    }  # fmt: skip
    pod, static = contents.artefacts
    assert (pod.kind, pod.name, pod.namespace) == ("pod", "shop", "default")
    assert (static.kind, static.name, static.details["images"]) == ("static pod", "etcd.yaml", "etcd:3.5")


@pytest.mark.parametrize("files", [
    {"usr/lib/systemd/system/kubelet.service": b"[Service]\nExecStart=/usr/bin/kubelet\n",
     "etc/systemd/system/kubelet.service.d/10-kubeadm.conf":
         b'[Service]\nEnvironment="C=--config=/opt/k/c.yaml"\nExecStart=\nExecStart=/usr/bin/kubelet $C\n',
     "opt/k/c.yaml": b"kind: KubeletConfiguration\nstaticPodPath: \"/srv/pods\"\n"},
    {"etc/systemd/system/k.service": b"[Service]\nExecStart=/opt/bin/kubelet --pod-manifest-path /srv/pods\n"},
    {"var/lib/kubelet/kubeadm-flags.env": b'KUBELET_KUBEADM_ARGS="--v=2 --config /opt/c.json"\n',
     "opt/c.json": b'{"kind": "KubeletConfiguration",\n "staticPodPath": "/srv/pods", "port": 1}'},
    {"var/snap/microk8s/current/args/kubelet": b"--root-dir=/data/kubelet\n--pod-manifest-path=/srv/pods/etcd.yaml\n",
     "data/kubelet/pods/x/etc-hosts": b""},
    {"etc/rancher/k3s/config.yaml": b'data-dir: "/data/k3s"\n', "data/k3s/agent/pod-manifests/etcd.yaml": b"image: etcd:3.5\n"},
])  # fmt: skip
def test_static_pods_are_found_where_the_kubelet_was_told_that_they_are(files):
    tree = {"etc": {"hostname": b"h\n"}}
    if not any("k3s" in path for path in files):
        tree["srv"] = {"pods": {"etcd.yaml": b"spec:\n  containers:\n  - image: etcd:3.5\n"}}
    for path, content in files.items():
        *above, last = path.split("/")
        here = tree
        for part in above:
            here = here.setdefault(part, {})
        here[last] = content
    found, reader = survey_of(tree)
    (root,) = find_kubelets(found, reader)
    assert reader.gaps == []
    statics = [each for each in read_kubelet(root, []).artefacts if each.kind == "static pod"]
    assert [(each.name, each.details["images"]) for each in statics] == [("etcd.yaml", "etcd:3.5")]
