"""Every rule, by what it looks at, and the one pass that asks them all."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.findings import configuration, host_mounts
from forensics.findings.grouping import grouped
from forensics.findings.rule import Rule
from forensics.findings.scene import Container, Scene
from forensics.records import Finding, RuleText

CONTAINER_RULES: tuple[Rule[Container], ...] = (*configuration.RULES, *host_mounts.RULES)


def find(scene: Scene) -> Iterator[tuple[RuleText, list[Finding]]]:
    """What each rule found, in the order of the rules; a rule without a finding was looked for all the same."""
    found: dict[str, list[Finding]] = {}
    for container in scene.containers:
        for rule in CONTAINER_RULES:
            found.setdefault(rule.text.name, []).extend(grouped(rule.look(container)))
    for text in texts():
        yield text, found.get(text.name, [])


def texts() -> tuple[RuleText, ...]:
    """What all rules say of themselves."""
    return tuple(rule.text for rule in CONTAINER_RULES)
