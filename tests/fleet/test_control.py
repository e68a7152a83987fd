"""Controllers: what they choose, that they keep nothing between rounds, and when they stop."""

import math
from dataclasses import replace

import numpy as np
import pytest

from gnomon.core.errors import SettingsError, UsageError
from gnomon.fleet.adaptive import Adaptive
from gnomon.fleet.control import Fixed, Within, parse_controller
from gnomon.fleet.cost import Problem
from gnomon.fleet.device_files import normal_devices
from gnomon.fleet.ledger import ROUND
from gnomon.fleet.orders import Decision, Stop
from gnomon.fleet.plan_once import MOST_ROUNDS, PlanOnce, sampled_pairs
from gnomon.fleet.rounds import Bound
from gnomon.fleet.simulated import simulate
from gnomon.fleet.solve import solve
from gnomon.fleet.state import State
from tests.fleet.small_fleet import small_server

CLIENTS = 100
DEVICES = normal_devices(CLIENTS, seed=0)


def a_state(**changes):
    state = State(
        devices=DEVICES,
        weights=np.full(CLIENTS, 1 / CLIENTS),
        gamma=0.5,
        target_loss=0.5,
        initial_loss=2.3,
        history=np.zeros(0, dtype=ROUND),
        max_local_iterations=100,
        seed=0,
    )
    return replace(state, **changes)


def played(controller, state, loss_after, most=2000):
    """Rounds as they follow from a controller's decisions and a law of the loss, to the target or a stop."""
    rows = []
    loss = state.initial_loss
    step = 0
    while len(rows) < most:
        state = replace(state, history=np.array(rows, dtype=ROUND))
        decision = controller.next(state)
        if isinstance(decision, Stop):
            return state.history, decision
        if decision.start == "beginning":
            loss, step = state.initial_loss, 0
        elif decision.start == "best":
            loss = min((row["loss"] for row in rows), default=loss)
        clients, iterations = decision
        loss = loss_after(loss, step, clients, iterations)
        step += 1
        row = np.zeros((), dtype=ROUND)
        for name, value in {
            "round": len(rows),
            "phase": decision.phase,
            "start": decision.start,
            "step": step - 1,
            "clients_per_round": clients,
            "local_iterations": iterations,
            "duration_s": DEVICES.duration_s(iterations).max(),
            "energy_j": clients * DEVICES.energy_j(iterations).mean(),
            "loss": loss,
            "average_loss": loss,
        }.items():
            row[name] = value
        rows.append(row)
        if decision.phase == "train" and state.target_loss and loss <= state.target_loss:
            break
    return np.array(rows, dtype=ROUND), None


def by_the_bound(ratio, floor=0.0, scale=0.02):
    """A loss that falls by the paper's bound: 1 / (F - F*) grows by E / (A0 + B0 g(K) E²) a round."""

    def loss_after(loss, _, clients, iterations):
        per_round = 1 / float(Bound(ratio, 1.0).rounds(iterations, clients, CLIENTS))
        return floor + 1 / (1 / (loss - floor) + scale * ratio * per_round)

    return loss_after


def test_a_decision_unpacks_as_k_and_e():
    clients, iterations = Fixed(7, 12).next(a_state())
    assert (clients, iterations) == (7, 12)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("fixed:3,9", Fixed),
        ("adaptive", Adaptive),
        ("paper", PlanOnce),
        ("plan:pairwise", PlanOnce),
    ],
)
def test_controllers_are_made_by_name(text, kind):
    controller = parse_controller(text)
    assert isinstance(controller, Within)
    assert isinstance(controller.controller, kind)
    assert controller.describe()["name"] == controller.name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fixed", "fixed:K,E, got 'fixed'"),
        ("fixed:1", "fixed:K,E"),
        ("fixed:a,b", "fixed:K,E"),
        ("fixed:0,5", "must be 1 or more"),
        ("adaptiv", "there is no controller 'adaptiv': choose one of fixed:K,E"),
        ("plan:magic", "METHOD pairwise or least-squares"),
        ("paper:fast", "there is no controller"),
    ],
)
def test_what_is_no_controller_is_refused_in_one_line(text, words):
    with pytest.raises(SettingsError, match=words):
        parse_controller(text)


@pytest.mark.parametrize("text", ["paper", "plan"])
def test_the_constants_of_a_law_that_follows_the_bound_are_found_and_solved(text):
    history, _ = played(parse_controller(text), a_state(), by_the_bound(200.0))
    trained = history[history["phase"] == "train"]
    method = "alternating" if text == "paper" else "exact"
    best = solve(Problem(DEVICES, 0.5, Bound(200.0, 1.0), 100), method)
    assert abs(int(trained["clients_per_round"][0]) - best.clients_per_round) <= max(
        2, 0.15 * best.clients_per_round
    )
    assert int(trained["local_iterations"][0]) == pytest.approx(best.local_iterations, abs=2)


def test_the_papers_controller_samples_every_pair_from_the_beginning_and_trains_anew():
    history, _ = played(parse_controller("paper"), a_state(), by_the_bound(200.0))
    beginnings = history[history["start"] == "beginning"]
    pairs = sampled_pairs(CLIENTS, 100)
    sampled = beginnings[beginnings["phase"] == "estimate"]
    assert [
        (k, e)
        for k, e in zip(sampled["clients_per_round"], sampled["local_iterations"], strict=True)
    ] == list(pairs)
    assert beginnings["phase"][-1] == "train"


def test_a_plan_stops_sampling_when_the_choice_is_stable_and_trains_on_from_the_best():
    history, _ = played(
        parse_controller("plan"), a_state(gamma=1.0), by_the_bound(200.0, scale=0.004)
    )
    sampled = history[history["phase"] == "estimate"]
    assert (sampled["start"] == "beginning").sum() < len(sampled_pairs(CLIENTS, 100))
    first = history[history["phase"] == "train"][0]
    assert first["start"] == "best"


def test_sampled_runs_that_never_get_there_are_given_up_and_lead_to_the_default():
    history, _ = played(parse_controller("paper"), a_state(), lambda loss, *_: loss, most=1510)
    pairs = len(sampled_pairs(CLIENTS, 100))
    assert (history["phase"] == "estimate").sum() == pairs * MOST_ROUNDS
    last = history[-1]
    assert (last["clients_per_round"], last["local_iterations"]) == (10, 10)


def test_sampling_without_a_target_is_refused():
    with pytest.raises(SettingsError, match="set a target loss"):
        parse_controller("paper").next(a_state(target_loss=None))


def test_the_papers_controller_refuses_weighted_sampling():
    with pytest.raises(UsageError, match="uniform sampling only"):
        parse_controller("paper").next(a_state(weighted_sampling=True))


def test_sampled_pairs_fit_any_fleet():
    for clients in (1, 2, 3, 10, 1000):
        for most in (1, 5, 100):
            for k, e in sampled_pairs(clients, most):
                assert 1 <= k <= clients
                assert 1 <= e <= most


def test_the_adaptive_controller_refuses_to_learn_without_losses():
    with pytest.raises(SettingsError, match="learns from the loss"):
        parse_controller("adaptive").next(a_state(initial_loss=math.nan))


def test_the_adaptive_controller_runs_every_round_for_training():
    history, _ = played(parse_controller("adaptive"), a_state(), by_the_bound(100.0))
    assert set(history["phase"]) == {"train"}
    assert set(history["start"]) == {"here"}


def test_the_adaptive_controller_finds_that_more_iterations_bring_nothing():
    """E = 10 where one iteration does as much as a hundred costs seconds for nothing."""

    def only_rounds_count(loss, *_):
        return loss * 0.985

    history, _ = played(parse_controller("adaptive"), a_state(gamma=0.0), only_rounds_count)
    first, last = history["local_iterations"][0], history["local_iterations"][-6:]
    assert last.mean() < 0.7 * first


def test_the_adaptive_controller_takes_few_clients_where_only_energy_counts():
    (few, _), (more, _) = (
        parse_controller("adaptive").next(a_state(gamma=gamma)) for gamma in (1.0, 0.0)
    )
    assert few < more


def test_a_budget_stops_before_the_round_that_would_break_it():
    state = a_state(max_duration_s=100.0, target_loss=None)
    history, stop = played(parse_controller("fixed:10,10"), state, lambda loss, *_: loss)
    assert stop is not None
    assert "the budget of 100 s is spent" in stop.why
    assert history["duration_s"].sum() <= 100


def test_an_energy_budget_leads_the_adaptive_controller_to_fewer_clients():
    def falls(loss, _, clients, iterations):
        return loss * 0.99

    free, _ = played(parse_controller("adaptive"), a_state(gamma=0.0), falls, most=60)
    tight = a_state(gamma=0.0, max_energy_j=float(0.6 * free["energy_j"].sum()))
    held, _ = played(parse_controller("adaptive"), tight, falls, most=60)
    assert held["energy_j"][12:].mean() < 0.8 * free["energy_j"][12:].mean()


@pytest.mark.parametrize("text", ["fixed:3,5", "adaptive", "plan", "paper"])
def test_a_controller_is_a_function_of_the_history(text):
    """A new controller at any round decides as the one that was there from the start."""
    server = small_server(
        controller=parse_controller(text), target_loss=0.4, max_rounds=40, max_local_iterations=30
    )
    simulate(server)
    rounds = server.ledger.rounds
    for number in range(0, len(rounds), 7):
        decision = parse_controller(text).next(replace(server.state, history=rounds[:number]))
        assert isinstance(decision, Decision)
        assert tuple(decision) == (
            rounds["clients_per_round"][number],
            rounds["local_iterations"][number],
        )
