"""What a training log must hold, as data: which keys, how often, with which values, in which order.

A rule set is one round of the field, or ours; `rulesets/` declares them. Nothing is read from a file or
evaluated from text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gnomon.timetotrain.logs.constraints import Constraint
from gnomon.timetotrain.logs.entries import Dialect


class Occurs(StrEnum):
    """How often a key must appear."""

    EXACTLY_ONCE = "exactly once"
    AT_LEAST_ONCE = "at least once"
    OPTIONAL = "any number of times"


@dataclass(frozen=True)
class KeyRule:
    """What is asked of one key.

    Attributes:
        key: As logged today.
        occurs: How often.
        or_else: Keys that may appear instead; only with AT_LEAST_ONCE.
        when: (key, value): the rule holds if that key has that value, and else the key must not appear.
        value: What each value must be.
        metadata: What each entry's metadata must hold.
        metadata_if_there: What a name in the metadata must be where it is there.
        metadata_needs: If the one name is in the metadata, the other must be too.
        one_of_metadata: At least one of these names must be in the metadata.
        first_metadata: What the first entry's metadata must hold besides.
        after: Keys that must stand before every entry of this key.
        not_after: Keys that must not.
        unique: Whether even equal repetitions are a failure: there is one start and one stop.
        target: What at least one value must be: the quality target.
    """

    key: str
    occurs: Occurs = Occurs.EXACTLY_ONCE
    or_else: tuple[str, ...] = ()
    when: tuple[str, Any] | None = None
    value: Constraint | None = None
    metadata: Mapping[str, Constraint] = field(default_factory=dict)
    metadata_if_there: Mapping[str, Constraint] = field(default_factory=dict)
    metadata_needs: tuple[tuple[str, str], ...] = ()
    one_of_metadata: tuple[str, ...] = ()
    first_metadata: Mapping[str, Constraint] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    not_after: tuple[str, ...] = ()
    unique: bool = False
    target: Constraint | None = None


@dataclass(frozen=True)
class Runs:
    """How many runs make a result.

    Attributes:
        required: Logs that must be there.
        counted: How many of them count: the first that converge (NCF in v0.5); None for all.
        dropped: Runs dropped at each end.
    """

    required: int
    counted: int | None = None
    dropped: int = 1


@dataclass(frozen=True)
class RuleSet:
    """One round's rules.

    Attributes:
        name: `5.1.0`, or `gnomon` for benchmarks that are not the field's.
        source: Where the rules come from.
        dialect: How logs of the round are written.
        common: Rules of every log.
        closed, opened: Rules of the divisions by benchmark; a later rule of a key replaces an earlier one.
        closed_common, opened_common: Rules of the divisions, whatever the benchmark.
        initialisation_s: Longest initialisation by division; empty where there is no such allowance.
        runs: How many runs by benchmark.
        seeds: Whether every closed run must log a seed that no other run has.
        strict_nesting: Whether epochs and evaluations must be numbered and nested as v0.6 asked.
        any_benchmark: Whether it judges benchmarks it does not know.
    """

    name: str
    source: str
    dialect: Dialect
    common: tuple[KeyRule, ...]
    closed: Mapping[str, tuple[KeyRule, ...]]
    opened: Mapping[str, tuple[KeyRule, ...]] = field(default_factory=dict)
    closed_common: tuple[KeyRule, ...] = ()
    opened_common: tuple[KeyRule, ...] = ()
    initialisation_s: Mapping[str, float] = field(default_factory=dict)
    runs: Mapping[str, Runs] = field(default_factory=dict)
    seeds: bool = False
    strict_nesting: bool = False
    any_benchmark: bool = False

    def key_rules(self, benchmark: str, division: str) -> tuple[KeyRule, ...]:
        """The rules of this benchmark in this division, one a key."""
        rules = {rule.key: rule for rule in self.common}
        is_open = division == "open"
        of_division = self.opened_common if is_open else self.closed_common
        of_benchmark = (self.opened if is_open else self.closed).get(benchmark, ())
        rules |= {rule.key: rule for rule in (*of_division, *of_benchmark)}
        return tuple(rules.values())

    @property
    def keys(self) -> frozenset[str]:
        """Every key that any of its rules looks at."""
        groups = [self.common, self.closed_common, self.opened_common]
        groups += [*self.closed.values(), *self.opened.values()]
        return frozenset(
            name
            for rules in groups
            for rule in rules
            for name in (rule.key, *rule.or_else, *rule.after, *rule.not_after)
        )


def once(key: str, value: Constraint | None = None, **more: Any) -> KeyRule:
    """A key that is logged exactly once."""
    return KeyRule(key, Occurs.EXACTLY_ONCE, value=value, **more)


def each_once(*keys: str) -> tuple[KeyRule, ...]:
    """Keys that are logged exactly once, with any value."""
    return tuple(once(key) for key in keys)


def often(key: str, value: Constraint | None = None, **more: Any) -> KeyRule:
    """A key that is logged at least once."""
    return KeyRule(key, Occurs.AT_LEAST_ONCE, value=value, **more)


def optional(key: str, value: Constraint | None = None) -> KeyRule:
    """A key that need not be logged."""
    return KeyRule(key, Occurs.OPTIONAL, value=value)


def evaluated(
    target: Constraint, *counts: str, key: str = "eval_accuracy", value: Constraint | None = None
) -> KeyRule:
    """The quality: logged at least once, with a count of training in the metadata, and once on target."""
    return often(key, value, one_of_metadata=counts, target=target)
