"""How much of what a busy host removed a case file has back, by the truth of the sample `busy`."""

import contextlib
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

TRUTH = Path(__file__).resolve().parents[2] / "samples/busy/truth"


@dataclass(frozen=True)
class Score:
    """Counts of containers and of the files in them that had a content.

    whole: containers with id, name, command and environment. false: ids of containers that never were. reused: files of which
    blocks were given to others before the disk was imaged; standing: those of which all bytes were in their blocks then; of these
    by_content have their SHA-256 in the case, and placed their path and container, too. wrong: contents that are called certain
    and are not what the container had at that path.
    """

    removed: int
    whole: int
    false: list[str]
    files: int
    reused: int
    standing: int
    by_content: int
    placed: int
    wrong: list[str]


def score(case: Path) -> Score:
    """Hold a case file against the truth."""
    removed = _truth("removed.json")
    files = [file for file in _truth("removed-files.json") if file["stands"] is not None]
    with contextlib.closing(sqlite3.connect(f"file:{case}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        told = {row["container_id"]: row for row in db.execute("SELECT * FROM containers")}
        rows = db.execute("SELECT container, path, sha256, confidence FROM deleted_files WHERE sha256 IS NOT NULL").fetchall()
    there = {each["Id"] for each in _truth("docker-containers.json")} | {each["Id"] for each in removed}
    standing = [file for file in files if file["stands"]]
    contents = {row["sha256"] for row in rows}
    places = {(row["container"], row["path"], row["sha256"]) for row in rows}
    had = {(file["container"], file["path"]): file["sha256"] for file in files}
    return Score(
        removed=len(removed),
        whole=sum(_is_whole(told.get(each["Id"]), each) for each in removed),
        false=sorted(told.keys() - there),
        files=len(files),
        reused=len(files) - len(standing),
        standing=len(standing),
        by_content=sum(file["sha256"] in contents for file in standing),
        placed=sum((file["container"], file["path"], file["sha256"]) in places for file in standing),
        wrong=[
            f"{row['container']} {row['path']}"
            for row in rows
            if row["confidence"] == "certain" and had.get((row["container"], row["path"]), row["sha256"]) != row["sha256"]
        ],
    )


def _truth(name):
    return json.loads((TRUTH / name).read_text())


def _is_whole(row, inspected):
    if row is None or row["origin"] != "recovered":
        return False
    told = row["name"], json.loads(row["command"] or "null"), json.loads(row["env"] or "null")
    return told == (inspected["Name"].lstrip("/"), [inspected["Path"], *inspected["Args"]], inspected["Config"]["Env"])
