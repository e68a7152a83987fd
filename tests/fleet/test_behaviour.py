"""Simulated faults: as frequent as they are said to be, and each client's own, whoever else takes part."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import SettingsError
from gnomon.fleet.behaviour import Behaviour
from gnomon.fleet.orders import Order


def order_of(clients, number=0):
    return Order(
        round_number=number,
        clients=np.asarray(clients, dtype=np.int64),
        draws=np.ones(len(clients), dtype=np.int64),
        wanted=len(clients),
        local_iterations=1,
        learning_rate=0.1,
        deadline_s=None,
        parameters=np.zeros(1, dtype=np.float32),
    )


def test_a_fleet_without_faults_is_always_there_and_never_slow():
    fates = Behaviour().fates(order_of(range(5)), seed=0)
    assert Behaviour().available(5, 1e6, seed=0) is None
    assert (fates.slowdown == 1).all()
    assert np.isinf(fates.dropped_after).all()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_clients_are_there_for_the_share_of_time_that_was_asked_for(share):
    behaviour = Behaviour(availability=share, availability_block_s=10)
    there = [len(behaviour.available(200, now_s, seed=3)) for now_s in range(5, 2000, 10)]
    assert np.mean(there) / 200 == pytest.approx(share, abs=0.01)


def test_nobody_comes_or_goes_before_the_next_change():
    behaviour = Behaviour(availability=0.5, availability_block_s=60)
    now_s = 17.0
    for _ in range(20):
        change_s = behaviour.next_change_s(8, now_s, seed=1)
        before = behaviour.available(8, now_s, seed=1)
        for between_s in np.linspace(now_s, change_s - 1e-5, 5):
            np.testing.assert_array_equal(behaviour.available(8, between_s, seed=1), before)
        assert change_s > now_s
        now_s = change_s


def test_clients_drop_out_as_often_as_was_asked_for_and_anywhere_in_their_work():
    behaviour = Behaviour(dropout=0.3)
    after = np.concatenate(
        [behaviour.fates(order_of(range(100), number), 0).dropped_after for number in range(40)]
    )
    dropped = after[after < 1]
    assert len(dropped) / len(after) == pytest.approx(0.3, abs=0.03)
    assert dropped.mean() == pytest.approx(0.5, abs=0.03)


def test_slowdowns_have_mean_one_and_the_sigma_that_was_asked_for():
    behaviour = Behaviour(slowdown_sigma=0.5)
    slowdown = np.concatenate(
        [behaviour.fates(order_of(range(100), number), 0).slowdown for number in range(100)]
    )
    assert slowdown.mean() == pytest.approx(1, abs=0.02)
    assert np.log(slowdown).std() == pytest.approx(0.5, abs=0.02)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.sets(st.integers(0, 49), min_size=1), st.integers(0, 1000), st.integers(0, 2**40))
def test_a_clients_fate_does_not_depend_on_who_else_is_asked(chosen, number, seed):
    behaviour = Behaviour(dropout=0.5, slowdown_sigma=1.0)
    clients = sorted(chosen)
    whole = behaviour.fates(order_of(range(50), number), seed)
    some = behaviour.fates(order_of(clients, number), seed)
    np.testing.assert_array_equal(some.slowdown, whole.slowdown[clients])
    np.testing.assert_array_equal(some.dropped_after, whole.dropped_after[clients])


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"availability": 0.0}, "availability must be above 0"),
        ({"availability": 1.1}, "availability must be from 0 to 1, got 1.1"),
        ({"dropout": -0.1}, "dropout must be from 0 to 1, got -0.1"),
        ({"dropout": float("nan")}, "dropout must be from 0 to 1, got nan"),
        ({"slowdown_sigma": 5}, "slowdown_sigma must be from 0 to 3, got 5"),
        ({"availability_block_s": 0}, "availability_block_s must be positive, got 0"),
    ],
)
def test_faults_out_of_range_are_refused_by_name(faults, words):
    with pytest.raises(SettingsError, match=words):
        Behaviour(**faults)
