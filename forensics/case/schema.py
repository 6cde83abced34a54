"""The tables and views of a case file.

The views are the contract (README, `The case file`); the tables behind them may change between versions, and
`PRAGMA user_version` tells which they are.

An entry is stored once, in its layer. A merged view is never stored: it is named by its top layer, and is what the layers of
its chain hold, less what layers of the chain hide, plus what they show at another path (overlayfs redirects):

    visible(top) = entry of each layer in chain(top)
                   less   those with a `mark` (whiteouts and the like, never visible themselves)
                   less   `hidden` by a layer of the chain
                   plus   `placement` of a layer of the chain, less those `unplaced` by one
"""

from __future__ import annotations

from forensics.case import deleted, findings, logs, recovery, shown_ids, timeline

SCHEMA_VERSION = 2
PARTS = (shown_ids, deleted, logs, timeline, findings, recovery)

_TABLES = """
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT) STRICT;
CREATE TABLE disk_image (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, format TEXT NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL,
    sha256 TEXT, details TEXT NOT NULL, files TEXT NOT NULL) STRICT;
CREATE TABLE evidence (
    position INTEGER PRIMARY KEY, disk INTEGER NOT NULL REFERENCES disk_image, path TEXT NOT NULL, size INTEGER NOT NULL) STRICT;
CREATE TABLE partition (
    number INTEGER PRIMARY KEY, scheme TEXT NOT NULL, name TEXT, type TEXT, offset INTEGER, length INTEGER NOT NULL,
    filesystem TEXT, label TEXT, uuid TEXT, state TEXT NOT NULL, mount_point TEXT) STRICT;
CREATE TABLE host_facts (
    id INTEGER PRIMARY KEY, hostname TEXT, os TEXT, kernel TEXT, timezone TEXT, machine_id TEXT,
    partition INTEGER NOT NULL, path TEXT) STRICT;
CREATE TABLE store (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, engine TEXT NOT NULL, version TEXT, root TEXT NOT NULL, driver TEXT,
    partition INTEGER NOT NULL, origin TEXT NOT NULL) STRICT;
CREATE TABLE layer (
    id INTEGER PRIMARY KEY, store_id INTEGER NOT NULL REFERENCES store, key TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
    path TEXT NOT NULL, partition INTEGER NOT NULL, directory INTEGER, lower_id INTEGER REFERENCES layer, diff_id TEXT,
    chain_id TEXT, parent TEXT, size_bytes INTEGER, stacked INTEGER NOT NULL, marks TEXT NOT NULL, integrity TEXT,
    integrity_reason TEXT, origin TEXT NOT NULL, first_entry INTEGER, entries INTEGER NOT NULL, owners TEXT,
    source_partition INTEGER, source_path TEXT, source_inode INTEGER, source_offset INTEGER, source_how TEXT,
    UNIQUE (store_id, key)) STRICT;
CREATE TABLE chain (
    top INTEGER NOT NULL REFERENCES layer, layer_id INTEGER NOT NULL REFERENCES layer, depth INTEGER NOT NULL,
    PRIMARY KEY (top, layer_id)) STRICT, WITHOUT ROWID;
CREATE TABLE container_image (
    id INTEGER PRIMARY KEY, store_id INTEGER NOT NULL REFERENCES store, engine TEXT NOT NULL, namespace TEXT,
    image_id TEXT NOT NULL, refs TEXT NOT NULL, created_ns INTEGER, updated_ns INTEGER, size_bytes INTEGER, layers TEXT NOT NULL,
    top INTEGER REFERENCES layer, architecture TEXT, os TEXT, labels TEXT, history TEXT, parent_image TEXT, config TEXT,
    origin TEXT NOT NULL, confidence TEXT, sources TEXT, source_partition INTEGER, source_path TEXT, source_inode INTEGER,
    source_offset INTEGER, source_how TEXT) STRICT;
CREATE TABLE container (
    id INTEGER PRIMARY KEY, store_id INTEGER NOT NULL REFERENCES store, engine TEXT NOT NULL, namespace TEXT,
    container_id TEXT NOT NULL, name TEXT, image TEXT, image_id TEXT, state TEXT, created_ns INTEGER, started_ns INTEGER,
    finished_ns INTEGER, removed_ns INTEGER, exit_code INTEGER, pid INTEGER, command TEXT, env TEXT, labels TEXT, pod TEXT,
    privileged INTEGER,
    restart_count INTEGER, restart_policy TEXT, error TEXT, oom_killed INTEGER, hostname TEXT, user TEXT, working_dir TEXT,
    log_path TEXT, log_driver TEXT, layer_id INTEGER REFERENCES layer, rootfs TEXT NOT NULL, compared INTEGER,
    config TEXT, hostconfig TEXT, id_map TEXT, shift TEXT, origin TEXT NOT NULL, confidence TEXT, sources TEXT,
    source_partition INTEGER, source_path TEXT, source_inode INTEGER, source_offset INTEGER, source_how TEXT) STRICT;
CREATE TABLE container_mount (
    id INTEGER PRIMARY KEY, container INTEGER NOT NULL REFERENCES container, type TEXT NOT NULL, source TEXT,
    destination TEXT NOT NULL, rw INTEGER, name TEXT, driver TEXT, options TEXT) STRICT;
CREATE TABLE volume (
    id INTEGER PRIMARY KEY, store_id INTEGER NOT NULL REFERENCES store, engine TEXT NOT NULL, name TEXT NOT NULL, driver TEXT,
    path TEXT, used_by TEXT NOT NULL, labels TEXT, options TEXT, created_ns INTEGER, origin TEXT NOT NULL,
    source_partition INTEGER, source_path TEXT, source_inode INTEGER, source_offset INTEGER, source_how TEXT) STRICT;
CREATE TABLE network (
    id INTEGER PRIMARY KEY, store_id INTEGER NOT NULL REFERENCES store, engine TEXT NOT NULL, name TEXT NOT NULL,
    network_id TEXT NOT NULL, driver TEXT, subnets TEXT NOT NULL, endpoints TEXT NOT NULL, labels TEXT, created_ns INTEGER,
    origin TEXT NOT NULL, source_partition INTEGER, source_path TEXT, source_inode INTEGER, source_offset INTEGER,
    source_how TEXT) STRICT;
CREATE TABLE build_record (
    id INTEGER PRIMARY KEY, store_id INTEGER NOT NULL REFERENCES store, engine TEXT NOT NULL, record_id TEXT NOT NULL,
    kind TEXT NOT NULL, description TEXT, created_ns INTEGER, last_used_ns INTEGER, completed_ns INTEGER, parent TEXT,
    snapshot TEXT, layer_id INTEGER REFERENCES layer, size_bytes INTEGER, usage_count INTEGER, mutable INTEGER, shared INTEGER,
    details TEXT NOT NULL, origin TEXT NOT NULL, source_partition INTEGER, source_path TEXT, source_inode INTEGER,
    source_offset INTEGER, source_how TEXT) STRICT;
CREATE TABLE artefact (
    id INTEGER PRIMARY KEY, store_id INTEGER NOT NULL REFERENCES store, engine TEXT NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, namespace TEXT, path TEXT, time_ns INTEGER, details TEXT NOT NULL, origin TEXT NOT NULL,
    source_partition INTEGER, source_path TEXT, source_inode INTEGER, source_offset INTEGER, source_how TEXT) STRICT;
CREATE TABLE entry (
    id INTEGER PRIMARY KEY, layer_id INTEGER NOT NULL REFERENCES layer, path TEXT NOT NULL, path_raw BLOB, type TEXT NOT NULL,
    mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, size INTEGER, mtime_ns INTEGER, atime_ns INTEGER,
    ctime_ns INTEGER, crtime_ns INTEGER, nlink INTEGER NOT NULL, inode INTEGER NOT NULL, offset INTEGER, mark TEXT,
    target TEXT, target_raw BLOB, rdev TEXT, xattrs TEXT, private_xattrs TEXT, metacopy INTEGER, merged INTEGER) STRICT;
CREATE TABLE content (
    partition INTEGER NOT NULL, inode INTEGER NOT NULL, sha256 TEXT NOT NULL, offset INTEGER,
    PRIMARY KEY (partition, inode)) STRICT, WITHOUT ROWID;
CREATE TABLE far_time (
    entry_id INTEGER NOT NULL REFERENCES entry, field TEXT NOT NULL, ns TEXT NOT NULL, PRIMARY KEY (entry_id, field)) STRICT;
CREATE TABLE hidden (layer_id INTEGER NOT NULL REFERENCES layer, entry_id INTEGER NOT NULL REFERENCES entry,
    by_entry INTEGER REFERENCES entry, reason TEXT NOT NULL, PRIMARY KEY (layer_id, entry_id)) STRICT, WITHOUT ROWID;
CREATE TABLE placement (
    id INTEGER PRIMARY KEY, layer_id INTEGER NOT NULL REFERENCES layer, entry_id INTEGER NOT NULL REFERENCES entry,
    path TEXT NOT NULL, path_raw BLOB) STRICT;
CREATE TABLE unplaced (layer_id INTEGER NOT NULL REFERENCES layer, placement_id INTEGER NOT NULL REFERENCES placement,
    by_entry INTEGER REFERENCES entry, reason TEXT NOT NULL, PRIMARY KEY (placement_id, layer_id)) STRICT, WITHOUT ROWID;
CREATE TABLE metacopy_data (layer_id INTEGER NOT NULL REFERENCES layer, entry_id INTEGER NOT NULL REFERENCES entry,
    data_entry INTEGER REFERENCES entry, PRIMARY KEY (entry_id, layer_id)) STRICT, WITHOUT ROWID;
CREATE TABLE layer_fault (
    layer_id INTEGER NOT NULL REFERENCES layer, kind TEXT NOT NULL, path TEXT NOT NULL, path_raw BLOB, text TEXT NOT NULL) STRICT;
CREATE TABLE anomaly (entry_id INTEGER NOT NULL REFERENCES entry, kind TEXT NOT NULL, text TEXT NOT NULL) STRICT;
CREATE TABLE container_change (
    container INTEGER NOT NULL REFERENCES container, kind TEXT NOT NULL, path TEXT NOT NULL, path_raw BLOB) STRICT;
CREATE TABLE bolt_key (
    id INTEGER PRIMARY KEY, file TEXT, bucket TEXT NOT NULL, key TEXT NOT NULL, key_raw BLOB, value BLOB,
    value_bytes INTEGER NOT NULL, page INTEGER NOT NULL, offset INTEGER, state TEXT NOT NULL, txid INTEGER,
    partition INTEGER NOT NULL) STRICT;
CREATE TABLE gap (
    id INTEGER PRIMARY KEY, artefact TEXT NOT NULL, partition INTEGER, path TEXT, offset INTEGER, error TEXT NOT NULL) STRICT;
"""

LAYER_INDEXES = (
    "CREATE INDEX IF NOT EXISTS entry_path ON entry (layer_id, path);",
    "CREATE INDEX IF NOT EXISTS hidden_entry ON hidden (entry_id);",
)
"""Those of the largest tables, which are complete when all layers are written; of INDEXES, too."""

_INDEXES = """
CREATE INDEX placement_entry ON placement (layer_id);
CREATE INDEX container_container_id ON container (container_id);
CREATE INDEX container_change_container ON container_change (container);
CREATE INDEX container_mount_container ON container_mount (container);
"""

_SOURCE = (
    "'p' || {t}.source_partition || ':' || {t}.source_path || ' (inode ' || coalesce({t}.source_inode, '?') || ', byte ' || "
    "coalesce({t}.source_offset, '?') || ', ' || {t}.source_how || ')'"
)

# The bytes of a metacopy file are another entry's; which one, the layer nearest to the top of the chain tells.
_FILE_COLUMNS = """
    c.container_id, c.name AS container, {path}, e.type, e.mode, {uid} AS uid, {gid} AS gid, e.size, e.mtime_ns, e.atime_ns,
    e.ctime_ns, e.crtime_ns, CASE WHEN e.merged THEN 1 ELSE e.nlink END AS nlink, e.target, e.rdev,
    CASE WHEN e.metacopy IS NULL THEN k.sha256 ELSE (
        SELECT dk.sha256 FROM metacopy_data m JOIN chain mc ON mc.top = c.layer_id AND mc.layer_id = m.layer_id
        JOIN entry d ON d.id = m.data_entry JOIN layer dl ON dl.id = d.layer_id
        JOIN content dk ON dk.partition = dl.partition AND dk.inode = d.inode
        WHERE m.entry_id = e.id ORDER BY mc.depth LIMIT 1) END AS sha256,
    e.xattrs, l.name AS layer, l.kind AS layer_kind, e.inode, e.offset,
    CASE WHEN e.metacopy IS NULL THEN k.offset END AS content_offset, {raw}, e.target_raw, e.private_xattrs, l.partition,
    e.id AS entry_id, e.metacopy, c.id AS container_number"""
_CONTENT = "LEFT JOIN content k ON k.partition = l.partition AND k.inode = e.inode AND e.type = 'f'"

# CROSS JOIN keeps the order: few layers hide one entry, but a chain may be a hundred layers long.
_NOT_HIDDEN = """NOT EXISTS (
    SELECT 1 FROM hidden h CROSS JOIN chain hc ON hc.top = c.layer_id AND hc.layer_id = h.layer_id WHERE h.entry_id = e.id)"""
_NOT_UNPLACED = """NOT EXISTS (
    SELECT 1 FROM unplaced u CROSS JOIN chain uc ON uc.top = c.layer_id AND uc.layer_id = u.layer_id
    WHERE u.placement_id = p.id)"""

_VIEWS = f"""
CREATE VIEW containers AS SELECT
    engine, namespace, container_id, name, image, image_id, state, created_ns, started_ns, finished_ns, exit_code, pid, command,
    env, labels, pod, privileged, restart_count, rootfs, origin, {_SOURCE.format(t="container")} AS source, restart_policy,
    error, oom_killed, hostname, user, working_dir, log_path, log_driver,
    (SELECT name FROM layer WHERE layer.id = container.layer_id) AS layer,
    iif(compared = 0, NULL, (SELECT count(*) FROM container_change WHERE container_change.container = container.id)) AS changes,
    config, hostconfig,
    id AS container_number, confidence, sources, removed_ns,
    (SELECT root FROM store WHERE store.id = container.store_id) AS store, id_map
FROM container;
CREATE VIEW images AS SELECT
    engine, namespace, image_id, refs, created_ns, size_bytes, layers, origin, updated_ns, architecture, os, labels, history,
    parent_image, config, {_SOURCE.format(t="container_image")} AS source,
    (SELECT name FROM layer WHERE layer.id = container_image.top) AS top_layer, confidence, sources
FROM container_image;
CREATE VIEW layers AS SELECT
    layer.name AS layer, store.engine, layer.kind, layer.diff_id, layer.chain_id, layer.parent, layer.entries, layer.integrity,
    layer.origin, layer.path, layer.partition, layer.size_bytes,
    (SELECT name FROM layer lo WHERE lo.id = layer.lower_id) AS lower, store.root AS store, {_SOURCE.format(t="layer")} AS source,
    layer.id AS layer_number, layer.integrity_reason
FROM layer JOIN store ON store.id = layer.store_id;
CREATE VIEW files AS SELECT {_FILE_COLUMNS.format(path="e.path", raw="e.path_raw", **shown_ids.SQL)}
FROM container c JOIN chain ch ON ch.top = c.layer_id JOIN layer l ON l.id = ch.layer_id
    JOIN entry e ON e.layer_id = ch.layer_id AND e.mark IS NULL {_CONTENT}
WHERE {_NOT_HIDDEN}
UNION ALL SELECT {_FILE_COLUMNS.format(path="p.path", raw="p.path_raw", **shown_ids.SQL)}
FROM container c JOIN chain ch ON ch.top = c.layer_id JOIN placement p ON p.layer_id = ch.layer_id
    JOIN entry e ON e.id = p.entry_id JOIN layer l ON l.id = e.layer_id {_CONTENT}
WHERE {_NOT_UNPLACED};
CREATE VIEW hidden_files AS SELECT
    c.container_id, c.name AS container, e.path, e.type, e.mode, e.uid, e.gid, e.size, e.mtime_ns, e.ctime_ns, e.crtime_ns,
    k.sha256, h.reason, (SELECT b.path FROM entry b WHERE b.id = h.by_entry) AS hidden_by,
    (SELECT hl.name FROM layer hl WHERE hl.id = h.layer_id) AS hidden_by_layer,
    l.name AS layer, l.kind AS layer_kind, e.inode, e.offset, k.offset AS content_offset, e.path_raw, l.partition,
    e.id AS entry_id, c.id AS container_number, l.id AS layer_number, h.layer_id AS hidden_by_layer_number
FROM container c JOIN chain ch ON ch.top = c.layer_id JOIN hidden h ON h.layer_id = ch.layer_id
    JOIN entry e ON e.id = h.entry_id JOIN layer l ON l.id = e.layer_id {_CONTENT}
WHERE h.reason <> 'merged';
CREATE VIEW layer_files AS SELECT
    l.name AS layer, l.kind AS layer_kind, e.path, e.type, e.mode, e.uid, e.gid, e.size, e.mtime_ns, e.atime_ns, e.ctime_ns,
    e.crtime_ns, e.nlink, e.target, e.rdev, k.sha256, e.xattrs, e.private_xattrs, e.mark, e.inode, e.offset,
    k.offset AS content_offset, e.path_raw, e.target_raw, l.partition, e.id AS entry_id, e.metacopy, l.id AS layer_number
FROM layer l JOIN entry e ON e.layer_id = l.id {_CONTENT};
CREATE VIEW changes AS SELECT
    c.container_id, c.name AS container, k.kind, k.path, k.path_raw, c.id AS container_number
FROM container_change k JOIN container c ON c.id = k.container;
CREATE VIEW mounts AS SELECT
    c.container_id, c.name AS container, m.type, m.source, m.destination, m.rw, m.name AS volume, m.driver, m.options,
    c.id AS container_number
FROM container_mount m JOIN container c ON c.id = m.container WHERE m.type <> 'engine';
CREATE VIEW engine_mounts AS SELECT
    c.container_id, c.name AS container, m.source, m.destination, m.rw, m.driver, m.options, c.id AS container_number
FROM container_mount m JOIN container c ON c.id = m.container WHERE m.type = 'engine';
CREATE VIEW disk_images AS SELECT
    number, name, format, offset, size, sha256, details, files
FROM disk_image;
CREATE VIEW partitions AS SELECT
    number, scheme, offset, length, filesystem, label, uuid, state, name, type, mount_point FROM partition;
CREATE VIEW host AS SELECT hostname, os, kernel, timezone, machine_id, partition, path FROM host_facts;
CREATE VIEW stores AS SELECT engine, version, root, driver, partition, key, origin FROM store;
CREATE VIEW container_volumes AS SELECT
    engine, name, driver, path, used_by, origin, labels, options, created_ns, {_SOURCE.format(t="volume")} AS source FROM volume;
CREATE VIEW networks AS SELECT
    engine, name, network_id, driver, subnets, endpoints, origin, labels, created_ns, {_SOURCE.format(t="network")} AS source
FROM network;
CREATE VIEW build_records AS SELECT
    engine, record_id, kind, description, created_ns, last_used_ns, completed_ns, parent, snapshot,
    (SELECT name FROM layer WHERE layer.id = build_record.layer_id) AS layer, size_bytes, usage_count, mutable, shared,
    details, origin,
    {_SOURCE.format(t="build_record")} AS source, layer_id AS layer_number, store_id
FROM build_record;
CREATE VIEW artefacts AS SELECT
    engine, kind, namespace, name, path, time_ns, details, origin, {_SOURCE.format(t="artefact")} AS source FROM artefact;
CREATE VIEW bolt_keys AS SELECT
    file, bucket, key, value_bytes, page, offset, state, txid, key_raw, value, partition FROM bolt_key;
CREATE VIEW anomalies AS SELECT
    l.name AS layer, l.kind AS layer_kind, e.path, a.kind, a.text, e.inode, e.offset, e.id AS entry_id
FROM anomaly a JOIN entry e ON e.id = a.entry_id JOIN layer l ON l.id = e.layer_id;
CREATE VIEW layer_faults AS SELECT
    l.name AS layer, s.engine, f.kind, f.path, f.text, f.path_raw, l.path AS layer_path, l.id AS layer_number
FROM layer_fault f JOIN layer l ON l.id = f.layer_id JOIN store s ON s.id = l.store_id;
CREATE VIEW gaps AS SELECT artefact, partition, path, offset, error FROM gap;
"""

TABLES = "".join((_TABLES, *(part.TABLES for part in PARTS)))
INDEXES = "".join((*LAYER_INDEXES, _INDEXES, *(part.INDEXES for part in PARTS)))
VIEWS = "".join((_VIEWS, *(part.VIEWS for part in PARTS)))
