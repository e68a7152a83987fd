"""The olympic mean: what a set of runs scores, which of its runs count, and which are left out.

Values are times or amounts of training, less is better; infinity stands for a run that did not converge.
Statistics, reference convergence points and the log checks all score with the functions here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gnomon.core.errors import UsageError


@dataclass(frozen=True)
class DroppedRun:
    """A run that the olympic mean leaves out.

    Attributes:
        index: Its place in the values that were scored.
        reason: `fastest`, `slowest` or `did not converge`.
    """

    index: int
    reason: str


@dataclass(frozen=True)
class OlympicScore:
    """An olympic mean with the runs it is made of.

    Attributes:
        mean: In the unit of the values; None if the set of runs is invalid.
        kept: Indices of the runs that count, fastest first; empty if the set is invalid.
        dropped: The runs left out, fastest first, failed ones last.
        failed: Indices of the runs that did not converge.
        why: Why the set is invalid, in words; empty if it is not.
    """

    mean: float | None
    kept: tuple[int, ...]
    dropped: tuple[DroppedRun, ...]
    failed: tuple[int, ...]
    why: str = ""


def olympic_mean(values: Sequence[float], dropped: int = 1) -> float | None:
    """The mean of a set of runs without its `dropped` fastest and as many slowest.

    A run that failed is among the slowest: with f of them, the mean is that of the converged values,
    sorted, from place k up to `len - (k - f)`, where k is `dropped`.

    Source: MLPerf Training rules, "Benchmark Results" and "Scoring".

    Args:
        values: One of each run, in any order; infinity for a run that did not converge.
        dropped: Runs to drop at each end: 1, and 4 for the field's unet3d.

    Returns:
        The mean; None if more than `dropped` runs failed, or if none is left to average.

    Raises:
        UsageError: A value is negative or not a number, or `dropped` is negative.
    """
    return olympic_score(values, dropped).mean


def olympic_score(values: Sequence[float], dropped: int = 1) -> OlympicScore:
    """As `olympic_mean`, with the indices of the runs that count and of those left out, and why."""
    _check(values, dropped)
    order = sorted(range(len(values)), key=lambda index: values[index])
    failed = tuple(index for index in order if math.isinf(values[index]))
    if len(failed) > dropped:
        why = f"{len(failed)} of {len(values)} runs did not converge, at most {dropped} may"
        return OlympicScore(None, (), (), failed, why)
    if len(values) <= 2 * dropped:
        why = f"{len(values)} runs leave none once {dropped} at each end are dropped"
        return OlympicScore(None, (), (), failed, why)
    end = len(values) - dropped
    kept = tuple(order[dropped:end])
    fastest = [DroppedRun(index, "fastest") for index in order[:dropped]]
    slowest = [
        DroppedRun(index, "did not converge" if math.isinf(values[index]) else "slowest")
        for index in order[end:]
    ]
    mean = math.fsum(values[index] for index in kept) / len(kept)
    return OlympicScore(mean, kept, (*fastest, *slowest), failed)


@dataclass(frozen=True)
class MedianWindow:
    """The consecutive runs that may be scored, out of more runs than the rules ask for.

    Attributes:
        start: Index of its first run.
        stop: One past the index of its last run.
        score: The olympic score of those runs; its indices count from the first of all runs.
        window_means: The olympic mean of every window, in order of start; infinity if it is invalid.
    """

    start: int
    stop: int
    score: OlympicScore
    window_means: tuple[float, ...]


def median_window(values: Sequence[float], runs: int, dropped: int = 1) -> MedianWindow:
    """The only `runs` consecutive runs that may be scored where more were made: the median ones.

    Every window of `runs` neighbours is scored, an invalid one as infinity. Of an even number of windows
    the rules do not say which is the median; here it is the slower of the two in the middle, so that the
    choice never flatters. Of equal windows it is the earliest.

    Source: MLPerf Training rules, "Scoring" (M > N independent runs).

    Args:
        values: One of each run, in the order in which the runs were started; infinity if it failed.
        runs: How many runs a result is made of.
        dropped: Runs to drop at each end.

    Raises:
        UsageError: There are fewer values than `runs`, or one that is negative or not a number.
    """
    _check(values, dropped)
    if not 1 <= runs <= len(values):
        raise UsageError(
            f"a result is made of {runs} runs, and there are {len(values)}: "
            f"{'make more runs' if runs > 0 else 'ask for at least 1'}"
        )
    scores = [
        olympic_score(values[start : start + runs], dropped)
        for start in range(len(values) - runs + 1)
    ]
    means = tuple(math.inf if score.mean is None else score.mean for score in scores)
    start = sorted(range(len(means)), key=lambda place: means[place])[len(means) // 2]
    start = means.index(means[start])
    return MedianWindow(start, start + runs, _moved(scores[start], start), means)


def _moved(score: OlympicScore, by: int) -> OlympicScore:
    return OlympicScore(
        score.mean,
        tuple(index + by for index in score.kept),
        tuple(DroppedRun(run.index + by, run.reason) for run in score.dropped),
        tuple(index + by for index in score.failed),
        score.why,
    )


def _check(values: Sequence[float], dropped: int) -> None:
    if dropped < 0:
        raise UsageError(
            f"the number of runs to drop at each end must be at least 0, got {dropped}"
        )
    for index, value in enumerate(values):
        if math.isnan(value) or value < 0:
            raise UsageError(
                f"run {index} has the value {value}: give a time or an amount of training, "
                "or infinity if it did not converge"
            )
