"""Pictures of federations and of grids: what they show, held against the rounds they are made from."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from gnomon.core.errors import RunFolderError
from gnomon.core.task import make_task
from gnomon.fleet.assembly import blueprint_of
from gnomon.fleet.cost import round_duration_s
from gnomon.fleet.devices import Devices
from gnomon.fleet.grid_file import Grid, GridPoint, Trial
from gnomon.fleet.ledger import CLIENT, ROUND
from gnomon.fleet.options import FleetOptions
from gnomon.fleet.record import FleetSamples
from gnomon.results.fleet_charts import fleet_charts
from gnomon.results.fleet_surface import run_surface
from gnomon.results.grid_report import grid_charts, render_grid, write_grid_report
from gnomon.results.report import write_report
from tests.fleet.small_run import FEW, run_few

BLUEPRINT = blueprint_of(FEW, make_task("federated-digits"), FleetOptions())
DEVICES = Devices(
    np.array([0.1, 0.2, 0.3, 0.1]), np.ones(4), np.full(4, 0.01), np.full(4, 0.1), "given"
)
# phase, start, K, E, seconds, joules, loss
ROUNDS = (
    ("estimate", "here", 1, 4, 2.0, 0.5, 1.9),
    ("estimate", "here", 1, 4, 2.0, 0.5, 1.8),
    ("estimate", "beginning", 4, 1, 3.0, 0.7, 1.7),
    ("train", "beginning", 2, 8, 4.0, 0.9, 1.2),
    ("train", "here", 2, 8, 4.0, 0.9, 0.95),
    ("train", "here", 2, 5, 5.0, 1.0, 0.8),
)


def rounds_of(rows=ROUNDS):
    rounds = np.zeros(len(rows), dtype=ROUND)
    for number, row in enumerate(rows):
        for name, value in zip(
            (
                "phase",
                "start",
                "clients_per_round",
                "local_iterations",
                "duration_s",
                "energy_j",
                "loss",
            ),
            row,
            strict=True,
        ):
            rounds[number][name] = value
        rounds[number]["round"] = number
    rounds["average_loss"] = rounds["loss"]
    rounds["started_s"] = np.cumsum(rounds["duration_s"]) - rounds["duration_s"]
    return rounds


def samples_of(rows=ROUNDS, grid=None):
    """Client 0 takes part in every round, client 1 comes late in the last, client 3 never does."""
    parts = [(number, 0, "used", 10, 1.5, 0.3) for number in range(len(rows))]
    parts += [(len(rows) - 1, 1, "late", 30, 5.0, 0.4), (0, 2, "dropped", 20, 0.5, 0.1)]
    clients = np.zeros(len(parts), dtype=CLIENT)
    names = ("round", "client", "outcome", "samples", "duration_s", "energy_j")
    for place, part in enumerate(parts):
        for name, value in zip(names, part, strict=True):
            clients[place][name] = value
    return FleetSamples(rounds_of(rows), clients, DEVICES, grid, {})


def stored_with(**settings):
    whole = BLUEPRINT.settings.model_dump(mode="json") | {"target_loss": 0.9, "gamma": 0.25}
    return {
        "settings": {"settings": whole | settings},
        "result": {"initial_loss": 2.3},
    }


def small_grid():
    """(2, 8) is best at gamma 0.25; (4, 8) was missed by one seed."""

    def point(clients, iterations, duration_s, energy_j, *reached):
        trials = [
            Trial(seed, there, 9, duration_s + seed, energy_j, 0.9 if there else 1.4)
            for seed, there in enumerate(reached)
        ]
        return GridPoint.of(clients, iterations, trials)

    points = (
        point(2, 1, 60.0, 2.0, True, True),
        point(4, 1, 50.0, 9.0, True, True),
        point(2, 8, 30.0, 3.0, True, True),
        point(4, 8, 20.0, 8.0, True, False),
    )
    return Grid(BLUEPRINT, "0" * 64, points)


def charts_of(samples, **settings):
    return {chart.title: chart for chart in fleet_charts(samples, stored_with(**settings))}


def named(chart, name):
    (trace,) = (trace for trace in chart.figure["data"] if trace.get("name") == name)
    return trace


def heat_of(chart):
    (trace,) = (trace for trace in chart.figure["data"] if trace["type"] == "heatmap")
    return trace


def test_loss_runs_against_the_fleets_clock_and_breaks_where_training_began_anew():
    chart = charts_of(samples_of())["Loss over time"]
    traces = chart.figure["data"]
    assert [trace["name"] for trace in traces] == ["estimation", "estimation", "training"]
    assert [trace["showlegend"] for trace in traces] == [True, False, True]
    assert traces[0]["x"] == [0.0, 2.0, 4.0]
    assert traces[0]["y"] == [2.3, 1.9, 1.8]
    assert traces[2]["x"] == [7.0, 11.0, 15.0, 20.0]
    assert traces[2]["y"] == [2.3, 1.2, 0.95, 0.8]
    assert chart.figure["layout"]["shapes"][0]["y0"] == 0.9
    assert "target 0.9" in chart.figure["layout"]["annotations"][0]["text"]
    assert "K 2, E 5" in traces[2]["text"][-1]


def test_a_target_on_a_logarithmic_axis_is_labelled_where_it_is_drawn():
    rows = [(*row[:6], 100.0 if number == 0 else row[6]) for number, row in enumerate(ROUNDS)]
    layout = charts_of(samples_of(rows))["Loss over time"].figure["layout"]
    assert layout["yaxis"]["type"] == "log"
    assert layout["annotations"][0]["y"] == pytest.approx(math.log10(0.9))


def test_choices_are_steps_that_end_with_the_last_round_and_estimation_is_shaded():
    chart = charts_of(samples_of())["The choice, round by round"]
    assert named(chart, "K, clients a round")["x"] == [1, 3, 4, 7]
    assert named(chart, "K, clients a round")["y"] == [1, 4, 2, 2]
    assert named(chart, "E, local iterations")["x"] == [1, 3, 4, 6, 7]
    assert named(chart, "E, local iterations")["y"] == [4, 1, 8, 5, 5]
    (band,) = chart.figure["layout"]["shapes"]
    assert (band["x0"], band["x1"]) == (1, 4)
    assert "Shaded" in chart.caption


def test_time_and_energy_add_up_to_the_cost():
    chart = charts_of(samples_of())["What it cost"]
    time, energy = chart.figure["data"]
    assert time["y"][-1] == pytest.approx(0.75 * 20.0)
    assert energy["y"][-1] == pytest.approx(0.25 * 4.5)
    assert time["name"] == "time, $0.75 a second"
    assert energy["text"][-1] == "$1.125 for 4.50 J"


@pytest.mark.parametrize(("gamma", "kept"), [(0.0, "time"), (1.0, "energy")])
def test_what_costs_nothing_is_not_drawn(gamma, kept):
    (trace,) = charts_of(samples_of(), gamma=gamma)["What it cost"].figure["data"]
    assert trace["name"].startswith(kept)


def test_clients_are_bars_by_outcome_the_greatest_first():
    charts = charts_of(samples_of())
    chart = charts["How long clients worked"]
    assert named(chart, "used")["y"] == [9.0, 0.0, 0.0]
    assert named(chart, "late")["y"] == [0.0, 5.0, 0.0]
    assert named(chart, "dropped")["y"] == [0.0, 0.0, 0.5]
    assert "3 of 4 clients were asked" in chart.caption
    assert "client 1" in named(chart, "late")["text"][1]
    assert "spare" not in {trace["name"] for trace in chart.figure["data"]}
    energy = charts["What clients used"]
    assert named(energy, "used")["y"] == pytest.approx([1.8, 0.0, 0.0])


def test_the_surface_is_the_grid_if_there_is_one_with_its_best_and_what_it_missed():
    chart = charts_of(samples_of(grid=small_grid()))["Cost over K and E, at gamma 0.25"]
    heat = heat_of(chart)
    cost = np.array(heat["z"], dtype=float)
    assert 10 ** cost[0, 0] == pytest.approx(0.75 * 60.5 + 0.25 * 2.0, rel=1e-3)
    assert math.isnan(cost[1, 1])
    best = named(chart, "best of the grid")
    assert (best["x"], best["y"]) == ([2], [8])
    missed = named(chart, "target not reached")
    assert (missed["x"], missed["y"]) == ([4], [8])
    assert "for 1 of 2 seeds" in missed["text"][0]
    assert "mean of 2 seeds" in chart.caption


def test_cells_meet_halfway_between_values_in_the_logarithm():
    heat = heat_of(charts_of(samples_of(grid=small_grid()))["Cost over K and E, at gamma 0.25"])
    assert heat["x"] == pytest.approx([2 / 2**0.5, 2 * 2**0.5, 4 * 2**0.5], rel=1e-4)
    assert len(heat["y"]) == len(heat["z"]) + 1


def test_the_way_of_a_run_is_marked_on_the_surface_and_numbered_in_order():
    chart = charts_of(samples_of(grid=small_grid()))["Cost over K and E, at gamma 0.25"]
    sampled = named(chart, "sampled to estimate")
    assert set(zip(sampled["x"], sampled["y"], strict=True)) == {(1, 4), (4, 1)}
    used = named(chart, "trained with")
    assert used["text"] == ["K 2, E 5: 1 round", "K 2, E 8: 2 rounds"]
    texts = [trace for trace in chart.figure["data"] if trace.get("mode") == "text"]
    numbers = [text for trace in texts for text in trace["text"] if "<b>" in text]
    assert numbers == ["<b>1</b>", "<b>2</b>", "<b>3</b>", "<b>4</b>"]
    lines = [trace for trace in chart.figure["data"] if trace.get("mode") == "lines"]
    assert lines[0]["x"] == [2, 2]
    assert lines[0]["y"] == [8, 5]


def test_a_long_way_is_marked_with_start_and_end_alone():
    rows = [
        ("train", "here", 2, 5 + number % 2, 4.0, 0.9, 1.5 - 0.01 * number) for number in range(40)
    ]
    chart = charts_of(samples_of(rows))["Cost over K and E, at gamma 0.25"]
    texts = [trace["text"] for trace in chart.figure["data"] if trace.get("mode") == "text"]
    assert ["<b>start</b>", "<b>end</b>"] in texts


def test_without_a_grid_the_surface_predicts_the_cost_of_what_this_run_came_to():
    rows = [("train", "here", 3, 6, 4.0, 0.9, 2.0 * 0.97 ** (number + 1)) for number in range(40)]
    samples = samples_of(rows)
    settings = stored_with()["settings"]["settings"]
    surface, told = run_surface(samples, settings)
    assert "Predicted" in told
    at = (
        np.flatnonzero(surface.local_iterations == 6),
        np.flatnonzero(surface.clients_per_round == 3),
    )
    round_s = round_duration_s(DEVICES, np.array([6]), np.array([3]))[0, 0]
    round_j = 3 * (0.06 + 0.1)
    expected = 40 * (
        0.75 * round_s + 0.25 * round_j
    )  # where it trained, it predicts its own rounds
    assert surface.cost[at].item() == pytest.approx(expected, rel=1e-9)


def test_without_losses_the_surface_is_the_cost_of_a_round_and_says_so():
    rows = [(*row[:6], math.nan) for row in ROUNDS]
    charts = charts_of(samples_of(rows), target_loss=None)
    assert "Loss over time" not in charts
    chart = charts["Cost over K and E, at gamma 0.25"]
    assert "one round" in chart.caption
    heat = heat_of(chart)
    round_s = round_duration_s(DEVICES, np.array([1]), np.array([1]))[0, 0]
    assert 10 ** heat["z"][0][0] == pytest.approx(0.75 * round_s + 0.25 * 0.11, rel=1e-3)


def test_a_federation_that_diverged_or_has_no_round_yet_is_no_trouble():
    rows = [*ROUNDS[:3], ("train", "beginning", 2, 8, 4.0, 0.9, math.inf)]
    chart = charts_of(samples_of(rows))["Loss over time"]
    assert chart.figure["data"][-1]["y"] == [2.3, None]
    json.dumps(chart.figure, allow_nan=False)
    samples = samples_of()
    begun = FleetSamples(samples.rounds[:0], samples.clients[:0], DEVICES, None, {})
    assert fleet_charts(begun, stored_with()) == []


def test_devices_that_cost_nothing_leave_the_map_empty_and_break_nothing():
    free = Devices(np.zeros(4), np.zeros(4), np.zeros(4), np.zeros(4))
    samples = samples_of()
    samples = FleetSamples(samples.rounds, samples.clients, free, None, {})
    chart = charts_of(samples)["Cost over K and E, at gamma 0.25"]
    assert all(trace["type"] != "heatmap" for trace in chart.figure["data"])


def test_figures_are_json_without_nan_in_every_case():
    for samples in (samples_of(), samples_of(grid=small_grid()), samples_of(ROUNDS[:1])):
        for gamma in (0.0, 0.5, 1.0):
            for chart in fleet_charts(samples, stored_with(gamma=gamma)):
                json.dumps(chart.figure, allow_nan=False)


def test_a_grids_page_has_a_map_for_each_gamma_and_the_points_nothing_beats():
    charts = grid_charts(small_grid(), (0.0, 1.0))
    assert [chart.title for chart in charts] == [
        "Cost to the target at gamma 0",
        "Cost to the target at gamma 1",
        "Time against energy",
    ]
    border = named(charts[-1], "K,E that no point beats in both")
    assert border["text"] == ["2,8", "2,1"]
    for chart in charts:
        json.dumps(chart.figure, allow_nan=False)


def test_a_grid_that_nothing_reached_has_a_page_that_says_so():
    missed = GridPoint.of(2, 1, [Trial(0, False, 60, 50.0, 1.0, math.inf)])
    page = render_grid(Grid(BLUEPRINT, "0" * 64, (missed,)), "folder", "A title")
    assert "No point reached the target" in page


def test_a_page_that_cannot_be_written_is_an_error_with_its_path(tmp_path: Path):
    with pytest.raises(RunFolderError, match=r"cannot write .*nowhere"):
        write_grid_report(small_grid(), tmp_path / "nowhere", "A title")


CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of a grid, and the report of a run."""
    folder = tmp_path_factory.mktemp("pages")
    grid = write_grid_report(small_grid(), folder, "A title")
    run = run_few(folder)
    return grid, write_report([run], folder / "run.html")


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (375, "dark")])
def test_pages_are_drawn_offline_and_are_not_wider_than_the_screen(pages, width, scheme):
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        troubles: list[str] = []
        for path in pages:
            page = context.new_page()
            page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.goto(path.as_uri())
            page.wait_for_function(
                "[...document.querySelectorAll('.chart')].every(c => c.dataset.drawn)"
            )
            assert troubles == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator(".chart").count() >= 6
            assert page.locator(".heatmaplayer image").count() >= 1
        chromium.close()
