"""Grids of fixed choices: what is trained, what is kept, what is refused, which point is best."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import DataError, RunFolderError, SettingsError, UsageError
from gnomon.core.task import make_task
from gnomon.fleet.assembly import assemble
from gnomon.fleet.control import Fixed
from gnomon.fleet.grid import run_grid, spread_values, time_left_s
from gnomon.fleet.grid_file import Grid, GridPoint, Trial, read_grid, write_grid
from gnomon.fleet.grid_folder import FinishedTrial, GridPlan, Place, grid_of, held, read_trials
from gnomon.fleet.grid_summary import best_choices
from gnomon.fleet.grid_trial import train
from gnomon.fleet.options import FleetOptions
from gnomon.fleet.record import devices_sha256
from gnomon.fleet.server import Server
from gnomon.fleet.simulated import simulate
from tests.fleet.small_run import FEW

FEDERATION = assemble(FEW, make_task("federated-digits"), FleetOptions())
PLAN = GridPlan(
    FEDERATION.blueprint, devices_sha256(FEDERATION.devices), (2, 10), (1, 8), seeds=(0, 1)
)


def trained(plan, folder, **more):
    return run_grid(plan, folder, FEDERATION.devices, workers=2, **more)


def files(folder):
    return {file.name: file.stat().st_mtime_ns for file in (folder / "trials").glob("K*.json")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A grid's folder, the grid, and the progress that was told."""
    folder = tmp_path_factory.mktemp("grids") / "few"
    told = []
    return folder, trained(PLAN, folder, observer=told.append), told


def point(clients, iterations, *costs_s, energy_j=1.0, reached=True):
    trials = [
        Trial(seed, reached, 10, duration_s, energy_j, 0.9)
        for seed, duration_s in enumerate(costs_s)
    ]
    return GridPoint.of(clients, iterations, trials)


def grid_with(*points):
    return Grid(FEDERATION.blueprint, PLAN.devices_sha256, points)


def test_every_point_is_the_federation_that_a_run_with_that_fixed_choice_would_be(finished):
    _, grid, _ = finished
    assert len(grid.points) == 4
    for made in grid.points:
        for trial in made.trials:
            settings = FEDERATION.settings.model_copy(update={"seed": trial.seed})
            chosen = Fixed(made.clients_per_round, made.local_iterations)
            server = Server(
                settings, FEDERATION.learner, FEDERATION.devices, FEDERATION.samples, chosen
            )
            simulate(server, FEDERATION.behaviour)
            ledger = server.ledger
            assert (trial.rounds, trial.reached) == (
                len(ledger.rounds),
                server.ended.reason == "target",
            )
            assert trial.duration_s == pytest.approx(ledger.duration_s, rel=1e-12)
            assert trial.energy_j == pytest.approx(ledger.energy_j, rel=1e-12)
            assert trial.loss == pytest.approx(ledger.rounds["loss"][-1], rel=1e-4)


def test_points_that_ran_out_of_rounds_are_kept_and_are_never_the_best(finished):
    _, grid, _ = finished
    missed = [made for made in grid.points if not made.reached]
    assert {made.local_iterations for made in missed} == {1}
    given_up = [trial for made in missed for trial in made.trials if not trial.reached]
    assert given_up
    assert all(trial.rounds == 60 and "60 rounds were run" in trial.ended for trial in given_up)
    for gamma in (0.0, 0.5, 1.0):
        assert grid.best(gamma).local_iterations == 8


def test_progress_is_told_after_each_training_with_the_time_left(finished):
    _, _, told = finished
    assert [progress.share_done for progress in told] == pytest.approx(np.arange(1, 9) / 8)
    assert all("s to go" in progress.text for progress in told)
    assert told[-1].text.endswith("about 0 s to go")


def test_the_finished_grid_is_read_back_as_it_was(finished):
    folder, grid, _ = finished
    assert read_grid(folder) == grid
    assert read_grid(folder / "grid.json") == grid


def test_only_what_is_missing_is_trained_again_and_comes_out_the_same(finished, tmp_path):
    folder, grid, _ = finished
    other = tmp_path / "again"
    (other / "trials").mkdir(parents=True)
    for name in ("plan.json", *(f"trials/{each}" for each in sorted(files(folder))[2:])):
        (other / name).write_bytes((folder / name).read_bytes())
    (other / "trials" / ".K2-E1-seed0.json.x1").write_text(
        "half a fi"
    )  # a killed process leaves it
    before = files(other)
    assert len(before) == 6
    assert trained(PLAN, other) == grid
    assert len(files(other)) == 8
    assert before.items() <= files(other).items()


def test_a_finished_grid_grows_by_values_and_seeds(finished, tmp_path):
    folder, grid, _ = finished
    other = tmp_path / "grown"
    (other / "trials").mkdir(parents=True)
    for name in ("plan.json", *(f"trials/{each}" for each in files(folder))):
        (other / name).write_bytes((folder / name).read_bytes())
    before = files(other)
    grown = trained(replace(PLAN, clients_per_round=(5,), local_iterations=(8,), seeds=(0,)), other)
    assert len(grown.points) == 6
    assert set(grid.points) < set(grown.points)
    assert before.items() <= files(other).items()


def test_other_settings_are_refused_in_one_line_that_names_them(finished):
    folder, _, _ = finished
    changed = FEDERATION.settings.model_copy(update={"learning_rate": 0.2, "gamma": 0.9})
    other = replace(PLAN, blueprint=PLAN.blueprint.model_copy(update={"settings": changed}))
    with pytest.raises(
        SettingsError, match=r"settings.learning_rate 0\.3 there, 0\.2 asked for\): choose"
    ) as refused:
        trained(other, folder)
    assert "\n" not in str(refused.value)
    assert "gamma" not in str(refused.value)  # one grid serves all
    with pytest.raises(SettingsError, match="devices_sha256"):
        trained(replace(PLAN, devices_sha256="0" * 64), folder)


def test_another_number_of_clients_is_told_as_such_even_if_a_k_is_beyond_it(finished):
    folder, _, _ = finished
    fewer = replace(
        PLAN,
        blueprint=PLAN.blueprint.model_copy(update={"clients": 5}),
        clients_per_round=(2, 5),
    )
    with pytest.raises(SettingsError, match="clients 10 there, 5 asked for"):
        trained(fewer, folder)


def test_a_setting_that_a_later_version_adds_does_not_end_a_grid(finished, tmp_path):
    folder, grid, _ = finished
    other = tmp_path / "older"
    (other / "trials").mkdir(parents=True)
    for name in ("plan.json", *(f"trials/{each}" for each in files(folder))):
        (other / name).write_bytes((folder / name).read_bytes())
    plan = json.loads((other / "plan.json").read_text())
    del plan["blueprint"]["settings"]["proximal"]
    (other / "plan.json").write_text(json.dumps(plan))
    before = files(other)
    assert trained(PLAN, other) == grid
    assert files(other) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clients_per_round": (2, 11)}, r"--clients-per-round must be from 1 to 10, got 11"),
        ({"clients_per_round": ()}, r"one value or more of --clients-per-round"),
        ({"local_iterations": (0, 3)}, r"--local-iterations must be from 1 up, got 0"),
        ({"seeds": (-1,)}, r"--seeds must be from 0 up, got -1"),
    ],
)
def test_values_out_of_range_are_refused(change, words):
    with pytest.raises(SettingsError, match=words):
        replace(PLAN, **change)


def test_a_federation_without_a_target_has_no_grid():
    aimless = FEDERATION.settings.model_copy(update={"target_loss": None})
    with pytest.raises(SettingsError, match="set --target-loss"):
        replace(PLAN, blueprint=PLAN.blueprint.model_copy(update={"settings": aimless}))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"schema_version": 1}', '{"schema_version": 1, "settings_digest": "x"}'],
)
def test_a_damaged_file_is_named_with_what_to_do(finished, tmp_path, content):
    folder, _, _ = finished
    (tmp_path / "trials").mkdir()
    for name in ("plan.json", "trials/K2-E1-seed0.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert set(read_trials(tmp_path, PLAN)) == {Place(2, 1, 0)}
    (tmp_path / "trials" / "K2-E1-seed0.json").write_text(content)
    with pytest.raises(DataError, match=r"K2-E1-seed0\.json .*delete it"):
        read_trials(tmp_path, PLAN)


def test_a_file_under_another_name_is_refused(finished, tmp_path):
    folder, _, _ = finished
    (tmp_path / "trials").mkdir()
    text = (folder / "trials" / "K2-E1-seed0.json").read_bytes()
    (tmp_path / "trials" / "K2-E1-seed1.json").write_bytes(text)
    with pytest.raises(DataError, match="another training than its name says"):
        read_trials(tmp_path, PLAN)


def test_two_commands_do_not_train_the_same_grid(finished):
    folder, _, _ = finished
    with held(folder), pytest.raises(RunFolderError, match="another grid is going on"):
        trained(PLAN, folder)


def test_a_diverged_training_is_a_result_and_its_loss_is_null_in_json(tmp_path):
    settings = FEDERATION.settings.model_copy(update={"learning_rate": 1e30})
    blueprint = PLAN.blueprint.model_copy(update={"settings": settings})
    trial = train(replace(FEDERATION, blueprint=blueprint), Place(2, 8, 0))
    assert not trial.reached
    assert trial.loss == math.inf
    path = tmp_path / "grid.json"
    grid = grid_with(GridPoint.of(2, 8, [trial]))
    write_grid(grid, path)
    json.loads(path.read_text(), parse_constant=pytest.fail)
    assert read_grid(path) == grid


def test_the_best_point_is_the_cheapest_on_average_among_those_that_every_seed_reached():
    lucky = GridPoint.of(
        1, 1, [Trial(0, True, 5, 1.0, 1.0, 0.9), Trial(1, False, 60, 1.0, 1.0, 1.4)]
    )
    quick = point(10, 5, 80.0, 90.0, energy_j=70.0)
    frugal = point(1, 5, 300.0, 340.0, energy_j=2.0)
    (time_only, energy_only) = best_choices(grid_with(lucky, quick, frugal), (0.0, 1.0))
    assert (time_only.clients_per_round, time_only.cost) == (10, 85.0)
    assert time_only.standard_error == pytest.approx(5.0)  # sd of 80, 90 is 7.07, over sqrt(2)
    assert (energy_only.clients_per_round, energy_only.cost) == (1, 2.0)
    assert energy_only.standard_error == 0.0
    assert time_only.reached == 2


def test_points_near_the_best_and_points_within_its_noise_are_counted():
    best = point(4, 10, 99.0, 101.0)  # 100 with a standard error of 1
    near = point(5, 10, 108.0, 110.0)  # 9 % more and 9 apart: near, but no noise
    noisy = point(6, 10, 100.0, 140.0)  # 20 % more, standard error 20: noise, but not near
    far = point(7, 10, 300.0, 310.0)
    (choice,) = best_choices(grid_with(best, near, noisy, far), (0.0,))
    assert (choice.clients_per_round, choice.near, choice.as_good) == (4, 2, 2)


def test_of_a_single_seed_noise_is_not_known():
    (choice,) = best_choices(grid_with(point(4, 10, 99.0)), (0.0,))
    assert choice.standard_error is None
    assert choice.as_good is None


def test_a_grid_that_nothing_reached_has_no_best():
    assert best_choices(grid_with(point(4, 10, 99.0, reached=False)), (0.0, 1.0)) == []


def test_a_point_whose_seeds_are_not_all_finished_is_left_out(finished):
    folder, grid, _ = finished
    trials = read_trials(folder, PLAN)
    del trials[Place(2, 8, 1)]
    left = grid_of(PLAN, trials).points
    assert set(grid.points) - set(left) == {
        made for made in grid.points if (made.clients_per_round, made.local_iterations) == (2, 8)
    }


def test_the_seed_does_not_keep_a_run_from_its_grid_but_the_data_seed_does():
    grid = grid_with(point(4, 10, 99.0))
    other = FEDERATION.settings.model_copy(update={"seed": 7})
    run = FEDERATION.blueprint.model_copy(update={"settings": other})
    grid.require_same_problem(run, PLAN.devices_sha256)
    with pytest.raises(UsageError, match="data_seed is 0 in the grid, 3 in the run"):
        grid.require_same_problem(run.model_copy(update={"data_seed": 3}), PLAN.devices_sha256)


@given(most=st.integers(1, 10_000), count=st.integers(2, 12))
def test_values_of_an_axis_run_from_one_to_the_most_without_repeating(most, count):
    values = spread_values(most, count)
    assert values[0] == 1
    assert values[-1] == most
    assert len(values) <= count
    assert all(low < high for low, high in pairwise(values))


def test_time_left_is_that_of_the_nearest_finished_trainings():
    trial = Trial(0, True, 10, 1.0, 1.0, 0.9)
    trials = {
        place: FinishedTrial(place, trial, measured_s)
        for place, measured_s in ((Place(2, 1, 0), 3.0), (Place(10, 8, 0), 50.0))
    }
    # (2, 8) is nearer to (10, 8) than to (2, 1): ln 5 against ln 8; (10, 1) nearer to (2, 1)
    assert time_left_s(PLAN, trials) == 50 + 3 + (3 + 50 + 3 + 50)
    assert time_left_s(PLAN, {}) == 0.0
