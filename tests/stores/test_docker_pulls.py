"""Docker's memory of pulls, which outlives the images."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.stores.docker.pulls import pulled_layers
from forensics.stores.reading import Place, StoreReader
from parsers.docker_distribution import parse_distribution
from parsers.errors import FormatError
from support.memory_filesystem import MemoryFilesystem

# as Docker 26.1 wrote it
NGINX = (
    b'[{"Digest":"sha256:8a1e25ce7c4f75e372e9884f8f7b1bedcfe4a7a7d452eb4b0a1c7477c9a90345",'
    b'"SourceRepository":"docker.io/library/nginx","HMAC":""}]'
)


def test_each_layer_tells_its_repositories():
    (found,) = parse_distribution(NGINX)
    assert found.repository == "docker.io/library/nginx"
    assert found.digest == "sha256:8a1e25ce7c4f75e372e9884f8f7b1bedcfe4a7a7d452eb4b0a1c7477c9a90345"


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=200) | st.integers(0, len(NGINX)).map(lambda n: NGINX[:n]))
def test_damage_is_a_format_error(data):
    with contextlib.suppress(FormatError):
        parse_distribution(data)


def test_a_damaged_record_still_tells_that_there_was_a_pull():
    files = {"1" * 64: NGINX, "2" * 64: b"\0" * 50, ".tmp": b""}
    fs = MemoryFilesystem({"overlay2": {"distribution": {"v2metadata-by-diffid": {"sha256": files}}}})
    reader = StoreReader()
    found = list(pulled_layers(reader, Place(1, fs, fs.root, b"/image")))
    assert [(each.name[:10], each.details.get("repositories")) for each in found] == [
        ("sha256:111", "docker.io/library/nginx"), ("sha256:222", None)]  # fmt: skip
    assert len(reader.gaps) == 1
    assert list(pulled_layers(reader, None)) == []
