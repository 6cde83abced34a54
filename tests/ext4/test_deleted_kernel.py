"""Files that the running kernel deleted: what comes back is held against what was written."""

import hashlib
import os
import random
import subprocess

import pytest

from forensics.filesystems.ext4.mount import open_ext4
from forensics.recovery.files.content import examine, read_deleted
from forensics.recovery.files.deleted import find_deleted
from forensics.recovery.files.fragments import find_fragments
from support import ext4_images as lab
from support.kernel_views import mounted

MIB = 1 << 20
LAYOUTS = {
    "default": (),
    "1k": ("-b", "1024"),
    "ext3": ("-b", "1024", "-O", "^extents,^metadata_csum,^64bit,^flex_bg,^huge_file,^extra_isize"),
    "no-checksums": ("-O", "^metadata_csum"),
    "inline": ("-O", "inline_data", "-I", "256"),
    "orphan-file": ("-O", "orphan_file"),
    "bigalloc": ("-O", "bigalloc", "-C", "16384"),
}


def sync(top):
    """Commit the filesystem's transaction; not sync(2), which waits for every filesystem of the machine."""
    file = os.open(top, os.O_RDONLY)
    subprocess.run(["sync", "-f", top], check=True)
    os.close(file)


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


def commit(path):
    """Commit the transaction, and write nothing to its place."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.close(file)


def fill(top, count=60, seed=3):
    """Files of many sizes in many directories: path to content."""
    rng = random.Random(seed)
    made = {}
    for n in range(count):
        path = top / "containers" / f"{n % 7:02}" / ("deep/" * (n % 4)) / f"file {n}\xff.txt"
        made["/" + str(path.relative_to(top))] = write(path, rng.randbytes(rng.choice([0, 1, 60, 1023, 4096, 70_000])))
    return made


def found_in(path):
    fs = open_ext4(lab.image(path))
    return fs, {file.path: file for file in find_deleted(fs)}


def content(fs, file):
    return b"".join(read_deleted(fs, file))[: file.size]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_removed_tree_comes_back(layout, tmp_path):
    path = lab.make(tmp_path / "fs.img", *LAYOUTS[layout], size=64 * MIB)
    with mounted(path, tmp_path / "m", "noatime") as top:
        write(top / "other", b"x" * 9000)
        made = fill(top)
        (top / "containers/link").symlink_to("where/to")
        os.mkfifo(top / "containers/pipe")
        os.mknod(top / "containers/whiteout", 0o20000, os.makedev(0, 0))
        os.setxattr(top / "containers/00", "trusted.overlay.opaque", b"y")
        sync(top)
        subprocess.run(["rm", "-rf", top / "containers"], check=True)
    fs, found = found_in(path)
    for name, data in made.items():
        file = found[os.fsencode(name)]
        assert (file.type, file.size, file.method, file.reuse) == ("f", len(data), "journal", "none"), name
        assert content(fs, file) == data
        examined = examine(fs, file)
        assert (examined.recovered, examined.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert file.deleted_ns > file.crtime_ns if file.crtime_ns is not None else file.deleted_ns
    assert found[b"/containers/link"].target == b"where/to"
    assert (found[b"/containers/pipe"].type, found[b"/containers/whiteout"].type) == ("p", "c")
    assert found[b"/containers/whiteout"].rdev == (0, 0)
    assert found[b"/containers/00"].xattrs == {b"trusted.overlay.opaque": b"y"}
    assert b"/other" not in found
    assert fs.problems == []


@pytest.mark.parametrize("layout", ["default", "1k", "orphan-file"])
def test_what_is_held_open_at_the_power_cut_is_whole(layout, tmp_path):
    path = lab.make(tmp_path / "fs.img", *LAYOUTS[layout], size=64 * MIB)
    with mounted(path, tmp_path / "m", "noatime") as top:
        write(top / "d/early", b"long there")
        sync(top)
        early, late = (top / "d/early").open("rb"), (top / "d/late").open("wb")
        late.write(b"never seen with a name")
        late.flush()
        (top / "d/late").unlink()
        (top / "d/early").unlink()
        sync(top)
        cut = tmp_path / "cut.img"
        subprocess.run(["cp", "--sparse=always", path, cut], check=True)
        early.close()
        late.close()
    fs, found = found_in(cut)
    early = found[b"/d/early"]
    assert (early.method, early.confidence, content(fs, early)) == ("orphan", "certain", b"long there")
    (late,) = [file for file in found.values() if file.method == "orphan" and file is not early]
    assert content(fs, late) == b"never seen with a name"
    assert late.path == b"/d/#%d" % late.inode
    assert late.confidence == "probable"


def test_blocks_that_others_have_now_are_not_taken_for_content(tmp_path):
    path = lab.make(tmp_path / "fs.img", "-b", "1024", "-m", "0", "-J", "size=8", size=24 * MIB)
    with mounted(path, tmp_path / "m", "noatime") as top:
        made = fill(top, 20)
        sync(top)
        subprocess.run(["rm", "-rf", top / "containers"], check=True)
        sync(top)
        write(top / "big", os.urandom(os.statvfs(top).f_bavail * 1024 - MIB // 4))
        sync(top)
    fs, found = found_in(path)
    lost = 0
    for name, data in made.items():
        file = found[os.fsencode(name)]
        if data and file.inline is None:
            examined = examine(fs, file)
            assert examined.sha256 in (None, hashlib.sha256(data).hexdigest())
            assert file.confidence == "certain" or file.reuse in ("some", "all")
            lost += examined.sha256 is None
    assert lost


def test_blocks_that_others_had_and_gave_back_are_not_taken_for_content(tmp_path):
    path = lab.make(tmp_path / "fs.img", "-b", "1024", "-m", "0", "-J", "size=8", size=24 * MIB)
    with mounted(path, tmp_path / "m", "noatime") as top:
        made = fill(top, 20)
        sync(top)
        subprocess.run(["rm", "-rf", top / "containers"], check=True)
        sync(top)
        write(top / "big", os.urandom(os.statvfs(top).f_bavail * 1024 - MIB // 4))
        sync(top)
        (top / "big").unlink()
    fs, found = found_in(path)
    for name, data in made.items():
        file = found[os.fsencode(name)]
        assert examine(fs, file).sha256 in (None, hashlib.sha256(data).hexdigest())
    assert sum(found[os.fsencode(name)].reuse == "all" for name in made) > 5


@pytest.mark.parametrize("layout", ["1k", "default"])
def test_content_that_was_journalled_and_never_written_to_its_place(layout, tmp_path):
    """`data=journal`: what the blocks hold on the disk was somebody else's."""
    path = lab.make(tmp_path / "fs.img", "-m", "0", "-J", "size=8", *LAYOUTS[layout], size=24 * MIB)
    with mounted(path, tmp_path / "m") as top:
        filling = top / "before"
        filling.write_bytes(b"somebody else's" * (12 * MIB // 15))
        sync(top)
        filling.unlink()
    with mounted(path, tmp_path / "m", "noatime", "data=journal") as top:
        made = {f"/{name}": write(top / name, f"{name} has it\n".encode() * 500) for name in ("a", "b", "c")}
        made["/magic"] = write(top / "magic", bytes.fromhex("c03b3998") * 100)
        commit(top / "magic")
        for name in made:
            (top / name[1:]).unlink()
        commit(top)
    fs, found = found_in(path)
    for name, data in made.items():
        file = found[name.encode()]
        if name == "/magic":  # the journal has its first bytes changed
            assert (file.confidence, file.extents, file.lost) == ("probable", (), ((0, fs.block_size),))
        else:
            assert (file.confidence, file.reuse, content(fs, file)) == ("certain", "none", data)


def test_discarded_blocks_are_lost_and_no_zeros(tmp_path):
    path = lab.make(tmp_path / "fs.img", size=64 * MIB)
    with mounted(path, tmp_path / "m", "noatime", "discard") as top:
        made = fill(top, 20)
        sync(top)
        subprocess.run(["rm", "-rf", top / "containers"], check=True)
        sync(top)
        subprocess.run(["fstrim", top], check=False, capture_output=True)
    fs, found = found_in(path)
    for name, data in made.items():
        examined = examine(fs, found[os.fsencode(name)])
        if data:
            assert (examined.recovered, examined.sha256, examined.blank) == (0, None, True)


def test_a_name_is_the_one_that_it_had_last(tmp_path):
    path = lab.make(tmp_path / "fs.img", size=64 * MIB)
    with mounted(path, tmp_path / "m", "noatime") as top:
        write(top / "a/first", b"1")
        write(top / "b/kept", b"2")
        sync(top)
        (top / "a/first").rename(top / "b/second")
        sync(top)
        (top / "b").rename(top / "c")
        sync(top)
        (top / "c/second").unlink()
        sync(top)
        (top / "c").rename(top / "d")
    _, found = found_in(path)
    assert set(found) == {b"/c/second"}


def test_old_versions_of_a_file_that_is_replaced_by_renaming(tmp_path):
    path = lab.make(tmp_path / "fs.img", size=64 * MIB)
    with mounted(path, tmp_path / "m", "noatime") as top:
        for n in range(5):
            write(top / ".tmp-config", b"version %d" % n)
            (top / ".tmp-config").rename(top / "config.v2.json")
            sync(top)
    fs = open_ext4(lab.image(path))
    old = [file for file in find_deleted(fs) if file.path == b"/config.v2.json"]
    assert sorted(content(fs, file) for file in old) == [b"version %d" % n for n in range(4)]
    assert len({file.deleted_ns for file in old}) == 4


def wrap(top, count):
    """Transactions that fill a small journal's ring, in a place of their own."""
    (top / "noise").mkdir(exist_ok=True)
    for n in range(count):
        (top / f"tick{n}").touch()  # as in any directory that is in use, so that the journal has it too
        (top / f"tick{n - 1}").unlink(missing_ok=True)
        file = os.open(top / "noise" / f"n{n % 7}", os.O_RDWR | os.O_CREAT)
        os.write(file, bytes([n % 251]))
        os.fsync(file)
        os.close(file)


def test_what_is_older_than_the_ring_comes_back_by_its_names_and_by_its_blocks(tmp_path):
    path = lab.make(tmp_path / "fs.img", "-b", "4096", "-J", "size=4", size=64 * MIB)
    with mounted(path, tmp_path / "m", "noatime") as top:
        (top / "noise").mkdir()
        made = fill(top, 40)
        os.setxattr(top / "containers/03", "trusted.overlay.opaque", b"y")
    with mounted(path, tmp_path / "m", "noatime") as top:
        wrap(top, 400)
        subprocess.run(["rm", "-rf", top / "containers"], check=True)
    fs = open_ext4(lab.image(path))
    found = list(find_deleted(fs))
    by_path = {file.path: file for file in found}
    named = [by_path[os.fsencode(name)] for name in made if os.fsencode(name) in by_path]
    assert len(named) == len(made)
    assert {file.method for file in named} <= {"names", "journal"}
    assert sum(file.method == "names" for file in named) > 20
    for file in named:
        if file.method == "names":
            assert (file.size, file.extents, file.confidence) == (None, None, "probable")
            assert file.crtime_ns < file.deleted_ns
    assert by_path[b"/containers/03"].xattrs == {b"trusted.overlay.opaque": b"y"}
    contents = {fragment.sha256 for fragment in find_fragments(fs, found)}
    contents |= {examine(fs, file).sha256 for file in found}
    assert [len(data) for data in made.values() if data and hashlib.sha256(data).hexdigest() not in contents] == []


def test_contents_of_known_files_are_no_fragments(tmp_path):
    path = lab.make(tmp_path / "fs.img", size=64 * MIB)
    with mounted(path, tmp_path / "m", "noatime") as top:
        fill(top)
        sync(top)
        subprocess.run(["rm", "-rf", top / "containers"], check=True)
    fs = open_ext4(lab.image(path))
    found = list(find_deleted(fs))
    assert list(find_fragments(fs, found)) == []
    assert len(list(find_fragments(fs, ()))) > 20


def _random_work(path, mount_point, seed):
    """Make, grow, sync and delete files, so that most blocks are given out again and again; answers all versions of each."""
    rng, versions, live = random.Random(seed), {}, {}

    def save(top, name, data):
        (top / name).write_bytes(data)
        live[name] = data
        versions.setdefault(name, []).append(data)

    with mounted(path, mount_point, "noatime", "commit=1") as top:
        for n in range(2500):
            chance = rng.random()
            if os.statvfs(top).f_bavail < 4000:
                for name in rng.sample(sorted(live), 20):
                    (top / name).unlink()
                    del live[name]
            if chance < 0.5 or not live:
                save(top, f"f{n}", rng.randbytes(rng.choice([10, 1024, 5000, 30_000, 200_000])))
            elif chance < 0.6:
                name = rng.choice(sorted(live))
                save(top, name, live[name] + rng.randbytes(3000))
            elif chance < 0.75:
                fsync(top / rng.choice(sorted(live)))
            else:
                name = rng.choice(sorted(live))
                (top / name).unlink()
                del live[name]
    return versions


@pytest.mark.parametrize("layout", ["1k", "no-checksums"])
def test_no_wrong_content_is_called_certain(layout, tmp_path):
    checked = 0
    # When the kernel commits last decides how much its ring still tells: mostly 130 files, now and then hardly any.
    for seed in range(7, 12):
        path = lab.make(tmp_path / f"{seed}.img", "-m", "0", "-J", "size=8", *LAYOUTS[layout], size=40 * MIB)
        versions = _random_work(path, tmp_path / "m", seed)
        fs = open_ext4(lab.image(path))
        for file in find_deleted(fs):
            if file.confidence == "certain" and file.type == "f" and file.size and file.path is not None:
                data = content(fs, file)
                # what was not written to its end yet when it was deleted is the beginning of a version
                assert any(version.startswith(data) for version in versions[file.path[1:].decode()]), file
                checked += 1
        if checked > 20:
            break
    assert checked > 20


def fsync(path):
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.close(file)
