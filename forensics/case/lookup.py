"""Opening a case file to read it, and finding a container or a layer by what a person would call it."""

from __future__ import annotations

import difflib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forensics.case.schema import SCHEMA_VERSION
from parsers.errors import CaseError, UsageError

_MAGIC = b"SQLite format 3\x00"
_WAL = 2  # the file header's write version, byte 18, of a database in WAL mode
_SHORT = 12  # characters of an id that are enough for people
_LISTED = 8  # names in an error message


@dataclass(frozen=True, slots=True)
class Case:
    """A case file, open for reading only."""

    path: Path
    db: sqlite3.Connection


@dataclass(frozen=True, slots=True)
class FoundContainer:
    """A container of the case. number: `containers.container_number`; layer: its own layer's number, None where it is lost."""

    number: int
    container_id: str
    name: str | None
    engine: str
    layer: int | None
    rootfs: str
    origin: str = "allocated"


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """A layer of the case. number: `layers.layer_number`."""

    number: int
    name: str
    path: str


@contextmanager
def open_case(path: Path) -> Iterator[Case]:
    """The case file at `path`, open until the block ends; nothing is written to it or beside it."""
    _check_header(path)
    try:
        db = sqlite3.connect(_uri(path), uri=True)
    except sqlite3.Error as error:
        raise CaseError(f"{path}: the case file cannot be opened ({error})") from error
    try:
        db.execute("PRAGMA query_only = ON")
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        _check_version(path, db)
        yield Case(path, db)
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        if not _is_damaged(db):
            raise
        raise CaseError(f"{path}: the case file is damaged; copy it again, or carve the disk image again") from error
    finally:
        db.close()


def _check_header(path: Path) -> None:
    """Say what is wrong with a file that cannot be a case file, before SQLite says it less clearly."""
    if not path.exists():
        raise UsageError(f"{path}: no such case file; ctrforensics carve IMAGE -o {path} makes one")
    if path.is_dir():
        raise UsageError(f"{path} is a directory, not a case file")
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise CaseError(f"{path}: the case file cannot be read ({error.strerror})") from error
    if magic != _MAGIC:
        raise UsageError(f"{path} is no case file; if it is a disk image, ctrforensics carve {path} makes a case file of it")


def _uri(path: Path) -> str:
    """Read-only; and `immutable`, without any lock or side file, where SQLite would need to write one to read."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with path.open("rb") as file:
        in_wal_mode = file.read(20)[18:19] == bytes([_WAL])
    wal = path.with_name(path.name + "-wal")
    if in_wal_mode and not os.access(path.parent, os.W_OK) and not wal.exists():
        return f"{uri}&immutable=1"
    return uri


def _check_version(path: Path, db: sqlite3.Connection) -> None:
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise CaseError(f"{path}: the case file cannot be read ({error})") from error
    if not {"run", "evidence", "container", "entry"} <= tables:
        raise UsageError(f"{path} is a SQLite database, but no case file; ctrforensics carve IMAGE makes one")
    if version != SCHEMA_VERSION:
        raise CaseError(
            f"{path} has schema {version}, this version of ctrforensics reads schema {SCHEMA_VERSION}; "
            "carve the disk image again, or use the version that wrote it"
        )


def _is_damaged(db: sqlite3.Connection) -> bool:
    """Whether SQLite finds anything wrong; slow, so it is asked only when a value was not what its column promises."""
    try:
        return bool(db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
    except (sqlite3.Error, UnicodeDecodeError):
        return True


def evidence_places(case: Case) -> tuple[tuple[Path, ...], ...]:
    """Where the first file of each disk image may be: where it was, and beside the case file."""
    rows = case.db.execute("SELECT path, min(position) FROM evidence GROUP BY disk ORDER BY disk")
    return tuple((Path(path), case.path.parent / Path(path).name) for path, _ in rows)


def evidence_files(case: Case) -> tuple[Path, ...]:
    """Every place where a file of the evidence may be, so that none is written over."""
    paths = [Path(path) for (path,) in case.db.execute("SELECT path FROM evidence ORDER BY position")]
    return tuple(place for path in paths for place in (path, case.path.parent / path.name))


def find_container(case: Case, text: str) -> FoundContainer:
    """The container with this id, name, pod/name, namespace/name, or the only one whose id begins so.

    Raises UsageError where none or many.
    """
    rows = case.db.execute(
        "SELECT container_number, container_id, name, engine, rootfs, pod, origin,"
        " (SELECT layer_id FROM container WHERE id = container_number), namespace FROM containers ORDER BY container_number"
    ).fetchall()
    wanted = text.removeprefix("/")
    tests = (
        [r for r in rows if r[1] == wanted],
        [r for r in rows if r[2] is not None and r[2] == wanted],
        [r for r in rows if r[5] is not None and wanted in _pod_names(r[5], r[2])],
        [r for r in rows if r[8] is not None and wanted in (f"{r[8]}/{r[1]}", f"{r[8]}/{r[2]}")],
        [r for r in rows if wanted and r[1].startswith(wanted)],
    )
    matches = next(filter(None, tests), [])
    if len(matches) > 1:
        matches = [r for r in matches if r[6] == "allocated"] or matches
    if len(matches) == 1:
        number, container_id, name, engine, rootfs, _pod, origin, layer, _namespace = matches[0]
        return FoundContainer(number, container_id, name, engine, layer, rootfs, origin)
    if matches:
        listed = _listed([f"{r[1][:_SHORT]} ({r[2] or 'no name'}, {r[3]}{f' {r[8]}' if r[8] else ''})" for r in matches])
        more = "give more of the id" if len({r[1] for r in matches}) > 1 else "give its namespace too, as in NAMESPACE/ID"
        raise UsageError(f"{text!r} is the name or the beginning of the id of {len(matches)} containers: {listed}; {more}")
    raise UsageError(
        f"{case.path} has no container {text!r}; {_similar(wanted, [r[2] or r[1][:_SHORT] for r in rows], 'containers')}"
    )


def _pod_names(pod: str, name: str | None) -> tuple[str, ...]:
    """What a container of a pod `namespace/pod` may be called."""
    return (pod, f"{pod}/{name}", f"{pod.rpartition('/')[2]}/{name}")


def find_layer(case: Case, text: str) -> FoundLayer:
    """The layer with this name, path, number (#12), diff id or chain id, or the only one where one of them begins so."""
    rows = case.db.execute(
        "SELECT layer_number, layer, path, diff_id, chain_id, engine FROM layers ORDER BY layer_number"
    ).fetchall()
    names = [(r, [n for n in (r[1], r[2], r[3], r[4]) if n is not None]) for r in rows]
    exact = [r for r, known in names if text in (*known, f"#{r[0]}")]
    starting = [
        r for r, known in names if text and any(n.startswith(text) or n.removeprefix("sha256:").startswith(text) for n in known)
    ]
    matches = exact or starting
    shortest = min((r[1] for r in matches), key=len, default="")
    if len(matches) > 1 and all(r[1].startswith(shortest) for r in matches):  # a layer and the init layer named after it
        matches = [r for r in matches if r[1] == shortest]
    if len(matches) == 1:
        return FoundLayer(*matches[0][:3])
    if matches:
        listed = _listed([f"#{r[0]} ({r[5]} {r[1][:_SHORT]})" for r in matches])
        raise UsageError(f"{text!r} is what {len(matches)} layers may be called: {listed}; give more of it, or the number with #")
    raise UsageError(
        f"{case.path} has no layer {text!r}; {_similar(text, [f'#{r[0]} ({r[1][:_SHORT]})' for r in rows], 'layers')}"
    )


def _similar(wanted: str, names: Sequence[str], kind: str) -> str:
    if not names:
        return f"it has no {kind} at all"
    near = [n for n in names if wanted and wanted.lower() in n.lower()] or difflib.get_close_matches(wanted, names, _LISTED, 0.5)
    if near:
        return f"similar ones are {_listed(near)}"
    return f"there are {_listed(names)}; ctrforensics {kind} lists them all"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
