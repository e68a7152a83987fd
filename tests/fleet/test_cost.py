"""Rounds, seconds, joules and dollars over the grid, and what is refused."""

import math

import numpy as np
import pytest

from gnomon.core.errors import SettingsError
from gnomon.fleet.cost import (
    Problem,
    Weighted,
    round_duration_s,
    round_energy_j,
    surface,
    total_cost,
)
from gnomon.fleet.devices import Devices
from gnomon.fleet.rounds import Bound, ThreeParameter, sampling_spread

THREE = Devices([0.1, 0.2, 0.4], [3.0, 2.0, 0.5], [1.0, 2.0, 3.0], [10.0, 20.0, 60.0])
"""The first is the slowest at E = 1, the last at E = 20."""


def test_a_round_takes_what_the_slowest_client_at_this_e_takes():
    found = round_duration_s(THREE, np.array([1, 20]))
    np.testing.assert_allclose(found[:, 2], [3.1, 8.5])
    np.testing.assert_allclose(found[:, 0], [(3.1 + 2.2 + 0.9) / 3, (5 + 6 + 8.5) / 3])
    np.testing.assert_allclose(found[:, 1], [(3.1 + 3.1 + 2.2) / 3, (6 + 8.5 + 8.5) / 3])


def test_a_round_takes_the_energy_of_all_that_take_part():
    found = round_energy_j(THREE, np.array([1, 20]))
    np.testing.assert_allclose(found, np.outer([2 + 30, 40 + 30], [1, 2, 3]))


def test_a_client_drawn_twice_is_paid_once():
    shares = np.array([0.2, 0.3, 0.5])
    found = round_energy_j(THREE, np.array([4]), np.array([2]), Weighted(shares))
    assert found[0, 0] == pytest.approx((1 - (1 - shares) ** 2) @ [14.0, 28.0, 72.0])


def test_the_weight_of_a_joule_is_gamma():
    assert total_cost(np.float64(10), np.float64(1000), 0.25) == 0.75 * 10 + 0.25 * 1000


def test_the_surface_is_rounds_times_what_a_round_takes():
    problem = Problem(THREE, 0.3, Bound(50, 2, 0.1), max_local_iterations=7)
    found = surface(problem)
    assert found.cost.shape == (7, 3)
    assert found.local_iterations.tolist() == list(range(1, 8))
    assert found.clients_per_round.tolist() == [1, 2, 3]
    row, column = 4, 1
    rounds = (50 + 2 * (1 + 1 / (2 * 2)) * 25) / (0.1 * 5)
    assert found.rounds[row, column] == pytest.approx(rounds)
    seconds = rounds * (2 / 3 * 3.5 + 1 / 3 * 3.0)  # the three take 3.5, 3 and 2.5 s
    assert found.duration_s[row, column] == pytest.approx(seconds)
    joules = rounds * 2 * (2 * 5 + 30)
    assert found.energy_j[row, column] == pytest.approx(joules)
    assert found.cost[row, column] == pytest.approx(0.7 * seconds + 0.3 * joules)


def test_a_part_of_the_surface_is_the_surface_there():
    problem = Problem(THREE, 0.3, Bound(50, 2), max_local_iterations=9)
    part = surface(problem, np.array([8, 2]), np.array([3, 1]))
    np.testing.assert_allclose(part.cost, surface(problem).cost[[7, 1]][:, [2, 0]])
    with pytest.raises(SettingsError, match="local iterations must be 1 or more, got 0"):
        surface(problem, np.array([0]))


def test_three_constants_with_two_equal_are_the_bound():
    grid = np.arange(1, 30)[:, None], np.arange(1, 9)[None, :], 8
    np.testing.assert_allclose(
        ThreeParameter(80, 3, 3, 0.5).rounds(*grid), Bound(80, 3, 0.5).rounds(*grid)
    )
    assert ThreeParameter(80, 3, 0).rounds(5, 1, 8) == ThreeParameter(80, 3, 0).rounds(5, 8, 8)


def test_a_fleet_of_one_has_no_spread_from_sampling():
    assert Bound(10, 2).rounds(5, 1, 1) == (10 + 2 * 25) / 5
    assert ThreeParameter(10, 2, 99).rounds(5, 1, 1) == (10 + 2 * 25) / 5


def test_sampling_spreads_from_one_client_to_none_when_all_take_part():
    assert sampling_spread(1, 50) == 1
    assert sampling_spread(50, 50) == 0
    assert sampling_spread(50, 50, with_replacement=True) == 1 / 50


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_constants_that_are_none_are_refused_by_name(wrong):
    with pytest.raises(SettingsError, match="a0 must be zero or more"):
        Bound(wrong, 1)
    with pytest.raises(SettingsError, match="b0 must be zero or more"):
        Bound(1, wrong)
    with pytest.raises(SettingsError, match="c0 must be zero or more"):
        ThreeParameter(1, 1, wrong)
    with pytest.raises(SettingsError, match="epsilon must be positive"):
        Bound(1, 1, wrong)


def test_constants_that_need_no_round_are_refused():
    with pytest.raises(SettingsError, match="a0, b0 are all zero"):
        Bound(0, 0)
    with pytest.raises(SettingsError, match="a0, b0, c0 are all zero"):
        ThreeParameter(0, 0, 0)
    Bound(0, 1)
    ThreeParameter(0, 0, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gamma": 1.5}, "gamma must be from 0"),
        ({"gamma": math.nan}, "gamma must be from 0"),
        ({"max_local_iterations": 0}, "max_local_iterations must be 1 or more"),
        ({"max_duration_s": -1}, "max_duration_s must be positive"),
        ({"max_energy_j": math.nan}, "max_energy_j must be positive"),
        ({"sampling": Weighted(np.array([0.5, 0.5]))}, "2 probabilities for 3 clients"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_problem_out_of_range_is_refused(changes, words):
    with pytest.raises(SettingsError, match=words):
        Problem(**{"devices": THREE, "gamma": 0.5, "rounds": Bound(10, 1), **changes})


@pytest.mark.parametrize(
    ("values", "words"),
    [([0.5, 0.4], "sum to 1, got 0.9"), ([1.5, -0.5], "zero or more"), ([math.nan, 1], "zero or")],
)
def test_probabilities_that_are_none_are_refused(values, words):
    with pytest.raises(SettingsError, match=words):
        Weighted(np.array(values))
