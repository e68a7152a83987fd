"""Figures of a federation, from rounds made by hand."""

import json

import numpy as np
import pytest

from gnomon.core.errors import DataError, UsageError
from gnomon.core.task import make_task
from gnomon.fleet.assembly import blueprint_of
from gnomon.fleet.grid_file import Grid, GridPoint, read_grid, write_grid
from gnomon.fleet.ledger import ROUND
from gnomon.fleet.options import FleetOptions
from gnomon.fleet.outcome import compute_outcome, reported_share
from tests.fleet.small_run import FEW

BLUEPRINT = blueprint_of(FEW, make_task("federated-digits"), FleetOptions())


def rounds_of(*rows):
    """Rows of (phase, K, E, seconds, joules, loss), all reports used."""
    rounds = np.zeros(len(rows), dtype=ROUND)
    for number, (phase, clients, iterations, duration_s, energy_j, loss) in enumerate(rows):
        rounds[number]["round"] = number
        rounds[number]["phase"] = phase
        rounds[number]["clients_per_round"] = clients
        rounds[number]["local_iterations"] = iterations
        rounds[number]["asked"] = rounds[number]["used"] = clients
        rounds[number]["duration_s"] = duration_s
        rounds[number]["energy_j"] = energy_j
        rounds[number]["loss"] = loss
    return rounds


ROUNDS = rounds_of(
    ("estimate", 2, 1, 10.0, 1.0, 2.0),
    ("estimate", 4, 8, 30.0, 3.0, 1.8),
    ("train", 3, 5, 20.0, 2.0, 1.5),
    ("train", 3, 5, 20.0, 2.0, 1.0),
    ("train", 6, 2, 40.0, 4.0, 0.9),
)


def outcome_of(rounds=ROUNDS, **changes):
    settings = {
        "gamma": 0.25,
        "target_loss": 1.0,
        "initial_loss": 2.3,
        "loss": 0.9,
        "quality": 0.8,
        **changes,
    }
    return compute_outcome(rounds, **settings)


def test_totals_are_sums_and_the_cost_weighs_seconds_and_joules():
    spent = outcome_of().spent
    assert (spent.rounds, spent.duration_s, spent.energy_j) == (5, 120.0, 12.0)
    assert spent.cost == pytest.approx(0.75 * 120 + 0.25 * 12)


def test_the_headline_is_the_cost_up_to_the_first_round_at_the_target():
    outcome = outcome_of()
    assert (outcome.to_target.rounds, outcome.to_target.duration_s) == (4, 80.0)
    assert outcome.to_json()["metric"] == {
        "name": "cost to target",
        "value": pytest.approx(0.75 * 80 + 0.25 * 8),
        "unit": "$",
    }


def test_a_target_that_was_not_reached_has_no_cost():
    outcome = outcome_of(target_loss=0.5)
    assert outcome.to_target is None
    assert outcome.to_json()["metric"]["value"] is None


def test_without_a_target_the_headline_is_the_cost_of_all_rounds():
    result = outcome_of(target_loss=None).to_json()
    assert result["metric"]["name"] == "cost"
    assert result["metric"]["value"] == result["cost"]


def test_the_estimation_is_what_its_phase_took_as_a_share_of_the_whole():
    overhead = outcome_of().estimation
    assert (overhead.rounds, overhead.duration_s, overhead.energy_j) == (2, 40.0, 4.0)
    assert overhead.share_of_duration == pytest.approx(1 / 3)
    assert overhead.share_of_cost == pytest.approx(1 / 3)


def test_the_choice_is_the_last_one_and_the_one_used_most_in_training():
    outcome = outcome_of()
    assert (outcome.clients_per_round, outcome.local_iterations) == (6, 2)
    assert outcome.most_used == (3, 5, 2)


def test_rounds_that_were_not_evaluated_are_not_at_the_target():
    rounds = ROUNDS.copy()
    rounds["loss"][3:] = np.nan
    assert outcome_of(rounds).to_target is None


def test_what_is_not_finite_is_unknown_in_json():
    result = outcome_of(
        loss=float("inf"), quality=float("nan"), initial_loss=float("nan")
    ).to_json()
    assert (result["loss"], result["quality"], result["initial_loss"]) == (None, None, None)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_reports_are_counted_against_those_that_rounds_wait_for():
    rounds = ROUNDS.copy()
    rounds["used"] = [2, 2, 3, 3, 3]
    assert reported_share(rounds) == pytest.approx((1 + 0.5 + 1 + 1 + 0.5) / 5)
    rounds["asked"] = 12  # over-selection: more are asked than waited for
    assert reported_share(rounds) == pytest.approx((1 + 0.5 + 1 + 1 + 0.5) / 5)


def test_no_round_has_no_figures():
    assert outcome_of(ROUNDS[:0]) is None


def grid_of(*points, blueprint=BLUEPRINT):
    return Grid(blueprint, "devices", tuple(GridPoint(*point) for point in points))


GRID = grid_of(
    (2, 2, True, 9, 70.0, 100.0, 1.0),
    (4, 4, True, 9, 50.0, 50.0, 1.0),
    (8, 8, False, 9, 1.0, 1.0, 1.5),
)


def test_regret_is_taken_against_the_cheapest_point_that_reached_the_target():
    regret = outcome_of(grid=GRID).regret
    assert (regret.best_clients_per_round, regret.best_local_iterations) == (4, 4)
    assert regret.best_cost == 50.0
    assert regret.share == pytest.approx(62 / 50 - 1)
    assert regret.share_of_training == pytest.approx((62 - 31) / 50 - 1)


def test_one_grid_serves_every_gamma():
    assert GRID.best(0.0).clients_per_round == 4
    assert (
        grid_of((1, 1, True, 1, 1.0, 9.0, 1.0), (2, 1, True, 1, 9.0, 1.0, 1.0))
        .best(1.0)
        .clients_per_round
        == 2
    )


def test_there_is_no_regret_without_a_point_or_a_run_that_reached_the_target():
    assert outcome_of(grid=grid_of((8, 8, False, 9, 1.0, 1.0, 1.5))).regret is None
    assert outcome_of(grid=GRID, target_loss=0.5).regret is None


def test_a_grid_survives_its_file_and_its_folder(tmp_path):
    write_grid(GRID, tmp_path / "grid.json")
    assert read_grid(tmp_path / "grid.json") == read_grid(tmp_path) == GRID


@pytest.mark.parametrize("text", ["", "{}", '{"schema_version": 2}', "[1]"])
def test_a_file_that_is_no_grid_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "grid.json").write_text(text)
    with pytest.raises(DataError, match="is no finished grid"):
        read_grid(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_grid(tmp_path / "nowhere")


def blueprint(**options):
    return blueprint_of(FEW, make_task("federated-digits"), FleetOptions(**options))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 3}, "batch_size is 24 in the grid, 3 in the run"),
        ({"partition": "iid"}, "partition is labels:2 in the grid, iid in the run"),
        ({"target_loss": 0.4}, "target_loss is 0.9 in the grid, 0.4 in the run"),
        ({"dropout": 0.1}, "dropout is 0.0 in the grid, 0.1 in the run"),
    ],
)
def test_a_grid_of_another_federation_is_refused_by_what_differs(options, words):
    with pytest.raises(UsageError, match=words):
        GRID.require_same_problem(blueprint(**options), "devices")


def test_a_grid_of_other_devices_is_refused():
    with pytest.raises(UsageError, match="devices cost something else"):
        GRID.require_same_problem(BLUEPRINT, "others")


@pytest.mark.parametrize(
    "options", [{"gamma": 0.1}, {"max_rounds": 9}, {"max_energy_j": 1.0}, {"seed": 3}]
)
def test_what_does_not_change_a_round_may_differ_from_the_grid(options):
    GRID.require_same_problem(blueprint(**options), "devices")
