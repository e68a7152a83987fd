"""Checks on the runs of a campaign as a whole: how many, which seeds, on which machines, how they ended."""

from __future__ import annotations

import itertools

from gnomon.core.verdict import Check
from gnomon.timetotrain.evidence import Campaign, check_of
from gnomon.timetotrain.rule_profiles import RuleProfile
from gnomon.timetotrain.seeds import run_seed
from gnomon.timetotrain.settings import FEWEST_RUNS, MEASUREMENT

QUIETEST_HISTORY = 3
"""Two runs with different seeds and the same answers in at least so many evaluations did not use them."""


def enough_runs(campaign: Campaign, profile: RuleProfile) -> Check:
    """There are as many as a result is made of."""
    needed = campaign.declared.runs if profile.declared_runs else FEWEST_RUNS
    return check_of(
        "runs",
        [] if len(campaign.runs) >= needed else [f"--runs {needed}, or resume the campaign"],
        f"{len(campaign.runs)}",
        f"at least {needed}",
    )


def converged(campaign: Campaign, profile: RuleProfile) -> Check:
    """All reached the target but as many as are left out."""
    del profile
    failed = [run for run in campaign.runs if not run.converged]
    most = campaign.settings.dropped
    faults = [f"run {run.number}: {run.why}" for run in failed] if len(failed) > most else []
    found = f"{len(campaign.runs) - len(failed)} of {len(campaign.runs)}"
    if failed and not faults:
        numbers = ", ".join(f"run {run.number} did not: {run.why}" for run in failed)
        return Check("converged", True, found, f"all but {most}", numbers, MEASUREMENT)
    return check_of("converged", faults, found, f"all but {most}")


def seeds(campaign: Campaign, profile: RuleProfile) -> Check:
    """Every run has a seed of its own, and uses it."""
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
    return check_of(
        "seeds",
        faults,
        f"{distinct} different, from {campaign.seed}",
        "one of its own for every run, drawn from the campaign's, and used",
    )


def faults(campaign: Campaign, profile: RuleProfile) -> Check:
    """Nothing went wrong that the runs outlived."""
    del profile
    faults = [f"run {run.number}: {words}" for run in campaign.runs for words in run.faults]
    faults += [
        f"run {run.number}: {run.ending.why}"
        for run in campaign.runs
        if run.converged and run.ending and run.ending.why
    ]
    return check_of("faults", faults, "none" if not faults else f"{len(faults)}", "none")


def begun_again(campaign: Campaign, profile: RuleProfile) -> Check:
    """A run that was broken off and begun again is said, or not allowed."""
    again = sorted(set(campaign.begun_again))
    listed = ", ".join(str(number) for number in again)
    if again and profile.begun_again:
        why = "with the same seed each; what was broken off is in the folder `unfinished`"
        return Check("begun_again", True, f"run {listed}", "is said", why, MEASUREMENT)
    return check_of(
        "begun_again",
        [f"run {listed} was broken off and begun again: start a new campaign"] if again else [],
        f"run {listed}" if again else "none",
        "none" if not profile.begun_again else "is said",
    )


def machines(campaign: Campaign, profile: RuleProfile) -> Check:
    """All were on machines that are alike."""
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
    return check_of("machines", faults, found if several else "one", "machines that are alike")
