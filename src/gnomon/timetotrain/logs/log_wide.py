"""What is judged of a log as a whole: that it is whole, its clock, its initialisation, its order, its end."""

from __future__ import annotations

import itertools

from gnomon.core.spec import QualityTarget
from gnomon.core.verdict import Check
from gnomon.timetotrain.logs.constraints import is_number
from gnomon.timetotrain.logs.entries import Dialect, LogEntry, TrainingLog
from gnomon.timetotrain.logs.judge import Subject, quoted, verdict_on
from gnomon.timetotrain.logs.nesting import nesting_faults
from gnomon.timetotrain.logs.rules import RuleSet


def has_entries(log: TrainingLog) -> Check:
    """That it is a training log at all."""
    count = sum(log.dialects.values())
    return verdict_on(
        log.path,
        "has_entries",
        count > 0,
        found=f"{count} entries in {log.line_count} lines",
        required="at least one",
        why=f"{log.path.name}: there is no :::MLLOG line: give the training log that the run wrote",
    )


def well_formed(log: TrainingLog) -> Check:
    """That no entry is broken."""
    return verdict_on(
        log.path,
        "well_formed",
        log.malformed == 0,
        found=f"{log.malformed} malformed entries",
        required="none",
        why=f"{log.path.name}, {log.first_malformed}: is no whole entry: write each entry in one call "
        "and by one process, and do not cut the log",
    )


def initialisation(rules: RuleSet, subject: Subject, division: str) -> list[Check]:
    """That initialisation off the clock took no longer than is allowed; nothing if none is."""
    allowed_s = rules.initialisation_s.get(division)
    starts, stops = subject.of_key("init_start"), subject.of_key("init_stop")
    if allowed_s is None or not starts or not stops:
        return []
    first_ms = min(entry.time_ms for entry in starts)
    last = max(stops, key=lambda entry: entry.time_ms)
    taken_s = (last.time_ms - first_ms) / 1e3
    why = (
        f"{subject.path.name}, line {last.line}, init_stop: initialisation took {taken_s:g} s, must be "
        f"less than {allowed_s:g} s in the {division} division: move work behind run_start or shorten it"
    )
    passed = taken_s < allowed_s
    found, required = f"{taken_s:g} s", f"less than {allowed_s:g} s"
    return [verdict_on(subject.path, "initialisation_time", passed, found, required, why)]


def clock(subject: Subject) -> Check:
    """The milestones' times, which a clock that was set back puts out of order."""
    milestones = [
        entry
        for key in ("init_start", "init_stop", "run_start", "run_stop")
        for entry in subject.of_key(key)[:1]
    ]
    back = next(
        (
            (before, after)
            for before, after in itertools.pairwise(milestones)
            if after.time_ms < before.time_ms
        ),
        None,
    )
    if back is None:
        return Check("clock_forward", True, "in order", "in order", "", subject.path.name)
    before, after = back
    found = f"{after.key} {(before.time_ms - after.time_ms) / 1e3:g} s before {before.key}"
    why = (
        f"{subject.path.name}, line {after.line}, {after.key}: is {found} (line {before.line}): the clock "
        "was set back or the log is of two runs; run again"
    )
    return Check("clock_forward", False, found, "in order", why, subject.path.name)


def nesting(log: TrainingLog) -> Check:
    """That epochs and evaluations lie within each other."""
    faults = nesting_faults(log.entries, blocks=log.benchmark != "minigo")
    if not faults:
        return Check(
            "nesting", True, "in order", "epochs and evaluations in order", "", log.path.name
        )
    first = faults[0]
    metadata = {name: first.entry.metadata.get(name) for name in ("epoch_num", "first_epoch_num")}
    said = ", ".join(f"{name} {value}" for name, value in metadata.items() if value is not None)
    why = (
        f"{log.path.name}, line {first.entry.line}, {first.entry.key}: found {said or 'no epoch number'}, "
        f"must have {first.required}: log start and stop of epochs, blocks and evaluations in pairs"
    )
    found = f"{len(faults)} out of place, first in line {first.entry.line}"
    return Check("nesting", False, found, "epochs and evaluations in order", why, log.path.name)


def stated_target(subject: Subject, target: QualityTarget | None) -> Check:
    """That the log does not state another target than the benchmark's."""
    stated = subject.log.first("eval_target")
    name = subject.path.name
    if target is None or stated is None:
        found = "none" if stated is None else quoted(stated.value)
        return Check("stated_target", True, found, "that of the benchmark", "", name)
    passed = is_number(stated.value) and abs(stated.value - target.threshold) <= 1e-9 * abs(
        target.threshold
    )
    why = (
        f"{name}, line {stated.line}, eval_target: found {quoted(stated.value)}, must be "
        f"{target.threshold:g}: train to the benchmark's target"
    )
    return verdict_on(
        subject.path, "stated_target", passed, quoted(stated.value), f"{target.threshold:g}", why
    )


def status(subject: Subject) -> list[Check]:
    """That the run was not given up: an aborted run did not converge, whatever was evaluated before."""
    stops = subject.of_key("run_stop")
    if not stops:
        return []
    aborted = next((stop for stop in stops if not ended_well(stop)), None)
    if aborted is None:
        return [Check("run_status", True, "success", "success", "", subject.path.name)]
    said = quoted(aborted.metadata.get("status"))
    why = (
        f"{subject.path.name}, line {aborted.line}, run_stop: found status {said}, must be 'success': the "
        "run counts as one that did not converge"
    )
    return [Check("run_status", False, said, "success", why, subject.path.name)]


def ended_well(stop: LogEntry) -> bool:
    """Whether a run_stop says success; in v0.5 one that says nothing does too."""
    status = stop.metadata.get("status", "success" if stop.dialect is Dialect.V05 else None)
    return bool(status == "success")


def unknown_target(log: TrainingLog, rules: RuleSet) -> Check:
    """The failure of a log whose benchmark has no target in the rule set."""
    why = (
        f"{log.path.name}, submission_benchmark: found {quoted(log.benchmark)}, of which rule set "
        f"{rules.name} knows no target: name a benchmark of the round, or give another rule set"
    )
    return Check("quality_target", False, "no target known", "a target", why, log.path.name)
