"""Intervals and tests for series whose neighbours are alike, against known truths and published values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal, stats

from gnomon.core import resampling
from gnomon.core.resampling import Interval


def autoregressive(count, likeness, seed):
    """Standard normal values of which neighbours correlate by `likeness`."""
    noise = np.random.default_rng(seed).normal(size=count + 500)
    series = signal.lfilter([1.0], [1.0, -likeness], noise)[500:]
    return series * np.sqrt(1 - likeness**2)


def latencies(count, likeness, seed):
    return np.exp(0.3 * autoregressive(count, likeness, seed)) * 1e6


def percentile_ratio(baseline, candidate, share):
    generator = np.random.default_rng(1)
    replicates = [
        resampling.percentile_replicates(series, share, generator)
        for series in (baseline, candidate)
    ]
    return resampling.ratio_interval(replicates[1], replicates[0])


@pytest.mark.parametrize(("likeness", "share"), [(0.0, 0.5), (0.8, 0.9), (0.5, 0.99)])
def test_the_interval_of_a_percentile_ratio_holds_the_truth_about_as_often_as_it_says(
    likeness, share
):
    held = sum(
        percentile_ratio(
            latencies(1000, likeness, seed), 1.2 * latencies(1000, likeness, seed + 10_000), share
        ).holds(1.2)
        for seed in range(40)
    )
    assert held >= 34  # 38 expected; binomially below 34 in 1 of 70 such trials


def test_the_interval_of_a_rate_ratio_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for seed in range(80):
        generator = np.random.default_rng(1)
        replicates = [
            resampling.rate_replicates(
                np.full(600, 32), latencies(600, 0.7, seed + offset), generator
            )
            for offset in (0, 10_000)
        ]
        held += resampling.ratio_interval(*replicates).holds(1.0)
    assert held >= 70


def test_alike_neighbours_widen_the_interval_and_shuffling_them_narrows_it():
    series = [latencies(5000, 0.97, seed) for seed in (1, 2)]
    shuffled = [np.random.default_rng(3).permutation(values) for values in series]
    wide, narrow = percentile_ratio(*series, 0.9), percentile_ratio(*shuffled, 0.9)
    assert wide.high - wide.low > 2.5 * (narrow.high - narrow.low)


def test_the_same_series_always_give_the_same_interval():
    series = [latencies(3000, 0.5, seed) for seed in (1, 2)]
    assert percentile_ratio(*series, 0.99) == percentile_ratio(*series, 0.99)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [600, 5000, 200_000])
def test_replicates_of_a_percentile_lie_around_it_with_the_spread_that_theory_gives(count, share):
    values = latencies(count, 0.0, 7)
    found = resampling.percentile_replicates(values, share, np.random.default_rng(0))
    density = stats.lognorm(0.3, scale=1e6).pdf(np.quantile(values, share))
    expected = np.sqrt(share * (1 - share) / count) / density
    assert abs(found.mean() - np.quantile(values, share)) < expected
    assert 0.6 * expected < found.std() < 1.6 * expected


def test_a_constant_series_has_one_percentile():
    found = resampling.percentile_replicates(np.full(500, 42), 0.9, np.random.default_rng(0))
    assert (found == 42).all()


@pytest.mark.parametrize(("count", "share"), [(29, 0.5), (200, 0.999)])
def test_too_few_values_give_no_replicates(count, share):
    values = latencies(count, 0.0, 1)
    assert resampling.percentile_replicates(values, share, np.random.default_rng(0)) is None


def test_a_tail_that_is_one_burst_gives_no_replicates():
    values = latencies(1000, 0.0, 1)
    values[400:450] *= 10
    assert resampling.percentile_replicates(values, 0.96, np.random.default_rng(0)) is None


def test_too_few_steps_give_no_rate():
    few = np.ones(29)
    assert resampling.rate_replicates(few, few, np.random.default_rng(0)) is None


@pytest.mark.parametrize("likeness", [0.6, 0.8, 0.9])
def test_the_block_length_is_near_the_best_for_an_autoregressive_series(likeness):
    """Politis and White (2004): for the circular bootstrap, with the known covariances of AR(1)."""
    count = 2048
    best = (1.5 * (2 * likeness / (1 - likeness**2)) ** 2 * count) ** (1 / 3)
    found = [resampling.block_length(autoregressive(count, likeness, seed)) for seed in range(25)]
    assert 0.7 * best < np.median(found) < 1.4 * best


def test_the_block_length_never_leaves_few_blocks_or_falls_below_the_cube_root():
    trend = np.linspace(0.0, 1.0, 1600)
    assert resampling.block_length(trend) == 100
    assert resampling.block_length(autoregressive(1000, 0.0, 1)) == 10
    assert resampling.block_length(np.zeros(1000)) == 10


def test_a_huge_series_is_thinned_to_stretches_of_neighbours_from_all_of_it():
    kept = resampling.thinned(np.arange(5_000_000))
    assert len(kept) <= resampling.MAX_ROWS
    assert (np.diff(kept) > 0).all()
    assert np.mean(np.diff(kept) == 1) > 0.99
    assert kept[-1] > 4_990_000


def test_independent_series_get_the_textbook_mann_whitney_test():
    for seed in range(20):
        baseline, candidate = latencies(400, 0.0, seed), 1.02 * latencies(300, 0.0, seed + 100)
        found = resampling.mann_whitney(baseline, candidate)
        textbook = stats.mannwhitneyu(candidate, baseline)
        assert found.superiority == pytest.approx(textbook.statistic / (400 * 300))
        # Never more certain than the textbook, which knows that the values are independent.
        assert found.p_value >= 0.9 * textbook.pvalue
        ours, theirs = (stats.norm.isf(p / 2) for p in (found.p_value, textbook.pvalue))
        assert ours > 0.6 * theirs


def test_like_systems_with_alike_neighbours_are_not_called_different():
    found = textbook = 0
    for seed in range(100):
        baseline, candidate = (latencies(1000, 0.9, seed + offset) for offset in (0, 10_000))
        found += resampling.mann_whitney(baseline, candidate).p_value < 0.05
        textbook += stats.mannwhitneyu(baseline, candidate).pvalue < 0.05
    assert found <= 11
    assert textbook > 40  # what the correction is for


def test_ties_are_counted_half_and_equal_constants_do_not_differ():
    found = resampling.mann_whitney(np.ones(50), np.ones(70))
    assert (found.superiority, found.p_value, found.cliffs_delta) == (0.5, 1.0, 0.0)


def test_values_that_are_all_greater_have_a_delta_of_one_and_a_small_p_value():
    found = resampling.mann_whitney(latencies(300, 0.5, 1), latencies(300, 0.5, 2) + 1e8)
    assert found.cliffs_delta == 1.0
    assert found.p_value < 1e-4


def test_few_values_have_an_effect_size_but_no_p_value():
    found = resampling.mann_whitney(np.arange(3), np.arange(3) + 10)
    assert (found.superiority, found.p_value) == (1.0, None)


def test_the_ratio_of_small_samples_is_tested_as_welch_does_on_logarithms():
    baseline, candidate = [100.0, 104.0, 97.0, 101.0], [121.0, 118.0, 131.0]
    found = resampling.welch_ratio(baseline, candidate)
    oracle = stats.ttest_ind(np.log(candidate), np.log(baseline), equal_var=False)
    low, high = oracle.confidence_interval(0.95)
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert (found.interval.low, found.interval.high) == pytest.approx((np.exp(low), np.exp(high)))
    assert found.ratio == pytest.approx(stats.gmean(candidate) / stats.gmean(baseline))


@pytest.mark.parametrize(("candidate", "p_value"), [(2.0, 1.0), (3.0, 0.0)])
def test_samples_without_spread_differ_or_do_not(candidate, p_value):
    found = resampling.welch_ratio([2.0] * 3, [candidate] * 3)
    assert found.p_value == p_value
    assert found.interval == Interval(found.ratio, found.ratio)


def test_the_difference_of_shares_has_the_interval_that_newcombe_printed():
    """Newcombe (1998), table II, method 10: 56/70 - 48/80."""
    interval, p_value = resampling.share_difference((48, 80), (56, 70))
    assert (interval.low, interval.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    oracle = stats.chi2_contingency([[48, 32], [56, 14]], correction=False).pvalue
    assert p_value == pytest.approx(oracle)


def test_shares_of_all_or_none_do_not_differ_and_keep_an_interval():
    interval, p_value = resampling.share_difference((50, 50), (50, 50))
    assert p_value == 1.0
    assert interval.low < 0 < interval.high


def test_holm_adjusts_a_worked_example():
    assert resampling.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_raises_p_values_keeps_their_order_and_stays_below_one(p_values):
    adjusted = resampling.holm(p_values)
    assert all(p <= after <= 1 for p, after in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.asarray(adjusted)[order]) >= 0).all()
