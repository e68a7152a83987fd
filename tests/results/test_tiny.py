"""Runs of boards as people see them: table, report, comparison."""

import json

import numpy as np
import pytest

from gnomon.core.energy import evenly_sampled
from gnomon.core.run import Run, RunWriter
from gnomon.core.verdict import Check, Verdict
from gnomon.device import outcome
from gnomon.device.energy_record import write_energy
from gnomon.device.record import Window, write_windows
from gnomon.results.compare import compare
from gnomon.results.report import render
from gnomon.results.table import figures, run_view
from gnomon.results.tiny_charts import boards_together, layer_bars, power_trace
from gnomon.suites.tiny import KWS

BOARD = {
    "name": "a board",
    "profile": "a profile",
    "model_id": "kws01",
    "timestamp_mode": "performance",
    "banner": [],
    "address": "/dev/ttyACM0",
    "model_sha256": "-",
}
LAYERS = [
    {"index": 0, "name": "conv", "duration_us": 900.0},
    {"index": 1, "name": "dense", "duration_us": 100.0},
]


def windows_of(per_inference_us, count=5):
    """Windows of 11 s and a little, one after the other."""
    found, start_us = [], 1000
    for number in range(count):
        iterations = int(11e6 / per_inference_us)
        end_us = start_us + round(iterations * per_inference_us * (1 + number / 1000))
        found.append(
            Window(
                number,
                f"file_{number}.bin",
                iterations,
                10,
                start_us,
                end_us,
                False,
                False,
                0,
                1,
                (1.0,),
            )
        )
        start_us = end_us + 1000
    return found


def made_run(
    out, per_inference_us=1000.0, counts="time", quality=0.93, energy_w=None, system="serial-board"
):
    """A run folder with windows, an accuracy, and energy if a power is given; nothing was measured."""
    board = BOARD | {
        "counts": counts,
        "instructions_per_us": 125.0 if counts == "instructions" else 0.0,
    }
    windows = windows_of(per_inference_us)
    timed = outcome.performance(windows, counts, board["instructions_per_us"])
    record = {
        "gnomon_version": "0",
        "benchmark": KWS.model_dump(mode="json"),
        "protocol": "device",
        "system": {"name": system, "description": {}},
        "rules": "official",
        "data": {"name": "stand-in", "official": False, "sha256": "0" * 64},
        "options": {"rules": "official"},
        "environment": {},
        "notes": [],
    }
    stored = {"settings": {}, "board": board, "faults": []}
    verdict = Verdict("official", (Check("windows", True, "5", "5"),))
    with RunWriter.create(out, "made", record) as writer:
        write_windows(writer.measurement_path("performance"), windows)
        writer.record_measurement("performance", stored | {"result": timed, "layers": LAYERS})
        writer.record_measurement(
            "accuracy",
            stored
            | {
                "result": {
                    "metric": {"name": "top-1 accuracy", "value": quality, "unit": ""},
                    "quality": quality,
                    "target": 0.9,
                    "sample_count": 1000,
                    "inference_count": 1000,
                }
            },
        )
        if energy_w is not None:
            samples = evenly_sampled(np.full(60_000, energy_w / 1000), 1000.0)
            marks = [
                value
                for window in windows
                for value in (window.start_us / 1e6, window.end_us / 1e6)
            ]
            folder = writer.measurement_path("energy")
            write_windows(folder, windows)
            write_energy(folder, samples, marks)
            from gnomon.device.energy_record import read_energy

            measured = outcome.energy(read_energy(folder, windows), timed)
            writer.record_measurement("energy", stored | {"result": measured})
        run = writer.complete(verdict)
    return Run.open(run.path)


def printed(run):
    from rich.console import Console

    console = Console(width=110, record=True)
    console.print(run_view(run))
    return console.export_text()


def test_a_board_with_a_clock_has_a_rate_and_a_time_and_energy_per_inference(tmp_path):
    text = printed(made_run(tmp_path, energy_w=0.05))
    assert "998.0 inferences/s" in text or "998 inf" in text, text
    assert "1.00 ms" in text
    assert "50.1 µJ" in text  # 50 mW times a millisecond
    assert "top-1 accuracy 0.9300" in text
    assert "/dev/ttyACM0" in text


def test_an_emulated_board_has_instructions_and_never_a_latency(tmp_path):
    run = made_run(tmp_path, per_inference_us=57_000, counts="instructions")
    text = printed(run)
    assert "7,139,250 instructions" in text
    assert "/s" not in text
    assert "ms" not in text
    rows = dict(figures("device", run.result["performance"]))
    assert "time per inference" not in rows
    assert "latency" not in json.dumps(run.result["performance"])


def test_the_report_has_windows_layers_and_power(tmp_path):
    run = made_run(tmp_path, energy_w=0.05)
    page = render([run])
    for title in ("Windows", "Layers", "Power over time"):
        assert title in page
    assert "stand-in" in page


def test_boards_are_drawn_together_without_those_that_have_no_time(tmp_path):
    runs = [
        made_run(tmp_path, 1000.0, energy_w=0.05),
        made_run(tmp_path, 300.0, system="host-board"),
        made_run(tmp_path, 57_000, counts="instructions", system="emulated-board"),
    ]
    chart = boards_together(runs)
    assert [trace["name"] for trace in chart.figure["data"]] == [
        "kws on serial-board",
        "kws on host-board",
    ]
    assert chart.figure["data"][0]["x"] == [pytest.approx(1.0, rel=0.01)]
    assert boards_together(runs[1:]) is None
    assert "Quality, time and energy" in render(runs)


def test_the_power_trace_marks_the_windows_and_keeps_the_energy(tmp_path):
    samples = evenly_sampled(np.linspace(0, 1e-3, 10_000), 1000.0)
    chart = power_trace(samples, [1.0, 4.0, 5.0, 9.0], [10, 10])
    (trace,) = chart.figure["data"]
    bands = chart.figure["layout"]["shapes"]
    assert [(band["x0"], band["x1"]) for band in bands] == [(1.0, 4.0), (5.0, 9.0)]
    step_s = trace["x"][1] - trace["x"][0]
    drawn_j = sum(trace["y"]) * step_s / 1000
    assert drawn_j == pytest.approx(samples.energy_j.sum(), rel=0.01)


def test_layers_of_an_emulated_board_are_in_instructions():
    chart = layer_bars(LAYERS, {"counts": "instructions", "instructions_per_us": 125.0})
    (trace,) = chart.figure["data"]
    assert trace["x"] == [112_500, 12_500]
    assert trace["text"] == ["90.0 %", "10.0 %"]


def test_instructions_are_compared_as_counts(tmp_path):
    runs = [
        made_run(tmp_path, 57_000, counts="instructions"),
        made_run(tmp_path, 230_000, counts="instructions", system="emulated-board"),
    ]
    rows = {row.measurement: row for row in compare(runs).rows}
    assert rows["performance"].ratio == pytest.approx(230 / 57, rel=1e-3)
    assert rows["performance"].conclusion == "more instructions"
    assert rows["accuracy"].conclusion == "no difference seen"


def test_time_is_not_compared_with_instructions_nor_claimed_from_one_run(tmp_path):
    timed = made_run(tmp_path, 1000.0)
    counted = made_run(tmp_path, 57_000, counts="instructions", system="emulated-board")
    (row,) = [row for row in compare([timed, counted]).rows if row.measurement == "performance"]
    assert row.conclusion == "not compared: time and instructions"
    assert row.ratio is None
    faster = made_run(tmp_path, 300.0, system="host-board")
    (row,) = [row for row in compare([timed, faster]).rows if row.measurement == "performance"]
    assert row.conclusion == "inconclusive"
    assert "3 runs a side" in row.why


def test_three_runs_a_side_tell_a_faster_board(tmp_path):
    slow = [made_run(tmp_path, 1000.0 + shift) for shift in (0, 1, 2)]
    fast = [made_run(tmp_path, 300.0 + shift, system="host-board") for shift in (0, 1, 2)]
    rows = [row for row in compare(slow + fast).rows if row.measurement == "performance"]
    assert [row.conclusion for row in rows] == ["faster"]
    assert rows[0].ratio == pytest.approx(0.3, rel=0.01)
