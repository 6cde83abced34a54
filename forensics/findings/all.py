"""Every rule, by what it looks at, and the one pass that asks them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from forensics.findings import (
    accounts,
    antiforensics,
    configuration,
    deleted,
    escapes,
    executables,
    host_mounts,
    images,
    malware,
    persistence,
    secrets,
)
from forensics.findings.changed_files import ChangedFile, changed_files
from forensics.findings.grouping import grouped
from forensics.findings.rule import Rule
from forensics.findings.scene import Container, Scene
from forensics.records import Finding, RuleText

CONTAINER_RULES: tuple[Rule[Container], ...] = (
    *configuration.RULES,
    *host_mounts.RULES,
    *escapes.CONTAINER_RULES,
    *malware.CONTAINER_RULES,
    *secrets.CONTAINER_RULES,
)
FILE_RULES: tuple[Rule[ChangedFile], ...] = (
    *accounts.RULES,
    *persistence.RULES,
    *executables.RULES,
    *malware.FILE_RULES,
    *escapes.FILE_RULES,
    *antiforensics.FILE_RULES,
    *secrets.FILE_RULES,
)
SCENE_RULES: tuple[Rule[Scene], ...] = (
    *escapes.SCENE_RULES,
    *antiforensics.SCENE_RULES,
    *deleted.RULES,
    *images.RULES,
    *secrets.SCENE_RULES,
)


def find(scene: Scene, more: tuple[Rule[Scene], ...] = (), in_files: bool = True) -> Iterator[tuple[RuleText, list[Finding]]]:
    """What each rule found, in the order of the rules; a rule without a finding was looked for all the same.

    more: rules of the analyst's own. in_files: whether the files that containers changed are looked into, which reads them.
    """
    asked = (*texts(), *(rule.text for rule in more))
    found: dict[str, list[Finding]] = {text.name: [] for text in asked}
    looks = [(rule.text.name, rule.look) for rule in FILE_RULES]
    asked_of_containers = [(found[rule.text.name], rule.look) for rule in CONTAINER_RULES]
    for container in scene.containers():
        for told, ask in asked_of_containers:
            told.extend(grouped(ask(container)))
        of_files: dict[str, list[Finding]] = {}
        for file in changed_files(scene, container) if in_files else ():
            for name, look in looks:  # so many times that nothing more is done here
                for finding in look(file):
                    of_files.setdefault(name, []).append(finding)
        for name, findings in of_files.items():
            found[name] += grouped(findings)
    for scene_rule in (*SCENE_RULES, *more):
        found[scene_rule.text.name] += scene_rule.look(scene)
    for text in asked:
        yield text, found[text.name]


def texts() -> tuple[RuleText, ...]:
    """What all rules say of themselves."""
    rules: tuple[Rule[Any], ...] = (*CONTAINER_RULES, *FILE_RULES, *SCENE_RULES)
    return tuple(rule.text for rule in rules)
