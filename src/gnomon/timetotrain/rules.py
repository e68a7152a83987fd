"""Rule profiles of time to train, and the checks on the runs of a campaign: clock, schedule, data, quality.

Whether the runs converge as the reference does is judged in `convergence_test.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.core.spec import QualityTarget
from gnomon.core.units import format_seconds
from gnomon.core.verdict import Check, Verdict, verdict_under
from gnomon.timetotrain.seeds import run_seed
from gnomon.timetotrain.settings import FEWEST_RUNS, MEASUREMENT, TrainingBenchmark
from gnomon.timetotrain.trace import NS_PER_S, RunTrace, out_of_order

CLOCK_STEP_S = 0.05
CLOCK_DRIFT_SHARE = 0.01
REPRODUCED = 0.005
"""Relative: how far the quality of a checkpoint may be from the one that was logged."""
QUIETEST_HISTORY = 3
"""Two runs with different seeds and the same answers in at least so many evaluations did not use them."""


@dataclass(frozen=True)
class RuleProfile:
    """What a campaign is held to.

    Attributes:
        name: Shown with every verdict.
        declared_runs: Whether as many runs are needed as the benchmark declares; three otherwise.
        checkpoint: Whether the model must be kept and reproduce the quality.
        begun_again: Whether a run may be begun again that was broken off.
    """

    name: str
    declared_runs: bool
    checkpoint: bool
    begun_again: bool


PROFILES = {
    profile.name: profile
    for profile in (
        RuleProfile("quick", declared_runs=False, checkpoint=False, begun_again=True),
        RuleProfile("official", declared_runs=True, checkpoint=True, begun_again=False),
    )
}


@dataclass(frozen=True)
class Campaign:
    """The runs of a campaign, for the rules to judge.

    Attributes:
        runs: Those that are over, by number.
        seed: That their seeds were drawn from.
        settings: How they were trained.
        declared: How the benchmark declares that they are.
        target: The quality to reach.
        recomputed: By run, the quality of each evaluation whose answers are kept, by its number from 1.
        histories: By run, a fingerprint of the answers of its evaluations; empty if none are kept.
        begun_again: Numbers of runs that were broken off and begun again.
        machines: By run, what its machine is, if the runs were spread over several.
    """

    runs: Sequence[RunTrace]
    seed: int
    settings: TrainingBenchmark
    declared: TrainingBenchmark
    target: QualityTarget
    recomputed: Mapping[int, Mapping[int, float]]
    histories: Mapping[int, str]
    begun_again: Sequence[int]
    machines: Mapping[int, Mapping[str, Any]]


def campaign_checks(campaign: Campaign, profile: RuleProfile) -> list[Check]:
    """Every rule on the runs themselves, passed or not."""
    return [rule(campaign, profile) for rule in RULES]


def _runs(campaign: Campaign, profile: RuleProfile) -> Check:
    needed = campaign.declared.runs if profile.declared_runs else FEWEST_RUNS
    return _check(
        "runs",
        [] if len(campaign.runs) >= needed else [f"--runs {needed}, or resume the campaign"],
        f"{len(campaign.runs)}",
        f"at least {needed}",
    )


def _converged(campaign: Campaign, profile: RuleProfile) -> Check:
    del profile
    failed = [run for run in campaign.runs if not run.converged]
    most = campaign.settings.dropped
    faults = [f"run {run.number}: {run.why}" for run in failed] if len(failed) > most else []
    found = f"{len(campaign.runs) - len(failed)} of {len(campaign.runs)}"
    if failed and not faults:
        numbers = ", ".join(f"run {run.number} did not: {run.why}" for run in failed)
        return Check("converged", True, found, f"all but {most}", numbers, MEASUREMENT)
    return _check("converged", faults, found, f"all but {most}")


def _seeds(campaign: Campaign, profile: RuleProfile) -> Check:
    del profile
    faults = [
        f"run {run.number} has seed {run.seed}, drawn for it was {run_seed(campaign.seed, run.number)}"
        for run in campaign.runs
        if run.seed != run_seed(campaign.seed, run.number)
    ]
    for one, other in itertools.combinations(campaign.runs, 2):
        if one.seed == other.seed:
            faults.append(f"runs {one.number} and {other.number} have the same seed, {one.seed}")
        elif (
            len(one.evaluations) >= QUIETEST_HISTORY
            and campaign.histories.get(one.number)
            and campaign.histories.get(one.number) == campaign.histories.get(other.number)
        ):
            faults.append(
                f"runs {one.number} and {other.number} gave the same answers throughout: the training loop "
                f"does not use run.seed"
            )
    distinct = len({run.seed for run in campaign.runs})
    return _check(
        "seeds",
        faults,
        f"{distinct} different, from {campaign.seed}",
        "one of its own for every run, drawn from the campaign's, and used",
    )


def _clock(campaign: Campaign, profile: RuleProfile) -> Check:
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
    return _check(
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


def _initialisation(campaign: Campaign, profile: RuleProfile) -> Check:
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
    return _check("initialisation", faults, found, f"at most {format_seconds(most_s)}")


def _data_before_clock(campaign: Campaign, profile: RuleProfile) -> Check:
    del profile
    faults = [
        f"run {run.number}: data was read {format_seconds(run.touched_before_s)} before the clock started: "
        f"call run.start() first"
        for run in campaign.runs
        if run.touched_before_s is not None
    ]
    found = "none read" if not faults else f"read in {len(faults)} of {len(campaign.runs)} runs"
    return _check("data_before_clock", faults, found, "no data before the clock starts")


def _evaluations(campaign: Campaign, profile: RuleProfile) -> Check:
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
    return _check("evaluation_schedule", faults, f"{count} evaluations", f"every {every:,} samples")


def _held_out(campaign: Campaign, profile: RuleProfile) -> Check:
    del profile
    faults = []
    for run in campaign.runs:
        said = [evaluation.said for evaluation in run.evaluations if evaluation.said]
        trained = max((each["trained_on"] for each in said), default=0)
        missing = max((each["missing"] for each in said), default=0)
        if any(not each["evaluated_on"] for each in said):
            faults.append(
                f"run {run.number} does not say what it was evaluated on: run.report(quality, samples=...)"
            )
        elif trained:
            faults.append(f"run {run.number} was evaluated on {trained:,} samples it trains on")
        elif missing:
            faults.append(f"run {run.number} was not evaluated on {missing:,} held-out samples")
    return _check(
        "held_out",
        [f"{words}: use run.evaluate(...), which chooses the samples" for words in faults],
        "all held-out samples" if not faults else "other samples",
        "all held-out samples, and none that is trained on",
    )


def _quality_recomputed(campaign: Campaign, profile: RuleProfile) -> Check:
    faults, kept = [], 0
    for run in campaign.runs:
        scored = campaign.recomputed.get(run.number, {})
        kept += len(scored)
        for number, quality in scored.items():
            logged = run.evaluations[number - 1].quality if number <= len(run.evaluations) else None
            if logged is None or not _close(quality, logged):
                faults.append(
                    f"run {run.number}, evaluation {number}: its answers score {quality:.6g}, logged is "
                    f"{logged}: let run.evaluate(...) score them"
                )
                break
        if run.converged and len(run.evaluations) not in scored and profile.checkpoint:
            faults.append(
                f"run {run.number} kept no answers of its last evaluation: hand them to run.report(answers=)"
            )
    return _check(
        "quality_recomputed",
        faults,
        f"{kept} evaluations scored again",
        "the logged quality, from the answers that were kept",
    )


def _quality_reproduced(campaign: Campaign, profile: RuleProfile) -> Check:
    faults, without, kept = [], 0, 0
    for run in campaign.runs:
        if not run.converged:
            continue
        if run.reevaluated is None:
            without += 1
            if profile.checkpoint:
                faults.append(
                    f"run {run.number} kept no checkpoint: hand the model over with run.keep(...)"
                )
            continue
        kept += 1
        logged = run.quality or 0.0
        near = abs(run.reevaluated - logged) <= REPRODUCED * max(abs(logged), 1e-12)
        if not near:
            faults.append(
                f"run {run.number} logged {logged:.4f}, and its checkpoint has {run.reevaluated:.4f}: the "
                f"model that was evaluated is not the one that was kept"
            )
    found = f"{kept} checkpoints evaluated again"
    if without:
        found += f", {without} runs kept none"
    return _check(
        "quality_reproduced", faults, found, f"the logged quality within {100 * REPRODUCED:g} %"
    )


def _processes(campaign: Campaign, profile: RuleProfile) -> Check:
    del profile
    faults = [f"run {run.number}: {words}" for run in campaign.runs for words in run.faults]
    faults += [
        f"run {run.number}: {run.ending.why}"
        for run in campaign.runs
        if run.converged and run.ending and run.ending.why
    ]
    return _check("faults", faults, "none" if not faults else f"{len(faults)}", "none")


def _begun_again(campaign: Campaign, profile: RuleProfile) -> Check:
    again = sorted(set(campaign.begun_again))
    listed = ", ".join(str(number) for number in again)
    if again and profile.begun_again:
        why = "with the same seed each; what was broken off is in the folder `unfinished`"
        return Check("begun_again", True, f"run {listed}", "is said", why, MEASUREMENT)
    return _check(
        "begun_again",
        [f"run {listed} was broken off and begun again: start a new campaign"] if again else [],
        f"run {listed}" if again else "none",
        "none" if not profile.begun_again else "is said",
    )


def _machines(campaign: Campaign, profile: RuleProfile) -> Check:
    del profile
    machines = campaign.machines
    first = next(iter(machines), None)
    faults = []
    for number, machine in machines.items():
        apart = [
            key for key in machine if first is not None and machine[key] != machines[first].get(key)
        ]
        if apart:
            faults.append(
                f"run {number} was on a machine with another {' and '.join(apart)} than run {first}: spread "
                f"the runs over machines that are alike"
            )
    several = any(machines.values())
    found = "alike" if not faults else f"{len(faults)} unlike the first"
    return _check("machines", faults, found if several else "one", "machines that are alike")


Rule = Callable[[Campaign, RuleProfile], Check]
RULES: tuple[Rule, ...] = (
    _runs,
    _converged,
    _seeds,
    _clock,
    _initialisation,
    _data_before_clock,
    _evaluations,
    _held_out,
    _quality_recomputed,
    _quality_reproduced,
    _processes,
    _begun_again,
    _machines,
)


def verdict_of(
    checks: Sequence[Check],
    profile: RuleProfile,
    *,
    official_data: bool,
    registered: bool,
    departures: Sequence[str],
) -> Verdict:
    """The verdict on these checks.

    Args:
        checks: On the campaign.
        profile: Whose rules they are.
        official_data: Whether the data is the one that the field names.
        registered: Whether the benchmark is the registered one, word for word.
        departures: Where the run asked for something else than the benchmark declares.
    """
    lacking = [] if profile.name == "official" else [f"{profile.name} rules"]
    if not official_data:
        lacking.append("not the official data")
    if not registered:
        lacking.append("not a registered benchmark")
    if departures:
        lacking.append(f"other than declared ({'; '.join(departures)})")
    return verdict_under(profile.name, checks, lacking)


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-6 * max(abs(one), abs(other), 1e-6)


def _check(name: str, faults: Sequence[str], found: str, required: str) -> Check:
    """Passed if there is no fault; the first ones say why it did not."""
    shown = "; ".join(faults[:3])
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return Check(name, not faults, found, required, shown + more, MEASUREMENT)
