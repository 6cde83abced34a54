"""What a rule is: its words, and a small function that looks at one subject and gives findings.

A subject is a container, a file that a container added or changed, or the whole case; all.py has a tuple of rules for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from forensics.records import Finding, RuleText

SEVERITIES = ("high", "medium", "low", "info")
_Subject = TypeVar("_Subject")


@dataclass(frozen=True, slots=True)
class Rule(Generic[_Subject]):
    """One rule. text.severity: the highest that it gives."""

    text: RuleText
    look: Callable[[_Subject], Iterable[Finding]]


def rule(
    name: str,
    severity: str,
    title: str,
    *,
    why: str,
    check: str,
    benign: str,
    attack: tuple[str, ...],
    look: Callable[[_Subject], Iterable[Finding]],
) -> Rule[_Subject]:
    """A rule, in the words that its module gives it. attack: technique ids of attack.py."""
    return Rule(RuleText(name, severity, title, why, check, benign, attack), look)
