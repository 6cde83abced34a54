"""Version 4, without checksums, which current kernels do not mount any more: what mkfs.xfs was told to put into it."""

import pytest

from forensics.filesystem import lookup
from forensics.filesystems.xfs.mount import open_xfs
from support.xfs_images import Image, make

OLD = ("-m", "crc=0,finobt=0,reflink=0,rmapbt=0,inobtcount=0,bigtime=0")
PROTO = """/x
0 0
d--755 0 0
 file ---644 1 2 {content}
 sub d-g700 5 6
  secret -u-600 7 8 {content}
  link l--777 0 0 ../file
  {long} l--777 0 0 {long}
  null c--666 0 0 1 3
  whiteout c--000 0 0 0 0
  disk b--660 0 6 8 1
  pipe p--644 0 0
 $
 many d--755 0 0
{many} $
$
$
"""
LONG = "long-" * 50


@pytest.mark.parametrize("options", [(), ("-n", "ftype=0"), ("-b", "size=1024", "-n", "size=4096,ftype=0", "-i", "size=512")])
def test_version_4(options, tmp_path):
    content = tmp_path / "content"
    content.write_bytes(bytes(range(256)) * 50)
    names = [f"a-rather-long-name-so-that-blocks-fill-{n:05}" for n in range(700)]
    many = "".join(f"  {name} ---644 0 0 /dev/null\n" for name in names)
    proto = tmp_path / "proto"
    proto.write_text(PROTO.format(content=content, long=LONG, many=many))
    fs = open_xfs(Image(make(tmp_path / "fs.img", *OLD, *options, "-p", proto)))
    assert fs.state == "clean"
    tree = fs.tree(fs.root)
    rows = {name: row for row, name in enumerate(tree.names)}

    def told(name):
        row = rows[name]
        return chr(tree.type[row]), int(tree.mode[row]), int(tree.uid[row]), int(tree.gid[row])

    assert told(b"file") == ("f", 0o644, 1, 2)
    assert told(b"sub") == ("d", 0o2700, 5, 6)
    assert told(b"secret") == ("f", 0o4600, 7, 8)
    assert told(b"null") == ("c", 0o666, 0, 0)
    assert told(b"pipe") == ("p", 0o644, 0, 0)
    devices = {
        name: (int(tree.rdev_major[rows[name]]), int(tree.rdev_minor[rows[name]])) for name in (b"null", b"whiteout", b"disk")
    }
    assert devices == {b"null": (1, 3), b"whiteout": (0, 0), b"disk": (8, 1)}
    assert tree.targets[rows[b"link"]] == b"../file"
    assert tree.targets[rows[LONG.encode()]] == LONG.encode()
    assert fs.read(int(tree.inode[rows[b"file"]])) == content.read_bytes()
    assert fs.inode(int(tree.inode[rows[b"file"]])).crtime_ns is None
    assert sorted(entry.name.decode() for entry in fs.entries(lookup(fs, b"/many"))) == names
    assert fs.problems == []
