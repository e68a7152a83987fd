"""The server alone: orders made, reports taken in, the end found, by hand-made reports and a toy model."""

import json
import re
from dataclasses import dataclass

import numpy as np
import pytest

from gnomon.core.errors import DataError, SettingsError, UnknownNameError
from gnomon.fleet.orders import Decision, Outcome, Report, Reports, Stop
from gnomon.fleet.server import SAVED, sampled_clients
from gnomon.fleet.settings import FederatedSettings
from tests.fleet.small_fleet import small_server


class Bowl:
    """A model of two parameters whose loss is the squared distance to (1, 1); nothing is drawn."""

    name = "bowl"

    def initial(self, seed):
        return np.zeros(2, dtype=np.float32)

    def loss(self, parameters):
        return float(((parameters - 1) ** 2).sum())

    def quality(self, parameters):
        return 1 - self.loss(parameters)


@dataclass(frozen=True)
class Listed:
    """A controller that goes through a list of decisions."""

    decisions: tuple
    name: str = "listed"

    def next(self, state):
        place = len(state.history)
        return self.decisions[place] if place < len(self.decisions) else Stop("the list is over")

    def describe(self):
        return {"name": self.name}


def bowl_server(*decisions, **settings):
    return small_server(learner=Bowl(), controller=Listed(decisions), **settings)


def report(client, update, outcome=Outcome.USED, samples=10, duration_s=1.0, energy_j=0.5):
    return Report(
        client, outcome, update, samples, 0.0, duration_s, duration_s / 2, energy_j, energy_j / 2
    )


def answer(server, update, **more):
    """Go one round further: every client of it reports this update."""
    order = server.next_order()
    values = np.asarray(update, dtype=np.float32)
    reports = tuple(report(int(client), values, **more) for client in order.clients)
    server.receive(order, Reports(reports, duration_s=1.0))
    return order


def test_updates_are_averaged_by_numbers_of_samples_which_no_client_can_make_up():
    server = bowl_server(Decision(2, 1))
    order = server.next_order()
    one, other = (int(client) for client in order.clients)
    updates = np.array([[1, 0], [0, 1]], dtype=np.float32)
    server.receive(
        order,
        Reports((report(one, updates[0], samples=30), report(other, updates[1], samples=10)), 1.0),
    )
    held = server.samples[[one, other]]
    np.testing.assert_allclose(server.parameters, held / held.sum(), rtol=1e-6)


def test_with_weighted_sampling_a_client_counts_as_often_as_it_was_drawn_whatever_it_holds():
    server = bowl_server(*[Decision(5, 1)] * 50, sampling="weighted", max_rounds=50)
    for _ in range(50):
        order = server.next_order()
        if order.draws.max() > 1:
            break
        answer_to(server, order)
    assert order.draws.sum() == 5
    assert order.wanted == len(order.clients) < 5
    before = server.parameters
    updates = np.eye(2, dtype=np.float32)[(order.draws > 1).astype(int)]
    reports = tuple(
        report(int(client), update, samples=100 * place + 1)
        for place, (client, update) in enumerate(zip(order.clients, updates, strict=True))
    )
    server.receive(order, Reports(reports, 1.0))
    twice = order.draws[order.draws > 1].sum() / 5
    np.testing.assert_allclose(server.parameters - before, [1 - twice, twice], rtol=1e-6)


def answer_to(server, order):
    zero = np.zeros(2, dtype=np.float32)
    server.receive(order, Reports(tuple(report(int(c), zero) for c in order.clients), 1.0))


def test_weighted_draws_follow_the_shares_of_samples():
    weights = np.array([0.5, 0.3, 0.15, 0.05])
    settings = FederatedSettings(sampling="weighted")
    counts = np.zeros(4)
    for number in range(2000):
        clients, draws = sampled_clients(settings, weights, number, 3, None)
        assert (np.diff(clients) > 0).all()
        counts[clients] += draws
    np.testing.assert_allclose(counts / counts.sum(), weights, atol=0.02)


def test_uniform_draws_are_without_replacement_and_equally_often():
    counts = np.zeros(10)
    for number in range(2000):
        clients, draws = sampled_clients(FederatedSettings(), np.full(10, 0.1), number, 4, None)
        assert (np.diff(clients) > 0).all()
        assert (draws == 1).all()
        counts[clients] += 1
    np.testing.assert_allclose(counts / 2000, 0.4, atol=0.04)


def test_nobody_is_asked_who_is_not_there():
    pool = np.array([1, 4, 8])
    for sampling in ("uniform", "weighted"):
        settings = FederatedSettings(sampling=sampling, over_selection=2.0)
        clients, _ = sampled_clients(settings, np.full(10, 0.1), 0, 5, pool)
        assert set(clients.tolist()) <= set(pool.tolist())


@pytest.mark.parametrize(
    ("update", "words"),
    [
        (np.array([np.nan, 0], dtype=np.float32), "not finite"),
        (np.array([np.inf, 0], dtype=np.float32), "not finite"),
        (np.zeros(3, dtype=np.float32), r"shape \(3,\), the model \(2,\)"),
        (None, "without an update"),
    ],
)
def test_an_update_that_cannot_be_used_is_rejected_with_a_note_and_the_rest_counts(update, words):
    server = bowl_server(Decision(2, 1))
    order = server.next_order()
    good, bad = (int(client) for client in order.clients)
    right = np.full(2, 0.5, dtype=np.float32)
    server.receive(order, Reports((report(good, right), report(bad, update)), 1.0))
    np.testing.assert_array_equal(server.parameters, right)
    assert server.ledger.clients["outcome"].tolist() == ["used", "rejected"]
    assert re.search(words, server.ledger.notes[0, bad])
    assert server.ledger.rounds["used"][0] == 1
    assert server.ledger.rounds["energy_j"][0] == 1.0  # the rejected one used some as well


def test_training_ends_at_the_target():
    server = bowl_server(*[Decision(2, 1)] * 9, target_loss=0.6)
    for _ in range(2):
        answer(server, [0.25, 0.25])
    assert server.ended.reason == "target"
    assert server.next_order() is None
    assert server.ledger.rounds["loss"].tolist() == pytest.approx([2 * 0.75**2, 0.5])


def test_training_ends_with_the_last_round_that_is_allowed():
    server = bowl_server(*[Decision(2, 1)] * 9, max_rounds=3)
    for _ in range(3):
        answer(server, [0, 0])
    assert server.next_order() is None
    assert server.ended.reason == "rounds"


def test_training_ends_when_its_controller_wants_no_further_round():
    server = bowl_server(Decision(2, 1))
    answer(server, [0, 0])
    assert server.next_order() is None
    assert (server.ended.reason, server.ended.why) == ("stopped", "the list is over")


@pytest.mark.parametrize("update", [[50, 0], [np.float32(1e30)] * 2])
def test_training_that_diverges_ends_and_says_what_to_change(update):
    server = bowl_server(*[Decision(2, 1)] * 9)
    with np.errstate(over="ignore"):
        answer(server, update)
    assert server.ended.reason == "diverged"
    assert "smaller learning rate" in server.ended.why


@pytest.mark.parametrize(
    ("budget", "words"), [({"max_duration_s": 2.5}, "2.5 s"), ({"max_energy_j": 2.5}, "2.5 J")]
)
def test_training_ends_with_the_round_that_goes_over_the_budget(budget, words):
    server = bowl_server(*[Decision(2, 1)] * 9, **budget)
    while server.ended is None:
        answer(server, [0, 0])
    assert server.ended.reason == "budget"
    assert words in server.ended.why
    assert len(server.ledger.rounds) == 3


def test_estimation_may_begin_again_from_the_start_or_from_the_best_with_its_learning_rate():
    server = bowl_server(
        Decision(1, 1),
        Decision(1, 1),
        Decision(1, 1, "estimate", "beginning"),
        Decision(1, 1, "train", "best"),
        decay="exponential:0.5",
        learning_rate=0.8,
    )
    rates = []
    for update in ([0.5, 0.5], [3, 3], [0, 0], [0, 0]):
        order = answer(server, update)
        rates.append(order.learning_rate)
    assert rates == [0.8, 0.4, 0.8, 0.4]  # the best model was found after one step
    np.testing.assert_array_equal(server.parameters, [0.5, 0.5])
    assert server.ledger.rounds["phase"].tolist() == ["train", "train", "estimate", "train"]
    assert server.ledger.rounds["start"].tolist() == ["here", "here", "beginning", "best"]
    assert server.ledger.rounds["step"].tolist() == [0, 1, 0, 1]


def test_losses_are_only_evaluated_when_they_are_due():
    server = bowl_server(*[Decision(1, 1)] * 6, evaluate_every=3)
    for _ in range(6):
        answer(server, [0, 0])
    assert np.isfinite(server.ledger.rounds["loss"]).tolist() == [False, False, True] * 2


@pytest.mark.parametrize("decision", [Decision(0, 1), Decision(7, 1), Decision(3, 0)])
def test_a_controller_that_wants_the_impossible_is_named(decision):
    with pytest.raises(SettingsError, match="controller listed chose K="):
        bowl_server(decision).next_order()


def test_reports_for_a_round_that_was_not_asked_for_are_a_mistake_of_the_caller():
    server = bowl_server(Decision(1, 1), Decision(1, 1))
    order = answer(server, [0, 0])
    with pytest.raises(ValueError, match="round 0, which was not asked for"):
        server.receive(order, Reports((report(int(order.clients[0]), np.zeros(2)),), 1.0))


def test_a_saved_federation_is_only_gone_on_with_under_the_same_settings(tmp_path):
    server = bowl_server(Decision(1, 1), Decision(1, 1))
    answer(server, [0, 0])
    server.save(tmp_path)
    with pytest.raises(DataError, match="other settings"):
        bowl_server(Decision(1, 1), gamma=0.25).restore(tmp_path)
    with pytest.raises(DataError, match="another model"):
        small_server().restore(tmp_path)


def test_a_damaged_file_is_refused_in_one_line(tmp_path):
    server = bowl_server(Decision(1, 1), Decision(1, 1))
    answer(server, [0, 0])
    server.save(tmp_path)
    whole = (tmp_path / SAVED).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"no archive at all"):
        (tmp_path / SAVED).write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read"):
            bowl_server(Decision(1, 1)).restore(tmp_path)


def test_notes_survive_a_restart(tmp_path):
    server = bowl_server(Decision(1, 1), Decision(1, 1))
    answer(server, [np.nan, 0])
    server.save(tmp_path)
    again = bowl_server(Decision(1, 1), Decision(1, 1))
    again.restore(tmp_path)
    assert again.ledger.notes == server.ledger.notes != {}
    assert json.dumps([list(place) for place in again.ledger.notes])  # plain whole numbers


def test_a_server_optimiser_goes_its_own_way_and_starts_anew_with_the_parameters():
    momentum = bowl_server(
        *[Decision(2, 1)] * 3, Decision(2, 1, start="beginning"), server_optimizer="avgm"
    )
    for expected in (0.1, 0.1 + 0.19, 0.1 + 0.19 + 0.271, 0.1):
        answer(momentum, [0.1, 0.1])
        np.testing.assert_allclose(momentum.parameters, expected, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["avgm", "adam", "yogi", "adagrad"])
def test_a_restored_server_optimiser_goes_on_where_it_was(optimizer, tmp_path):
    whole, again = (
        bowl_server(*[Decision(2, 1)] * 6, server_optimizer=optimizer) for _ in range(2)
    )
    for _ in range(3):
        answer(whole, [0.1, -0.1])
    whole.save(tmp_path)
    again.restore(tmp_path)
    for server in (whole, again):
        for _ in range(3):
            answer(server, [0.05, 0.1])
    np.testing.assert_array_equal(whole.parameters, again.parameters)


def poisoned(server, honest, poison):
    """One round in which the first client reports poison."""
    order = server.next_order()
    reports = tuple(
        report(int(client), np.asarray(poison if place == 0 else honest, dtype=np.float32))
        for place, client in enumerate(order.clients)
    )
    server.receive(order, Reports(reports, duration_s=1.0))


def test_a_norm_bound_clips_a_poisoned_update_and_says_so():
    server = bowl_server(Decision(6, 1), max_update_norm=0.2)
    poisoned(server, [0.1, 0.1], [1e6, 0])
    assert np.abs(server.parameters).max() < 0.2
    (note,) = server.ledger.notes.values()
    assert "more than 0.2: clipped" in note


@pytest.mark.parametrize("aggregation", ["median", "trimmed:0.2", "krum:1", "multi-krum:1"])
def test_robust_aggregation_shrugs_a_poisoned_update_off(aggregation):
    server = bowl_server(Decision(6, 1), aggregation=aggregation)
    poisoned(server, [0.1, 0.1], [1e6, -1e6])
    np.testing.assert_allclose(server.parameters, 0.1, rtol=1e-5)


def test_too_few_reports_for_an_aggregation_make_a_round_without_effect():
    server = bowl_server(Decision(3, 1), aggregation="krum:1")
    answer(server, [0.1, 0.1])
    assert not server.parameters.any()
    assert server.ledger.rounds["used"][0] == 0
    assert all("krum:1 needs 5 updates, 3 came" in note for note in server.ledger.notes.values())


def test_private_updates_are_clipped_and_noised_with_the_seed():
    settings = {"aggregation": "mean", "clip_norm": 0.5, "noise_multiplier": 0.2}
    first, same, other = (bowl_server(Decision(6, 1), seed=seed, **settings) for seed in (0, 0, 1))
    for server in (first, same, other):
        answer(server, [30.0, 40.0])
    np.testing.assert_array_equal(first.parameters, same.parameters)
    assert not np.array_equal(first.parameters, other.parameters)
    np.testing.assert_allclose(first.parameters, [0.3, 0.4], atol=0.1)


def test_privacy_refuses_an_aggregation_that_it_does_not_bound():
    with pytest.raises(SettingsError, match="use mean"):
        bowl_server(Decision(6, 1), clip_norm=0.5)


@pytest.mark.parametrize("change", [{"aggregation": "average"}, {"server_optimizer": "sgd"}])
def test_names_that_do_not_exist_are_refused_before_anything_runs(change):
    with pytest.raises(UnknownNameError):
        bowl_server(Decision(1, 1), **change)
