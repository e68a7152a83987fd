"""The olympic mean against its formula, and what is said of the runs that it leaves out."""

import math

import hypothesis
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gnomon.core.errors import UsageError
from gnomon.timetotrain.olympic import (
    DroppedRun,
    median_window,
    olympic_mean,
    olympic_score,
)

quick = hypothesis.settings(deadline=None, derandomize=True, max_examples=100)
times = st.floats(0.001, 1e6)
run_sets = st.lists(st.one_of(times, st.just(math.inf)), min_size=1, max_size=14)


@quick
@given(run_sets, st.integers(0, 4))
def test_the_mean_is_that_of_the_formula_of_the_rules(values, dropped):
    converged = sorted(value for value in values if math.isfinite(value))
    failed = len(values) - len(converged)
    kept = converged[dropped : len(converged) - (dropped - failed)] if failed <= dropped else []
    found = olympic_mean(values, dropped)
    if kept:
        assert found == pytest.approx(sum(kept) / len(kept), rel=1e-12)
    else:
        assert found is None


@quick
@given(run_sets, st.integers(0, 4), st.randoms(use_true_random=False))
def test_the_order_of_runs_does_not_matter(values, dropped, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    assert olympic_mean(shuffled, dropped) == olympic_mean(values, dropped)


@quick
@given(run_sets, st.integers(0, 4))
def test_every_run_of_a_valid_set_is_either_kept_or_dropped_with_a_reason(values, dropped):
    score = olympic_score(values, dropped)
    assume(score.mean is not None)
    left_out = [run.index for run in score.dropped]
    assert sorted([*score.kept, *left_out]) == list(range(len(values)))
    assert len(left_out) == 2 * dropped
    for run in score.dropped:
        assert (run.reason == "did not converge") == math.isinf(values[run.index])
    assert score.mean == pytest.approx(sum(values[i] for i in score.kept) / len(score.kept))


def test_a_failed_run_is_the_slowest_and_no_second_one_may_fail():
    one_failed = [3.0, math.inf, 1.0, 2.0, 4.0]
    score = olympic_score(one_failed)
    assert score.mean == 3.0
    assert score.kept == (3, 0, 4)
    assert score.dropped == (DroppedRun(2, "fastest"), DroppedRun(1, "did not converge"))
    two_failed = olympic_score([*one_failed, math.inf])
    assert two_failed.mean is None
    assert two_failed.failed == (1, 5)
    assert two_failed.why == "2 of 6 runs did not converge, at most 1 may"


def test_too_few_runs_have_no_mean():
    score = olympic_score([1.0, 2.0])
    assert score.mean is None
    assert score.why == "2 runs leave none once 1 at each end are dropped"


@pytest.mark.parametrize("value", [math.nan, -1.0])
def test_what_is_no_time_is_refused_with_its_place(value):
    with pytest.raises(UsageError, match=r"run 1 has the value .*: give a time"):
        olympic_mean([1.0, value, 2.0])


def test_a_negative_number_of_dropped_runs_is_refused():
    with pytest.raises(UsageError, match="at least 0, got -1"):
        olympic_mean([1.0, 2.0, 3.0], -1)


def test_of_more_runs_the_median_window_counts_with_failed_windows_as_infinite():
    values = [1.0, 1.0, 1.0, 5.0, 9.0, 9.0, math.inf, math.inf]
    window = median_window(values, runs=3)
    assert window.window_means == (1.0, 1.0, 5.0, 9.0, 9.0, math.inf)
    assert (window.start, window.stop) == (3, 6)
    assert window.score.mean == 9.0
    assert window.score.kept == (4,)
    assert window.score.dropped == (DroppedRun(3, "fastest"), DroppedRun(5, "slowest"))


def test_a_median_window_in_which_too_many_failed_makes_the_result_invalid():
    window = median_window([1.0, 2.0, 3.0, math.inf, math.inf, math.inf], runs=3)
    assert window.score.mean is None
    assert "did not converge" in window.score.why


@quick
@given(st.lists(st.one_of(times, st.just(math.inf)), min_size=3, max_size=14), st.integers(3, 6))
def test_at_least_half_of_the_windows_are_no_slower_than_the_one_chosen(values, runs):
    assume(runs <= len(values))
    window = median_window(values, runs)
    chosen = window.window_means[window.start]
    assert 2 * sum(mean <= chosen for mean in window.window_means) >= len(window.window_means)
    assert 2 * sum(mean >= chosen for mean in window.window_means) >= len(window.window_means)
    own = olympic_mean(values[window.start : window.stop])
    assert window.score.mean == own
    assert chosen == (math.inf if own is None else own)


@pytest.mark.parametrize("runs", [0, 4])
def test_a_window_wider_than_the_runs_is_refused(runs):
    with pytest.raises(UsageError, match=f"made of {runs} runs, and there are 3"):
        median_window([1.0, 2.0, 3.0], runs)
