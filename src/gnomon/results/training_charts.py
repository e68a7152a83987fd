"""The charts of training runs: quality against time, time to the target, epochs to it, and scaling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gnomon.core.run import Run
from gnomon.core.units import format_seconds
from gnomon.results.charts import ACCENT, BAD, GOOD, PALETTE, QUIET, SECOND, Chart, layout_of
from gnomon.timetotrain.settings import MEASUREMENT
from gnomon.timetotrain.speed_up import RunSet, ScalingPoint, scaling_curve
from gnomon.timetotrain.trace import RunTrace

WASH = "rgba(59,130,246,0.14)"
MOST_NAMED = 12
"""Runs that a legend names; more are told apart by pointing at them."""


def training_charts(runs: Sequence[RunTrace], stored: dict[str, Any]) -> list[Chart]:
    """The charts of one campaign; none before its first evaluation.

    Args:
        runs: Its runs.
        stored: Its entry in `run.json`.
    """
    result = stored["result"]
    shown = [run for run in runs if run.evaluations]
    if not shown or result is None:
        return []
    charts = [quality_over_time(shown, result["target"])]
    if any(run.converged for run in shown):
        charts += [time_to_target(shown, result), epochs_to_target(shown, result)]
    return charts


def quality_over_time(runs: Sequence[RunTrace], target: float) -> Chart:
    """The quality of every run at each evaluation, and the target."""
    traces = []
    for number, run in enumerate(runs):
        name = f"run {run.number}" + ("" if run.converged else ", failed")
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": [0.0, *(round(each.time_s, 6) for each in run.evaluations)],
                "y": [None, *(each.quality for each in run.evaluations)],
                "text": ["", *(f"epoch {each.epoch}" for each in run.evaluations)],
                "line": {
                    "color": PALETTE[number % len(PALETTE)],
                    "width": 1.5,
                    "dash": "solid" if run.converged else "dot",
                },
                "marker": {"size": 4},
                "hovertemplate": "%{y:.4f} after %{x:.3s}s, %{text}<extra>"
                + f"{name}, seed {run.seed}</extra>",
            }
        )
    layout = layout_of(
        xaxis={"title": {"text": "time on the clock (s)"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "quality"}},
        showlegend=len(runs) <= MOST_NAMED,
        shapes=[_line("y", target, GOOD)],
        annotations=[
            {
                "xref": "paper", "x": 1, "y": target, "xanchor": "right", "yanchor": "bottom",
                "text": f"target {target:.4g}", "showarrow": False, "font": {"color": GOOD},
            }
        ],
    )  # fmt: skip
    return Chart(
        "Quality over time",
        "Every seed takes its own way to the target. Where curves run flat along the line, the target is "
        "near the plateau, and luck decides.",
        {"data": traces, "layout": layout},
    )


def time_to_target(runs: Sequence[RunTrace], result: dict[str, Any]) -> Chart:
    """Seconds of every run, fastest at the top, and the score with its interval."""
    left_out = {each["run"]: each["reason"] for each in result["left_out"]}
    ordered = sorted(runs, key=lambda run: (not run.converged, run.duration_s or 0.0))
    names = [f"run {run.number}" for run in ordered]
    evaluating = [sum(each.duration_s for each in run.evaluations) for run in ordered]
    training = [
        max((run.duration_s or 0.0) - spent, 0.0)
        for run, spent in zip(ordered, evaluating, strict=True)
    ]
    words = [_ended(run, left_out.get(run.number, "")) for run in ordered]
    fainter = [0.45 if run.number in left_out or not run.converged else 1.0 for run in ordered]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": names,
            "x": [float(f"{value:.6g}") for value in values],
            "customdata": words,
            "marker": {"color": colour, "opacity": fainter},
            "hovertemplate": "%{x:.4s}s " + name + "<br>%{customdata}<extra>%{y}</extra>",
        }
        for name, values, colour in (
            ("training", training, ACCENT),
            ("evaluating", evaluating, SECOND),
        )
    ]
    layout = layout_of(
        barmode="stack",
        xaxis={"title": {"text": "time to train (s)"}, "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "automargin": True, "type": "category"},
        showlegend=True,
        height=max(240, 110 + 22 * len(ordered)),
    )
    value, interval = result["metric"]["value"], result["interval"]
    if value is not None:
        layout["shapes"] = [_line("x", value, BAD)]
        layout["annotations"] = [_above(f"olympic mean {format_seconds(value)}", value, row=1)]
        layout["margin"] = {**layout["margin"], "t": 64}  # above the legend
    if value is not None and interval is not None and interval["high"] is not None:
        layout["shapes"].append(_band(interval["low"], interval["high"]))
    return Chart(
        "Time to target",
        "Pale runs are left out of the mean, the fastest and the slowest; the shaded band is the mean's 95 % "
        "interval.",
        {"data": traces, "layout": layout},
    )


def epochs_to_target(runs: Sequence[RunTrace], result: dict[str, Any]) -> Chart:
    """How many epochs each run took, and what the reference takes."""
    good = sorted((run for run in runs if run.converged), key=lambda run: run.epochs)
    count = len(good)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": [round(run.epochs, 4) for run in good],
            "y": [100 * (place + 1) / len(runs) for place in range(count)],
            "text": [f"run {run.number}, seed {run.seed}" for run in good],
            "line": {"shape": "hv", "color": ACCENT, "width": 2},
            "marker": {"size": 6},
            "hovertemplate": "%{x:.3g} epochs: %{y:.3g} % of runs<extra>%{text}</extra>",
        }
    ]
    layout = layout_of(
        xaxis={"title": {"text": "epochs to target"}},
        yaxis={"title": {"text": "share of runs (%)"}, "range": [0, 103]},
        shapes=[],
        annotations=[],
    )
    caption = "Steep is steady: the flatter the steps, the more runs a result needs."
    reference = result["reference"]
    numbers = None if reference is None else reference[reference["decides"]]
    if numbers is not None and numbers["mean"] is not None:
        layout["margin"] = {**layout["margin"], "t": 64}
        scale = 1.0 if reference["unit"] == "epochs" else 1.0 / good[0].training_size
        for row, (name, value, colour) in enumerate(
            (("least that passes", numbers["minimum"], BAD), ("reference", numbers["mean"], GOOD))
        ):
            layout["shapes"].append(_line("x", value * scale, colour))
            layout["annotations"].append(_above(name, value * scale, row, colour))
        caption += " A mean to the left of the red line would be suspiciously fast."
    return Chart("Epochs to target", caption, {"data": traces, "layout": layout})


def scaling_chart(runs: Sequence[Run]) -> Chart | None:
    """Speed-up over processes; None if runs of fewer than two numbers of processes have a score."""
    points = scaling_of(runs)
    if len(points) < 2:
        return None
    x = [point.processes for point in points]
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": x,
            "y": y,
            "line": {"color": colour, "width": 2, "dash": dash},
            "hovertemplate": "%{y:.3g} times at %{x} processes<extra>" + name + "</extra>",
        }
        for name, y, colour, dash in (
            ("time to train", [point.speed_up for point in points], ACCENT, "solid"),
            ("throughput", [point.throughput_speed_up for point in points], SECOND, "solid"),
            ("perfect", [count / x[0] for count in x], QUIET, "dot"),
        )
    ]
    layout = layout_of(
        xaxis={"title": {"text": "processes"}, "type": "log", "tickvals": x, "ticktext": x},
        yaxis={"title": {"text": f"speed-up over {x[0]}"}, "rangemode": "tozero"},
        showlegend=True,
    )
    last = points[-1]
    return Chart(
        "Scaling",
        f"At {last.processes} processes the efficiency is {100 * last.efficiency:.0f} %: "
        f"{100 * last.throughput_efficiency:.0f} % in throughput, "
        f"{100 * last.convergence_efficiency:.0f} % in samples to the target, which larger batches raise.",
        {"data": traces, "layout": layout},
    )


def scaling_of(runs: Sequence[Run]) -> tuple[ScalingPoint, ...]:
    """The scaling curve of runs that differ in the number of processes; the first of each number counts."""
    at: dict[int, RunSet] = {}
    for run in runs:
        result = run.result.get(MEASUREMENT)
        if run.record["protocol"] != "timetotrain" or result is None:
            continue
        if result["metric"]["value"] is not None:
            at.setdefault(result["processes"], run_set(result["each"]))
    return scaling_curve(list(at.items())) if at else ()


def run_set(rows: Sequence[dict[str, Any]]) -> RunSet:
    """Seconds and samples of runs as a result has them."""
    never = float("inf")
    return RunSet(
        tuple(row["duration_s"] if row["converged"] else never for row in rows),
        tuple(float(row["samples"]) if row["converged"] else never for row in rows),
    )


def _ended(run: RunTrace, left_out: str) -> str:
    told = f"seed {run.seed}, {run.epochs:.2f} epochs"
    if not run.converged:
        return f"{told}, failed: {run.why}"
    return f"{told}, left out: {left_out}" if left_out else told


def _line(axis: str, value: float, colour: str) -> dict[str, Any]:
    other = "x" if axis == "y" else "y"
    return {
        "type": "line", f"{axis}ref": axis, f"{other}ref": "paper",
        f"{axis}0": value, f"{axis}1": value, f"{other}0": 0, f"{other}1": 1,
        "line": {"color": colour, "width": 1.5, "dash": "dash"},
    }  # fmt: skip


def _band(low: float, high: float) -> dict[str, Any]:
    return {
        "type": "rect", "xref": "x", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1,
        "fillcolor": WASH, "line": {"width": 0}, "layer": "below",
    }  # fmt: skip


def _above(text: str, x: float, row: int = 0, colour: str = BAD) -> dict[str, Any]:
    return {
        "x": x, "xref": "x", "y": 1, "yref": "paper", "yshift": 4 + 18 * row, "yanchor": "bottom",
        "text": text, "showarrow": False, "font": {"color": colour},
    }  # fmt: skip
