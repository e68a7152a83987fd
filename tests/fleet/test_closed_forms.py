"""E*(K) and K*(E): against one-dimensional search, and the paper's statements on how they move."""

import math
from dataclasses import replace

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from gnomon.fleet.closed_forms import Relaxed, best_clients_per_round, best_local_iterations
from gnomon.fleet.device_files import normal_devices
from gnomon.fleet.rounds import Bound

many = hypothesis.settings(max_examples=200, deadline=None)


def powers(low, high):
    return st.floats(low, high).map(lambda power: 10.0**power)


any_gamma = st.floats(0, 1)


@st.composite
def problems(draw, gammas=any_gamma):
    return Relaxed(
        clients=draw(st.integers(2, 500)),
        gamma=draw(gammas),
        bound=Bound(draw(powers(-3, 5)), draw(powers(-3, 3))),
        compute_s=draw(powers(-3, 2)),
        communication_s=draw(powers(-3, 2)),
        compute_j=draw(powers(-4, 2)),
        communication_j=draw(powers(-4, 2)),
    )


shares = st.floats(0, 1)
factors = st.floats(1.01, 100)


def some_count(relaxed, share):
    return 1 + share * (relaxed.clients - 1)


def no_less(one, other):
    return one >= other * (1 - 1e-9)


def searched(cost, low, high):
    """The least of a function that is convex in the logarithm."""
    found = optimize.minimize_scalar(
        lambda power: cost(math.exp(power)),
        bounds=(math.log(low), math.log(high)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return min(cost(math.exp(found.x)), cost(low), cost(high))


@many
@given(problems(), shares)
def test_no_search_finds_a_better_e_than_the_closed_form(relaxed, share):
    count = some_count(relaxed, share)
    iterations = best_local_iterations(relaxed, count)
    best = searched(lambda value: relaxed.cost(value, count), 1.0, 1e7)
    assert relaxed.cost(iterations, count) <= best * (1 + 1e-9)


@many
@given(problems(), st.floats(1, 300))
def test_no_search_finds_a_better_k_than_the_closed_form(relaxed, iterations):
    count = best_clients_per_round(relaxed, iterations)
    assert 1 <= count <= relaxed.clients
    best = searched(lambda value: relaxed.cost(iterations, value), 1.0, float(relaxed.clients))
    assert relaxed.cost(iterations, count) <= best * (1 + 1e-9)


@many
@given(
    powers(-12, 12), powers(-12, 12), powers(-6, 8), st.integers(3, 50), st.sampled_from([0.0, 1.0])
)
def test_the_root_has_its_digits_however_unequal_iteration_and_exchange_are(
    iteration, exchange, ratio, clients, gamma
):
    relaxed = Relaxed(clients, gamma, Bound(ratio, 1), iteration, exchange, iteration, exchange)
    root = best_local_iterations(relaxed, clients)
    hypothesis.assume(root > 1)
    # A change of sign within 1e-12 of the root: 2 P x³ + M x² against (A0 / B) M.
    below, above = (
        2 * iteration * x**3 + exchange * x**2 - ratio * exchange
        for x in (root * (1 - 1e-12), root * (1 + 1e-12))
    )
    assert below < 0 < above


def test_free_parts_leave_the_limits_of_the_closed_form():
    relaxed = Relaxed(10, 0.0, Bound(400, 1), 0.0, 2.0, 0.0, 0.0)
    assert best_local_iterations(relaxed, 10) == pytest.approx(20)  # sqrt(A0 / B)
    assert best_local_iterations(replace(relaxed, communication_s=0.0, compute_s=1.0), 10) == 1
    assert best_local_iterations(replace(relaxed, bound=Bound(0, 1)), 10) == 1
    assert best_local_iterations(replace(relaxed, bound=Bound(1, 0)), 10) == math.inf
    nearly = replace(relaxed, compute_s=1.0, communication_s=1e-250)
    assert best_local_iterations(nearly, 10) == 1


def test_clients_that_cost_nothing_all_take_part_and_useless_ones_do_not():
    relaxed = Relaxed(10, 0.0, Bound(400, 1), 0.1, 2.0, 0.0, 0.0)
    assert best_clients_per_round(relaxed, 5) == 10
    assert best_clients_per_round(replace(relaxed, bound=Bound(400, 0)), 5) == 1
    assert best_clients_per_round(replace(relaxed, clients=1), 5) == 1


@many
@given(problems(), shares, factors)
def test_more_noise_asks_for_more_iterations_and_more_drift_for_fewer(relaxed, share, factor):
    count, bound = some_count(relaxed, share), relaxed.bound
    base = best_local_iterations(relaxed, count)
    noisier = replace(relaxed, bound=replace(bound, a0=bound.a0 * factor))
    assert no_less(best_local_iterations(noisier, count), base)
    drifting = replace(relaxed, bound=replace(bound, b0=bound.b0 * factor))
    assert no_less(base, best_local_iterations(drifting, count))


@many
@given(problems(gammas=st.just(0.0)), shares, shares, factors)
def test_where_only_time_counts_slow_exchanges_and_more_clients_ask_for_more_iterations(
    relaxed, share, more, factor
):
    count = some_count(relaxed, share)
    base = best_local_iterations(relaxed, count)
    slower = replace(relaxed, communication_s=relaxed.communication_s * factor)
    assert no_less(best_local_iterations(slower, count), base)
    slower = replace(relaxed, compute_s=relaxed.compute_s * factor)
    assert no_less(base, best_local_iterations(slower, count))
    greater = count + more * (relaxed.clients - count)
    assert no_less(best_local_iterations(relaxed, greater), base)


@many
@given(problems(), st.floats(1, 300), factors, shares)
def test_noise_and_the_price_of_energy_ask_for_fewer_clients_and_drift_for_more(
    relaxed, iterations, factor, share
):
    bound = relaxed.bound
    base = best_clients_per_round(relaxed, iterations)
    noisier = replace(relaxed, bound=replace(bound, a0=bound.a0 * factor))
    assert no_less(base, best_clients_per_round(noisier, iterations))
    drifting = replace(relaxed, bound=replace(bound, b0=bound.b0 * factor))
    assert no_less(best_clients_per_round(drifting, iterations), base)
    dearer = replace(relaxed, gamma=relaxed.gamma + share * (1 - relaxed.gamma))
    assert no_less(base, best_clients_per_round(dearer, iterations))


@many
@given(problems(), st.floats(1, 300), factors, powers(-3, 2))
def test_more_iterations_ask_for_more_clients_where_time_and_energy_share_out_alike(
    relaxed, iterations, factor, joules_a_second
):
    alike = replace(
        relaxed,
        compute_j=relaxed.compute_s * joules_a_second,
        communication_j=relaxed.communication_s * joules_a_second,
    )
    fewer = best_clients_per_round(alike, iterations)
    assert no_less(best_clients_per_round(alike, iterations * factor), fewer)


@many
@given(problems(), shares, shares, st.floats(1, 300), st.floats(1, 300))
def test_the_cost_is_convex_in_the_logarithms_of_e_and_k(relaxed, one, other, few, more):
    counts = some_count(relaxed, one), some_count(relaxed, other)
    middle = relaxed.cost(math.sqrt(few * more), math.sqrt(counts[0] * counts[1]))
    ends = relaxed.cost(few, counts[0]), relaxed.cost(more, counts[1])
    assert middle <= math.sqrt(ends[0]) * math.sqrt(ends[1]) * (1 + 1e-12)


def test_means_are_those_of_the_devices():
    devices = normal_devices(30, seed=1)
    relaxed = Relaxed.of(devices, 0.4, Bound(100, 1))
    assert relaxed.clients == 30
    for name in ("compute_s", "communication_s", "compute_j", "communication_j"):
        assert getattr(relaxed, name) == np.mean(getattr(devices, name))
