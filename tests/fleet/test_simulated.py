"""Rounds on the virtual clock, held against times and joules worked out by hand."""

import numpy as np
import pytest

from gnomon.fleet.behaviour import Behaviour
from gnomon.fleet.orders import Outcome
from gnomon.fleet.simulated import simulate, timing
from tests.fleet.small_fleet import small_devices, small_server

EVERYBODY = 6
E = 10
WHOLE_S = 2.0 * np.arange(1, 7)
"""Seconds that each client of `small_devices` takes for ten iterations and an exchange."""


def run_rounds(count, behaviour=None, **settings):
    """A federation of so many rounds in which everybody is asked for E iterations."""
    server = small_server(
        settings.pop("clients_per_round", EVERYBODY), E, max_rounds=count, **settings
    )
    simulate(server, behaviour)
    return server


def outcomes(server, number=0):
    rows = server.ledger.clients
    return dict(
        zip(
            *(rows[rows["round"] == number][name].tolist() for name in ("client", "outcome")),
            strict=True,
        )
    )


def test_a_round_lasts_as_long_as_its_slowest_client_and_costs_the_joules_of_all():
    server = run_rounds(1)
    row = server.ledger.rounds[0]
    assert row["duration_s"] == pytest.approx(12.0)
    assert row["energy_j"] == pytest.approx(WHOLE_S.sum() / 10)
    np.testing.assert_allclose(server.ledger.clients["duration_s"], WHOLE_S)
    np.testing.assert_allclose(server.ledger.clients["compute_s"], WHOLE_S / 2)
    np.testing.assert_allclose(server.ledger.clients["compute_j"], WHOLE_S / 20)
    assert server.ledger.disagreements() == []


def test_rounds_follow_one_another_without_a_gap():
    rounds = run_rounds(5, clients_per_round=2).ledger.rounds
    np.testing.assert_allclose(rounds["started_s"][1:], np.cumsum(rounds["duration_s"])[:-1])


def test_a_deadline_ends_the_round_and_who_comes_later_is_late_at_the_energy_it_used_until_then():
    server = run_rounds(1, deadline_s=7.0)
    clients = server.ledger.clients
    assert server.ledger.rounds["duration_s"][0] == 7.0
    assert outcomes(server) == dict.fromkeys(range(3), "used") | dict.fromkeys(range(3, 6), "late")
    np.testing.assert_allclose(clients["duration_s"], np.minimum(WHOLE_S, 7))
    np.testing.assert_allclose(clients["energy_j"], np.minimum(WHOLE_S, 7) / 10)
    assert np.isnan(clients["loss"][3:]).all()


def test_over_selection_asks_more_and_goes_on_with_the_first_reports_that_suffice():
    server = run_rounds(1, clients_per_round=3, over_selection=2.0)
    assert outcomes(server) == dict.fromkeys(range(3), "used") | dict.fromkeys(range(3, 6), "spare")
    assert server.ledger.rounds["duration_s"][0] == 6.0
    assert server.ledger.rounds["asked"][0] == 6
    assert server.ledger.rounds["energy_j"][0] == pytest.approx((2 + 4 + 4 * 6) / 10)


def test_a_round_does_not_wait_past_its_last_survivor():
    behaviour = Behaviour(dropout=0.5)
    server = small_server(EVERYBODY, E, seed=4)
    order = server.next_order()
    took = timing(server.devices, order, behaviour, seed=4)
    after = behaviour.fates(order, 4).dropped_after
    busy_s = np.where(after < 1, after * WHOLE_S, WHOLE_S)
    assert 0 < (after < 1).sum() < EVERYBODY
    assert took.round_s == pytest.approx(busy_s.max())
    np.testing.assert_allclose(took.duration_s, busy_s)
    np.testing.assert_allclose(took.energy_j, busy_s / 10)
    assert [outcome is Outcome.DROPPED for outcome in took.outcomes] == (after < 1).tolist()


def test_with_everybody_dropping_out_the_model_stays_and_the_federation_gives_up():
    server = small_server(EVERYBODY, E, max_rounds=100)
    simulate(server, Behaviour(dropout=1.0))
    assert server.ended.reason == "no reports"
    assert len(server.ledger.rounds) == 20
    assert not server.parameters.any()


def test_slow_clients_take_longer_and_use_more_in_the_same_proportion():
    behaviour = Behaviour(slowdown_sigma=0.5)
    server = run_rounds(1, behaviour)
    order = small_server(EVERYBODY, E).next_order()
    slowdown = behaviour.fates(order, 0).slowdown
    np.testing.assert_allclose(server.ledger.clients["duration_s"], slowdown * WHOLE_S)
    np.testing.assert_allclose(server.ledger.clients["energy_j"], slowdown * WHOLE_S / 10)


def test_only_clients_that_are_there_are_asked_and_waiting_for_them_counts():
    behaviour = Behaviour(availability=0.1, availability_block_s=100)
    server = run_rounds(30, behaviour)
    rounds, clients = server.ledger.rounds, server.ledger.clients
    waited = 0
    for number, row in enumerate(rounds):
        asked = clients[clients["round"] == number]
        idle_s = row["duration_s"] - asked["duration_s"].max()
        assert idle_s >= -1e-9
        there = behaviour.available(EVERYBODY, row["started_s"] + max(idle_s, 0.0), 0)
        assert set(asked["client"]) <= set(there)
        waited += idle_s > 1
    assert waited
    assert server.ledger.disagreements() == []


@pytest.mark.parametrize(
    "settings", [{}, {"sampling": "weighted"}, {"over_selection": 1.5, "deadline_s": 9.0}]
)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(settings):
    behaviour = Behaviour(availability=0.7, dropout=0.2, slowdown_sigma=0.3)
    first, again, other = (
        run_rounds(12, behaviour, clients_per_round=3, seed=seed, **settings) for seed in (5, 5, 6)
    )
    assert first.parameters.tobytes() == again.parameters.tobytes()
    assert first.ledger.rounds.tobytes() == again.ledger.rounds.tobytes()
    assert first.ledger.clients.tobytes() == again.ledger.clients.tobytes()
    assert first.parameters.tobytes() != other.parameters.tobytes()


@pytest.mark.parametrize("stop_after", [1, 7, 19])
def test_a_federation_that_was_saved_and_restored_gives_the_bits_of_one_that_never_stopped(
    tmp_path, stop_after
):
    behaviour = Behaviour(availability=0.6, dropout=0.2, slowdown_sigma=0.3)
    whole = run_rounds(20, behaviour, clients_per_round=3, seed=2)

    class Stopped(Exception):  # noqa: N818
        pass

    def stop(server):
        if len(server.ledger.rounds) == stop_after:
            server.save(tmp_path)
            raise Stopped

    first = small_server(3, E, max_rounds=20, seed=2)
    with pytest.raises(Stopped):
        simulate(first, behaviour, stop)
    second = small_server(3, E, max_rounds=20, seed=2)
    second.restore(tmp_path)
    assert len(second.ledger.rounds) == stop_after
    simulate(second, behaviour)
    assert second.parameters.tobytes() == whole.parameters.tobytes()
    assert second.ledger.rounds.tobytes() == whole.ledger.rounds.tobytes()
    assert second.ledger.clients.tobytes() == whole.ledger.clients.tobytes()
    assert second.ended == whole.ended


@pytest.mark.parametrize("call", range(8))
def test_an_interruption_in_the_middle_of_a_round_leaves_the_last_whole_one_to_go_on_from(
    tmp_path, call
):
    """Ctrl-C may fall between the new parameters and the ledger's row."""
    whole = small_server(3, E, max_rounds=4)
    simulate(whole)

    server = small_server(3, E, max_rounds=4)
    calls = 0
    learner = server.learner

    class Interrupting:
        def __getattr__(self, name):
            return getattr(learner, name)

        def loss(self, parameters):
            nonlocal calls
            calls += 1
            if calls > call:
                raise KeyboardInterrupt
            return learner.loss(parameters)

    server.learner = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        simulate(server)
    server.save(tmp_path)
    resumed = small_server(3, E, max_rounds=4)
    resumed.restore(tmp_path)
    simulate(resumed)
    assert resumed.parameters.tobytes() == whole.parameters.tobytes()
    assert resumed.ledger.rounds.tobytes() == whole.ledger.rounds.tobytes()


def test_equal_devices_that_report_at_the_same_time_are_all_used():
    devices = small_devices(1)
    server = small_server(2, E, over_selection=2.0)
    order = server.next_order()
    same = type(devices)(
        *(
            np.full(6, getattr(devices, name)[0])
            for name in ("compute_s", "communication_s", "compute_j", "communication_j")
        )
    )
    took = timing(same, order, Behaviour(), 0)
    assert took.outcomes == (Outcome.USED,) * 4
