"""A case file filled by hand, through its schema: what no disk image could be made to say, a test can."""

import base64
import json
import sqlite3
from contextlib import closing

from forensics.case.schema import INDEXES, SCHEMA_VERSION, TABLES, VIEWS
from forensics.text import raw_if_unequal, readable

ENTRY = {"type": "f", "mode": 0o644, "uid": 0, "gid": 0, "size": 0, "mtime_ns": 1_700_000_000_000_000_001, "nlink": 1}


class CaseBuilder:
    """Rows go in as keywords; what a table demands and a test does not care about is filled in."""

    def __init__(self, path):
        self.path = path
        self.db = sqlite3.connect(path)
        self.db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        self.db.executescript(TABLES)
        self.inodes = iter(range(11, 1 << 30))
        self.insert("partition", number=1, scheme="none", name="disk", offset=0, length=1 << 20, filesystem="ext4", state="clean")
        self.insert(
            "disk_image",
            number=1,
            name="disk.img",
            format="raw",
            offset=0,
            size=1 << 20,
            details="{}",
            files='["/nowhere/disk.img"]',
        )
        self.insert("evidence", position=0, disk=1, path="/nowhere/disk.img", size=1 << 20)
        self.insert("run", key="journal", value="replayed")
        self.store = self.insert(
            "store",
            key="docker:p1:/var/lib/docker",
            engine="docker",
            root="/var/lib/docker",
            driver="overlay2",
            partition=1,
            origin="allocated",
        )

    def insert(self, table, **row):
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        return self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values())).lastrowid

    def layer(self, name, lower=None, kind="image", **row):
        """A layer over `lower`, the number of another; with its root directory."""
        number = self.insert(
            "layer", store_id=self.store, key=name, name=name, kind=kind, path=f"/var/lib/docker/overlay2/{name}/diff",
            partition=1, lower_id=lower, stacked=1, marks="trusted", origin="allocated", entries=0, **row,
        )  # fmt: skip
        below = self.db.execute("SELECT layer_id FROM chain WHERE top = ? ORDER BY depth", (lower,)).fetchall() if lower else []
        for depth, (layer,) in enumerate([(number,), *below]):
            self.insert("chain", top=number, depth=depth, layer_id=layer)
        root = self.entry(number, b"/", type="d", mode=0o755)
        self.db.execute("UPDATE layer SET first_entry = ? WHERE id = ?", (root, number))
        return number

    def entry(self, layer, path, target=None, xattrs=None, private=None, far=None, **row):
        """An entry. target, path: bytes. xattrs, private: by name. far: times that SQLite's integers cannot hold."""
        text = readable(path)
        row = ENTRY | {"inode": next(self.inodes)} | row
        if target is not None:
            row |= {"type": "l", "target": readable(target), "target_raw": raw_if_unequal(target, readable(target))}
        for column, values in (("xattrs", xattrs), ("private_xattrs", private)):
            if values:
                row[column] = json.dumps({name: base64.b64encode(value).decode() for name, value in values.items()})
        number = self.insert("entry", layer_id=layer, path=text, path_raw=raw_if_unequal(path, text), **row)
        for field, ns in (far or {}).items():
            self.insert("far_time", entry_id=number, field=field, ns=str(ns))
        self.db.execute("UPDATE layer SET entries = entries + 1 WHERE id = ?", (layer,))
        return number

    def hide(self, layer, entry, reason, by=None):
        self.insert("hidden", layer_id=layer, entry_id=entry, by_entry=by, reason=reason)

    def container(self, container_id, name=None, layer=None, **row):
        base = {"engine": "docker", "state": "exited", "exit_code": 0, "rootfs": "complete", "origin": "allocated"}
        return self.insert("container", store_id=self.store, container_id=container_id, name=name, layer_id=layer, **(base | row))

    def change(self, container, kind, path):
        text = readable(path)
        self.insert("container_change", container=container, kind=kind, path=text, path_raw=raw_if_unequal(path, text))

    def finish(self):
        with closing(self.db):
            self.db.executescript(INDEXES)
            self.db.executescript(VIEWS)
            self.db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self.db.commit()
        return self.path
