"""Questions that analysts ask of a case file, each with a name: for `ctrforensics query`, and for datasette."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PARAMETER = re.compile(r"(?<!:):([a-z]+)\b")
# An empty parameter leaves nothing out.
_CONTAINER = "(:container = '' OR container = :container OR container_id LIKE :container || '%')"


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A SELECT in plain SQLite, with `:name` for each parameter; one that is not given is the empty text."""

    name: str
    title: str
    description: str
    sql: str

    @property
    def parameters(self) -> tuple[str, ...]:
        """Their names, in the order in which they come."""
        return tuple(dict.fromkeys(_PARAMETER.findall(self.sql)))


def _utc(ns: str) -> str:
    """SQL that writes a column of nanoseconds since 1970 as a time in UTC."""
    return f"strftime('%Y-%m-%d %H:%M:%SZ', {ns} / 1000000000, 'unixepoch')"


QUERIES = (
    NamedQuery(
        "running",
        "Containers that ran when the host stopped",
        "What was running or paused, since when, from which container image.",
        f"SELECT engine, name, container_id, image, state, {_utc('started_ns')} AS started, privileged, command"
        " FROM containers WHERE state IN ('running', 'paused', 'restarting') ORDER BY started_ns",
    ),
    NamedQuery(
        "removed",
        "Removed containers",
        "Containers that their engine no longer knows, with what their records were recovered from.",
        f"SELECT engine, name, container_id, image, {_utc('created_ns')} AS created, confidence, source FROM containers"
        " WHERE origin <> 'allocated' ORDER BY created_ns, container_id",
    ),
    NamedQuery(
        "privileged",
        "Containers with power over the host",
        "Privileged containers, and those with added capabilities, shared namespaces or devices (Docker's hostconfig).",
        "SELECT name, container_id, engine, privileged, json_extract(hostconfig, '$.CapAdd') AS cap_add,"
        " json_extract(hostconfig, '$.PidMode') AS pid_mode, json_extract(hostconfig, '$.NetworkMode') AS network_mode,"
        " json_extract(hostconfig, '$.SecurityOpt') AS security_opt, json_extract(hostconfig, '$.Devices') AS devices"
        " FROM containers WHERE privileged OR json_valid(hostconfig) AND (json_array_length(hostconfig, '$.CapAdd') > 0"
        " OR json_extract(hostconfig, '$.PidMode') = 'host' OR json_extract(hostconfig, '$.NetworkMode') = 'host'"
        " OR json_array_length(hostconfig, '$.Devices') > 0) ORDER BY privileged DESC, name",
    ),
    NamedQuery(
        "host-mounts",
        "Directories and sockets of the host in containers",
        "Bind mounts, those that can be written first.",
        "SELECT container, source, destination, rw, options FROM mounts WHERE type = 'bind' ORDER BY rw DESC, source, container",
    ),
    NamedQuery(
        "grave-findings",
        "Findings of high and medium severity",
        "What is suspicious, with the place that shows it.",
        "SELECT severity, title, container, path, detail, attack, sha256, offset FROM findings"
        f" WHERE severity IN ('high', 'medium') AND {_CONTAINER} ORDER BY severity, container, rule, path",
    ),
    NamedQuery(
        "findings-by-rule",
        "How often each rule found something",
        "Rules that found nothing are in it, too: they were looked for.",
        "SELECT r.rule, r.title, count(f.rule) AS findings, count(DISTINCT f.container_number) AS containers FROM rules r"
        " LEFT JOIN findings f ON f.rule = r.rule GROUP BY r.rule ORDER BY findings DESC, r.rule",
    ),
    NamedQuery(
        "new-programs",
        "Programs that containers added or changed",
        "Executable files that differ from the container image.",
        "SELECT k.container, k.kind, k.path, f.size, printf('%04o', f.mode) AS mode,"
        f" {_utc('f.mtime_ns')} AS modified, f.sha256, f.content_offset FROM changes k JOIN files f"
        " ON f.container_number = k.container_number AND f.path = k.path WHERE k.kind IN ('A', 'C') AND f.type = 'f'"
        " AND f.mode & 73 AND (:container = '' OR k.container = :container OR k.container_id LIKE :container || '%')"
        " ORDER BY k.container, k.path",
    ),
    NamedQuery(
        "setuid",
        "Setuid and setgid files",
        "In all containers; of layer_kind `container` are those that did not come with the container image.",
        "SELECT container, path, printf('%04o', mode) AS mode, uid, gid, size, layer_kind, sha256, offset FROM files"
        f" WHERE type = 'f' AND mode & 3072 AND {_CONTAINER} ORDER BY layer_kind, container, path",
    ),
    NamedQuery(
        "file-capabilities",
        "Files with capabilities",
        "Files that give power to whoever runs them (security.capability).",
        "SELECT container, path, xattrs, layer_kind, sha256 FROM files"
        f" WHERE xattrs LIKE '%security.capability%' AND {_CONTAINER} ORDER BY layer_kind, container, path",
    ),
    NamedQuery(
        "hidden-names",
        "Changed files in hidden or temporary directories",
        "Names that begin with a dot, and what is in /tmp, /var/tmp and /dev/shm.",
        "SELECT container, kind, path FROM changes WHERE (path LIKE '%/.%' OR path LIKE '/tmp/%' OR path LIKE '/var/tmp/%'"
        f" OR path LIKE '/dev/shm/%') AND kind <> 'D' AND {_CONTAINER} ORDER BY container, path",
    ),
    NamedQuery(
        "busiest",
        "Containers by how much they changed",
        "Added, changed and deleted paths of each container.",
        "SELECT container, container_id, count(*) AS changes, sum(kind = 'A') AS added, sum(kind = 'C') AS changed,"
        " sum(kind = 'D') AS deleted FROM changes GROUP BY container_number ORDER BY changes DESC, container",
    ),
    NamedQuery(
        "deleted-by-container",
        "What containers deleted of their container images",
        "Files below whiteouts and opaque directories; their content is still in the image's layer.",
        "SELECT container, path, type, size, reason, hidden_by, sha256, content_offset FROM hidden_files"
        f" WHERE reason IN ('whiteout', 'opaque') AND {_CONTAINER} ORDER BY container, path",
    ),
    NamedQuery(
        "recovered",
        "Deleted files with content",
        "Deleted files of which bytes are left, the most complete first.",
        f"SELECT container, path, size, recovered_bytes, {_utc('deleted_ns')} AS deleted, method, confidence, sha256,"
        f" offset FROM deleted_files WHERE recovered_bytes > 0 AND {_CONTAINER}"
        " ORDER BY recovered_bytes * 1.0 / max(size, 1) DESC, recovered_bytes DESC, path",
    ),
    NamedQuery(
        "around",
        "Events around a time",
        "What happened within a number of minutes (5 unless told) of a time such as 2026-11-21T01:48:58.",
        "SELECT time, event, container, path, message, confidence FROM timeline WHERE abs(time_ns / 1000000000"
        " - CAST(strftime('%s', :time) AS INTEGER)) <= 60 * coalesce(nullif(:minutes, ''), 5) ORDER BY time_ns",
    ),
    NamedQuery(
        "minutes",
        "Events by the minute",
        "How many there are in each minute: where something happened, look closer with `around`.",
        "SELECT substr(time, 1, 16) AS minute, count(*) AS events, count(DISTINCT container_number) AS containers"
        f" FROM timeline WHERE {_CONTAINER} GROUP BY minute ORDER BY minute",
    ),
    NamedQuery(
        "lifecycle",
        "Lives of containers",
        "Creation, starts and ends, in their order.",
        "SELECT time, event, container, message, confidence FROM timeline WHERE event LIKE 'container %'"
        f" AND {_CONTAINER} ORDER BY time_ns",
    ),
    NamedQuery(
        "log-search",
        "Log lines with a text",
        "Lines in which the text stands, whatever its case; every line where none is given.",
        f"SELECT container, {_utc('time_ns')} AS time, stream, text, source FROM logs"
        f" WHERE (:text = '' OR instr(lower(text), lower(:text))) AND {_CONTAINER} ORDER BY time_ns, line_number",
    ),
    NamedQuery(
        "hash",
        "Files with a SHA-256",
        "In every layer and among deleted files; the beginning of the hash is enough.",
        "SELECT 'layer ' || layer AS place, path, size, offset FROM layer_files WHERE :sha <> ''"
        " AND sha256 LIKE lower(:sha) || '%'"
        " UNION ALL SELECT 'deleted file of ' || coalesce(container, 'the host'), path, size, offset"
        " FROM deleted_files WHERE :sha <> '' AND sha256 LIKE lower(:sha) || '%' ORDER BY 1, 2",
    ),
    NamedQuery(
        "path",
        "A path in every container",
        "Where a path is in any container, and whether the container changed it.",
        "SELECT container, path, type, printf('%04o', mode) AS mode, size, layer_kind, sha256 FROM files WHERE path = :path"
        " ORDER BY container",
    ),
    NamedQuery(
        "environment",
        "Environment variables",
        "Of every container. Secrets are shown: mind who reads it.",
        "SELECT container, container_id, value AS variable FROM (SELECT name AS container, container_id, env FROM containers"
        f" WHERE json_valid(env)), json_each(env) WHERE {_CONTAINER} ORDER BY container, variable",
    ),
    NamedQuery(
        "addresses",
        "Addresses of containers",
        "Which container had which address in which network.",
        "SELECT n.name AS network, json_extract(e.value, '$.address') AS address, json_extract(e.value, '$.mac') AS mac,"
        " coalesce((SELECT c.name FROM containers c WHERE c.container_id = json_extract(e.value, '$.container_id')),"
        " json_extract(e.value, '$.container_id')) AS container FROM networks n, json_each(n.endpoints) e ORDER BY 1, 2",
    ),
    NamedQuery(
        "image-history",
        "How container images were made",
        "Each step of each container image's history.",
        "SELECT refs, image_id, key AS step, " + _utc("json_extract(value, '$.created_ns')") + " AS time,"
        " json_extract(value, '$.created_by') AS command FROM images, json_each(history) WHERE json_valid(history)"
        " ORDER BY refs, image_id, key",
    ),
    NamedQuery(
        "altered-layers",
        "Layers that are not as their container image says",
        "Layers whose content was compared with the image's and is another.",
        "SELECT engine, layer, kind, path, diff_id, integrity_reason FROM layers WHERE integrity = 'altered'"
        " ORDER BY layer_number",
    ),
    NamedQuery(
        "layer-faults",
        "Entries that are not as their container image says",
        "What in altered layers is missing, added or another.",
        "SELECT engine, layer, kind, path, text FROM layer_faults ORDER BY layer_number, path, kind",
    ),
    NamedQuery(
        "not-read",
        "What could not be read, by kind",
        "How many gaps there are of each kind, with one example.",
        "SELECT artefact, count(*) AS gaps, min(path) AS example, min(error) AS error FROM gaps GROUP BY artefact"
        " ORDER BY 2 DESC, 1",
    ),
)  # fmt: skip
