"""One rule about one key, held against the entries of a log: the checks it gives, in words.

A check's `why` is one line: file, line, key, what was found, what it must be, and the mend.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.core.verdict import Check
from gnomon.timetotrain.logs.constraints import Known
from gnomon.timetotrain.logs.entries import LogEntry, TrainingLog
from gnomon.timetotrain.logs.rules import KeyRule, Occurs

QUOTED_CHARACTERS = 60
MISSING = "missing"


@dataclass(frozen=True)
class Subject:
    """A log with what every rule asks of it, looked up once.

    Attributes:
        log: As read.
        places: Places of every key's entries among all entries.
        known: First value of every key.
    """

    log: TrainingLog
    places: dict[str, list[int]]
    known: Known

    @classmethod
    def of(cls, log: TrainingLog) -> Subject:
        """The lookups of a log."""
        places: dict[str, list[int]] = {}
        known: dict[str, Any] = {}
        for place, entry in enumerate(log.entries):
            places.setdefault(entry.key, []).append(place)
            known.setdefault(entry.key, entry.value)
        return cls(log, places, known)

    @property
    def path(self) -> Path:
        """The log's file."""
        return self.log.path

    def of_key(self, key: str) -> list[LogEntry]:
        """All entries of a key, in order."""
        return [self.log.entries[place] for place in self.places.get(key, ())]

    def on_target(self, rule: KeyRule) -> list[LogEntry]:
        """The entries that reach the rule's target, none of them from before the run."""
        start = self.places.get("run_start", [len(self.log.entries)])[0]
        return [
            self.log.entries[place]
            for place in self.places.get(rule.key, ())
            if place > start
            and rule.target is not None
            and rule.target.holds(self.log.entries[place].value, self.known)
        ]


def judge_rule(rule: KeyRule, subject: Subject, division: str) -> list[Check]:
    """Every check that one rule gives."""
    entries = subject.of_key(rule.key)
    checks = [_count(rule, entries, subject)]
    if not entries:
        return checks
    if rule.value is not None:
        checks.append(_value(rule, entries, subject, division))
    if rule.metadata or rule.first_metadata or rule.one_of_metadata or rule.metadata_if_there:
        checks.append(_metadata(rule, entries, subject))
    if rule.after or rule.not_after:
        checks.append(_order(rule, subject))
    if rule.target is not None:
        checks.append(_target(rule, entries, subject))
    return checks


def verdict_on(path: Path, name: str, passed: bool, found: str, required: str, why: str) -> Check:
    """A check of one log, whose `why` is only said if it fails."""
    return Check(name, passed, found, required, "" if passed else why, path.name)


def quoted(value: Any) -> str:
    """A logged value as one reads it, not too long."""
    text = repr(value)
    return text if len(text) <= QUOTED_CHARACTERS else f"{text[:QUOTED_CHARACTERS]}..."


def _count(rule: KeyRule, entries: Sequence[LogEntry], subject: Subject) -> Check:
    name, key, count = subject.path.name, rule.key, len(entries)
    required, needed = str(rule.occurs), rule.occurs is not Occurs.OPTIONAL
    if rule.when is not None:
        other, value = rule.when
        applies = subject.known.get(other) == value
        required = f"exactly once if {other} is {value!r}, else never"
        if not applies:
            why = (
                f"{name}, line {entries[0].line}, {key}: logged, must not be with {other} "
                f"{quoted(subject.known.get(other))}: leave it out"
                if entries
                else ""
            )
            return verdict_on(subject.path, f"{key}_count", not count, f"{count}", required, why)
    elsewhere = [other for other in rule.or_else if subject.places.get(other)]
    if rule.or_else:
        required = f"at least once, or {' or '.join(rule.or_else)}"
    if count == 0:
        why = f"{name}, {key}: not logged, must be {required}: log it before run_stop"
        passed = not needed or bool(elsewhere)
        return verdict_on(subject.path, f"{key}_count", passed, "0", required, why)
    if rule.occurs is not Occurs.EXACTLY_ONCE or count == 1:
        return Check(f"{key}_count", True, f"{count}", required, "", name)
    lines = _lines(entries)
    differs = any(entry.value != entries[0].value for entry in entries)
    if rule.unique or differs:
        values = " and ".join(dict.fromkeys(quoted(entry.value) for entry in entries))
        why = (
            f"{name}, {lines}, {key}: logged {count} times with {values}, must be exactly once: log it in "
            "one place of one process"
        )
        return Check(f"{key}_count", False, f"{count} ({lines})", required, why, name)
    remark = f"{name}, {lines}, {key}: logged {count} times with the same value; once is enough"
    return Check(f"{key}_count", True, f"{count} ({lines})", required, remark, name)


def _value(rule: KeyRule, entries: Sequence[LogEntry], subject: Subject, division: str) -> Check:
    known, wrong = dict(subject.known), []
    for place, entry in enumerate(entries):
        known["evaluation"] = place
        if rule.value is not None and not rule.value.holds(entry.value, known):
            wrong.append(entry)
    if not wrong:
        return Check(
            f"{rule.key}_value",
            True,
            quoted(entries[0].value),
            f"{rule.value}",
            "",
            subject.path.name,
        )
    first = wrong[0]
    hyperparameter = not rule.key.startswith(("submission_", "eval_", "cache_"))
    mend = (
        f"the {division} division fixes it: train with that"
        + (" or submit to the open division" if division == "closed" else "")
        if hyperparameter
        else "log what holds for this run, or submit where it is allowed"
    )
    why = (
        f"{subject.path.name}, line {first.line}, {rule.key}: found {quoted(first.value)}, must be "
        f"{rule.value}: {mend}{_and_more(wrong)}"
    )
    found = f"line {first.line}: {quoted(first.value)}"
    return Check(f"{rule.key}_value", False, found, f"{rule.value}", why, subject.path.name)


def _metadata(rule: KeyRule, entries: Sequence[LogEntry], subject: Subject) -> Check:
    name, known = f"{rule.key}_metadata", dict(subject.known)
    for place, entry in enumerate(entries):
        known["evaluation"] = place
        fault = _metadata_fault(rule, entry, known, place == 0)
        if fault:
            found, required = fault
            why = (
                f"{subject.path.name}, line {entry.line}, {rule.key}: metadata has {found}, must have "
                f"{required}: pass it to the logger as metadata={{...}}"
            )
            return Check(
                name, False, f"line {entry.line}: {found}", required, why, subject.path.name
            )
    required = ", ".join([*rule.metadata, " or ".join(rule.one_of_metadata)]).strip(", ")
    return Check(name, True, "as required", required or "consistent", "", subject.path.name)


def _metadata_fault(
    rule: KeyRule, entry: LogEntry, known: Known, is_first: bool
) -> tuple[str, str] | None:
    """What the entry's metadata has and what it must have; None if all is well."""
    metadata = entry.metadata
    if rule.one_of_metadata and not any(name in metadata for name in rule.one_of_metadata):
        return _names(metadata), " or ".join(rule.one_of_metadata)
    for one, other in rule.metadata_needs:
        if one in metadata and other not in metadata:
            return f"{one} and no {other}", f"{other} beside {one}"
    asked = dict(rule.metadata)
    asked |= {name: it for name, it in rule.metadata_if_there.items() if name in metadata}
    if is_first:
        asked |= rule.first_metadata
    for name, constraint in asked.items():
        value = metadata.get(name, MISSING)
        if name not in metadata or not constraint.holds(value, known):
            return f"{name} {value if value is MISSING else quoted(value)}", f"{name} {constraint}"
    return None


def _order(rule: KeyRule, subject: Subject) -> Check:
    first = {key: places[0] for key, places in subject.places.items()}
    required = " and ".join(
        [f"after {key}" for key in rule.after] + [f"before {key}" for key in rule.not_after]
    )
    for place in subject.places[rule.key]:
        early = next((key for key in rule.after if first.get(key, place) >= place), None)
        late = next((key for key in rule.not_after if first.get(key, place) < place), None)
        if early is None and late is None:
            continue
        line = subject.log.entries[place].line
        found = f"line {line}: " + (f"before any {early}" if early else f"after {late}")
        why = (
            f"{subject.path.name}, {found.replace(':', f', {rule.key}: logged', 1)}, must be {required}: "
            "log the steps of a run in the order in which they happen"
        )
        return Check(f"{rule.key}_order", False, found, required, why, subject.path.name)
    return Check(f"{rule.key}_order", True, "in order", required, "", subject.path.name)


def _target(rule: KeyRule, entries: Sequence[LogEntry], subject: Subject) -> Check:
    name, required = subject.path.name, f"{rule.key} {rule.target} once in the run"
    on_target = subject.on_target(rule)
    if on_target:
        found = f"line {on_target[0].line}: {quoted(on_target[0].value)}"
        return Check("quality_target", True, found, required, "", name)
    last = entries[-1]
    found = f"line {last.line}: {quoted(last.value)} in the last of {len(entries)} evaluations"
    why = (
        f"{name}, line {last.line}, {rule.key}: found {quoted(last.value)} in the last evaluation, must be "
        f"{rule.target} in one after run_start: the run did not converge and counts as failed"
    )
    return Check("quality_target", False, found, required, why, name)


def _names(metadata: Iterable[str]) -> str:
    return ", ".join(sorted(metadata)) or "nothing"


def _lines(entries: Sequence[LogEntry]) -> str:
    shown = ", ".join(str(entry.line) for entry in entries[:5])
    return f"lines {shown}{', ...' if len(entries) > 5 else ''}"


def _and_more(wrong: Sequence[LogEntry]) -> str:
    return f" (and {len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
