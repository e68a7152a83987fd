"""Advice: constants as people give them, plans for each gamma, and how they move with A0/B0."""

import itertools
import json
import math
from dataclasses import replace

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import SettingsError, UsageError
from gnomon.fleet.cost import Problem, Weighted, surface
from gnomon.fleet.device_files import normal_devices, simulated_devices
from gnomon.fleet.planner import Stretch, advise, constants_of, merged
from gnomon.fleet.rounds import Bound
from gnomon.fleet.solve import plan_at, solve

some = hypothesis.settings(max_examples=40, deadline=None)
FLEET = normal_devices(20, seed=0)


def test_without_constants_the_plan_is_for_the_geometric_middle_of_the_range():
    constants = constants_of()
    assert constants.ratios == (10, 1000)
    assert (constants.bound.a0, constants.bound.b0) == (pytest.approx(100), 1.0)
    assert not constants.absolute
    assert constants_of(ratio="4:9").bound.a0 == pytest.approx(6)
    assert constants_of(ratio="50").ratios == (50, 50)


def test_constants_set_the_plan_and_a_range_around_it():
    constants = constants_of(a0=60, b0=2)
    assert (constants.bound, constants.absolute) == (Bound(60, 2), False)
    assert constants.ratios == pytest.approx((3, 300))
    constants = constants_of(a0=60, b0=2, epsilon=0.1, ratio="20:50")
    assert (constants.bound, constants.absolute) == (Bound(60, 2, 0.1), True)
    assert constants.ratios == (20, 50)
    assert constants_of(a0=60, b0=0).ratios is None


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"a0": 1}, "b0 is missing"),
        ({"b0": 1}, "a0 is missing"),
        ({"epsilon": 1}, "epsilon means nothing without a0 and b0"),
        ({"ratio": "a:b"}, "two positive numbers as 10:1000, or one, got 'a:b'"),
        ({"ratio": "1:2:3"}, "two positive numbers"),
        ({"ratio": "0:3"}, "two positive numbers"),
        ({"ratio": "1:inf"}, "two positive numbers"),
        ({"ratio": ""}, "two positive numbers"),
        ({"ratio": "9:3"}, "starts above its end"),
        ({"a0": math.nan, "b0": 1}, "a0 must be zero or more"),
    ],
    ids=str,
)
def test_constants_that_are_none_are_refused(given_, words):
    with pytest.raises(SettingsError, match=words):
        constants_of(**given_)


fleets = st.builds(
    simulated_devices,
    st.sampled_from(["normal", "lognormal", "equal"]),
    st.integers(1, 25),
    st.integers(0, 1000),
    compute_s=st.floats(0.01, 10),
    compute_j=st.floats(0.001, 1),
)


@some
@given(fleets, st.floats(0, 1), st.floats(-1, 2), st.floats(0, 3), st.floats(0, 1))
def test_stretches_hold_the_best_choice_end_to_end(devices, gamma, start, width, share):
    low = 10.0**start
    high = low * 10.0**width
    advice = advise(
        devices, [gamma], constants_of(ratio=f"{low!r}:{high!r}"), max_local_iterations=40
    )
    (outlook,) = advice.outlooks
    stretches = outlook.stretches
    assert stretches[0].low == low
    assert stretches[-1].high == high
    for one, other in itertools.pairwise(stretches):
        assert one.high == other.low
        assert one.low < one.high
        assert (one.clients_per_round, one.local_iterations) != (
            other.clients_per_round,
            other.local_iterations,
        )
    inside = low * (high / low) ** share
    stretch = next(stretch for stretch in stretches if stretch.low <= inside <= stretch.high)
    for ratio in (inside, stretch.low, stretch.high):
        problem = Problem(devices, gamma, Bound(ratio, 1), max_local_iterations=40)
        own = plan_at(problem, stretch.clients_per_round[0], stretch.local_iterations[0])
        assert own.cost == pytest.approx(solve(problem).cost, rel=1e-9)


@some
@given(fleets, st.floats(0, 1), st.floats(0, 2.5))
def test_the_regret_is_the_most_that_staying_with_one_choice_costs(devices, gamma, width):
    low, high = 30 / 10.0**width, 30 * 10.0**width
    advice = advise(
        devices, [gamma], constants_of(ratio=f"{low!r}:{high!r}"), max_local_iterations=40
    )
    (choice,), (outlook,) = advice.choices, advice.outlooks

    def excess(ratio):
        problem = Problem(devices, gamma, Bound(ratio, 1), max_local_iterations=40)
        kept = plan_at(problem, choice.clients_per_round, choice.local_iterations)
        return kept.cost / solve(problem).cost - 1

    assert excess(outlook.regret_at) == pytest.approx(outlook.regret, abs=1e-9)
    for ratio in np.geomspace(low, high, 15):
        assert excess(ratio) <= outlook.regret + 1e-9


def test_relative_totals_are_shares_of_those_of_all_clients_at_one_iteration():
    advice = advise(FLEET, [0.3], constants_of(ratio="50"))
    (choice,) = advice.choices
    problem = Problem(FLEET, 0.3, Bound(50, 1))
    plan, unit = solve(problem), plan_at(problem, 20, 1)
    assert (choice.clients_per_round, choice.local_iterations) == (
        plan.clients_per_round,
        plan.local_iterations,
    )
    for name in ("rounds", "duration_s", "energy_j", "cost"):
        assert getattr(choice, name) == pytest.approx(getattr(plan, name) / getattr(unit, name))
    assert choice.round_duration_s == pytest.approx(plan.duration_s / plan.rounds)
    assert choice.round_energy_j == pytest.approx(plan.energy_j / plan.rounds)
    assert choice.excess == 0
    assert not advice.absolute


def test_with_all_constants_totals_are_the_plans_own():
    advice = advise(FLEET, [0.0, 1.0], constants_of(a0=60, b0=2, epsilon=0.1))
    assert advice.absolute
    for choice, gamma in zip(advice.choices, (0.0, 1.0), strict=True):
        plan = solve(Problem(FLEET, gamma, Bound(60, 2, 0.1)))
        assert (choice.duration_s, choice.energy_j) == (plan.duration_s, plan.energy_j)
        assert (choice.rounds, choice.cost) == (plan.rounds, plan.cost)


def test_both_methods_stand_side_by_side_with_what_the_papers_costs_beyond_the_exact():
    advice = advise(FLEET, [0.0, 0.5], constants_of(), methods=("exact", "alternating"))
    assert [(choice.gamma, choice.method) for choice in advice.choices] == [
        (0.0, "exact"),
        (0.0, "alternating"),
        (0.5, "exact"),
        (0.5, "alternating"),
    ]
    _, alternating, *_ = advice.choices
    exact = solve(Problem(FLEET, 0.0, constants_of().bound))
    expected = solve(Problem(FLEET, 0.0, constants_of().bound), "alternating").cost / exact.cost
    assert alternating.clients_per_round == 20
    assert alternating.excess == pytest.approx(expected - 1)
    assert alternating.excess > 0.05


def test_weighted_sampling_is_planned_with_its_own_bound_and_slowest():
    shares = np.linspace(1, 3, 20)
    sampling = Weighted(shares / shares.sum())
    constants = constants_of(with_replacement=True)
    advice = advise(FLEET, [0.5], constants, sampling=sampling)
    (choice,), (outlook,) = advice.choices, advice.outlooks
    problem = Problem(FLEET, 0.5, Bound(100, 1, with_replacement=True), sampling=sampling)
    grid = surface(problem)
    row, column = np.unravel_index(grid.cost.argmin(), grid.cost.shape)
    assert (choice.clients_per_round, choice.local_iterations) == (column + 1, row + 1)
    last = outlook.stretches[-1]
    at_end = solve(replace(problem, rounds=Bound(1000, 1, with_replacement=True)))
    assert last.clients_per_round == (at_end.clients_per_round,) * 2
    assert last.local_iterations == (at_end.local_iterations,) * 2


def test_limits_are_kept_to_and_need_all_constants():
    constants = constants_of(a0=60, b0=2, epsilon=0.1)
    equal = simulated_devices("equal", 20, 0)
    free = advise(equal, [1.0], constants)
    limit = 0.9 * free.choices[0].duration_s
    limited = advise(equal, [1.0], constants, max_duration_s=limit)
    assert limited.choices[0].duration_s <= limit
    assert limited.choices[0].energy_j > free.choices[0].energy_j
    assert limited.outlooks == ()
    assert limited.ratios is None
    with pytest.raises(SettingsError, match="needs a0, b0 and epsilon"):
        advise(FLEET, [1.0], constants_of(a0=60, b0=2), max_energy_j=1.0)
    with pytest.raises(UsageError, match="knows no limits"):
        advise(FLEET, [1.0], constants, methods=["alternating"], max_duration_s=limit)


def test_advice_is_plain_json_with_an_endless_ratio_and_devices_that_cost_nothing():
    free = simulated_devices("equal", 3, 0, compute_j=0.0, communication_j=0.0)
    advice = advise(free, [1.0], constants_of(a0=5, b0=0))
    told = json.loads(json.dumps(advice.to_json(), allow_nan=False))
    assert told["ratio"] is None
    assert told["choices"][0]["cost"] == 1.0
    assert told["relative_to"] == {"clients_per_round": 3, "local_iterations": 1}
    absolute = advise(FLEET, [1.0], constants_of(a0=5, b0=1, epsilon=1)).to_json()
    assert absolute["relative_to"] is None


@given(
    st.lists(st.floats(1.01, 10), min_size=1, max_size=30),
    st.integers(1, 10),
)
def test_merging_leaves_few_rows_that_cover_the_same(widths, most):
    ends = [1.0, *itertools.accumulate(widths, initial=1.0)]
    stretches = [
        Stretch(low, high, (place % 3, place % 3), (place, place))
        for place, (low, high) in enumerate(itertools.pairwise(ends[1:]))
    ]
    rows = merged(stretches, most)
    assert len(rows) == min(most, len(stretches))
    assert (rows[0].low, rows[-1].high) == (stretches[0].low, stretches[-1].high)
    assert all(one.high == other.low for one, other in itertools.pairwise(rows))
    for stretch in stretches:
        row = next(row for row in rows if row.low <= stretch.low and stretch.high <= row.high)
        assert row.local_iterations[0] <= stretch.local_iterations[0] <= row.local_iterations[1]
        assert row.clients_per_round[0] <= stretch.clients_per_round[0] <= row.clients_per_round[1]
