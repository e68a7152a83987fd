from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.energy import (
    EnergySamples,
    Gap,
    Window,
    energy_between,
    evenly_sampled,
    from_power,
    measure_windows,
    windows_between,
)
from gnomon.core.errors import DataError

ONE_TO_TEN = evenly_sampled(np.arange(1.0, 11.0), rate_hz=10)
"""Ten samples of 0.1 s with 1, 2 ... 10 J."""


def test_a_window_from_boundary_to_boundary_is_the_sum_of_its_samples_by_every_rule():
    for rule in ("nearest", "running-sum", "split"):
        assert energy_between(ONE_TO_TEN, 0.2, 0.5, rule) == pytest.approx(3 + 4 + 5)


@pytest.mark.parametrize(
    ("start_s", "end_s", "joules"),
    [
        (0.24, 0.54, 3 + 4 + 5),
        (0.26, 0.56, 4 + 5 + 6),
        (0.0, 1.0, 55),
        (0.31, 0.34, 0),
        (0.25, 0.35, 3 + 4),  # 2.5 and 3.5 go to the even boundaries, 2 and 4
    ],
)
def test_the_nearest_rule_takes_whole_samples_between_the_nearest_boundaries(
    start_s, end_s, joules
):
    assert energy_between(ONE_TO_TEN, start_s, end_s) == joules


def test_the_split_rule_takes_a_cut_sample_in_proportion():
    assert energy_between(ONE_TO_TEN, 0.25, 0.52, "split") == pytest.approx(1.5 + 4 + 5 + 1.2)
    assert energy_between(ONE_TO_TEN, 0.31, 0.34, "split") == pytest.approx(0.3 * 4)


def test_the_running_sum_rule_moves_a_boundary_that_the_sum_has_not_quite_reached():
    samples = evenly_sampled(np.ones(50_000), rate_hz=1000)
    boundary_s, counted = 0.0, 0
    while boundary_s < 41.691:
        boundary_s += 0.001
        counted += 1
    assert counted == 41_692  # 41,691 additions of 0.001 fall short of 41.691
    assert energy_between(samples, 0, 41.691, "running-sum") == 41_692
    assert energy_between(samples, 0, 41.691, "nearest") == 41_691


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.data())
def test_adjoining_windows_add_up_by_every_rule(data):
    energy_j = np.asarray(data.draw(st.lists(st.floats(0, 1e3), min_size=1, max_size=50)))
    samples = evenly_sampled(
        energy_j, data.draw(st.floats(0.1, 1e5)), data.draw(st.floats(-10, 10))
    )
    inside = st.floats(samples.start_s, samples.end_s)
    first, middle, last = sorted(data.draw(st.tuples(inside, inside, inside)))
    for rule in ("nearest", "running-sum", "split"):
        parts = energy_between(samples, first, middle, rule) + energy_between(
            samples, middle, last, rule
        )
        assert parts == pytest.approx(energy_between(samples, first, last, rule), abs=1e-6)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.data())
def test_rules_differ_by_no_more_than_the_samples_at_both_ends(data):
    count = data.draw(st.integers(1, 200))
    samples = evenly_sampled(np.ones(count), rate_hz=data.draw(st.sampled_from([1.0, 3.0, 1000.0])))
    inside = st.floats(samples.start_s, samples.end_s)
    start_s, end_s = sorted(data.draw(st.tuples(inside, inside)))
    exact_j = energy_between(samples, start_s, end_s, "split")
    assert abs(energy_between(samples, start_s, end_s, "nearest") - exact_j) <= 1 + 1e-6
    assert abs(energy_between(samples, start_s, end_s, "running-sum") - exact_j) <= 2 + 1e-6


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.floats(0, 10), min_size=2, max_size=30).map(sorted), st.data())
def test_unevenly_spaced_samples_move_each_end_to_a_boundary_as_near_as_any(boundaries_s, data):
    boundaries_s = np.asarray(boundaries_s)
    samples = EnergySamples(2.0 ** np.arange(len(boundaries_s) - 1.0), boundaries_s)
    end_s = data.draw(st.floats(samples.start_s, samples.end_s))
    from_start_j = np.concatenate([[0], np.cumsum(samples.energy_j)])
    reached = np.flatnonzero(from_start_j == energy_between(samples, samples.start_s, end_s))
    assert abs(boundaries_s[reached] - end_s).min() == abs(boundaries_s - end_s).min()


def test_readings_of_power_become_energy_by_trapezoids():
    samples = from_power(np.array([0.0, 1.0, 3.0]), np.array([2.0, 4.0, 0.0]))
    assert samples.energy_j.tolist() == [3.0, 4.0]
    assert energy_between(samples, 0.5, 3.0, "split") == pytest.approx(1.5 + 4)


@pytest.mark.parametrize(
    ("start_s", "end_s", "part"),
    [
        (0.5, 0.4, "start at 0.5"),
        (-0.2, 0.5, "start the monitor earlier"),
        (0.2, 1.2, "stop it later"),
    ],
)
def test_a_window_that_was_not_recorded_is_refused(start_s, end_s, part):
    with pytest.raises(DataError, match=part):
        energy_between(ONE_TO_TEN, start_s, end_s)


def test_samples_that_contradict_themselves_are_refused():
    with pytest.raises(DataError, match="2 samples of energy have 3 boundaries, not 2"):
        EnergySamples(np.ones(2), np.array([0.0, 1.0]))
    with pytest.raises(DataError, match="backwards"):
        EnergySamples(np.ones(2), np.array([0.0, 2.0, 1.0]))
    with pytest.raises(DataError, match="must be positive"):
        evenly_sampled(np.ones(2), 0)
    with pytest.raises(DataError, match="evenly spaced"):
        energy_between(from_power(np.arange(3.0), np.ones(3)), 0, 1, "running-sum")


def test_timestamps_pair_up_into_windows_and_the_one_before_them_is_left_out():
    expected = (Window(1.0, 2.0, 10), Window(3.0, 4.5, 20))
    assert windows_between([1.0, 2.0, 3.0, 4.5], [10, 20]) == expected
    assert windows_between([0.017, 1.0, 2.0, 3.0, 4.5], [10, 20]) == expected


@pytest.mark.parametrize(
    ("timestamps_s", "part"),
    [
        ([1.0, 2.0, 3.0], "need 4 timestamps .* 3 came: build the firmware in energy mode"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "6 came: a loose wire"),
        ([1.0, 3.0, 2.0, 4.0], "run backwards: 2.0 s came after 3.0 s"),
    ],
)
def test_timestamps_that_make_no_windows_say_what_to_look_at(timestamps_s, part):
    with pytest.raises(DataError, match=part):
        windows_between(timestamps_s, [10, 20])


def test_figures_are_microjoules_per_inference_with_median_and_spread():
    windows = [Window(0.2 * index, 0.2 * (index + 1), 10) for index in range(5)]
    figures = measure_windows(ONE_TO_TEN, windows)
    assert figures.energy_j == (3, 7, 11, 15, 19)
    assert figures.uj_per_inference == pytest.approx((3e5, 7e5, 1.1e6, 1.5e6, 1.9e6))
    assert figures.median_uj_per_inference == pytest.approx(1.1e6)
    assert figures.spread == pytest.approx(16 / 11)
    assert figures.power_w == pytest.approx((15, 35, 55, 75, 95))


def test_lost_samples_are_counted_in_every_window_that_may_have_lost_them():
    samples = evenly_sampled(np.ones(100), 10, gaps=[Gap(1.5, 3), Gap(9.5, 2, since_s=8.5)])
    figures = measure_windows(samples, [Window(0, 1, 1), Window(1, 2, 1), Window(3, 9, 1)])
    assert figures.lost_samples == (0, 3, 2)


def test_windows_without_inferences_length_or_number_are_refused():
    with pytest.raises(DataError, match="no window"):
        measure_windows(ONE_TO_TEN, [])
    with pytest.raises(DataError, match="window 2 has 0 inferences"):
        measure_windows(ONE_TO_TEN, [Window(0, 0.5, 1), Window(0.5, 1, 0)])
    with pytest.raises(DataError, match=r"in 0\.0 s"):
        measure_windows(ONE_TO_TEN, [Window(0.5, 0.5, 1)])
