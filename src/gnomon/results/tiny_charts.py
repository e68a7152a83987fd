"""The charts of a board: its windows, its power over time with the windows marked, and boards together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gnomon.core.energy import EnergySamples, windows_between
from gnomon.core.run import Run
from gnomon.device.record import Window
from gnomon.results.charts import ACCENT, PALETTE, QUIET, Chart, layout_of

SLICES = 1500
"""Points of a power trace: more than a screen is wide."""


def tiny_charts(samples: Any, stored: dict[str, Any]) -> list[Chart]:
    """The charts of one measurement of a board.

    Args:
        samples: Its raw samples: windows, answers (no chart), or energy samples with their timestamps.
        stored: Its entry in `run.json`.
    """
    if isinstance(samples, tuple):
        energy, timestamps_s = samples
        iterations = stored["result"]["timed"]["iterations"] if stored["result"] else []
        return [power_trace(energy, timestamps_s, iterations)] if len(energy) else []
    windows = [each for each in samples if isinstance(each, Window)]
    charts = [window_bars(windows, stored["board"])] if len(windows) > 1 else []
    if stored.get("layers"):
        charts.append(layer_bars(stored["layers"], stored["board"]))
    return charts


def window_bars(windows: Sequence[Window], board: dict[str, Any]) -> Chart:
    """What an inference took in each window, from the first to the last."""
    factor, unit = 1.0, "µs"
    if board["counts"] == "instructions":
        factor, unit = board["instructions_per_us"], "instructions"
    values = [factor * 1e6 * each.duration_s / each.iterations for each in windows]
    text = "%{y:,.5g} " + unit + " per inference<br>%{customdata}<extra></extra>"
    trace = {
        "type": "bar",
        "x": [str(number) for number in range(1, len(windows) + 1)],
        "y": values,
        "customdata": [f"{each.iterations:,} inferences of {each.file}" for each in windows],
        "marker": {"color": ACCENT},
        "width": 0.5,
        "hovertemplate": text,
    }
    layout = layout_of(
        xaxis={"title": {"text": "window"}, "type": "category"},
        yaxis={"title": {"text": f"{unit} per inference"}, "rangemode": "tozero"},
    )
    return Chart(
        "Windows",
        "What one inference took in each window, by the board's own clock. The score is the median; bars of "
        "equal height say that the board keeps its pace.",
        {"data": [trace], "layout": layout},
    )


def layer_bars(layers: Sequence[dict[str, Any]], board: dict[str, Any]) -> Chart:
    """What each layer of one inference took, from the first, at the top, to the last."""
    factor, unit = 1.0, "µs"
    if board["counts"] == "instructions":
        factor, unit = board["instructions_per_us"], "instructions"
    values = [factor * layer["duration_us"] for layer in layers]
    total = sum(values) or 1.0
    names = [f"{layer['index']} {layer['name']}" for layer in layers]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": values,
        "y": names,
        "text": [f"{100 * value / total:.1f} %" for value in values],
        "textposition": "auto",
        "marker": {"color": ACCENT},
        "hovertemplate": "%{y}: %{x:,.5g} " + unit + "<extra></extra>",
    }
    layout = layout_of(
        xaxis={"title": {"text": unit}, "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "automargin": True, "type": "category"},
        height=max(220, 70 + 24 * len(layers)),
    )
    return Chart(
        "Layers",
        "One inference, layer by layer, in the order they run.",
        {"data": [trace], "layout": layout},
    )


def power_trace(
    energy: EnergySamples, timestamps_s: Sequence[float], iterations: Sequence[int]
) -> Chart:
    """Power over time, with the windows that are counted marked."""
    lengths_s = np.diff(energy.boundaries_s)
    step = max(1, len(energy) // SLICES)
    starts = np.arange(0, len(energy), step)
    joules = np.add.reduceat(energy.energy_j, starts)
    seconds = np.add.reduceat(lengths_s, starts)
    milliwatts = 1e3 * joules / np.maximum(seconds, 1e-12)
    times_s = energy.boundaries_s[starts] - energy.start_s
    trace = {
        "type": "scatter",
        "mode": "lines",
        "x": [round(float(time_s), 4) for time_s in times_s],
        "y": [float(f"{power:.5g}") for power in milliwatts],
        "line": {"color": ACCENT, "width": 1.5, "shape": "hv"},
        "hovertemplate": "%{y:,.4g} mW at %{x:.3f} s<extra></extra>",
    }
    bands = [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": window.start_s - energy.start_s,
            "x1": window.end_s - energy.start_s,
            "y0": 0,
            "y1": 1,
            "fillcolor": QUIET,
            "opacity": 0.25,
            "line": {"width": 0},
        }
        for window in windows_between(timestamps_s, iterations)
    ]
    layout = layout_of(
        xaxis={"title": {"text": "time (s)"}},
        yaxis={"title": {"text": "power (mW)"}, "rangemode": "tozero"},
        shapes=bands,
    )
    caption = "Grey bands are the windows whose energy is counted."
    if step > 1:
        caption += f" Each point is the mean of {step} samples."
    return Chart("Power over time", caption, {"data": [trace], "layout": layout})


def boards_together(runs: Sequence[Run]) -> Chart | None:
    """Accuracy against time per inference, the area showing energy; None if fewer than two runs have both.

    Runs on emulated boards are left out: they count instructions, and have no time.
    """
    points = [point for point in map(_point, runs) if point is not None]
    if len(points) < 2:
        return None
    most_uj = max((point["energy_uj"] or 0.0) for point in points)
    traces = []
    for number, point in enumerate(points):
        energy_uj = point["energy_uj"]
        size = 14.0 if not energy_uj else 10.0 + 30.0 * (energy_uj / most_uj) ** 0.5
        told = "" if energy_uj is None else f"<br>{energy_uj:,.4g} µJ per inference"
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": point["name"],
                "x": [point["latency_ms"]],
                "y": [point["quality"]],
                "marker": {"size": size, "color": PALETTE[number % len(PALETTE)], "opacity": 0.8},
                "hovertemplate": "%{x:,.4g} ms, %{y:.4f}"
                + told
                + f"<extra>{point['name']}</extra>",
            }
        )
    layout = layout_of(
        xaxis={"title": {"text": "time per inference (ms)"}, "type": "log"},
        yaxis={"title": {"text": "quality"}},
        showlegend=True,
    )
    return Chart(
        "Quality, time and energy",
        "Higher and further left is better; a larger disc takes more energy. Emulated boards, which count "
        "instructions, are not in the picture.",
        {"data": traces, "layout": layout},
    )


def _point(run: Run) -> dict[str, Any] | None:
    results = {name: stored["result"] for name, stored in run.measurements.items()}
    timed = results.get("performance") or (results.get("energy") or {}).get("timed")
    accuracy = results.get("accuracy")
    if not timed or not accuracy or "latency_ns" not in timed:
        return None
    energy = results.get("energy")
    return {
        "name": f"{run.record['benchmark']['name']} on {run.record['system']['name']}",
        "latency_ms": timed["latency_ns"] / 1e6,
        "quality": accuracy["quality"],
        "energy_uj": energy["metric"]["value"] if energy else None,
    }
