"""Deleted files in a case file: the table, and the view `deleted_files`."""

from __future__ import annotations

TABLES = """
CREATE TABLE deleted_file (
    id INTEGER PRIMARY KEY, container INTEGER REFERENCES container, layer_id INTEGER REFERENCES layer, partition INTEGER NOT NULL,
    path TEXT, path_raw BLOB, type TEXT, mode INTEGER, uid INTEGER, gid INTEGER, size INTEGER, mtime_ns INTEGER, atime_ns INTEGER,
    ctime_ns INTEGER, crtime_ns INTEGER, deleted_ns INTEGER, deleted_means TEXT, inode INTEGER, generation INTEGER,
    recovered_bytes INTEGER, sha256 TEXT, method TEXT NOT NULL, confidence TEXT NOT NULL, reused TEXT, target TEXT,
    target_raw BLOB, rdev TEXT, xattrs TEXT, extents TEXT, lost TEXT, inline BLOB, host_path TEXT, offset INTEGER) STRICT;
"""

INDEXES = """
CREATE INDEX deleted_file_container ON deleted_file (container);
"""

VIEWS = """
CREATE VIEW deleted_files AS SELECT
    c.container_id, c.name AS container, l.name AS layer, d.path, d.type, d.mode, d.uid, d.gid, d.size, d.recovered_bytes,
    d.sha256, d.method, d.confidence, d.deleted_ns, d.deleted_means, d.offset, d.reused, d.mtime_ns, d.atime_ns, d.ctime_ns,
    d.crtime_ns, d.inode, d.generation, d.target, d.rdev, d.xattrs, d.extents, d.lost, d.host_path, d.partition, d.path_raw,
    d.id AS deleted_number, c.id AS container_number
FROM deleted_file d LEFT JOIN container c ON c.id = d.container LEFT JOIN layer l ON l.id = d.layer_id;
"""
