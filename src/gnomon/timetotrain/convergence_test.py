"""Whether a set of runs converges faster than the reference could by chance: the field's RCP test.

The rules as written and the official package compute it differently. Both are computed here, with all
their numbers; one decides. The outcome as checks is in `convergence_checks.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats as distributions

from gnomon.core.errors import UsageError
from gnomon.timetotrain.olympic import olympic_mean
from gnomon.timetotrain.reference_points import (
    ReferencePoint,
    Unit,
    pruned_by_all,
    pruned_by_neighbours,
)

SIGNIFICANCE = 0.05
_ROUNDING = 1e-9


class Way(StrEnum):
    """How the test is computed.

    `PACKAGE` is what a submission is judged by: deviation of all reference runs, n2 = N - 2, points pruned
    against their neighbours only. `WRITTEN` is the rules' text and its worked examples: deviation without
    the dropped runs, n2 = N - 2k, points pruned against any two around them.
    """

    PACKAGE = "package"
    WRITTEN = "written"

    @property
    def in_words(self) -> str:
        """As a sentence names it."""
        return "the official package" if self is Way.PACKAGE else "the rules as written"


class Basis(StrEnum):
    """What a set of runs was compared with."""

    POINT = "the point of its batch size"
    INTERPOLATED = "the line between the points around its batch size"
    SMALLEST = "the smallest point, its batch size being smaller"
    MISSING = "no reference point has its batch size or a larger one"
    NO_POINTS = "there is no reference point"


@dataclass(frozen=True)
class ConvergenceResult:
    """The test computed in one way. Amounts of training are in the points' unit.

    Attributes:
        way: Which.
        basis: What the runs were compared with.
        points: Names of the reference points used: one, two if interpolated, or none.
        own_point_pruned: There is a point of the runs' batch size, and it was pruned.
        mean: The reference's olympic mean; None without a point, as all below.
        deviation: The reference's standard deviation (population formula).
        reference_count: n1 of the t-test.
        submission_count: n2 of the t-test.
        t: The t quantile, with n1 + n2 - 2 degrees of freedom.
        minimum: The least olympic mean that passes.
        max_speed_up: `mean / minimum`; infinite where any speed-up could be chance.
        submission_mean: The olympic mean of the runs; None if too many failed.
        scale_factor: What the score is multiplied with: `mean / submission_mean`, at least 1.
        degenerate: All reference runs took the same: the test knows no spread, and anything faster fails.
        passed: Whether the runs pass.
    """

    way: Way
    basis: Basis
    points: tuple[str, ...]
    own_point_pruned: bool
    mean: float | None
    deviation: float | None
    reference_count: int | None
    submission_count: int
    t: float | None
    minimum: float | None
    max_speed_up: float | None
    submission_mean: float | None
    scale_factor: float
    degenerate: bool
    passed: bool


@dataclass(frozen=True)
class ConvergenceTest:
    """The test in both ways.

    Attributes:
        package: As the official package computes it.
        written: As the rules are written.
        decides: Which of them counts.
        global_batch_size: Of the runs.
        run_count: How many runs were judged.
        unit: Of all amounts of training.
        short_points: Points with fewer runs than twice those of a result, and how many they have.
        runs: How many runs a result is made of.
    """

    package: ConvergenceResult
    written: ConvergenceResult
    decides: Way
    global_batch_size: int
    run_count: int
    unit: Unit
    short_points: tuple[tuple[str, int], ...]
    runs: int

    @property
    def deciding(self) -> ConvergenceResult:
        """The result that counts."""
        return self.package if self.decides is Way.PACKAGE else self.written

    @property
    def other(self) -> ConvergenceResult:
        """The result that is shown beside it."""
        return self.written if self.decides is Way.PACKAGE else self.package


def judge_convergence(
    points: Sequence[ReferencePoint],
    global_batch_size: int,
    to_converge: Sequence[float],
    *,
    runs: int,
    dropped: int = 1,
    allowance: float = 0.0,
    pruned: bool = True,
    decides: Way = Way.PACKAGE,
) -> ConvergenceTest:
    """Test whether runs converge faster than the reference, in both ways.

    The reference's mean m and deviation s are those of the point with the runs' batch size, or on the line
    between the two around it (then n1 = 2N); below all points, of the smallest. Runs pass if their olympic
    mean is at least `m - t(0.95, n1 + n2 - 2) * s * sqrt(1 / n1 + 1 / n2)`: the one-sided pooled t-test.

    Sources: MLPerf Training rules, "Reference Convergence Points (RCPs)" and "RCP Examples"; for
    `Way.PACKAGE` mlcommons/logging, `rcp_checker` 4.1, whose bisection this closed form equals.

    Args:
        points: Of one benchmark.
        global_batch_size: Of the runs.
        to_converge: Training of each run until the target, in the points' unit; infinity if it failed.
        runs: N, how many runs a result is made of.
        dropped: k, runs dropped at each end.
        allowance: Taken off the minimum (llama31_405b since 5.0: 46,080 samples).
        pruned: Whether points that are slower than those around them are left out first.
        decides: Which way counts.

    Raises:
        UsageError: `runs` leaves none when `dropped` are, a point has too few, or a value is none.
    """
    if runs <= 2 * max(dropped, 1):
        raise UsageError(f"{runs} runs leave none to test when {dropped} at each end are dropped")
    mean = olympic_mean(to_converge, dropped)
    results = {
        way: _result(way, points, global_batch_size, mean, runs, dropped, allowance, pruned)
        for way in Way
    }
    used = {*results[Way.PACKAGE].points, *results[Way.WRITTEN].points}
    short = tuple(
        (point.name, len(point.to_converge))
        for point in points
        if point.name in used and len(point.to_converge) < 2 * runs
    )
    return ConvergenceTest(
        results[Way.PACKAGE],
        results[Way.WRITTEN],
        decides,
        global_batch_size,
        len(to_converge),
        points[0].unit if points else "epochs",
        short,
        runs,
    )


def _result(
    way: Way,
    points: Sequence[ReferencePoint],
    size: int,
    submission_mean: float | None,
    runs: int,
    dropped: int,
    allowance: float,
    pruned: bool,
) -> ConvergenceResult:
    submission_count = runs - 2 * (1 if way is Way.PACKAGE else dropped)
    prune = pruned_by_neighbours if way is Way.PACKAGE else pruned_by_all
    left = prune(points, dropped) if pruned else sorted(points, key=lambda p: p.global_batch_size)
    basis, used = _basis(left, size)
    own_point_pruned = any(p.global_batch_size == size for p in points) and basis is not Basis.POINT
    if not used:
        return ConvergenceResult(
            way=way,
            basis=basis,
            points=(),
            own_point_pruned=own_point_pruned,
            mean=None,
            deviation=None,
            reference_count=None,
            submission_count=submission_count,
            t=None,
            minimum=None,
            max_speed_up=None,
            submission_mean=submission_mean,
            scale_factor=1.0,
            degenerate=False,
            passed=False,
        )
    mean, deviation, reference_count = _reference(way, used, size, runs, dropped)
    t = float(distributions.t.ppf(1 - SIGNIFICANCE, reference_count + submission_count - 2))
    error = deviation * math.sqrt(1 / reference_count + 1 / submission_count)
    minimum = max(0.0, mean - t * error - allowance)
    return ConvergenceResult(
        way=way,
        basis=basis,
        points=tuple(point.name for point in used),
        own_point_pruned=own_point_pruned,
        mean=mean,
        deviation=deviation,
        reference_count=reference_count,
        submission_count=submission_count,
        t=t,
        minimum=minimum,
        max_speed_up=mean / minimum if minimum else math.inf,
        submission_mean=submission_mean,
        scale_factor=max(1.0, mean / submission_mean) if submission_mean else 1.0,
        degenerate=deviation <= _ROUNDING * mean,
        # The last bits of a mean depend on the number of runs it is of.
        passed=submission_mean is not None and submission_mean >= minimum * (1 - _ROUNDING),
    )


def _basis(points: Sequence[ReferencePoint], size: int) -> tuple[Basis, list[ReferencePoint]]:
    """What to compare with; points are in order of batch size."""
    if not points:
        return Basis.NO_POINTS, []
    same = [point for point in points if point.global_batch_size == size]
    below = [point for point in points if point.global_batch_size < size]
    above = [point for point in points if point.global_batch_size > size]
    if same:
        return Basis.POINT, same
    if below and above:
        return Basis.INTERPOLATED, [below[-1], above[0]]
    return (Basis.SMALLEST, above[:1]) if above else (Basis.MISSING, [])


def _reference(
    way: Way, used: Sequence[ReferencePoint], size: int, runs: int, dropped: int
) -> tuple[float, float, int]:
    """Mean, deviation and n1 of one point, or of the line between two."""
    means = [point.mean(dropped) for point in used]
    deviations = [
        float(np.std(point.to_converge if way is Way.PACKAGE else point.trimmed(dropped)))
        for point in used
    ]
    if len(used) == 1:
        return means[0], deviations[0], len(used[0].trimmed(dropped))
    sizes = [point.global_batch_size for point in used]
    mean, deviation = (float(np.interp(size, sizes, ends)) for ends in (means, deviations))
    return mean, deviation, 2 * runs
