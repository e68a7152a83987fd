"""Federated runs as others see them: in the table, in the report, and held against each other."""

import io
import json
import re

import pytest
from rich.console import Console

from gnomon.core.errors import UsageError
from gnomon.results.compare import compare
from gnomon.results.fleet_figures import fleet_figures
from gnomon.results.report import render
from gnomon.results.table import run_view
from tests.fleet.small_run import run_few


@pytest.fixture(scope="module")
def few_clients(tmp_path_factory):
    """Three runs of K = 3, one a seed."""
    return [
        run_few(tmp_path_factory.mktemp("three"), seed=seed, controller="fixed:3,4")
        for seed in range(3)
    ]


@pytest.fixture(scope="module")
def many_clients(tmp_path_factory):
    """Three runs of K = 10, one a seed: far dearer."""
    return [
        run_few(tmp_path_factory.mktemp("ten"), seed=seed, controller="fixed:10,4")
        for seed in range(3)
    ]


def shown(run):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(run_view(run))
    return console.export_text()


RESULT = {
    "metric": {"name": "cost to target", "value": 1234.6, "unit": "$"},
    "gamma": 0.5,
    "rounds": 1200,
    "duration_s": 3725.0,
    "energy_j": 1500.0,
    "cost": 1300.0,
    "to_target": None,
    "estimation": {
        "rounds": 30,
        "duration_s": 100.0,
        "energy_j": 2.5,
        "cost": 51.25,
        "share_of_duration": 0.027,
        "share_of_energy": 0.001,
        "share_of_cost": 0.0394,
    },
    "target_loss": 0.5,
    "initial_loss": 2.3,
    "loss": 0.49,
    "quality": 0.9,
    "clients_per_round": 9,
    "local_iterations": 12,
    "most_used": {"clients_per_round": 7, "local_iterations": 12, "rounds": 800},
    "reported": 0.98,
    "regret": {
        "best_clients_per_round": 5,
        "best_local_iterations": 10,
        "best_cost": 1100.0,
        "points": 25,
        "share": 0.1222,
        "share_of_training": 0.0756,
    },
}


def test_the_figures_are_in_the_units_that_people_read():
    assert dict(fleet_figures(RESULT)) == {
        "cost to target": "$1,235",
        "gamma": "0.5: $0.5 a second, $0.5 a joule",
        "K, clients a round": "9 at the end, 7 in most training rounds (800)",
        "E, local iterations": "12",
        "rounds": "1,200",
        "loss": "0.4900, target 0.5000, at first 2.3000",
        "accuracy": "0.9000",
        "time": "1 h 02 min",
        "energy": "1.50 kJ",
        "cost": "$1,300",
        "reports used": "98.0 %",
        "estimation overhead": "3.9 % of the cost ($51.25, 30 rounds, 1 min 40 s, 2.50 J)",
        "regret": "+12.2 % against K 5, E 10, the best of 25 grid points at $1,100; +7.6 % without the "
        "estimation",
    }


def test_a_loss_that_is_no_number_and_a_target_that_was_missed_are_said_in_words():
    rows = dict(
        fleet_figures(
            RESULT | {"loss": None, "quality": None, "metric": {**RESULT["metric"], "value": None}}
        )
    )
    assert rows["cost to target"] == "not reached"
    assert rows["loss"].startswith("not finite")
    assert "accuracy" not in rows


def test_the_table_shows_the_figures_and_the_verdict(few_clients):
    text = shown(few_clients[0])
    for words in ("A few digits on simulated", "cost to target", "VALID under quick rules"):
        assert words in text
    assert re.search(r"K, clients a round\s+3\s", text)


def test_the_report_holds_figures_settings_and_how_to_check_them(few_clients, many_clients):
    page = render([few_clients[0]])
    for words in (
        "cost to target",
        "estimation overhead",
        "settings.gamma",
        "controller.name",
        "hold them against the devices",
    ):
        assert words in page
    both = render([few_clients[0], many_clients[0]])
    assert both.count("<h3>federation</h3>") >= 2


def test_seeds_are_what_repeats_a_federation(few_clients, many_clients):
    comparison = compare([*few_clients, *many_clients])
    assert [len(side.runs) for side in comparison.sides] == [3, 3]
    rows = {row.metric: row for row in comparison.rows}
    assert set(rows) == {"cost to target", "time to target", "energy to target", "rounds to target"}
    energy = rows["energy to target"]
    assert energy.conclusion == "worse"
    assert energy.ratio > 1.5
    assert energy.interval.low > 1
    assert energy.p_adjusted < 0.05
    assert json.dumps(comparison.to_json())


def test_time_is_faster_or_slower_and_energy_better_or_worse(few_clients, many_clients):
    words = {row.metric: row.conclusion for row in compare([*many_clients, *few_clients]).rows}
    assert words["energy to target"] == "better"
    assert words["time to target"] in ("faster", "slower", "no difference seen", "inconclusive")


def test_one_run_a_side_is_told_to_be_too_few(few_clients, many_clients):
    comparison = compare([few_clients[0], many_clients[0]])
    assert {row.conclusion for row in comparison.rows} == {"inconclusive"}
    assert "3 seeds a side" in comparison.rows[0].why


def test_the_same_seed_twice_counts_once(few_clients, many_clients, tmp_path):
    again = [run_few(tmp_path, seed=0, controller="fixed:3,4") for _ in range(2)]
    comparison = compare([few_clients[0], *again, *many_clients])
    assert {row.conclusion for row in comparison.rows} == {"inconclusive"}


def test_costs_under_different_gammas_are_not_held_against_each_other(few_clients, tmp_path):
    other = [run_few(tmp_path, seed=seed, gamma=0.9, controller="fixed:3,4") for seed in range(3)]
    rows = {row.metric: row for row in compare([*few_clients, *other]).rows}
    assert rows["cost to target"].conclusion == "not compared: gamma differs"
    assert rows["energy to target"].conclusion == "no difference seen"  # the same rounds


def test_runs_without_a_target_cannot_be_compared_by_what_it_took(few_clients, tmp_path):
    invalid = run_few(tmp_path, max_rounds=2)
    rows = compare([few_clients[0], invalid]).rows
    assert {row.conclusion for row in rows} == {"not compared: INVALID"}


def test_a_federation_is_not_compared_with_a_load_test(few_clients, digits_run):
    with pytest.raises(UsageError, match="only runs of one benchmark"):
        compare([few_clients[0], digits_run])
