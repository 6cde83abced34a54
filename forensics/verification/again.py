"""The whole job once more: the same evidence, carved with the same options, must give the same case file row by row."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from forensics.case.lookup import Case, open_case
from forensics.pipeline import CarveOptions, carve
from forensics.progress import Progress
from forensics.verification.check import Check, Difference

MAX_TOLD = 100  # rows of one table that are told one by one
_OPTIONS = {"hash", "journal", "snapshot", "findings", "carve", "verify_layers", "logs"}
_OF_THE_RUN = frozenset({"run", "evidence"})
_OF_THE_PLACE = {"disk_image": ("name", "files")}
_SHADOWS = ("_data", "_idx", "_content", "_docsize", "_config")
_TOLD = 200  # characters of a row


def check_again(case: Case, paths: Sequence[Path], secrets: Sequence[bytes], progress: Progress) -> Check:
    """Carve the evidence into a temporary case file, and compare all tables but for what tells of the run itself."""
    facts = dict(case.db.execute("SELECT key, value FROM run"))
    if (used := facts.get("tool")) != (now := f"ctrforensics {version('ctrforensics')}"):
        return Check("carved again", 0, note=f"{used} made the case, this is {now}; use that one to carve it again")
    if facts.get("yara") is not None:
        return Check("carved again", 0, note="it was carved with YARA rules of somebody's own, which are not in the case")
    if missing := sorted(_OPTIONS - facts.keys()):
        return Check("carved again", 0, (Difference("run", f"does not tell {', '.join(missing)} of the carve"),))
    options = CarveOptions(
        hash=facts["hash"], hash_image=any(case.db.execute("SELECT 1 FROM disk_image WHERE sha256 IS NOT NULL")),
        replay_journal=facts["journal"] == "replayed", snapshot=facts["snapshot"], findings=facts["findings"],
        carve=facts["carve"], verify_layers=json.loads(facts["verify_layers"]), logs=json.loads(facts["logs"]),
        secrets=tuple(secrets),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ctrforensics-") as directory:
        again = Path(directory) / case.path.name
        carve(paths, again, options, progress)
        progress.stage("comparing the two case files")
        with open_case(again) as other:
            compared = dict(_compared(case, other))
    differences = [difference for _, found in compared.values() for difference in found]
    return Check("carved again", sum(rows for rows, _ in compared.values()), tuple(differences))


def _compared(case: Case, other: Case) -> Iterator[tuple[str, tuple[int, list[Difference]]]]:
    """Every table with how many rows it has, and the rows that only one of the two cases has."""
    names = [name for (name,) in case.db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    for table in names:
        if table in _OF_THE_RUN or table.startswith("sqlite_") or table.endswith(_SHADOWS):
            continue
        left_out = _OF_THE_PLACE.get(table, ())
        columns = [column for _, column, *_ in case.db.execute(f"PRAGMA table_info([{table}])") if column not in left_out]
        sql = f"SELECT {', '.join(f'[{column}]' for column in columns)} FROM [{table}]"
        yield table, _rows_apart(table, case.db.execute(sql), other.db.execute(sql))


def _rows_apart(
    table: str, mine: Iterator[tuple[object, ...]], others: Iterator[tuple[object, ...]]
) -> tuple[int, list[Difference]]:
    """Rows come in the order in which they were written, so that the first one that is not the same is soon told."""
    count = 0
    only_mine: set[tuple[object, ...]] = set()
    only_others: set[tuple[object, ...]] = set()
    while True:
        row, other = next(mine, None), next(others, None)
        if row is None and other is None:
            break
        count += row is not None
        if row == other:
            continue
        for each, own, foreign in ((row, only_mine, only_others), (other, only_others, only_mine)):
            if each is not None and each in foreign:
                foreign.remove(each)
            elif each is not None:
                own.add(each)
    told = [Difference(table, f"only in the case: {_short(row)}") for row in sorted(only_mine, key=repr)[:MAX_TOLD]]
    told += [Difference(table, f"only carved again: {_short(row)}") for row in sorted(only_others, key=repr)[:MAX_TOLD]]
    return count, told


def _short(row: tuple[object, ...]) -> str:
    text = ", ".join("NULL" if value is None else str(value) for value in row)
    return text if len(text) <= _TOLD else text[:_TOLD] + " ..."
