"""Imports go one way, modules stay small and say what they are for."""

import ast
import itertools
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("parsers", "forensics", "reports")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

# What stands on one line may import what stands on the lines above it, and its neighbours.
STAGES = (
    ("text", "progress"),
    ("source", "records"),
    ("evidence", "partition_tables", "lvm", "volumes"),
    ("filesystem",),
    ("filesystems",),
    ("host", "survey"),
    ("stores",),
    ("layers", "overlay_marks", "wh_marks", "overlay_layer", "overlay_lookup", "overlay_delta", "overlay", "changes"),
    ("hashing",),
    ("case",),
    ("pipeline",),
    ("commands",),
    ("cli",),
)
STAGE = {name: number for number, stage in enumerate(STAGES) for name in stage}

OPENS_IMAGES = {"forensics/evidence.py", "forensics/filesystems/tsk.py"}
NOT_FOR_PARSERS = {"pytsk3", "sqlite3", "sqlite_utils", "typer", "rich", "time", "os", "subprocess", "socket"}
NOT_FOR_ANYONE = {"subprocess", "socket", "urllib", "http", "pickle", "ctypes"}
MAX_LINES = 400


def dotted(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """The modules that a module imports, by dotted name; `from a import b` is a.b where that is a module of ours, else a."""
    known = {dotted(module) for module in MODULES}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; name the module in full"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def each_import():
    return [pytest.param(path, name, id=f"{dotted(path)}-{name}") for path in MODULES for name in sorted(set(imports(path)))]


def stage_of(module):
    name = module.split(".")[1]
    assert name in STAGE, f"forensics/{name} has no place in STAGES yet: which modules may it import?"
    return STAGE[name]


def outside(name):
    return name.split(".")[0] not in PACKAGES


def test_there_is_something_to_hold():
    assert len(MODULES) > 10


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_every_module_says_what_it_is_for(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "no docstring"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_no_module_is_two_rooms_in_one(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=dotted)
def test_packages_hide_nothing_in_their_init(path):
    """A reader finds a thing in the module that has its name."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert all(isinstance(node, ast.Expr | ast.Import | ast.ImportFrom | ast.Assign) for node in body)


@pytest.mark.parametrize(("path", "name"), each_import())
def test_imports_go_one_way(path, name):
    package = path.relative_to(ROOT).parts[0]
    if outside(name):
        top = name.split(".")[0]
        assert top not in NOT_FOR_ANYONE, "nothing of the evidence is run, and nothing leaves the machine"
        assert package != "parsers" or top not in NOT_FOR_PARSERS, "parsers take bytes and give dataclasses"
        assert top != "pytsk3" or str(path.relative_to(ROOT)) in OPENS_IMAGES, "one module opens images, one is the back end"
    elif package == "parsers":
        assert name.startswith("parsers"), "parsers know neither forensics nor reports"
    elif package == "reports":
        assert name.startswith(("reports", "parsers", "forensics.text", "forensics.case")), "reports read the case file only"
    elif name.startswith("forensics."):
        assert stage_of(name) <= stage_of(dotted(path)), "a stage imports earlier stages only"
    elif name.startswith("reports"):
        assert dotted(path).startswith("forensics.commands"), "only commands write reports"


def test_neighbours_do_not_import_each_other_in_a_ring():
    edges = {dotted(path): {name for name in imports(path) if not outside(name)} for path in MODULES}

    def reach(start):
        seen, pending = set(), [start]
        while pending:
            new = edges.get(pending.pop(), set()) - seen
            seen |= new
            pending.extend(new)
        return seen

    assert [module for module in edges if module in reach(module)] == []


def test_dependencies_are_the_declared_ones():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[^\w-]", wanted)[0].replace("-", "_") for wanted in project["dependencies"]}
    used = {name.split(".")[0] for name in itertools.chain.from_iterable(imports(path) for path in MODULES) if outside(name)}
    assert used - set(sys.stdlib_module_names) <= declared
