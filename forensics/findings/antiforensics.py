"""Rules about traces that somebody removed or falsified: logs, histories, times, hidden directories, files deleted while open."""

from __future__ import annotations

import re
from collections.abc import Iterator

from forensics.findings.changed_files import ChangedFile, removed_logs
from forensics.findings.redact import quoted
from forensics.findings.rule import Rule, rule
from forensics.findings.scene import Scene
from forensics.records import Finding
from forensics.text import counted, utc

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
MINUTE = 60_000_000_000
NEAR_THE_END = 3600 * SECOND
_HISTORY = re.compile(
    rb"/\.(?:\w+_)?history$|/\.(?:bash|zsh|ash|sh|mysql|psql|python|node_repl|lesshst|viminfo)\w*(?:history|hst|info)$"
)
_LOGIN = re.compile(rb"/(?:wtmp|btmp|lastlog|utmp|auth\.log|secure|faillog|tallylog|audit\.log)(?:\.1|\.gz)?$")
_LOG = re.compile(rb"/var/log/.+|.*/logs?/[^/]+\.log$|.*\.log$")
_ROTATED = re.compile(rb"\.(?:\d+|gz|old|xz|bz2)$")
_BACKUP = re.compile(rb"(?:[-~]|\.(?:bak|old|orig|dpkg-\w+|rpm\w+|ucf-\w+))$")  # copies keep the time of what they were made from
_NOWHERE = (b"/dev/null", b"/dev/zero")
_ODD_NAMES = re.compile(rb"/(?:\.{3,}|\. |\.\. ?\.?| +|\.[\x00-\x1f\x7f][^/]*|[^/]*[\x00-\x08\x0b-\x1f\x7f][^/]*)(?:/|$)")


def cleared(file: ChangedFile) -> Iterator[Finding]:
    """Logs and histories that were emptied, or that lead nowhere."""
    history, login = _HISTORY.search(file.path) is not None, _LOGIN.search(file.path) is not None
    if not (history or login or _LOG.fullmatch(file.path)):
        return
    what = "history" if history else "record of logins" if login else "log"
    below = file.lower if file.lower is not None and file.lower.type == "f" else None
    if file.type == "l" and file.target in _NOWHERE and (file.lower is None or file.lower.target is None):
        yield file.finding("medium" if history or login else "low", f"{what} leads to /dev/null", "what is written there is lost",
                           in_inode=True)  # fmt: skip
    elif file.type == "f" and below is not None and below.size > 0 and file.size == 0:
        yield file.finding("medium" if history or login else "low", f"{what} was emptied", f"the image's had {below.size} bytes",
                           in_inode=True)  # fmt: skip
    elif history and file.type == "f" and file.size == 0 and below is None:
        told = "a shell made it, or somebody emptied it; its earlier content may be recoverable"
        yield file.finding("low", "empty history", told, in_inode=True)


def deleted_logs(scene: Scene) -> Iterator[Finding]:
    """Logs and histories of the image that a container deleted."""
    for container, text, size, partition, offset in removed_logs(scene):
        path = text.encode()
        history, login = _HISTORY.search(path) is not None, _LOGIN.search(path) is not None
        if not size or not (history or login or path.startswith(b"/var/log/")) or _ROTATED.search(path):
            continue
        severity = "medium" if history else "low"
        what = "history" if history else "record of logins" if login else "log"
        yield Finding(severity, f"{what} of the image deleted", f"it had {size} bytes, which are in the image's layer still",
                      container, path, None, partition, offset)  # fmt: skip


def history_off(file: ChangedFile) -> Iterator[Finding]:
    """Texts that switch histories or logs off."""
    if not file.text or not (_HISTORY.search(file.path) or file.is_script or file.path.rpartition(b"/")[2].startswith(b".")):
        return
    for line in file.text.split(b"\n")[:20_000]:
        if re.search(rb"unset\s+HISTFILE|HISTFILE=/dev/null|HISTSIZE=0\b|history\s+-c\b|ln\s+-s\w*\s+/dev/null\s+\S*history"
                     rb"|(?:rm\s+-\w+|shred\s[^;|]*|>\s*)\s*(?:~|/root|\$HOME)?/?\.\w*_history|>\s*/var/log/(?:wtmp|btmp|lastlog|auth\.log)"
                     rb"|rm\s+-\w+\s+/var/log/(?:\*|wtmp|auth)", line[:2000]):  # fmt: skip
            where = "history" if _HISTORY.search(file.path) else "script"
            yield file.finding("high" if where == "history" else "medium", f"{where} that removes traces", quoted(line[:2000]))
            return


def timestomped(file: ChangedFile) -> Iterator[Finding]:
    """Times that cannot be as they are told, unless somebody set them."""
    if file.type != "f" or file.mtime_ns is None or not file.size or file.packaged in ("verified", "listed"):
        return
    if _BACKUP.search(file.path):
        return
    below = file.lower if file.lower is not None and file.lower.type == "f" else None
    born = file.crtime_ns or file.layer_born_ns
    if file.ctime_ns is not None and file.mtime_ns > file.ctime_ns + DAY:
        yield file.finding("low", "modified after it was last changed", f"mtime {utc(file.mtime_ns)}, ctime {utc(file.ctime_ns)}",
                           in_inode=True)  # fmt: skip
    elif below is not None and below.mtime_ns is not None and file.mtime_ns <= below.mtime_ns and file.is_new_content:
        yield file.finding("medium", "content changed, but its time is the image's or older",
                           f"mtime {utc(file.mtime_ns)}, in the image {utc(below.mtime_ns)}", in_inode=True)  # fmt: skip
    elif below is None and born is not None and file.mtime_ns + DAY < born and _matters(file):
        yield file.finding("low", "program older than the container, by its time", f"mtime {utc(file.mtime_ns)}, born {utc(born)}"
                           + (", in whole seconds" if file.mtime_ns % SECOND == 0 else ""), in_inode=True)  # fmt: skip


def odd_name(file: ChangedFile) -> Iterator[Finding]:
    """Names that listings do not show as they are."""
    match = _ODD_NAMES.search(file.path)
    if match is not None:
        yield file.finding("medium", "name that hides", f"part {match[0]!r} of its path", in_inode=True)


def deleted_open(scene: Scene) -> Iterator[Finding]:
    """Files that were deleted while a process had them open."""
    rows = scene.db.execute(
        "SELECT container, path, path_raw, size, mode, sha256, partition, offset, recovered_bytes FROM deleted_file"
        " WHERE method = 'orphan' AND coalesce(type, 'f') = 'f' ORDER BY id"
    )
    for container, path, raw, size, mode, sha256, partition, offset, recovered in rows:
        executable = mode is not None and mode & 0o111
        where = raw if raw is not None else path.encode() if path is not None else None
        severity, title = (
            ("high", "program deleted while it was open") if executable else ("low", "file deleted while it was open")
        )
        told = f"{size} bytes, of which {recovered} can be read"
        yield Finding(severity, title, told, container, where, sha256, partition, offset)


def removed_before_power_off(scene: Scene) -> Iterator[Finding]:
    """Containers that were removed shortly before the last thing that happened on this host.

    One that was there at some moment was removed after that: its record says when it was made, started and ended.
    """
    removed = list(scene.containers("c.origin <> 'allocated'"))
    last = _last_moment(scene) if removed else None
    for container in removed:
        times = [t for t in (container.created_ns, container.started_ns, container.finished_ns) if t is not None]
        if times and last is not None and 0 <= last - max(times) <= NEAR_THE_END:
            told = f"it was there at {utc(max(times))}, the last trace on the host is of {utc(last)}"
            minutes = max(1, -(-(last - max(times)) // MINUTE))
            yield container.finding("medium", f"removed within {counted(minutes, 'minute')} before the power went off", told)


def _last_moment(scene: Scene) -> int | None:
    """The latest ctime of any entry, which nobody can set, or time that an engine wrote of a container that is there."""
    ((ctime,),) = scene.db.execute("SELECT max(ctime_ns) FROM entry")
    (told,) = scene.db.execute("SELECT max(started_ns), max(finished_ns) FROM container WHERE origin = 'allocated'")
    return max([time for time in (ctime, *told) if time is not None], default=None)


def _matters(file: ChangedFile) -> bool:
    return file.is_executable and (file.is_elf or file.is_script)


FILE_RULES: tuple[Rule[ChangedFile], ...] = (
    rule(
        "cleared-log",
        "medium",
        "Log or history emptied",
        why="An empty history, or one that leads to /dev/null, was emptied by somebody who did not want to be seen.",
        check="The image's file in the layer below; recovered files; journals of the engine and logs of the container.",
        benign="Images link logs of servers to /dev/stdout; build steps truncate logs to save space.",
        attack=("T1070.002", "T1070.003"),
        look=cleared,
    ),
    rule(
        "trace-removal",
        "high",
        "Text that removes traces",
        why="unset HISTFILE, history -c, rm of logs: what an intruder types first or last.",
        check="The other lines of the history or script.",
        benign="Hardening scripts; build scripts that clean up.",
        attack=("T1070.003", "T1070.002"),
        look=history_off,
    ),
    rule(
        "timestomp",
        "medium",
        "Time that does not fit",
        why="mtime can be set at will, a file's birth and ctime cannot: where they contradict each other, somebody set it.",
        check="All four times in `files`, against those of its neighbours, its layer, and the image's file.",
        benign="Archives, wget, rsync and cp -p keep the times that files had elsewhere.",
        attack=("T1070.006",),
        look=timestomped,
    ),
    rule(
        "hiding-name",
        "medium",
        "Name that hides",
        why="Directories called `...` or ` `, and names with control characters, are made to be overlooked.",
        check="ctrforensics ls -l shows names as they are.",
        benign="Broken scripts that create files from garbage.",
        attack=("T1564.001",),
        look=odd_name,
    ),
)  # fmt: skip
SCENE_RULES: tuple[Rule[Scene], ...] = (
    rule(
        "removed-log",
        "medium",
        "Log or history of the image deleted",
        why="Who deletes what the image brought along had a reason.",
        check="The content is in the image's layer: ctrforensics ls --hidden, cat --layer.",
        benign="Clean-up after installing packages.",
        attack=("T1070.002", "T1070.003"),
        look=deleted_logs,
    ),
    rule(
        "deleted-open",
        "high",
        "File deleted while open",
        why="A program that deletes its own file runs on without a name: malware does so.",
        check="Its content in deleted_files; what had it open, from logs.",
        benign="Databases and servers keep temporary files so.",
        attack=("T1070.004",),
        look=deleted_open,
    ),
    rule(
        "removed-late",
        "medium",
        "Container removed soon before the power went off",
        why="What is removed when an intruder leaves, or an investigation begins, was not meant to be found.",
        check="Events of the engine in its journal; recovered records and files of the container.",
        benign="Jobs that remove their containers when they end (docker run --rm).",
        attack=("T1070",),
        look=removed_before_power_off,
    ),
)  # fmt: skip
