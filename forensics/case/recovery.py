"""The view `recovery`: how much of what was removed came back, how much of it is lost, and why."""

from __future__ import annotations

TABLES = INDEXES = ""

_CONTENT = "d.type = 'f' AND d.method NOT IN ('blocks', 'carved') AND coalesce(d.size, 1) > 0"
_COUNTS = "count(*) AS seen, count(*) FILTER (WHERE {whole}) AS whole, count(*) FILTER (WHERE {some}) AS partial"
_OF_FILES = _COUNTS.format(whole="recovered_bytes = size", some="recovered_bytes BETWEEN 1 AND size - 1")
_OF_CONTAINERS = _COUNTS.format(whole="known = 4", some="known BETWEEN 1 AND 3")
_OF_IMAGES = _COUNTS.format(whole="known = 2", some="known = 1")

VIEWS = f"""
CREATE VIEW recovery AS SELECT what, kind, seen, whole, partial, seen - whole - partial AS lost FROM (
    SELECT 'containers' AS what, confidence AS kind, {_OF_CONTAINERS} FROM (
        SELECT confidence, (name IS NOT NULL) + (command IS NOT NULL) + (env IS NOT NULL) + (created_ns IS NOT NULL) AS known
        FROM container WHERE origin = 'recovered') GROUP BY confidence
    UNION ALL SELECT 'images', confidence, {_OF_IMAGES} FROM (
        SELECT confidence, (refs <> '[]') + (layers <> '[]') AS known
        FROM container_image WHERE origin = 'recovered') GROUP BY confidence
    UNION ALL SELECT 'deleted files', d.method, {_OF_FILES} FROM deleted_file d WHERE {_CONTENT} GROUP BY d.method
    UNION ALL SELECT 'lost content', CASE
        WHEN d.reused IN ('all', 'some') THEN 'blocks have other content now'
        WHEN d.extents IS NULL THEN 'its place is not known'
        WHEN d.lost IS NULL THEN 'blocks read as zeros'
        ELSE 'a part was never told' END AS why, count(*), 0, count(*) FILTER (WHERE d.recovered_bytes > 0)
    FROM deleted_file d WHERE {_CONTENT} AND coalesce(d.recovered_bytes < d.size, 1) GROUP BY why
    UNION ALL SELECT 'contents without a name', d.method, count(*), count(d.recovered_bytes), 0
    FROM deleted_file d WHERE d.method IN ('blocks', 'carved') GROUP BY d.method
    UNION ALL SELECT 'documents', t.key, t.value, t.value - coalesce(l.value, 0), 0
    FROM run rt JOIN json_each(rt.value) t LEFT JOIN (
        SELECT e.key, e.value FROM run rl JOIN json_each(rl.value) e WHERE rl.key = 'lost') l ON l.key = t.key
    WHERE rt.key = 'tried')
ORDER BY what, kind;
"""
