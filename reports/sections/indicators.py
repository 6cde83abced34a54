"""What can be looked for elsewhere: hashes of programs, addresses, accounts, keys, as they were found here."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reports.scope import Scope, objects, read, words
from reports.sections.findings import Findings
from reports.sections.inventory import Container

MAX_INDICATORS = 500  # of one kind
MAX_LINES = 200_000  # log lines that are looked at
MAX_TEXT = 20_000  # characters of one text that are looked at
_URL = re.compile(r"\b(?:https?|ftp|stratum\+tcp|stratum\+ssl|tcp|ssh)://[^\s\"'<>\\)}\]|;`]{3,400}", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.:/-])(?:\d{1,3}\.){3}\d{1,3}(?![\w.-])|(?<=//)(?:\d{1,3}\.){3}\d{1,3}(?![\w.-])")
_DOMAIN = re.compile(r"(?<=//)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24}(?![\w.-])", re.IGNORECASE)
_KEY = re.compile(r"\b(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-[a-z0-9-]{3,40}|sk-[a-z0-9@.-]{3,60}) [A-Za-z0-9+/=]{16,800}")
_ACCOUNT = re.compile(r"\b[a-z_][a-z0-9_.-]{0,31}:[^:\s]{0,200}:\d{1,10}:\d{1,10}:[^:\n]{0,200}:[^:\n]{0,200}:[^\s:'\"\\]{0,100}")
_OF_NOTHING = hashlib.sha256(b"").hexdigest()
_LOOPBACK = (ipaddress.ip_network("0.0.0.0/8"), ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("255.0.0.0/8"))


@dataclass(frozen=True, slots=True)
class Indicator:
    """kind: sha256, ip, domain, url, key, account. seen: where it was found; more: in how many other places."""

    kind: str
    value: str
    seen: str
    more: int


@dataclass(frozen=True, slots=True)
class Indicators:
    """left_out: indicators that are not told."""

    found: tuple[Indicator, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class _Program:
    sha256: str
    container: str
    path: str


def read_indicators(scope: Scope, containers: tuple[Container, ...], findings: Findings) -> Indicators:
    """What is in programs that containers added or changed, in findings, settings and log lines."""
    places: dict[tuple[str, str], list[str]] = {}
    for kind, value, place in (*_hashes(scope, findings), *_in_texts(scope, containers, findings)):
        seen = places.setdefault((kind, value), [])
        if place not in seen:
            seen.append(place)
    found: list[Indicator] = []
    left_out = 0
    for wanted in ("sha256", "url", "domain", "ip", "account", "key"):
        some = [Indicator(kind, value, seen[0], len(seen) - 1) for (kind, value), seen in places.items() if kind == wanted]
        found += some[:MAX_INDICATORS]
        left_out += max(0, len(some) - MAX_INDICATORS)
    return Indicators(tuple(found), left_out)


def _hashes(scope: Scope, findings: Findings) -> Iterator[tuple[str, str, str]]:
    for suspicion in findings.suspicions:
        for place in suspicion.places:
            if place.sha256 and place.sha256 != _OF_NOTHING:
                yield "sha256", place.sha256, _place(place.container, place.path)
    programs = read(
        scope,
        _Program,
        "FROM containers c JOIN container o ON o.id = c.container_number JOIN layer_files f ON f.layer_number = o.layer_id"
        " JOIN changes k ON k.container_number = c.container_number AND k.path = f.path AND k.kind IN ('A', 'C')"
        f" WHERE {scope.only('c.container_number')} AND f.type = 'f' AND f.mark IS NULL AND f.mode & 73 AND f.size > 0"
        f" AND f.sha256 IS NOT NULL ORDER BY c.container_number, f.path LIMIT {10 * MAX_INDICATORS}",
        spelled={"sha256": "f.sha256", "container": "coalesce(c.name, substr(c.container_id, 1, 12))", "path": "f.path"},
    )
    for program in programs:
        yield "sha256", program.sha256, _place(program.container, program.path)


def _in_texts(scope: Scope, containers: tuple[Container, ...], findings: Findings) -> Iterator[tuple[str, str, str]]:
    for place, text in _texts(scope, containers, findings):
        some = text[:MAX_TEXT]
        for url in _URL.findall(some):
            yield "url", url.rstrip(".,:"), place
        for domain in _DOMAIN.findall(some):
            yield "domain", domain.lower(), place
        for address in _IPV4.findall(some):
            if _is_told(address):
                yield "ip", address, place
        for key in _KEY.findall(some):
            yield "key", key, place
        for account in _ACCOUNT.findall(some):
            yield "account", account, place


def _texts(scope: Scope, containers: tuple[Container, ...], findings: Findings) -> Iterator[tuple[str, str]]:
    for suspicion in findings.suspicions:
        for found in suspicion.places:
            yield f"finding: {found.title}, {_place(found.container, found.path)}", found.detail
    for container in containers:
        yield f"command of {container.title}", " ".join(container.command)
        for name, value in container.env:
            yield f"environment of {container.title}", f"{name}={value}"
    images = f"SELECT image_id FROM containers WHERE {scope.only()}"
    for refs, history in scope.db.execute(f"SELECT refs, history FROM images WHERE image_id IN ({images}) ORDER BY image_id"):
        for step in objects(history):
            yield f"history of {next(iter(words(refs)), 'an image without a name')}", str(step.get("created_by") or "")
    yield from _log_lines(scope)


def _log_lines(scope: Scope) -> Iterable[tuple[str, str]]:
    return scope.db.execute(
        "SELECT 'log of ' || coalesce(container, substr(container_id, 1, 12)), text FROM logs"
        f" WHERE container_number IS NOT NULL AND {scope.only()} AND (text LIKE '%://%' OR text GLOB '*[0-9].[0-9]*')"
        f" ORDER BY container_number, time_ns, line_number LIMIT {MAX_LINES}"
    )


def _is_told(address: str) -> bool:
    """Whether it is an address of a host, not a mask, a loopback or a version number that no host has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not any(found in network for network in _LOOPBACK if found.version == network.version)


def _place(container: str | None, path: str | None) -> str:
    return ":".join(part for part in (container, path) if part) or "the case"
