"""Reference points made from runs, and pruned as the official checker prunes them (and as is written)."""

import math

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import UsageError
from gnomon.timetotrain.reference_points import (
    ReferencePoint,
    make_reference_point,
    pruned_by_all,
    pruned_by_neighbours,
    under_official_name,
)

quick = hypothesis.settings(deadline=None, derandomize=True, max_examples=150)


def flat(size, epochs):
    """A point of which every run took the same."""
    return ReferencePoint(f"digits_ref_{size}", "digits", size, (epochs,) * 3)


def sizes(points):
    return [point.global_batch_size for point in points]


curves = st.dictionaries(st.integers(1, 60), st.integers(1, 30), min_size=1, max_size=9).map(
    lambda curve: [flat(size, float(epochs)) for size, epochs in curve.items()]
)


def test_a_point_is_made_from_twice_the_runs_of_a_result():
    point = make_reference_point(
        "digits", 64, [6, 7, 5, 6, 8, 6, 9, 6, 6, 6], runs=5, hyperparameters={"opt_name": "sgd"}
    )
    assert point.name == "digits_ref_64"
    assert point.unit == "epochs"
    assert point.trimmed() == (6, 6, 6, 6, 6, 6, 7, 8)
    assert point.mean() == pytest.approx(51 / 8)
    assert point.mean(dropped=4) == 6.0


def test_too_few_runs_make_no_point():
    with pytest.raises(UsageError, match="needs 10 runs, twice the 5 of a result, got 9"):
        make_reference_point("digits", 64, [6.0] * 9, runs=5)
    with pytest.raises(UsageError, match="none is left when 5 at each end are dropped"):
        make_reference_point("digits", 64, [6.0] * 10, runs=5).mean(dropped=5)


@pytest.mark.parametrize("value", [math.inf, math.nan, 0.0, -2.0])
def test_a_run_that_did_not_converge_makes_no_point(value):
    with pytest.raises(UsageError, match=r"run 3 of the reference has .* epochs to converge"):
        make_reference_point("digits", 64, [6.0, 6.0, 6.0, value], runs=2)


def test_a_batch_size_below_one_makes_no_point():
    with pytest.raises(UsageError, match="global_batch_size must be at least 1, got 0"):
        make_reference_point("digits", 0, [6.0] * 4, runs=2)


def test_the_example_of_the_rules_loses_its_middle_point():
    points = [flat(128, 10.0), flat(256, 20.0), flat(512, 20.0)]
    assert sizes(pruned_by_neighbours(points)) == [128, 512]
    assert sizes(pruned_by_all(points)) == [128, 512]


def test_points_below_the_fastest_one_are_left_out():
    points = [flat(512, 20.0), flat(16, 12.0), flat(32, 10.0)]
    assert sizes(pruned_by_neighbours(points)) == [32, 512]


def test_the_official_checker_keeps_a_point_that_the_written_rule_prunes():
    # When 3 is looked at, 4 is still there; once that is gone, 3 lies above the line from 1 to 5.
    points = [flat(1, 1.0), flat(3, 6.0), flat(4, 9.0), flat(5, 10.0)]
    assert sizes(pruned_by_neighbours(points)) == [1, 3, 5]
    assert sizes(pruned_by_all(points)) == [1, 5]


@quick
@given(curves)
def test_what_is_left_never_lies_above_a_line_between_others_as_the_rule_is_written(points):
    left = pruned_by_all(points)
    assert set(sizes(left)) <= set(sizes(pruned_by_neighbours(points)))
    means = {point.global_batch_size: point.mean() for point in left}
    assert min(means.values()) == min(point.mean() for point in points)
    assert max(means) == max(sizes(points))
    for below in means:
        for above in means:
            for between in means:
                if below < between < above:
                    part = (between - below) / (above - below)
                    line = means[below] + part * (means[above] - means[below])
                    assert means[between] <= line + 1e-9


def test_pruning_nothing_leaves_nothing():
    assert pruned_by_neighbours([]) == pruned_by_all([]) == []


def test_points_under_an_official_name_count_in_the_unit_that_the_official_checker_reads():
    points = [make_reference_point("digits", 64, [900, 901, 902, 903], runs=2, unit="samples")]
    (renamed,) = under_official_name(points, "retinanet")
    assert (renamed.name, renamed.benchmark) == ("retinanet_ref_64", "retinanet")
    assert renamed.unit == "epochs"
    assert renamed.to_converge == points[0].to_converge
    assert under_official_name(points, "flux1")[0].unit == "samples"
