"""The analyst's own YARA rules: what they look into, and rules that cannot be used."""

import pytest

from forensics.findings.all import find
from forensics.findings.yara import compiled, yara_rule
from parsers.errors import UsageError
from support.scenes import OneContainer

RULE = 'rule evil : tag { meta: severity = "high" description = "what it is" strings: $a = "EVIL" condition: $a }'


def scanned(tmp_path, scope):
    pytest.importorskip("yara_x")
    (tmp_path / "r.yar").write_text(RULE)
    web = OneContainer(tmp_path / "c.db")
    web.below(b"/image", b"EVIL")
    web.add(b"/own", b"..EVIL")
    web.add(b"/harmless", b"good")
    web.contents.disk = b"EV" + bytes(98) + b"IL"
    web.builder.insert("deleted_file", container=web.container, partition=1, path="/gone", type="f", size=4, method="journal",
                       confidence="certain", extents="[[0, 0, 2], [2, 100, 2], [-1, 0, 9], [4, null, 5]]")  # fmt: skip
    own = yara_rule(compiled(tmp_path), scope)
    return {text.name: findings for text, findings in find(web.scene(), (own,))}["yara"]


@pytest.mark.parametrize(
    ("scope", "paths"), [("changed", [b"/own"]), ("recovered", [b"/gone"]), ("all", [b"/image", b"/own", b"/gone"])]
)
def test_yara_rules(tmp_path, scope, paths):
    told = scanned(tmp_path, scope)
    assert [f.path for f in told] == paths
    assert {f.severity for f in told} == {"high"}
    assert all("what it is" in f.detail and "tag" in f.detail and "$a at " in f.detail for f in told)


def test_yara_rules_that_cannot_be_used(tmp_path):
    pytest.importorskip("yara_x")
    (tmp_path / "bad.yar").write_text("rule x { condition: }")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "bad.yar", tmp_path / "empty", tmp_path / "not-there.yar"):
        with pytest.raises(UsageError, match=path.name):
            compiled(path)
