"""A meta.db with very many containers: what is held for each of them has a bound, and nothing is asked anew for each."""

import io
import sqlite3
import tracemalloc

from forensics.findings.all import find
from forensics.findings.scene import Scene
from forensics.recovery.recover import recover
from forensics.stores.all import FoundStore
from forensics.stores.containerd.store import containerd_contents, read_containerd
from forensics.timeline.all import read_events
from parsers.bbolt_tree import Key
from support.bolt_files import opened
from support.bolt_writer import write_meta
from support.casebuilder import CaseBuilder
from support.containerd_hosts import host, roots_of
from support.containerd_stores import META

SOME, MORE, REMOVED = 1_500, 3_500, 100  # enough of them to fill what is kept of pages
MOST_BYTES = 4_800  # at the peak for each container, of which its spec is 1,600


def meta_db(containers, removed=REMOVED):
    stream = io.BytesIO()
    write_meta(stream, containers, removed)
    return stream.getvalue()


def recovered(data):
    """The one store's contents, with what was removed from it."""
    (root,), _ = roots_of(host("/var/lib/containerd", {META: {"meta.db": data}}))
    store = read_containerd(root)
    found = FoundStore(containerd_contents(store), root.place, store)
    return recover([found]).stores[0]


def test_the_file_is_one_that_bbolt_could_have_written():
    bolt = opened(meta_db(SOME))
    assert bolt.check() == []
    keys = list(bolt.walk(start=(b"v1", b"default", b"containers"), deep=False))
    assert len(keys) == SOME
    assert all(isinstance(key, Key) and key.value is None for key in keys)


def test_each_container_comes_back_whole():
    contents = recovered(meta_db(SOME))
    assert len(contents.containers) == SOME + REMOVED
    assert {each.origin for each in contents.containers} == {"allocated", "recovered"}
    assert all(each.command and each.env and each.config for each in contents.containers)


def test_memory_grows_by_little_for_each_container():
    peaks = []
    recovered(meta_db(MORE))  # what is made once, and kept: Python's own table of strings, too, which grows by leaps
    for containers in (SOME, MORE):
        data = meta_db(containers)
        tracemalloc.start()
        contents = recovered(data)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        del contents
    each = (peaks[1] - peaks[0]) / (MORE - SOME)
    assert each < MOST_BYTES


def statements(path, containers):
    """How many SQL statements findings and timeline take for so many containers whose layers are gone."""
    builder = CaseBuilder(path)
    for number in range(containers):
        layer = builder.insert(
            "layer", store_id=builder.store, key=f"{number}", name="x", kind="container", path="/", partition=1, stacked=1,
            marks="trusted", origin="allocated", entries=0,
        )  # fmt: skip
        builder.insert("chain", top=layer, depth=0, layer_id=layer)
        own = builder.container(f"{number:064x}", layer=layer, created_ns=number, command='["sh"]', env='["A=1"]')
        builder.insert("container_mount", container=own, type="bind", source="/etc", destination="/x", rw=1)
    builder.finish()
    db = sqlite3.connect(path)
    seen = []
    db.set_trace_callback(seen.append)
    told = list(read_events(db, {}, []))
    found = [finding for _text, findings in find(Scene(db, {})) for finding in findings]
    db.close()
    assert len(told) == len([finding for finding in found if "/etc" in finding.title]) == containers
    return len(seen)


def test_nothing_is_asked_for_each_container_alone(tmp_path):
    assert statements(tmp_path / "some.db", 3) == statements(tmp_path / "more.db", 60)
