import os

import pytest

from samples.unpack import unpack
from support.cli import run_cli

# where the tools of filesystems are on many hosts, but not in every user's path
os.environ["PATH"] = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    """A directory that all workers of one run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def sample(scratch):
    """sample(name): the unpacked disk image of a sample; read it, never write it."""
    return lambda name: unpack(name, scratch / "samples" / f"{name}.img")


@pytest.fixture(scope="session")
def carved(sample, tmp_path_factory):
    """carved(name, *options): the case file of a sample, carved once per worker."""
    cases = {}

    def carve(name, *options):
        if (name, options) not in cases:
            case = tmp_path_factory.mktemp(name) / "case.db"
            run_cli("carve", sample(name), "-o", case, *options)
            cases[name, options] = case
        return cases[name, options]

    return carve
