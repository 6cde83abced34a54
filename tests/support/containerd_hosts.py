"""Hosts with a containerd: its directory as an engine left it, somewhere in a tree, and what is read of it."""

from forensics.stores.containerd.discover import find_containerd_roots
from forensics.stores.containerd.store import containerd_contents, read_containerd
from support.bolt_files import bolt_bytes
from support.containerd_stores import META, OVERLAYFS
from support.on_disk import survey_of

POD = "54c459963a92a63c93debd30e25778e155da0eb35fa5f920783c74d9bf7b56ce"
WEB = "bb3947df9d5c8f6f9fb40de66ae9879ac2aa4290b0ceb9252cb759d47972df0d"
SIDECAR = "dbecd4293f983ae26791a2e25e1a0f2d63ad043752fd47d0e3e1a88b728e9e56"
UID = "11111111-aaaa-bbbb-cccc-000000000001"
STATUS = {"Version": "v1", "Pid": 200, "CreatedAt": 10, "StartedAt": 20, "FinishedAt": 30, "ExitCode": 137, "Reason": "OOMKilled"}


def data_directory(**more):
    """What ctr left: namespaces default and k8s.io, with a directory for each of seven snapshots, and one that nobody knows."""
    snapshots = {str(number): {"fs": {}, "work": {}} for number in (1, 2, 3, 5, 12, 13, 14, 99)}
    snapshots["3"]["work"] = {"work": {}}
    return {
        META: {"meta.db": bolt_bytes("containerd-2.1-meta")},
        OVERLAYFS: {"metadata.db": bolt_bytes("containerd-2.1-overlayfs"), "snapshots": snapshots},
        **more,
    }


def host(path, tree, **more):
    """A host's tree with a directory at an absolute path."""
    top = {"etc": {"hostname": b"h\n", "os-release": b"ID=debian\n"}, **more}
    here = top
    *above, last = path.strip("/").split("/")
    for part in above:
        here = here.setdefault(part, {})
    here[last] = tree
    return top


def roots_of(*trees):
    found, reader = survey_of(*trees)
    return find_containerd_roots(found, reader), reader


def contents_of(*trees):
    (root,), _ = roots_of(*trees)
    return containerd_contents(read_containerd(root))
