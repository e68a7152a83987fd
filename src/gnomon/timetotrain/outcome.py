"""What a campaign amounts to: from its runs alone to its figures.

The score is the olympic mean of the seconds to the target. It is told apart into what is stochastic (samples
to the target) and what is the system's (samples a second): a gain in one may be a loss in the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from gnomon.timetotrain.convergence_statistics import (
    FEWEST_RESAMPLED,
    describe,
    olympic_interval,
    runs_needed,
)
from gnomon.timetotrain.convergence_test import ConvergenceResult, ConvergenceTest
from gnomon.timetotrain.evidence import Campaign
from gnomon.timetotrain.olympic import OlympicScore, median_window, olympic_score
from gnomon.timetotrain.rule_profiles import RuleProfile
from gnomon.timetotrain.trace import RunTrace

METRIC = "time to train"
HALF_WIDTHS = (0.1, 0.05, 0.02)
"""Of the interval around the score, relative, for which the number of runs is reckoned."""
S_PER_MIN = 60.0


def compute_outcome(
    campaign: Campaign, profile: RuleProfile, test: ConvergenceTest | None
) -> dict[str, Any] | None:
    """The result as it stands in `run.json`, the headline first; None without a run.

    Args:
        campaign: Its runs.
        profile: Under official rules only the median window of the declared number of runs counts.
        test: The runs against the reference convergence points.
    """
    if not campaign.runs:
        return None
    runs, dropped = campaign.runs, campaign.settings.dropped
    durations = [_or_infinity(run, run.duration_s) for run in runs]
    epochs = [_or_infinity(run, run.epochs) for run in runs]
    score, window = _score(durations, campaign, profile)
    step = campaign.settings.evaluate_every_samples / runs[0].training_size
    factor = test.deciding.scale_factor if test is not None and test.deciding.passed else 1.0
    return {
        "metric": {"name": METRIC, "value": score.mean, "unit": "s"},
        "interval": _interval(durations, dropped, None) if score.mean is not None else None,
        "score_min": None if score.mean is None else score.mean * factor / S_PER_MIN,
        "scale_factor": factor,
        "target": campaign.target.threshold,
        "runs": len(runs),
        "converged": sum(run.converged for run in runs),
        "window": window,
        "left_out": [
            {"run": runs[each.index].number, "reason": each.reason} for each in score.dropped
        ],
        "why_no_score": score.why,
        "runs_needed": _runs_needed(durations, dropped),
        "seconds_to_target": _spread(durations),
        "epochs_to_target": {
            **_spread(epochs),
            "olympic_mean": olympic_score(epochs, dropped).mean,
            "interval": _interval(epochs, dropped, step),
        },
        "samples_per_s": _median([run.samples_per_s for run in runs]),
        "evaluation_share": _median([_evaluation_share(run) for run in runs]),
        "initialisation_s": _median([run.initialisation_s for run in runs]),
        "processes": runs[0].world_size,
        "reference": None if test is None else _reference(test),
        "each": [_row(run) for run in runs],
    }


def _score(
    durations: Sequence[float], campaign: Campaign, profile: RuleProfile
) -> tuple[OlympicScore, list[int] | None]:
    """The score, and the numbers of the first and last run it is made of if not all are."""
    wanted, dropped = campaign.declared.runs, campaign.settings.dropped
    if not profile.declared_runs or len(durations) <= wanted:
        return olympic_score(durations, dropped), None
    window = median_window(durations, wanted, dropped)
    numbers = [run.number for run in campaign.runs]
    return window.score, [numbers[window.start], numbers[window.stop - 1]]


def _or_infinity(run: RunTrace, value: float | None) -> float:
    return value if run.converged and value is not None else math.inf


def _interval(values: Sequence[float], dropped: int, step: float | None) -> dict[str, Any] | None:
    """The interval of the olympic mean; None of too few runs."""
    if len(values) <= 2 * dropped or olympic_score(values, dropped).mean is None:
        return None
    found = olympic_interval(values, dropped, step=step)
    if found is None:
        return None
    return {
        "low": found.interval.low,
        "high": _finite(found.interval.high),
        "confidence": found.interval.confidence,
        "method": found.method,
    }


def _runs_needed(durations: Sequence[float], dropped: int) -> dict[str, int | None]:
    """By the half-width in per cent: how many runs make the score known to within it."""
    if len(durations) < FEWEST_RESAMPLED or not np.isfinite(durations).any():
        return {}
    return {
        f"{100 * width:g}": runs_needed(durations, width, dropped).runs for width in HALF_WIDTHS
    }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, deviation, variation and quantiles of the runs that converged."""
    found = describe(values)
    return {
        "mean": found.mean,
        "deviation": found.deviation,
        "variation": found.variation,
        "quantiles": {f"{share:g}": _finite(value) for share, value in found.quantiles},
    }


def _reference(test: ConvergenceTest) -> dict[str, Any]:
    return {
        "decides": test.decides.value,
        "package": _numbers(test.package),
        "written": _numbers(test.written),
        "unit": test.unit,
    }


def _numbers(result: ConvergenceResult) -> dict[str, Any]:
    return {
        name: _finite(value) if isinstance(value, float) else value
        for name, value in asdict(result).items()
    } | {"points": list(result.points), "way": result.way.value, "basis": result.basis.value}


def _row(run: RunTrace) -> dict[str, Any]:
    return {
        "run": run.number,
        "seed": run.seed,
        "converged": run.converged,
        "reason": run.reason,
        "duration_s": run.duration_s,
        "samples": run.samples,
        "epochs": run.epochs,
        "quality": run.quality,
        "evaluations": len(run.evaluations),
        "samples_per_s": run.samples_per_s,
        "initialisation_s": run.initialisation_s,
    }


def _evaluation_share(run: RunTrace) -> float | None:
    """Of the clock: what evaluating took."""
    if not run.duration_s:
        return None
    return sum(evaluation.duration_s for evaluation in run.evaluations) / run.duration_s


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _finite(value: float | None) -> float | None:
    """JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None
