"""Checks on when things happened: the clock, initialisation, the first touch of data, evaluations."""

from __future__ import annotations

from gnomon.core.units import format_seconds
from gnomon.core.verdict import Check
from gnomon.timetotrain.evidence import Campaign, check_of
from gnomon.timetotrain.rule_profiles import RuleProfile
from gnomon.timetotrain.trace import NS_PER_S, RunTrace, out_of_order

CLOCK_STEP_S = 0.05
CLOCK_DRIFT_SHARE = 0.01


def clock(campaign: Campaign, profile: RuleProfile) -> Check:
    """Both clocks agree, and lie within what was seen from outside."""
    del profile
    faults, worst = [], 0.0
    for run in campaign.runs:
        allowed = max(CLOCK_STEP_S, CLOCK_DRIFT_SHARE * (run.duration_s or 0.0))
        worst = max(worst, run.wall_apart_s)
        if run.wall_apart_s > allowed:
            faults.append(
                f"run {run.number}: the wall clock jumped by {run.wall_apart_s:.3f} s (durations use the "
                f"monotonic clock and stand): stop whatever sets the clock or suspends the machine"
            )
        faults += [f"run {run.number}: {words}" for words in out_of_order(run.events)]
        faults += [f"run {run.number}: {words}" for words in _outside(run)]
    return check_of(
        "clock",
        faults,
        f"wall and monotonic clock at most {format_seconds(worst)} apart",
        "both agree, and lie within the time that the run was seen from outside",
    )


def _outside(run: RunTrace) -> list[str]:
    """Whether the journal's times lie within the time that the processes were there."""
    if run.ending is None:
        return ["it was not seen to end"]
    first, last = run.events[0].monotonic_ns, run.events[-1].monotonic_ns
    if run.ending.launched_ns <= first and last <= run.ending.ended_ns:
        return []
    early = (run.ending.launched_ns - first) / NS_PER_S
    late = (last - run.ending.ended_ns) / NS_PER_S
    return [
        f"its journal reaches {max(early, late):.3f} s beyond the time that it was seen running"
    ]


def initialisation(campaign: Campaign, profile: RuleProfile) -> Check:
    """What comes before the clock is bounded."""
    del profile
    most_s = campaign.settings.max_initialisation_s
    worst_s = max((run.initialisation_s for run in campaign.runs), default=0.0)
    faults = [
        f"run {run.number} took {format_seconds(run.initialisation_s)}: build and compile less before "
        f"run.start()"
        for run in campaign.runs
        if run.initialisation_s > most_s
    ]
    found = f"at most {format_seconds(worst_s)}"
    return check_of("initialisation", faults, found, f"at most {format_seconds(most_s)}")


def data_before_clock(campaign: Campaign, profile: RuleProfile) -> Check:
    """No data is read before the clock starts."""
    del profile
    faults = [
        f"run {run.number}: data was read {format_seconds(run.touched_before_s)} before the clock started: "
        f"call run.start() first"
        for run in campaign.runs
        if run.touched_before_s is not None
    ]
    found = "none read" if not faults else f"read in {len(faults)} of {len(campaign.runs)} runs"
    return check_of("data_before_clock", faults, found, "no data before the clock starts")


def evaluation_schedule(campaign: Campaign, profile: RuleProfile) -> Check:
    """The quality is measured when it is due, and only then."""
    every, declared = (
        campaign.settings.evaluate_every_samples,
        campaign.declared.evaluate_every_samples,
    )
    batch = int(campaign.settings.hyperparameters["global_batch_size"])
    faults = []
    if every != declared and profile.name == "official":
        faults.append(f"leave out --evaluate-every: the benchmark declares {declared:,} samples")
    for run in campaign.runs:
        due = every
        if not run.evaluations:
            faults.append(
                f"run {run.number} was never evaluated: call run.evaluate(...) when run.step(...) is True"
            )
        for number, evaluation in enumerate(run.evaluations, start=1):
            if not due <= evaluation.samples < due + 2 * batch:
                faults.append(
                    f"run {run.number}: evaluation {number} was after {evaluation.samples:,} samples, due "
                    f"after {due:,}: evaluate when run.step(...) returns True, and only then"
                )
                break
            due += every * ((evaluation.samples - due) // every + 1)
    count = sum(len(run.evaluations) for run in campaign.runs)
    return check_of(
        "evaluation_schedule", faults, f"{count} evaluations", f"every {every:,} samples"
    )
