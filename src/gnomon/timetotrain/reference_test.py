"""A campaign against its benchmark's reference: convergence points and hyperparameters, as checks."""

from __future__ import annotations

import math

from gnomon.core.verdict import Check
from gnomon.timetotrain.convergence_checks import convergence_checks
from gnomon.timetotrain.convergence_test import ConvergenceTest, judge_convergence
from gnomon.timetotrain.evidence import Campaign
from gnomon.timetotrain.hyperparameters import compare_hyperparameters
from gnomon.timetotrain.reference_point_files import read_reference_points
from gnomon.timetotrain.settings import FEWEST_RUNS, MEASUREMENT, reference_points_path


def convergence_test_of(campaign: Campaign) -> ConvergenceTest | None:
    """The runs against the reference convergence points; None if there are none, or too few runs.

    Raises:
        DataError: The points cannot be read.
    """
    declared = campaign.declared
    if declared.reference_points is None or len(campaign.runs) < FEWEST_RUNS:
        return None
    points = read_reference_points(reference_points_path(declared.reference_points))
    batch = int(campaign.settings.hyperparameters["global_batch_size"])
    to_converge = [run.epochs if run.converged else math.inf for run in campaign.runs]
    if points and points[0].unit == "samples":
        to_converge = [float(run.samples) if run.converged else math.inf for run in campaign.runs]
    return judge_convergence(
        points, batch, to_converge, runs=len(campaign.runs), dropped=declared.dropped
    )


def reference_checks(campaign: Campaign, test: ConvergenceTest | None) -> list[Check]:
    """Whether the runs converge as the reference does, with hyperparameters that the rules allow."""
    checks = [] if test is None else convergence_checks(test, MEASUREMENT)
    declared = campaign.declared
    each = compare_hyperparameters(
        declared.may_vary,
        declared.hyperparameters,
        campaign.settings.hyperparameters,
        measurement=MEASUREMENT,
    )
    wrong = [check for check in each if not check.passed]
    if wrong:
        return [*checks, *wrong]
    changed = [
        f"{key} {value}"
        for key, value in campaign.settings.hyperparameters.items()
        if declared.hyperparameters.get(key) != value
    ]
    found = f"the reference's, but {', '.join(changed)}" if changed else "the reference's"
    return [
        *checks,
        Check("hyperparameters", True, found, "the reference's, or as may vary", "", MEASUREMENT),
    ]
