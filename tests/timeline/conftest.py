import pytest

from support.casebuilder import CaseBuilder
from support.timelines import T


@pytest.fixture
def builder(tmp_path):
    made = CaseBuilder(tmp_path / "case.db")
    made.image = made.layer("image")
    made.own = made.layer("own", made.image, "container")
    made.web = made.container("a" * 64, "web", made.own, created_ns=T, started_ns=T + 1, finished_ns=T + 9, image="tiny:1")
    return made
