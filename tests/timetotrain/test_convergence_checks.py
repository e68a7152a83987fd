"""What is said of the test against reference points: numbers of both ways, remarks, and what to change."""

import math

import pytest

from gnomon.timetotrain.convergence_checks import convergence_checks
from gnomon.timetotrain.convergence_test import Way, judge_convergence
from gnomon.timetotrain.reference_points import ReferencePoint, make_reference_point

POINTS = (
    make_reference_point("a", 128, [16, 14, 16, 17, 16, 16, 15, 16, 15, 16], runs=5),
    make_reference_point("a", 256, [20, 21, 21, 20, 22, 22, 21, 21, 20, 20], runs=5),
)


def checked(size, epochs, points=POINTS, **options):
    return convergence_checks(judge_convergence(points, size, epochs, runs=5, **options), "runs")


def test_runs_as_slow_as_the_reference_pass_without_a_remark():
    convergence, runs = checked(128, [16, 16, 16, 16, 16])
    assert (convergence.name, runs.name) == ("reference_convergence", "reference_runs")
    assert convergence.passed
    assert runs.passed
    assert (convergence.why, runs.why) == ("", "")
    assert convergence.measurement == runs.measurement == "runs"
    assert convergence.found == "olympic mean 16 epochs of 5 runs at batch size 128"
    assert "at least 14.7807 epochs" in convergence.required
    assert "6.56 %" in convergence.required
    assert "at least 15.2126 epochs" in convergence.required
    assert "3.53 %" in convergence.required


def test_suspiciously_fast_runs_fail_with_numbers_and_a_mend():
    convergence, _ = checked(256, [15, 15, 15, 15, 15])
    assert not convergence.passed
    assert "converges suspiciously fast, 38.33 % faster" in convergence.why
    assert "look for held-out data in training" in convergence.why
    assert "\n" not in convergence.why


def test_the_way_that_decides_is_said_and_the_other_ones_objection_is_a_remark():
    by_package, _ = checked(128, [15, 15, 15, 15, 15])
    assert by_package.passed
    assert "the official package decides" in by_package.required
    assert "the rules as written would fail it" in by_package.why
    assert "the score is multiplied by 1.05" in by_package.why
    by_rules, _ = checked(128, [15, 15, 15, 15, 15], decides=Way.WRITTEN)
    assert not by_rules.passed
    assert "the rules as written decide" in by_rules.required
    assert by_rules.why.endswith("the official package would pass it")


def test_what_the_runs_are_compared_with_is_said_where_they_have_no_point_of_their_own():
    (between, _) = checked(192, [19] * 5)
    assert between.why == "compared with the line between the points around its batch size"
    (fast, _) = checked(64, [11] * 5)
    assert "or add a reference point of 10 runs at batch size 64" in fast.why
    (missing,) = checked(512, [30] * 5)
    assert not missing.passed
    assert missing.why == (
        "no reference point has its batch size or a larger one: "
        "add a reference point of 10 runs at batch size 512"
    )
    (none,) = checked(512, [30] * 5, points=())
    assert "there is no reference point: add" in none.why


def test_a_pruned_point_is_said_and_not_asked_for_again():
    points = [*POINTS, make_reference_point("a", 192, [30.0, 31.0] * 5, runs=5)]
    passing, _ = checked(192, [19] * 5, points)
    assert passing.why.startswith("its own point is pruned")
    failing, _ = checked(192, [9] * 5, points)
    assert "add a reference point" not in failing.why
    assert "justify it with evidence" in failing.why


@pytest.mark.parametrize("epochs", [8.0, 6.0])
def test_a_reference_without_spread_is_said_whether_runs_pass_or_fail(epochs):
    convergence, _ = checked(8, [epochs] * 5, [ReferencePoint("a_ref_8", "a", 8, (7.0,) * 10)])
    assert convergence.passed == (epochs > 7)
    assert convergence.why.endswith("evaluate more often")


def test_failed_runs_are_not_said_to_be_fast():
    convergence, _ = checked(128, [math.inf, math.inf, 15, 15, 15])
    assert not convergence.passed
    assert convergence.found.startswith("no olympic mean of 5 runs")
    assert "too many runs did not converge" in convergence.why


@pytest.mark.parametrize("way", Way)
def test_a_reference_point_with_too_few_runs_fails_only_by_the_written_rules(way):
    short = [ReferencePoint("a_ref_8", "a", 8, (6.0, 7.0, 8.0, 7.0))]
    _, runs = checked(8, [7] * 5, short, decides=way)
    assert runs.passed == (way is Way.PACKAGE)
    assert runs.found == "a_ref_8 has 4"
    assert runs.required == "at least 10 runs in every reference point used"
    assert "run the reference more often" in runs.why
