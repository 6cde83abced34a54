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
    ("text", "progress", "redact"),
    ("source", "records", "tolerant"),
    ("images",),
    ("evidence", "ciphers", "mapped", "raid_layouts"),
    ("luks", "md_raid", "btrfs_devices", "lvm_thin", "lvm_mapping", "lvm"),
    ("volume", "volume_stack", "partition_tables", "disk_partitions", "volumes"),
    ("filesystem", "file_source"),
    ("filesystems",),
    ("host",),
    ("survey",),
    ("stores",),
    ("recovery",),
    ("layers", "overlay", "overlay_delta", "overlay_layer", "overlay_lookup", "overlay_marks", "wh_marks", "changes"),
    ("hashing", "layer_archives", "left_out", "integrity"),
    ("logs",),
    ("case",),
    ("timeline",),
    ("findings",),
    ("disk_pass", "content_plan", "deleted_files", "layer_content", "content", "extraction", "archive", "pax"),
    ("analysis",),
    ("pipeline", "verification"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
STAGE = {name: number for number, stage in enumerate(STAGES) for name in stage}

OPENS_IMAGES = {"forensics/evidence.py", "forensics/filesystems/tsk.py"}
NOT_FOR_PARSERS = {"pytsk3", "sqlite3", "sqlite_utils", "typer", "rich", "time", "os", "subprocess", "socket"}
NOT_FOR_ANYONE = {"subprocess", "socket", "urllib", "http", "pickle", "ctypes"}
MODULES_OF = {"argon2_cffi": "argon2", "libvhdi_python": "pyvhdi", "libvmdk_python": "pyvmdk"}
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


def wrong(path, name):
    """What is wrong with a module's import of another, or None."""
    module, package, top = dotted(path), path.relative_to(ROOT).parts[0], name.split(".")[0]
    if top in NOT_FOR_ANYONE:
        return "nothing of the evidence is run, and nothing leaves the machine"
    if top == "pytsk3" and str(path.relative_to(ROOT)) not in OPENS_IMAGES:
        return "one module opens images, one is the back end"
    if package == "parsers" and (top in NOT_FOR_PARSERS or top in ("forensics", "reports")):
        return "parsers take bytes and give dataclasses"
    if (
        package == "reports"
        and top == "forensics"
        and not name.startswith(("forensics.text", "forensics.redact", "forensics.case"))
    ):
        return "reports read the case file only"
    if package == "forensics" and top == "reports" and not module.startswith("forensics.commands"):
        return "only commands write reports"
    if package == "forensics" and name.startswith("forensics.") and stage_of(name) > stage_of(module):
        return "a stage imports earlier stages only"
    return None


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_go_one_way(path):
    found = {name: wrong(path, name) for name in sorted(set(imports(path)))}
    assert {name: reason for name, reason in found.items() if reason} == {}


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
    wanted_by_all, extras = project["dependencies"], project["optional-dependencies"]
    declared = {re.split(r"[^\w-]", wanted)[0].replace("-", "_") for wanted in wanted_by_all + extras["yara"]}
    declared = {MODULES_OF.get(name, name) for name in declared}
    used = {name.split(".")[0] for name in itertools.chain.from_iterable(imports(path) for path in MODULES) if outside(name)}
    assert used - set(sys.stdlib_module_names) <= declared
