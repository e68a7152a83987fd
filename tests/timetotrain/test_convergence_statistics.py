"""Statistics of runs to the target: against SciPy, against exact enumeration, and by measured coverage."""

import itertools
import math

import hypothesis
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import UsageError
from gnomon.timetotrain.convergence_statistics import (
    describe,
    olympic_interval,
    olympic_replicates,
    runs_needed,
)
from gnomon.timetotrain.olympic import olympic_mean

quick = hypothesis.settings(deadline=None, derandomize=True, max_examples=60)
DIGITS = [6, 8, 6, 7, 11, 9, 8, 16, 6, 6]
"""Epochs to a target close to the plateau."""


def test_a_distribution_has_the_textbook_numbers():
    found = describe(DIGITS)
    assert (found.count, found.converged) == (10, 10)
    assert found.mean == pytest.approx(np.mean(DIGITS))
    assert found.deviation == pytest.approx(np.std(DIGITS, ddof=1))
    assert found.variation == pytest.approx(scipy.stats.variation(DIGITS, ddof=1))
    assert dict(found.quantiles)[0.5] == 7
    assert dict(found.quantiles)[0.9] == 11


def test_a_failed_run_is_the_slowest_in_quantiles_and_in_no_mean():
    found = describe([math.inf, 4.0, 6.0, 5.0])
    assert (found.count, found.converged, found.mean) == (4, 3, 5.0)
    assert found.quantiles == (
        (0.0, 4.0),
        (0.1, 4.0),
        (0.25, 4.0),
        (0.5, 5.0),
        (0.75, 6.0),
        (0.9, math.inf),
        (1.0, math.inf),
    )


@pytest.mark.parametrize(("converged", "count"), [(0, 4), (9, 10), (10, 10), (17, 20)])
def test_the_share_that_converges_has_wilsons_interval(converged, count):
    found = describe([1.0] * converged + [math.inf] * (count - converged))
    z, share = scipy.stats.norm.ppf(0.975), converged / count
    for end in (found.share.low, found.share.high):
        # The ends solve |end - share| = z * sqrt(end * (1 - end) / n).
        assert abs(end - share) == pytest.approx(z * math.sqrt(end * (1 - end) / count), abs=1e-9)
    assert found.share.low <= share <= found.share.high


def test_few_runs_have_no_deviation_and_no_run_no_distribution():
    assert describe([3.0]).deviation is None
    assert describe([math.inf]).mean is None
    with pytest.raises(UsageError, match="no runs to describe"):
        describe([])


def test_replicates_are_distributed_as_all_possible_sets_are():
    runs = np.array([1.0, 2.0, 4.0, 9.0, math.inf])
    every = [olympic_mean(drawn) for drawn in itertools.product(runs, repeat=5)]
    exact = np.array([math.inf if mean is None else mean for mean in every])
    drawn = olympic_replicates(runs, 5, dropped=1, step=0.0, replicates=40_000, seed=0)
    assert np.isinf(drawn).mean() == pytest.approx(np.isinf(exact).mean(), abs=0.01)
    for level in (1.5, 2.0, 3.0, 5.0, 8.0):
        assert (drawn <= level + 1e-9).mean() == pytest.approx(
            (exact <= level + 1e-9).mean(), abs=0.012
        )


@quick
@given(st.lists(st.floats(1, 100), min_size=5, max_size=20), st.integers(0, 2), st.integers(0, 9))
def test_an_interval_holds_its_mean_scales_with_the_unit_and_is_reproducible(values, dropped, seed):
    found = olympic_interval(values, dropped, seed=seed)
    assert found.mean == olympic_mean(values, dropped)
    assert found.interval.low <= found.mean + 1e-9
    assert found.interval.high >= found.mean - 1e-9
    assert olympic_interval(values, dropped, seed=seed) == found
    scaled = olympic_interval([60 * value for value in values], dropped, seed=seed)
    assert scaled.interval.high == pytest.approx(60 * found.interval.high, rel=1e-6)


def test_the_quantiles_of_few_runs_are_as_far_out_as_students_t():
    values = np.exp(0.1 * np.random.default_rng(1).standard_normal(12))
    found = olympic_interval(values.tolist(), seed=3)
    drawn = olympic_replicates(values, 12, dropped=1, step=0.0, replicates=10_000, seed=3)
    outside = (drawn < found.interval.low).mean() + (drawn > found.interval.high).mean()
    asked = 2 * scipy.stats.norm.sf(scipy.stats.t.ppf(0.975, 11) * math.sqrt(12 / 11))
    assert outside == pytest.approx(asked, abs=5e-4)
    assert asked < 0.03


def test_more_confidence_and_more_spread_make_the_interval_wider():
    def width(**options):
        interval = olympic_interval(DIGITS, **options).interval
        return interval.high - interval.low

    assert width(confidence=0.8) < width(confidence=0.95) < width(confidence=0.99)
    assert width(step=1.0) < width(step=4.0)


def coverage(draw, runs, repetitions=400):
    """In which share of repetitions the interval holds what such sets give on average."""
    generator = np.random.default_rng(5)
    truth = np.sort(draw(generator, (200_000, runs)), axis=1)[:, 1:-1].mean()
    sets = draw(generator, (repetitions, runs))
    found = [olympic_interval(list(values)).interval for values in sets]
    return sum(interval.holds(truth) for interval in found) / repetitions


@pytest.mark.parametrize("runs", [5, 10])
@pytest.mark.parametrize(
    "draw",
    [
        lambda generator, shape: np.exp(0.1 * generator.standard_normal(shape)),
        lambda generator, shape: np.ceil(9.5 * np.exp(0.07 * generator.standard_normal(shape))),
    ],
    ids=["lognormal", "epochs"],
)
def test_the_interval_covers_what_it_says(draw, runs):
    # The plain percentile interval covers 73 % of five runs in whole epochs.
    assert 0.90 <= coverage(draw, runs) <= 0.995


def test_equal_values_are_spread_over_the_step_of_evaluation():
    assert olympic_interval([6, 6, 6, 6, 8]).step == 2
    assert olympic_interval([6.0, 6.5, 7.0, 8.0, 9.0]).step == 0
    no_spread = olympic_interval([6.0] * 5)
    assert no_spread.interval.low == no_spread.interval.high == 6.0
    known = olympic_interval([6.0] * 5, step=1.0)
    assert known.interval.low < 5.8 < 6.2 < known.interval.high


def test_runs_that_may_fail_make_the_upper_end_infinite():
    found = olympic_interval([6.0, 7.0, 8.0, 9.0, math.inf])
    assert found.mean == 8.0
    assert found.interval.high == math.inf
    assert math.isfinite(found.interval.low)
    # More than one of five draws of one in five: 1 - 0.8 ** 5 - 5 * 0.2 * 0.8 ** 4.
    assert found.invalid_share == pytest.approx(0.2627, abs=0.02)
    assert olympic_interval([6.0, 7.0, 8.0, math.inf, math.inf]) is None


def test_of_fewer_than_five_runs_the_interval_is_students():
    values = [60.0, 66.0, 63.0]
    found = olympic_interval(values)
    reach = scipy.stats.t.interval(0.95, 2, scale=scipy.stats.sem(np.log(values)))[1]
    assert found.method == "student"
    assert found.interval.high == pytest.approx(63 * math.exp(reach))
    assert found.interval.low == pytest.approx(63 * math.exp(-reach))
    assert olympic_interval([6.0, 7.0, math.inf]) is None
    assert olympic_interval([6.0, 7.0]) is None


@pytest.mark.parametrize("wanted", [0.1, 0.05])
def test_as_many_runs_as_are_needed_do_and_the_closed_form_is_close(wanted):
    pilot = np.exp(0.12 * np.random.default_rng(2).standard_normal(30)).tolist()
    found = runs_needed(pilot, wanted)
    assert found.half_width <= wanted
    assert found.runs == pytest.approx(found.closed_form, rel=0.25)
    # With that many runs of the same kind, intervals are about as narrow as was asked for.
    generator = np.random.default_rng(3)
    widths = []
    for seed in range(40):
        values = 0.12 * generator.standard_normal(found.runs)
        interval = olympic_interval(np.exp(values).tolist(), seed=seed).interval
        widths.append((interval.high - interval.low) / 2)
    assert np.median(widths) == pytest.approx(wanted, rel=0.25)


def test_fewer_runs_are_needed_for_a_wider_interval_and_never_fewer_than_count():
    needed = [runs_needed(DIGITS, width).runs for width in (0.1, 0.2, 0.4, 0.9)]
    assert needed == sorted(needed, reverse=True)
    assert needed[-1] == 5
    assert runs_needed(DIGITS, 0.9, dropped=4).runs == 9


def test_where_no_number_of_runs_does_it_is_said_why():
    failing = runs_needed([*DIGITS, math.inf], 0.1)
    assert failing.runs is None
    assert failing.closed_form is None
    assert failing.why.startswith("1 of 11 pilot runs did not converge")
    fine = runs_needed(DIGITS, 0.001)
    assert fine.runs is None
    assert fine.why.startswith("not even 1000 runs do")


@pytest.mark.parametrize("width", [0, 1, -0.1, math.nan])
def test_a_half_width_that_is_no_share_is_refused(width):
    with pytest.raises(UsageError, match="share between 0 and 1"):
        runs_needed(DIGITS, width)


@pytest.mark.parametrize("pilot", [[1.0] * 4, [1, 2, 3, 4, math.nan], [1, 2, 3, 4, -5]])
def test_a_pilot_that_says_nothing_is_refused(pilot):
    with pytest.raises(UsageError, match="at least 5 pilot runs"):
        runs_needed(pilot, 0.1)
