"""One training log judged: which rules apply, what each of them finds, and what the log says of the run.

Every failure names the file, the line, the key, what was found, what is required, and the mend.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gnomon.core.spec import QualityTarget
from gnomon.core.verdict import Check, Verdict
from gnomon.timetotrain.logs import log_wide
from gnomon.timetotrain.logs.constraints import Constraint, Range, is_number
from gnomon.timetotrain.logs.entries import TrainingLog
from gnomon.timetotrain.logs.judge import Subject, judge_rule
from gnomon.timetotrain.logs.read import read_log
from gnomon.timetotrain.logs.rules import KeyRule, RuleSet
from gnomon.timetotrain.logs.rulesets import ALIASES, KNOWN_KEYS, applied_to
from gnomon.timetotrain.logs.seeds import Seed, judge_seeds

DIVISIONS = ("closed", "open")


@dataclass(frozen=True)
class LogReport:
    """What a log says, and what is wrong with it.

    Attributes:
        path: The log.
        benchmark: As the log itself names it; empty if it does not.
        division: `closed` or `open`.
        why_ruleset: Which it is and why.
        exact: False if another round's rules stand in for those of its own.
        checks: Every check.
        time_to_train_s: From start to stop of the run; None if one is missing.
        converged: Whether the run ended well and an evaluation within it reached the target.
        quality: The logged quality of the first evaluation on target, else of the last one.
        trained: How much training that took, by the name of the count (`epoch_num`, `samples_count`).
        seeds: In the order logged.
        global_batch_size: As logged first; None if it was not.
        rules: The rule set it is judged by.
    """

    path: Path
    benchmark: str
    division: str
    why_ruleset: str
    exact: bool
    checks: tuple[Check, ...]
    time_to_train_s: float | None
    converged: bool
    quality: Any
    trained: dict[str, float]
    seeds: tuple[Seed, ...]
    global_batch_size: float | None
    rules: RuleSet = field(repr=False)

    @property
    def ruleset(self) -> str:
        """Name of the rule set."""
        return self.rules.name

    @property
    def valid(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def verdict(self) -> Verdict:
        """The checks under their rule set's name."""
        return Verdict(self.ruleset, self.checks, remark=self.why_ruleset)


def check_log(
    path: Path | str,
    ruleset: str | None = None,
    *,
    division: str | None = None,
    target: QualityTarget | None = None,
) -> LogReport:
    """Judge one log.

    Args:
        path: The file, in any dialect.
        ruleset: A round (`5.1.0`) or `gnomon`; None: as the log's dialect, benchmark and date tell.
        division: `closed` or `open`; None: as the log says, or closed.
        target: The quality to reach, for a benchmark that no round has (those have theirs); None: what
            the log states as `eval_target`.

    Raises:
        DataError: The file cannot be read.
        UnknownNameError: There is no such rule set.
    """
    return report_on(read_log(path, KNOWN_KEYS), ruleset, division=division, target=target)


def report_on(
    log: TrainingLog,
    ruleset: str | None = None,
    *,
    division: str | None = None,
    target: QualityTarget | None = None,
) -> LogReport:
    """Like `check_log`, of a log that has been read with at least `KNOWN_KEYS`."""
    applied = applied_to(log, ruleset)
    rules = applied.rules
    said = log.first("submission_division")
    if division is None:
        division = said.value if said and said.value in DIVISIONS else "closed"
    subject = Subject.of(log)
    benchmark = ALIASES.get(log.benchmark, log.benchmark)
    key_rules = _with_target(rules.key_rules(benchmark, division), rules, subject, target)
    checks = [log_wide.has_entries(log), log_wide.well_formed(log)]
    for rule in key_rules:
        checks += judge_rule(rule, subject, division)
    checks += log_wide.initialisation(rules, subject, division)
    checks.append(log_wide.clock(subject))
    checks += log_wide.status(subject)
    if rules.strict_nesting:
        checks.append(log_wide.nesting(log))
    if all(rule.target is None for rule in key_rules):
        checks.append(log_wide.unknown_target(log, rules))
    seeds, seed_checks = judge_seeds(log, required=rules.seeds and division == "closed")
    checks += seed_checks
    if rules.any_benchmark:
        checks.append(log_wide.stated_target(subject, target))
    quality, trained, reached = _reached(key_rules, subject)
    duration_s = _duration_s(subject)
    batch = log.first("global_batch_size")
    return LogReport(
        path=log.path,
        benchmark=benchmark,
        division=division,
        why_ruleset=applied.why,
        exact=applied.exact,
        checks=tuple(checks),
        time_to_train_s=duration_s,
        converged=reached and duration_s is not None and duration_s >= 0 and _ended_well(subject),
        quality=quality,
        trained=trained,
        seeds=seeds,
        global_batch_size=batch.value if batch and is_number(batch.value) else None,
        rules=rules,
    )


def _with_target(
    key_rules: tuple[KeyRule, ...], rules: RuleSet, subject: Subject, target: QualityTarget | None
) -> tuple[KeyRule, ...]:
    """The rules, with the target that was given or logged where the rule set itself has none."""
    bound: Constraint | None = None
    if not rules.any_benchmark:
        return key_rules
    if target is not None:
        bound = _bound(target)
    else:
        stated = subject.log.first("eval_target")
        if stated and is_number(stated.value):
            less = stated.metadata.get("higher_is_better") is False
            bound = Range(most=stated.value) if less else Range(least=stated.value)
    if bound is None:
        return key_rules
    return tuple(
        replace(rule, target=bound) if rule.target is not None else rule for rule in key_rules
    )


def _bound(target: QualityTarget) -> Range:
    if target.higher_is_better:
        return Range(least=target.threshold)
    return Range(most=target.threshold)


def _reached(
    key_rules: tuple[KeyRule, ...], subject: Subject
) -> tuple[Any, dict[str, float], bool]:
    """The quality, the training it took, and whether an evaluation reached the target."""
    for rule in key_rules:
        if rule.target is None:
            continue
        entries = subject.of_key(rule.key)
        on_target = subject.on_target(rule)
        shown = on_target[0] if on_target else (entries[-1] if entries else None)
        if shown is None:
            return None, {}, False
        trained = {
            name: float(shown.metadata[name])
            for name in ("epoch_num", "samples_count")
            if is_number(shown.metadata.get(name))
        }
        return shown.value, trained, bool(on_target)
    return None, {}, False


def _duration_s(subject: Subject) -> float | None:
    result = subject.log.first("eval_result")
    if result is not None and is_number(result.metadata.get("timestamp")):
        return float(result.metadata["timestamp"])  # MiniGo is evaluated after the run
    start, stop = subject.log.first("run_start"), subject.log.first("run_stop")
    return None if start is None or stop is None else (stop.time_ms - start.time_ms) / 1e3


def _ended_well(subject: Subject) -> bool:
    stops = subject.of_key("run_stop")
    if not stops:
        return bool(subject.of_key("eval_result"))
    return all(map(log_wide.ended_well, stops))
