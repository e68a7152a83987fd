"""The expected slowest of K clients: against enumeration, exact fractions, sampling, and its own laws."""

import itertools
import math
from fractions import Fraction

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnomon.core.errors import SettingsError
from gnomon.fleet.order_statistics import (
    expected_drawn,
    expected_slowest,
    expected_slowest_weighted,
)

few = hypothesis.settings(max_examples=60, deadline=None)
durations = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(1, 7)),
    elements=st.floats(0, 1e6, allow_subnormal=False),
)
seeds = st.integers(0, 2**32 - 1)


def some(seed, clients, rows=1):
    """Times whose order differs from row to row, and probabilities."""
    generator = np.random.default_rng(seed)
    shares = generator.gamma(0.5, size=clients) + 1e-9
    return generator.lognormal(0, 1.5, (rows, clients)), shares / shares.sum()


@few
@given(durations)
def test_uniform_sampling_is_the_mean_over_all_subsets(times):
    clients = times.shape[1]
    for row, found in zip(times, expected_slowest(times), strict=True):
        expected = [
            np.mean([max(subset) for subset in itertools.combinations(row, count)])
            for count in range(1, clients + 1)
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-13)


@few
@given(st.integers(1, 5), seeds)
def test_weighted_sampling_is_the_mean_over_all_sequences_of_draws(clients, seed):
    times, shares = some(seed, clients)
    energies = some(seed + 1, clients)[0]
    for count in range(1, clients + 1):
        draws = list(itertools.product(range(clients), repeat=count))
        chances = [math.prod(shares[list(draw)]) for draw in draws]
        slowest = [max(times[0, list(draw)]) for draw in draws]
        different = [sum(energies[0, list(set(draw))]) for draw in draws]
        only = np.array([count])
        found = expected_slowest_weighted(times, shares, only)[0, 0]
        assert found == pytest.approx(np.dot(chances, slowest), rel=1e-12)
        found = expected_drawn(energies, shares, only)[0, 0]
        assert found == pytest.approx(np.dot(chances, different), rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 17, 150, 299, 300])
def test_weights_of_a_larger_fleet_are_the_exact_fractions(count):
    clients = 300
    times = some(3, clients)[0]
    exact = sum(
        Fraction(math.comb(i - 1, count - 1), math.comb(clients, count)) * Fraction(time)
        for i, time in enumerate(np.sort(times[0]).tolist(), start=1)
    )
    found = expected_slowest(times, np.array([count]))[0, 0]
    assert found == pytest.approx(float(exact), rel=1e-13)
    assert expected_slowest(times)[0, count - 1] == pytest.approx(float(exact), rel=1e-13)


@pytest.mark.parametrize("clients", [1, 2, 100, 257, 3001, 12_000])
def test_weights_sum_to_one_for_every_number_of_clients_a_round(clients):
    counts = np.unique(np.geomspace(1, clients, 40).astype(int))
    np.testing.assert_allclose(expected_slowest(np.ones((1, clients)), counts), 1, rtol=1e-12)
    if clients < 5000:
        np.testing.assert_allclose(expected_slowest(np.ones((1, clients))), 1, rtol=1e-12)


@few
@given(st.integers(1, 400), seeds)
def test_the_slowest_takes_longer_the_more_are_drawn_and_ever_less_so(clients, seed):
    times, shares = some(seed, clients, rows=2)
    for slowest in (expected_slowest(times), expected_slowest_weighted(times, shares)):
        rises = np.diff(slowest, axis=1)
        slack = 1e-12 * times.max()
        assert (rises >= -slack).all()
        assert (np.diff(rises, axis=1) <= slack).all()


@few
@given(st.integers(1, 700), seeds)
def test_one_client_takes_the_mean_and_all_of_them_the_longest(clients, seed):
    times, shares = some(seed, clients)
    slowest = expected_slowest(times)
    assert slowest[0, 0] == pytest.approx(times.mean(), rel=1e-12)
    assert slowest[0, -1] == pytest.approx(times.max(), rel=1e-12)
    one = expected_slowest_weighted(times, shares, np.array([1]))
    assert one[0, 0] == pytest.approx(times[0] @ shares, rel=1e-10)


@few
@given(st.integers(300, 900), seeds, st.data())
def test_values_of_k_may_come_in_any_order_and_twice(clients, seed, data):
    times, shares = some(seed, clients, rows=2)
    counts = np.array(data.draw(st.lists(st.integers(1, clients), min_size=1, max_size=30)))
    found = expected_slowest(times, counts)
    np.testing.assert_allclose(found, expected_slowest(times)[:, counts - 1], rtol=1e-12)
    found = expected_slowest_weighted(times, shares, counts)
    every = expected_slowest_weighted(times, shares)
    np.testing.assert_allclose(found, every[:, counts - 1], rtol=1e-10)
    found = expected_drawn(times, shares, counts)
    np.testing.assert_allclose(found, expected_drawn(times, shares)[:, counts - 1], rtol=1e-12)


def test_the_weighted_slowest_of_a_large_fleet_is_its_plain_sum():
    times, shares = some(5, 2000, rows=2)
    counts = np.array([1, 2, 30, 31, 400, 1999])
    for row, found in zip(times, expected_slowest_weighted(times, shares, counts), strict=True):
        order = np.argsort(row)
        below = np.concatenate([[0], np.cumsum(shares[order])])[:, None] ** counts
        np.testing.assert_allclose(found, row[order] @ np.diff(below, axis=0), rtol=1e-10)


@pytest.mark.parametrize("count", [1, 5, 40])
def test_both_kinds_of_sampling_agree_with_draws(count):
    times, shares = some(11, 40)
    generator = np.random.default_rng(0)
    subsets = generator.permuted(np.tile(times[0], (20_000, 1)), axis=1)[:, :count].max(axis=1)
    draws = times[0][generator.choice(40, (20_000, count), p=shares)].max(axis=1)
    for drawn, found in (
        (subsets, expected_slowest(times, np.array([count]))),
        (draws, expected_slowest_weighted(times, shares, np.array([count]))),
    ):
        error = 4 * drawn.std() / math.sqrt(len(drawn)) + 1e-9
        assert found[0, 0] == pytest.approx(drawn.mean(), abs=error)


def test_a_client_that_is_never_drawn_delays_nothing():
    times = np.array([[1.0, 2.0, 50.0]])
    shares = np.array([0.5, 0.5, 0.0])
    np.testing.assert_allclose(expected_slowest_weighted(times, shares), [[1.5, 1.75, 1.875]])
    np.testing.assert_allclose(expected_drawn(times, shares), [[1.5, 2.25, 2.625]])


@pytest.mark.parametrize("count", [0, 4, -1])
def test_a_number_of_clients_beyond_the_fleet_is_refused(count):
    with pytest.raises(SettingsError, match=f"from 1 to the number of clients 3, got {count}"):
        expected_slowest(np.ones((1, 3)), np.array([1, count]))
