"""What package managers did, from the logs that they keep: dpkg, apt, yum, dnf, zypper, pacman. apk keeps none.

Sources: dpkg 1.22, lib/dpkg/log.c; apt 2.9, apt-pkg/deb/dpkgpm.cc (WriteHistoryTag); yum 3.4, yum/rpmtrans.py; dnf 4.19,
dnf/logging.py (dnf.rpm.log); libzypp 17, zypp/HistoryLog.cc; pacman 7, lib/libalpm/log.c and src/pacman/pacman.c.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

SECOND = 1_000_000_000
MAX_ACTIONS = 100_000
MAX_TEXT = 4096
_DPKG = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (install|upgrade|remove|purge) (\S+) (\S+) (\S+)\s*", re.ASCII)
_APT = re.compile(r"([A-Z][A-Za-z-]{1,30}): (.*)", re.ASCII)
_YUM = re.compile(r"([A-Z][a-z]{2}) +(\d{1,2}) (\d\d:\d\d:\d\d) (\w+): (.+)", re.ASCII)
_DNF = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(Z|[+-]\d\d:?\d\d) (?:\w+) (\w+): (.+)", re.ASCII)
_ZYPP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\|([\w ]+)\|(.*)", re.ASCII)
_PACMAN = re.compile(
    r"\[(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)([+-]\d{4})?\] \[(ALPM|PACMAN)\] "
    r"(?:(installed|upgraded|downgraded|reinstalled|removed) (.+)|Running (.+))",
    re.ASCII,
)
_EVENTS = {
    "install": "installed", "installed": "installed", "reinstalled": "installed", "reinstall": "installed",
    "upgrade": "upgraded", "upgraded": "upgraded", "updated": "upgraded", "downgraded": "upgraded",
    "remove": "removed", "removed": "removed", "purge": "removed", "erased": "removed", "erase": "removed",
}  # fmt: skip
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class PackageAction:
    """One entry of a log. what: installed, upgraded, removed, or run (the package manager was).

    time_ns: as if in UTC where `local`, for such a log does not tell its zone.
    """

    time_ns: int
    local: bool
    what: str
    text: str


def parse_package_log(data: bytes, kind: str, year: int) -> tuple[PackageAction, ...]:
    """The actions in a log, in its order. kind: dpkg, apt, yum, dnf, zypp, pacman. year: of the log's end, for yum's tells none.

    Lines of other forms are left out.
    """
    text = data.decode("utf-8", "backslashreplace")
    actions = []
    for action in _READERS[kind](text, year):
        actions.append(action)
        if len(actions) == MAX_ACTIONS:
            break
    return tuple(actions)


def _time(text: str, offset: str | None = None) -> int | None:
    """Nanoseconds of `2026-11-21 01:48:58`, less its offset from UTC; None where there is no such day or hour."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if offset and offset != "Z":
        hours, minutes = int(offset[1:3]), int(offset[-2:])
        moment -= timedelta(hours=hours, minutes=minutes) * (-1 if offset[0] == "-" else 1)
    return timegm(moment.timetuple()) * SECOND


def _dpkg(text: str, _year: int) -> Iterator[PackageAction]:
    for line in text.splitlines():
        found = _DPKG.fullmatch(line[:MAX_TEXT])
        time_ns = _time(found[1]) if found else None
        if found and time_ns is not None:
            change = found[5] if found[4] == "<none>" else found[4] if found[5] == "<none>" else f"{found[4]} to {found[5]}"
            yield PackageAction(time_ns, True, _EVENTS[found[2]], f"{found[3]} {change}")


def _apt(text: str, _year: int) -> Iterator[PackageAction]:
    """Stanzas between empty lines, one for each run of apt."""
    for stanza in re.split(r"\n\s*\n", text):
        fields = {found[1]: found[2] for line in stanza.splitlines() if (found := _APT.fullmatch(line.strip()))}
        time_ns = _time(" ".join(fields.get("Start-Date", "").split()))
        if time_ns is not None:
            did = [f"{name}: {value}" for name, value in fields.items() if name not in ("Start-Date", "End-Date", "Commandline")]
            yield PackageAction(time_ns, True, "run", " | ".join([fields.get("Commandline", "apt"), *did])[:MAX_TEXT])


def _yum(text: str, year: int) -> Iterator[PackageAction]:
    """The last line is of `year`; a month that is later than that of the line after it is of the year before."""
    found = [match for line in text.splitlines() if (match := _YUM.fullmatch(line[:MAX_TEXT])) and match[1] in _MONTHS]
    after = 12
    dated = []
    for match in reversed(found):
        month = _MONTHS.index(match[1])
        year -= month > after
        after = month
        dated.append((match, year))
    for match, of in reversed(dated):
        time_ns = _time(f"{of:04d}-{_MONTHS.index(match[1]) + 1:02d}-{int(match[2]):02d} {match[3]}")
        if time_ns is not None and match[4].lower() in _EVENTS:
            yield PackageAction(time_ns, True, _EVENTS[match[4].lower()], match[5])


def _dnf(text: str, _year: int) -> Iterator[PackageAction]:
    for line in text.splitlines():
        found = _DNF.fullmatch(line[:MAX_TEXT])
        time_ns = _time(found[1], found[2]) if found else None
        if found and time_ns is not None and found[3].lower() in _EVENTS:
            yield PackageAction(time_ns, False, _EVENTS[found[3].lower()], found[4])


def _zypp(text: str, _year: int) -> Iterator[PackageAction]:
    for line in text.splitlines():
        found = _ZYPP.fullmatch(line[:MAX_TEXT])
        time_ns = _time(found[1]) if found else None
        if found and time_ns is not None:
            kind, fields = found[2].strip(), found[3].split("|")
            if kind in _EVENTS:
                yield PackageAction(time_ns, True, _EVENTS[kind], " ".join(fields[:2]))
            elif kind == "command":
                yield PackageAction(time_ns, True, "run", " ".join(fields))


def _pacman(text: str, _year: int) -> Iterator[PackageAction]:
    for line in text.splitlines():
        found = _PACMAN.fullmatch(line[:MAX_TEXT])
        time_ns = _time(found[1], found[2]) if found else None
        if found and time_ns is not None:
            yield PackageAction(time_ns, found[2] is None, _EVENTS.get(found[4] or "", "run"), found[5] or found[6])


_READERS: Mapping[str, Callable[[str, int], Iterator[PackageAction]]] = {
    "dpkg": _dpkg, "apt": _apt, "yum": _yum, "dnf": _dnf, "zypp": _zypp, "pacman": _pacman,
}  # fmt: skip
