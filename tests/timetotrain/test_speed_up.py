"""Speed-ups split into throughput and convergence, and scaling curves: identities and known cases."""

import math

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import UsageError
from gnomon.timetotrain.speed_up import RunSet, compare_run_sets, scaling_curve

quick = hypothesis.settings(deadline=None, derandomize=True, max_examples=100)
positive = st.floats(0.1, 1e5)
run_sets = st.lists(st.tuples(positive, positive), min_size=3, max_size=8).map(
    lambda pairs: RunSet(*map(tuple, zip(*pairs, strict=True)))
)


def at_rate(samples_per_second, samples):
    """Runs at one throughput."""
    return RunSet(tuple(count / samples_per_second for count in samples), tuple(samples))


@quick
@given(run_sets, run_sets)
def test_a_speed_up_is_the_product_of_its_two_parts(baseline, candidate):
    found = compare_run_sets(baseline, candidate)
    product = found.throughput.ratio * found.convergence.ratio
    assert found.total.ratio == pytest.approx(product, rel=1e-9)
    back = compare_run_sets(candidate, baseline)
    assert back.total.ratio == pytest.approx(1 / found.total.ratio)
    assert back.total.p_value == pytest.approx(found.total.p_value)
    for part in (found.total, found.throughput, found.convergence):
        assert part.interval.low <= part.ratio * (1 + 1e-12)
        assert part.interval.high >= part.ratio * (1 - 1e-12)


def test_a_faster_machine_is_all_throughput():
    samples = [6000.0, 7000.0, 6500.0, 6200.0, 6900.0]
    found = compare_run_sets(at_rate(1000, samples), at_rate(4000, samples))
    assert found.throughput.ratio == pytest.approx(4)
    assert found.throughput_share == pytest.approx(1)
    assert found.convergence.ratio == pytest.approx(1)
    assert found.convergence.interval.low < 1 < found.convergence.interval.high
    assert found.total.interval.low < 4 < found.total.interval.high


def test_a_larger_batch_gains_in_throughput_and_loses_in_convergence():
    small = at_rate(1000, [5900.0, 6000.0, 6100.0, 6050.0, 5950.0])
    large = at_rate(4000, [11800.0, 12000.0, 12200.0, 12100.0, 11900.0])
    found = compare_run_sets(small, large)
    assert found.total.ratio == pytest.approx(2)
    assert found.throughput.ratio == pytest.approx(4)
    assert found.convergence.ratio == pytest.approx(0.5)
    assert found.convergence.interval.high < 1
    assert found.throughput_share == pytest.approx(2)


def test_equal_runs_have_no_speed_up_to_share():
    runs = at_rate(1000, [6000.0, 7000.0, 6500.0])
    found = compare_run_sets(runs, runs)
    assert found.total.ratio == pytest.approx(1)
    assert found.throughput_share is None


def test_failed_runs_are_left_out_and_counted():
    whole = at_rate(1000, [6000.0, 7000.0, 6500.0])
    failing = RunSet((*whole.seconds, math.inf), (*whole.samples, math.inf))
    found = compare_run_sets(whole, failing)
    assert found.left_out == (0, 1)
    assert found.total.ratio == pytest.approx(1)
    with pytest.raises(UsageError, match="the candidate has 1 converged runs of 2"):
        compare_run_sets(whole, RunSet((6.0, math.inf), (6000.0, math.inf)))


@pytest.mark.parametrize(
    ("seconds", "samples", "message"),
    [
        ((1.0, 2.0), (10.0,), "2 runs have seconds and 1 have samples"),
        ((1.0, 0.0), (10.0, 10.0), "run 1 has 0.0 s"),
        ((1.0, math.nan), (10.0, 10.0), "run 1 has nan s"),
        ((1.0, math.inf), (10.0, 10.0), "both must be positive, or both infinity"),
    ],
)
def test_runs_without_both_numbers_are_refused(seconds, samples, message):
    with pytest.raises(UsageError, match=message):
        RunSet(seconds, samples)


def test_perfect_scaling_is_efficient_in_every_way():
    samples = [6000.0, 7000.0, 6500.0, 6200.0, 6900.0]
    curve = scaling_curve([(count, at_rate(1000 * count, samples)) for count in (4, 1, 2)])
    assert [point.processes for point in curve] == [1, 2, 4]
    for point in curve:
        assert point.speed_up == pytest.approx(point.processes)
        assert point.throughput_speed_up == pytest.approx(point.processes)
        assert point.efficiency == pytest.approx(1)
        assert point.throughput_efficiency == pytest.approx(1)
        assert point.convergence_efficiency == pytest.approx(1)


def test_what_larger_batches_cost_is_told_from_what_communication_costs():
    one = at_rate(1000, [6000.0] * 5)
    eight = at_rate(6400, [9000.0] * 5)
    _, point = scaling_curve([(1, one), (8, eight)])
    assert point.samples_per_second == pytest.approx(6400)
    assert point.throughput_efficiency == pytest.approx(0.8)
    assert point.convergence_efficiency == pytest.approx(2 / 3)
    assert point.speed_up == pytest.approx(6.4 * 2 / 3)
    assert point.efficiency == pytest.approx(0.8 * 2 / 3)


@quick
@given(st.dictionaries(st.integers(1, 64), run_sets, min_size=1, max_size=5))
def test_efficiency_is_always_the_product_of_its_parts(runs_at):
    for point in scaling_curve(list(runs_at.items())):
        product = point.throughput_efficiency * point.convergence_efficiency
        assert point.efficiency == pytest.approx(product)
        more = point.processes / min(runs_at)
        assert point.efficiency * more == pytest.approx(point.speed_up)


def test_a_curve_with_a_number_twice_or_runs_without_a_mean_is_refused():
    runs = at_rate(1000, [6000.0] * 5)
    with pytest.raises(UsageError, match="each number of processes once, from 1 on, got 2"):
        scaling_curve([(2, runs), (1, runs), (2, runs)])
    with pytest.raises(UsageError, match="got 0"):
        scaling_curve([(0, runs)])
    failing = RunSet((1.0, 2.0, 3.0, math.inf, math.inf), (1.0, 2.0, 3.0, math.inf, math.inf))
    with pytest.raises(UsageError, match="5 runs at 4 processes have no olympic mean, 2 failed"):
        scaling_curve([(1, runs), (4, failing)])
