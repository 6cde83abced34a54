import random

import pytest

from support.disks import MIB
from support.ext4_images import make


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """/var/lib/store/{a,b,c}/diff with files, links and attributes; /many with blocks of names."""
    top = tmp_path_factory.mktemp("top")
    for name in "abc":
        layer = top / "var/lib/store" / name / "diff"
        (layer / "etc").mkdir(parents=True)
        (layer / "etc/conf").write_text(name * 100)
        (layer / "big").write_bytes(random.Random(name).randbytes(70_000))
        (layer / "link").symlink_to("etc/conf")
    (top / "many").mkdir()
    for number in range(200):
        (top / "many" / f"a-rather-long-name-so-that-blocks-fill-{number:04}").touch()
    with (top / "pieces").open("wb") as file:
        for number in range(20):
            file.seek(number * 8192)
            file.write(b"piece" * 100)
    return top


@pytest.fixture(scope="module")
def whole(directory, tmp_path_factory):
    """The bytes of a filesystem made of it."""
    return make(tmp_path_factory.mktemp("fs") / "fs.img", "-b", "1024", "-d", str(directory), size=12 * MIB).read_bytes()
