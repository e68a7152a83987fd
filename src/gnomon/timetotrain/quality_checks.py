"""Checks on what the quality was measured on, and whether it can be found again."""

from __future__ import annotations

from gnomon.core.verdict import Check
from gnomon.timetotrain.evidence import Campaign, check_of
from gnomon.timetotrain.rule_profiles import RuleProfile

REPRODUCED = 0.005
"""Relative: how far the quality of a checkpoint may be from the one that was logged."""


def held_out(campaign: Campaign, profile: RuleProfile) -> Check:
    """It is measured on all held-out samples, and on none that is trained on."""
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
    return check_of(
        "held_out",
        [f"{words}: use run.evaluate(...), which chooses the samples" for words in faults],
        "all held-out samples" if not faults else "other samples",
        "all held-out samples, and none that is trained on",
    )


def quality_recomputed(campaign: Campaign, profile: RuleProfile) -> Check:
    """The answers that were kept have the quality that was logged."""
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
    return check_of(
        "quality_recomputed",
        faults,
        f"{kept} evaluations scored again",
        "the logged quality, from the answers that were kept",
    )


def quality_reproduced(campaign: Campaign, profile: RuleProfile) -> Check:
    """The checkpoint that was kept has it too."""
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
    return check_of(
        "quality_reproduced", faults, found, f"the logged quality within {100 * REPRODUCED:g} %"
    )


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-6 * max(abs(one), abs(other), 1e-6)
