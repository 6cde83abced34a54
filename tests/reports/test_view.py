"""Looking around in a merged view and in a layer, by bytes."""

from contextlib import ExitStack

import pytest

from forensics.case.lookup import find_container, find_layer, open_case
from forensics.case.view import layer_view, merged_view
from forensics.text import readable
from parsers.errors import UsageError
from support.casebuilder import CaseBuilder


@pytest.fixture
def builder(tmp_path):
    return CaseBuilder(tmp_path / "case.db")


class Opened:
    """A finished case, looked at."""

    def __init__(self, builder, stack):
        self.case = stack.enter_context(open_case(builder.finish()))

    def merged(self, name="web"):
        return merged_view(self.case, find_container(self.case, name))

    def layer(self, name):
        return layer_view(self.case, find_layer(self.case, name))


@pytest.fixture
def opened(builder):
    with ExitStack() as stack:
        yield lambda: Opened(builder, stack)


def paths(entries):
    return [entry.path for entry in entries]


def test_children_are_only_those_of_that_directory(builder, opened):
    layer = builder.layer("one")
    for path in (b"/a", b"/a/b", b"/a/b/c", b"/a-b", b"/a0", b"/a.", b"/ab/x", b"/a/\xff"):
        builder.entry(layer, path, type="d")
    builder.container("c1", "web", layer)
    view = opened().merged()
    assert paths(view.children(b"/a")) == [b"/a/b", b"/a/\xff"]
    assert paths(view.children(b"/")) == [b"/a", b"/a-b", b"/a.", b"/a0"]
    assert paths(view.below(b"/a")) == [b"/a", b"/a/\xff", b"/a/b", b"/a/b/c"]


def test_a_byte_and_the_text_that_stands_for_it_are_told_apart(builder, opened):
    layer = builder.layer("one")
    builder.entry(layer, b"/\xff", type="d", uid=1)
    builder.entry(layer, b"/\xff/in-byte")
    builder.entry(layer, rb"/\xff", type="d", uid=2)
    builder.entry(layer, rb"/\xff/in-text")
    builder.entry(layer, b"/only-\xfe", uid=3)
    builder.entry(layer, b"/new\nline", uid=4)
    builder.container("c1", "web", layer)
    view = opened().merged()
    assert (view.at(b"/\xff").uid, view.at(rb"/\xff").uid) == (1, 2)
    assert paths(view.children(b"/\xff")) == [b"/\xff/in-byte"]
    assert paths(view.children(rb"/\xff")) == [rb"/\xff/in-text"]
    assert view.typed(r"/\xff") == rb"/\xff"
    assert view.typed("/\udcff") == b"/\xff"
    assert view.typed(r"only-\xfe") == b"/only-\xfe"
    assert view.typed(r"/new\nline") == b"/new\nline"
    assert view.typed(r"/nothing\x00") == rb"/nothing\x00"


def test_symlinks_are_followed_inside_the_view_only(builder, opened):
    layer = builder.layer("one")
    builder.entry(layer, b"/etc", type="d")
    builder.entry(layer, b"/etc/passwd", uid=7)
    builder.entry(layer, b"/var", type="d")
    builder.entry(layer, b"/var/absolute", target=b"/etc/passwd")
    builder.entry(layer, b"/var/upward", target=b"../../../../etc/passwd")
    builder.entry(layer, b"/var/chained", target=b"./absolute")
    builder.entry(layer, b"/var/dir", target=b"/etc")
    builder.entry(layer, b"/var/loop", target=b"loop2")
    builder.entry(layer, b"/var/loop2", target=b"loop")
    builder.entry(layer, b"/var/dangling", target=b"/proc/self/fd")
    builder.entry(layer, b"/var/empty", target=b"")
    builder.container("c1", "web", layer)
    view = opened().merged()
    for path in (
        b"/var/absolute",
        b"/var/upward",
        b"/var/chained",
        b"/var/dir/passwd",
        b"/var/dir/../etc/passwd",
        b"/../etc/passwd",
    ):
        assert view.follow(path).uid == 7
    assert view.follow(b"/var/absolute", last=False).type == "l"
    assert view.follow(b"/").path == b"/"
    for path, why in ((b"/var/loop", "too many symlinks"), (b"/var/dangling", "has no"), (b"/etc/passwd/x", "no directory")):
        with pytest.raises(UsageError, match=why):
            view.follow(path)


def test_a_chain_of_links_is_followed_as_far_as_the_kernel_goes(builder, opened):
    layer = builder.layer("one")
    builder.entry(layer, b"/0", uid=7)
    for number in range(1, 42):
        builder.entry(layer, b"/%d" % number, target=b"%d" % (number - 1))
    builder.container("c1", "web", layer)
    view = opened().merged()
    assert view.follow(b"/40").uid == 7
    with pytest.raises(UsageError):
        view.follow(b"/41")


def test_what_upper_layers_hide_is_in_its_layer_still(builder, opened):
    base = builder.layer("base")
    top = builder.layer("top", lower=base, kind="container")
    passwd = builder.entry(base, b"/passwd", uid=1)
    motd = builder.entry(base, b"/motd", uid=1)
    root = builder.db.execute("SELECT id FROM entry WHERE layer_id = ? AND path = '/'", (base,)).fetchone()[0]
    builder.hide(top, root, "merged")
    builder.hide(top, passwd, "replaced", builder.entry(top, b"/passwd", uid=2))
    builder.hide(top, motd, "whiteout", builder.entry(top, b"/motd", type="c", rdev="0:0", mark="whiteout"))
    builder.container("c1", "web", top)
    case = opened()
    assert [(e.path, e.uid) for e in case.merged().below(b"/")] == [(b"/", 0), (b"/passwd", 2)]
    assert case.layer("base").at(b"/motd").uid == 1
    assert case.layer("top").at(b"/motd").rdev == (0, 0)


def test_private_xattrs_are_a_layers_own(builder, opened):
    layer = builder.layer("one")
    builder.entry(layer, b"/bytes", xattrs={readable(b"user.\xc3\xa4\xff"): b"1"})
    builder.entry(layer, b"/f", xattrs={"user.a": b"\0\xff"}, private={"trusted.overlay.origin": b"\x00"})
    builder.container("c1", "web", layer)
    case = opened()
    assert case.merged().at(b"/bytes").xattrs == {b"user.\xc3\xa4\xff": b"1"}
    assert case.merged().at(b"/f").xattrs == {b"user.a": b"\0\xff"}
    assert case.layer("one").at(b"/f").xattrs == {b"trusted.overlay.origin": b"\x00", b"user.a": b"\0\xff"}


def test_times_that_no_integer_column_holds(builder, opened):
    layer = builder.layer("one")
    builder.entry(layer, b"/far", mtime_ns=None, far={"mtime_ns": 2**70, "crtime_ns": -(2**80)})
    builder.entry(layer, b"/near")
    builder.container("c1", "web", layer)
    view = opened().merged()
    assert (view.at(b"/far").mtime_ns, view.at(b"/far").crtime_ns, view.at(b"/far").atime_ns) == (2**70, -(2**80), None)
    assert view.at(b"/near").crtime_ns is None


def test_metacopy_data_is_what_the_topmost_layer_says(builder, opened):
    base = builder.layer("base")
    data = builder.entry(base, b"/big", size=9, inode=77)
    middle = builder.layer("middle", lower=base)
    meta = builder.entry(middle, b"/big", size=9, metacopy=1)
    lost = builder.entry(middle, b"/lost", size=9, metacopy=1)
    top = builder.layer("top", lower=middle)
    builder.insert("metacopy_data", layer_id=middle, entry_id=meta, data_entry=data)
    builder.insert("metacopy_data", layer_id=middle, entry_id=lost, data_entry=None)
    builder.container("c1", "web", top)
    builder.hide(middle, data, "replaced", meta)
    view = opened().merged()
    assert view.data(view.at(b"/big")).inode == 77
    assert view.data(view.at(b"/lost")) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("aa11" + "0" * 60, 1),
        ("web", 2),
        ("/web", 2),
        ("aa11", 1),
        ("shop/front/nginx", 3),
        ("front/nginx", 3),
        ("shop/front", 3),
        ("old", 4),
        ("twice", 5),
        ("bb22", 1),
    ],
)
def test_containers_are_found_by_what_people_call_them(text, found, builder, opened):
    layer = builder.layer("one")
    builder.container("aa11" + "0" * 60, "bb22", layer)
    builder.container("bb22" + "0" * 60, "web", layer)
    builder.container("cc33" + "0" * 60, "nginx", layer, pod="shop/front", engine="containerd")
    builder.container("dd44" + "0" * 60, "old", layer, origin="recovered")
    builder.container("ee55" + "0" * 60, "twice", layer)
    builder.container("ff66" + "0" * 60, "twice", layer, origin="recovered")
    case = opened().case
    assert find_container(case, text).number == found


def test_layers_are_found_by_what_people_call_them(builder, opened):
    base = builder.layer("5447f41a1deda74a", diff_id="sha256:d1ff", chain_id="sha256:c4a1")
    builder.layer("5447f41a1deda74a-init", lower=base)
    builder.layer("5")
    case = opened().case
    for text in (
        "5447f41a1deda74a",
        "5447f4",
        "sha256:d1ff",
        "d1ff",
        "c4a1",
        "#1",
        "/var/lib/docker/overlay2/5447f41a1deda74a/diff",
    ):
        assert find_layer(case, text).number == 1
    assert find_layer(case, "5447f41a1deda74a-").number == 2
    assert find_layer(case, "5").number == 3
    for text in ("", "#", "6"):
        with pytest.raises(UsageError):
            find_layer(case, text)
