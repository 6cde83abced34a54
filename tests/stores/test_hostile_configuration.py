"""Settings of a host that were made to harm who reads them: bounded time, a gap or a format error, never a crash."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.records import Artefact
from forensics.stores.buildkit.shared import shared_records
from forensics.stores.containerd.config import configured_daemons
from forensics.stores.host_tree import host_trees
from forensics.stores.podman.config import configured_storage
from forensics.stores.podman.discover import find_graph_roots
from forensics.stores.podman.quadlets import MAX_FILES, quadlets
from forensics.stores.reading import StoreReader
from parsers.buildkit import CacheRecord
from parsers.buildx import parse_build_reference
from parsers.container_storage import parse_containers
from parsers.containerd_config import parse_config
from parsers.docker_devicemapper import parse_device_set, parse_thin_device
from parsers.docker_layer import chain_ids
from parsers.errors import FormatError
from parsers.id_map import (
    MAX_RANGES,
    NOBODY,
    IdMaps,
    as_text,
    from_text,
    inverted,
    parse_subordinate,
    remapped,
    rootless,
    through,
)
from parsers.id_map import shown as shown_id
from parsers.kubelet import kubelet_options, static_pod_path
from parsers.rancher import config_of, option_of
from parsers.storage_conf import parse_containers_conf, parse_storage_conf
from parsers.toml_document import parse_toml
from support.surveys import survey_of

MANY = settings(max_examples=150, deadline=None, derandomize=True)
BYTES = st.one_of(st.binary(max_size=200), st.text(alphabet="az:019\n -=/{}[]\"'\\.\0", max_size=200).map(str.encode))
NUMBER = st.one_of(st.integers(-2, 70_000), st.sampled_from((1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63, 10**30)))
DOCUMENTS = (
    (parse_build_reference, b'{"Target":"default","LocalPath":"/src","DockerfilePath":"/src/Dockerfile","GroupRef":"g"}'),
    (parse_thin_device, b'{"device_id":3,"size":10737418240,"transaction_id":4,"initialized":true,"deleted":false}'),
    (parse_device_set, b'{"next_device_id":9,"BaseDeviceUUID":"ab","BaseDeviceFilesystem":"xfs"}'),
    (parse_config, b'root = "/a"\nimports = ["/b/*.toml"]\n[plugins."io.containerd.snapshotter.v1.x"]\nroot_path = "/c"\n'),
    (parse_storage_conf, b'[storage]\ndriver = "overlay"\n[storage.options]\nadditionalimagestores = ["/a"]\n'),
    (parse_containers_conf, b'[engine]\nstatic_dir = "/a"\n[network]\nnetwork_config_dir = "/b"\n'),
)


def tree_of(tree):
    found, _ = survey_of(tree)
    return host_trees(found)[0], found


def quickly(work, most=10):
    start = time.monotonic()
    result = work()
    assert time.monotonic() - start < most
    return result


@pytest.mark.parametrize(("parse", "document"), DOCUMENTS)
def test_documents_that_are_damaged(parse, document):
    @MANY
    @given(st.integers(0, len(document)), BYTES, st.integers(0, 4), BYTES)
    def damaged(at, noise, gone, anything):
        for data in (document[:at], document[:at] + noise + document[at + gone :], anything):
            try:
                parse(data)
            except FormatError as error:
                assert "\n" not in str(error)

    damaged()


@MANY
@given(BYTES)
def test_texts_that_are_searched_for_one_setting(data):
    for path in (static_pod_path(data), static_pod_path(b"staticPodPath: " + data), config_of(b"data-dir: " + data)):
        assert path is None or path.startswith(b"/")
    words = data.decode("utf-8", "backslashreplace").split()
    kubelet_options(["--config", *words, "--root-dir"])
    option_of(["--data-dir", *words, "-d"])


@MANY
@given(st.lists(st.tuples(st.sampled_from((b"eve", b"1000", b"")), NUMBER, NUMBER), max_size=12), BYTES)
def test_subordinate_ids(lines, noise):
    data = b"".join(b"%s:%d:%d\n" % line for line in lines) + noise
    given_ids = parse_subordinate(data, (b"eve", b"1000"))
    assert all(first >= 0 and count > 0 and first + count <= 1 << 32 for first, count in given_ids)
    own = rootless(1000, given_ids)
    for ranges in (own, remapped(data, 5), through(own, inverted(own)), through(inverted(own), own)):
        assert all(each.count > 0 and each.inside >= 0 and each.outside >= 0 for each in ranges)
        assert from_text(as_text(IdMaps(ranges, own))) == IdMaps(ranges, own)
        for one in (0, 1, 65_536, (1 << 32) - 1):
            outside = shown_id(ranges, one)
            assert outside == NOBODY or any(each.outside <= outside < each.outside + each.count for each in ranges)


def test_subordinate_ids_without_end():
    data = b"eve:1:1\n" * 130_000 + b"1" * 10_000_000 + b":" + b"2" * 10
    assert len(quickly(lambda: parse_subordinate(data, (b"eve",)))) == MAX_RANGES
    assert len(quickly(lambda: remapped(data, 1))) == MAX_RANGES
    wide = rootless(0, [(0, 1 << 32)] * MAX_RANGES)
    assert len(quickly(lambda: through(wide, inverted(wide)))) <= MAX_RANGES


@pytest.mark.parametrize("text", ["[]", "{}", '{"uids": 1, "gids": []}', '{"uids": [[1e999, 0, 1]], "gids": []}', "[" * 99_999])
def test_texts_that_are_no_maps(text):
    with pytest.raises(FormatError):
        from_text(text)


@pytest.mark.parametrize(
    "values", [(0, 0, 0), (0, -1, 5), (0, 0, 1 << 33), ("a", 0, 1), ((1 << 32) - 1, 0, 2), (0, (1 << 32) - 1, 2)]
)
def test_ranges_that_are_none_are_told(values):
    inside, outside, count = values
    number = '"a"' if inside == "a" else inside
    ranges = f'[{{"container_id":{number},"host_id":{outside},"size":{count}}}]'
    (record,), problems = parse_containers(f'[{{"id":"{"ab" * 32}","uidmap":{ranges}}}]'.encode())
    assert record.ids is None
    assert problems


@pytest.mark.parametrize(
    "text",
    ["a" + ".a" * 200_000 + " = 1", "[" + "a. " * 200_000 + "a]", "x = {" + "'a'." * 200_000 + "a = 1}", "'/'.a." * 200_000],
)
def test_keys_in_keys_without_end(text):
    with pytest.raises(FormatError, match="parts"):
        quickly(lambda: parse_toml(text.encode()))


def test_dots_that_are_no_keys():
    text = f'# {"..." * 99}\na = "{"/x.d" * 999}"\nb = [{"1.5, " * 999}]\nc = """\n{"x. y. " * 5}\n"""\n'
    assert parse_toml(text.encode())["a"] == "/x.d" * 999


UNIT = b"[Service]\nEnvironment=ROOT=/srv/a\n%s\nExecStart=/usr/bin/containerd --root %s\n"


@pytest.mark.parametrize(
    "unit",
    [
        UNIT % (b"", rb"/\ud800\udfff"),
        UNIT % (b"", rb"/\U0000d800 --config /\ud800 --state /\x00\xff"),
        UNIT % (b"Environment=A=" + b"y" * 60_000, b"/" + b"${A}" * 15_000),
        UNIT % (b'Environment="A=' + b"y " * 30_000 + b'"', b"$A " * 20_000),
        UNIT % (b"EnvironmentFile=/etc/e\n" * 40_000, b"${ROOT}/${ROOT"),
        UNIT % (b"".join(b"EnvironmentFile=%s/etc/e\n" % (b"/." * n) for n in range(1, 700)), b"$ROOT$$ROOT"),
        UNIT % (b"", b"/a" * 400_000),
    ],
)
def test_units(unit):
    etc = {"systemd": {"system": {"containerd.service": unit}}, "e": b"B=" + b"x" * 60_000}
    tree, _ = tree_of({"etc": etc})
    reader = StoreReader()
    daemons = quickly(lambda: list(configured_daemons(reader, tree)))
    assert b"/var/lib/containerd" in {daemon.root for daemon in daemons}


def test_units_that_are_links_to_a_large_one(monkeypatch):
    monkeypatch.setattr("forensics.stores.services.MAX_SIZE", 1 << 20)
    large = UNIT % (b"A=b\n" * 20_000, b"/srv")
    links = {f"{number}.service": "/large" for number in range(400)}
    tree, _ = tree_of({"etc": {"systemd": {"system": links}}, "large": large})
    reader = StoreReader()
    quickly(lambda: list(configured_daemons(reader, tree)))
    assert any("were not read" in gap.error for gap in reader.gaps)


@pytest.mark.parametrize(
    "imports",
    [
        '"/*/*/*/*"',
        '"' + "/*/.." * 500 + '/*"',
        '"' + "/*" * 100_000 + '"',
        '"/' + "a/" * 300_000 + '"',
        ", ".join(f'"/*/*/{n}*"' for n in range(20_000)),
        '"config.toml", "./config.toml", "../containerd/*.toml", "*"',
        r'"/[z-a]*", "/[", "/**********************a", "/[!", "/\\", "\u0000"',
    ],
)
def test_imports(imports):
    config = f'root = "/srv/c"\nimports = [{imports}]\n'.encode()
    below = {f"d{number}": {f"e{each}": {"x.toml": b"\xff"} for each in range(12)} for number in range(12)}
    tree, _ = tree_of({"etc": {"containerd": {"config.toml": config, "loop": "/"}}, "top": below, "self": "/"})
    reader = StoreReader()
    daemons = quickly(lambda: list(configured_daemons(reader, tree)), 20)
    assert any(daemon.root == b"/srv/c" for daemon in daemons)


def test_storage_that_names_everything():
    stores = ", ".join(f'"/{"s/" * (number % 9)}../self/../../.."' for number in range(9_000))
    conf = f'[storage]\nrootless_storage_path = "/{"$HOME" * 20_000}"\n[storage.options]\nadditionalimagestores = [{stores}]\n'
    passwd = b"".join(b"u%d:x:%d:1::/%s:/bin/sh\n" % (n, n, b"h" * 900) for n in range(200))
    passwd += b"v:x:1:1::/" + b"w" * 500_000 + b":/bin/sh\n"
    storage = {"storage.conf": conf.encode(), "storage.conf.d": {f"{n}.conf": conf.encode() for n in range(120)} | {"note": b"="}}
    tree, found = tree_of({"etc": {"passwd": passwd, "containers": storage}, "self": "/", "s": "s"})
    reader = StoreReader()
    assert quickly(lambda: list(configured_storage(reader, tree)), 30)
    assert quickly(lambda: find_graph_roots(found, reader), 30) == ()


def test_quadlets_in_directories_that_are_in_each_other():
    tree, found = tree_of({"etc": {"containers": {"systemd": {"a": {}, "web.container": b"[Container]\nImage=x\n"}}}})
    fs = found.partitions[0].filesystem
    place = tree.resolve(b"/etc/containers/systemd")
    inside = fs.nodes[place.inode].content
    inside |= {b"d%d" % number: place.inode for number in range(50)}
    reader = StoreReader()
    told = quickly(lambda: list(quadlets(reader, "podman", tree, 0)))
    assert told
    assert all(isinstance(each, Artefact) for each in told)


def test_quadlets_without_end():
    files = {f"{number}.container": b"" for number in range(MAX_FILES + 5)}
    tree, _ = tree_of({"etc": {"containers": {"systemd": files}}})
    reader = StoreReader()
    assert len(list(quadlets(reader, "podman", tree, 0))) == MAX_FILES
    assert any("only the first 10,000 were read" in gap.error for gap in reader.gaps)


def record(own, parents, diff_id=None, merged=False):
    fields = dict.fromkeys(CacheRecord.__dataclass_fields__)
    fields |= {"id": own, "parents": tuple(parents), "diff_id": diff_id, "merged": merged, "snapshot": own, "problems": ()}
    return CacheRecord(**fields)


def digest(number):
    return f"sha256:{number:064x}"


def test_cache_records_in_a_circle_and_too_high_ones():
    circle = [record(str(n), (str((n + 1) % 1000),), digest(n)) for n in range(1000)]
    assert quickly(lambda: shared_records(circle, {}, {digest(1)})) == frozenset()
    high = [record(f"h{n}", (f"h{n - 1}",) if n else (), digest(n)) for n in range(400)]
    low = record("low", (), digest(9999))
    merged = record("merged", ("h399", "h398", "low"), merged=True)
    (chain,) = chain_ids([digest(9999)])
    assert shared_records([*high, low, merged], {}, {chain}) == {"low"}


def test_cache_records_that_merge_without_end(monkeypatch):
    monkeypatch.setattr("forensics.stores.buildkit.shared.MAX_MERGED", 1 << 17)
    high = [record(f"h{n}", (f"h{n - 1}",) if n else (), digest(n)) for n in range(240)]
    merged = [record(f"m{n}", ("h239", "h238"), merged=True) for n in range(8_000)]
    wide = record("wide", ("h0",) * 500_000, merged=True)
    assert quickly(lambda: shared_records([*high, *merged, wide], {}, {"none"}), 30) == frozenset()
