"""Percentiles and early stopping, against the published table, the binomial itself and brute force.

The table is that of the MLPerf Inference rules, appendix "Early Stopping Criterion".
"""

from fractions import Fraction
from functools import cache
from math import comb

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from gnomon.core.stats import (
    EARLY_STOPPING_CONFIDENCE,
    early_stopping_bound,
    early_stopping_estimate,
    fewest_passing,
    percentile,
)

OVER = (0, 1, 2, 5, 10, 50, 100)
PUBLISHED = {
    0.90: (44, 64, 81, 127, 197, 681, 1246),
    0.99: (459, 662, 838, 1307, 2010, 6898, 12571),
    0.999: (4603, 6636, 8403, 13105, 20140, 69058, 125826),
}
TABLE = [
    (share, over, total)
    for share, totals in PUBLISHED.items()
    for over, total in zip(OVER, totals, strict=True)
]
DOUBT = 1 - EARLY_STOPPING_CONFIDENCE
SHARES = st.floats(0.05, 0.999)


def binomial_tail(good, over, share):
    """The chance of at most `over` bad queries in good + over if the percentile were just missed."""
    return scipy_stats.binom.cdf(over, good + over, 1 - share)


@cache
def reference_needed(over, share):
    return fewest_passing(over, share) + over


# --- percentiles


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=60), st.integers(0, 999))
def test_a_percentile_is_the_element_at_the_whole_part_of_its_share(values, thousandths):
    ordered = np.sort(np.array(values, dtype=np.int64))
    found = percentile(ordered, thousandths / 1000)
    assert found == sorted(values)[int(len(values) * (thousandths / 1000))]
    assert isinstance(found, int)


@pytest.mark.parametrize(
    ("count", "share", "place"),
    [(1, 0.99, 0), (10, 0.5, 5), (10, 0.9, 9), (10, 0.99, 9), (100, 0.99, 99), (1000, 0.999, 999)],
)
def test_a_percentile_is_never_interpolated_and_leans_to_the_slower_side(count, share, place):
    assert percentile(np.arange(count), share) == place


def test_a_percentile_rounds_as_doubles_do_in_the_reference():
    assert percentile(np.arange(100), 0.29) == 28  # 100 * 0.29 is 28.999999999999996


# --- the fewest that pass


@pytest.mark.parametrize(("share", "over", "total"), TABLE)
def test_the_fewest_queries_that_pass_are_those_of_the_published_table(share, over, total):
    assert fewest_passing(over, share) + over == total


@given(st.integers(0, 400), SHARES)
def test_the_fewest_that_pass_are_enough_and_one_fewer_is_not(over, share):
    good = fewest_passing(over, share)
    assert binomial_tail(good, over, share) < DOUBT
    assert good == 1 or binomial_tail(good - 1, over, share) >= DOUBT


@given(st.integers(0, 30), SHARES, st.sampled_from([0.6, 0.9, 0.95, 0.99, 0.999]))
@example(0, 0.05, 0.95)
def test_any_confidence_is_met_and_no_more(over, share, confidence):
    good = fewest_passing(over, share, confidence)
    doubt = 1 - confidence
    # Two ways to compute the tail; where it is as much as the doubt they may fall on either side of it.
    assert binomial_tail(good, over, share) < doubt * (1 + 1e-12)
    assert good == 1 or binomial_tail(good - 1, over, share) >= doubt * (1 - 1e-12)


@pytest.mark.parametrize("over", range(6))
@pytest.mark.parametrize("percent", [50, 75, 90, 95])
def test_the_fewest_that_pass_are_those_of_exact_fractions(over, percent):
    miss = Fraction(100 - percent, 100)

    def tail(good):
        total = good + over
        return sum(
            comb(total, bad) * miss**bad * (1 - miss) ** (total - bad) for bad in range(over + 1)
        )

    good = next(good for good in range(1, 1000) if tail(good) < Fraction(1, 100))
    assert fewest_passing(over, percent / 100) == good


@given(st.integers(0, 1000), SHARES)
def test_one_more_over_the_bound_needs_more_good_ones(over, share):
    assert fewest_passing(over + 1, share) >= fewest_passing(over, share)


def test_a_percentile_that_is_almost_all_still_has_an_answer():
    good = fewest_passing(0, 0.9999999)
    assert good == pytest.approx(np.log(DOUBT) / np.log(0.9999999), rel=1e-6)


# --- Server: a bound


@pytest.mark.parametrize(("share", "over", "total"), TABLE)
def test_the_bound_is_met_from_the_published_count_on_and_not_before(share, over, total):
    assert early_stopping_bound(over, total, share).met
    assert not early_stopping_bound(over, total - 1, share).met


def test_a_bound_reports_what_was_processed_needed_and_over():
    found = early_stopping_bound(5, 1000, 0.99)
    assert (found.met, found.queries, found.needed, found.over) == (False, 1000, 1307, 5)
    assert found.estimate_ns is None


def test_no_queries_at_all_prove_nothing():
    assert not early_stopping_bound(0, 0, 0.9).met


def test_when_every_query_is_over_the_bound_it_is_not_met():
    assert not early_stopping_bound(500, 500, 0.9).met


@given(st.integers(0, 3000), st.integers(0, 3000), st.sampled_from([0.5, 0.9, 0.97, 0.99]))
def test_a_bound_is_met_exactly_when_the_binomial_says_so(good, over, share):
    met = good > 0 and binomial_tail(good, over, share) < DOUBT
    assert early_stopping_bound(over, good + over, share).met == met


# --- stream scenarios: an estimate


@pytest.mark.parametrize(("share", "needed"), [(0.90, 64), (0.99, 662), (0.999, 6636)])
def test_an_estimate_needs_the_published_number_of_queries(share, needed):
    few = early_stopping_estimate(np.arange(needed - 1), share)
    assert (few.met, few.needed, few.queries, few.over) == (False, needed, needed - 1, 0)
    assert few.estimate_ns is None
    enough = early_stopping_estimate(np.arange(needed), share)
    assert (enough.met, enough.needed, enough.queries) == (True, needed, needed)


def test_with_just_enough_queries_the_estimate_is_the_highest_latency():
    found = early_stopping_estimate(np.arange(64) + 1000, 0.90)
    assert (found.over, found.estimate_ns) == (0, 1063)


def test_no_latencies_give_no_estimate():
    found = early_stopping_estimate(np.array([], dtype=np.int64), 0.90)
    assert (found.met, found.queries, found.estimate_ns) == (False, 0, None)


@pytest.mark.parametrize("share", PUBLISHED)
@pytest.mark.parametrize("place", range(1, len(OVER)))
def test_an_estimate_sets_one_more_aside_at_each_published_count(share, place):
    total = PUBLISHED[share][place]
    before = early_stopping_estimate(np.arange(total - 1), share)
    at = early_stopping_estimate(np.arange(total), share)
    assert at.over == OVER[place] - 1
    assert at.estimate_ns == total - OVER[place]
    assert before.over == (at.over - 1 if before.met else 0)


@given(st.integers(0, 2500), st.sampled_from([0.5, 0.8, 0.9, 0.97, 0.99]))
def test_an_estimate_sets_aside_as_many_as_brute_force_allows(queries, share):
    allowed = 0
    while allowed < queries and reference_needed(allowed + 1, share) <= queries:
        allowed += 1
    found = early_stopping_estimate(np.arange(queries) * 10, share)
    assert found.met == (allowed > 0)
    if found.met:
        assert found.over == allowed - 1
        assert found.estimate_ns == 10 * (queries - allowed)


@given(st.integers(64, 5000), st.sampled_from([0.5, 0.8, 0.9]))
def test_an_estimate_is_never_below_the_percentile_that_it_vouches_for(queries, share):
    latencies = np.arange(queries)
    assert early_stopping_estimate(latencies, share).estimate_ns >= percentile(latencies, share)


def test_an_estimate_comes_close_to_the_percentile_as_queries_grow():
    latencies = np.arange(1_000_000)
    found = early_stopping_estimate(latencies, 0.99).estimate_ns
    assert 0 <= found - percentile(latencies, 0.99) < 300


def test_an_estimate_and_a_bound_agree_on_what_is_proved():
    """The latencies set aside are over the estimate; with them and it, the bound still holds."""
    for queries in (64, 65, 200, 1246, 5000):
        found = early_stopping_estimate(np.arange(queries), 0.90)
        assert early_stopping_bound(found.over + 1, queries, 0.90).met
        assert not early_stopping_bound(found.over + 2, queries, 0.90).met
