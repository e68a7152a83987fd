"""Charts as plain Plotly figures (mappings of `data` and `layout`): what a chart is, and how ours look.

Colours of text and grid are left to the page, which knows whether it is dark. Latencies are in seconds,
so that the axis can write `10µs` and `2ms` by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.stats import percentile
from gnomon.core.units import format_duration_ns

ACCENT = "#3b82f6"
SECOND = "#f59e0b"
GOOD = "#16a34a"
BAD = "#dc2626"
QUIET = "#94a3b8"
PALETTE = (ACCENT, SECOND, "#8b5cf6", "#10b981", "#ec4899", "#64748b")
HISTOGRAM_BINS = 120
CDF_POINTS = 600
TAIL_TICKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999)
DECADES_WITH_STEPS = 2.2
"""A latency axis longer than this is labelled at powers of ten alone."""
MARKED_SHARES = (0.50, 0.90, 0.99, 0.999)
NS = 1e-9


@dataclass(frozen=True)
class Chart:
    """One picture with the sentence that says how to read it.

    Attributes:
        title: What it shows.
        caption: What to look for, and what was left out if anything was.
        figure: Plotly's `data` and `layout`.
        switchable: Whether the reader may switch the vertical axis between logarithmic and linear.
    """

    title: str
    caption: str
    figure: dict[str, Any]
    switchable: bool = False


@dataclass(frozen=True)
class Curve:
    """Sorted latencies under a name. `ordered_ns` has shape (n,), n >= 1."""

    name: str
    ordered_ns: NDArray[np.int64]


def latency_histogram(ordered_ns: NDArray[np.int64], bound_ns: int | None = None) -> Chart:
    """How latencies are spread, on a logarithmic axis, with percentile marks and the bound."""
    low, high = max(1, int(ordered_ns[0])), max(2, int(ordered_ns[-1]))
    edges = np.geomspace(low, high * 1.0001, HISTOGRAM_BINS + 1)
    # Bins narrower than a nanosecond would be gaps between whole numbers, not gaps in the latencies.
    edges = np.unique(np.ceil(edges))
    counts = np.diff(np.searchsorted(ordered_ns, edges, side="left"))
    counts[-1] += len(ordered_ns) - int(np.searchsorted(ordered_ns, edges[-1], side="left"))
    shares = 100 * counts / len(ordered_ns)
    trace = {
        "type": "scatter",
        "mode": "lines",
        "x": _seconds(edges),
        "y": [*_rounded(shares), 0.0],
        "line": {"shape": "hv", "color": ACCENT, "width": 1},
        "fill": "tozeroy",
        "hovertemplate": "from %{x:.3s}s: %{y:.3g} %<extra></extra>",
    }
    layout = layout_of(
        xaxis=_latency_axis("latency", low, max(high, bound_ns or 0)),
        yaxis={"title": {"text": "share of queries (%)"}, "rangemode": "tozero"},
        margin={"t": 84},
    )
    marks = [
        (f"p{100 * share:g}", percentile(ordered_ns, share), QUIET)
        for share in MARKED_SHARES
        if len(ordered_ns) * (1 - share) >= 1
    ]
    if bound_ns:
        marks.append(("bound", bound_ns, BAD))
    layout["shapes"] = [_vertical(value_ns, colour) for _, value_ns, colour in marks]
    layout["annotations"] = [
        _mark(f"{name} {format_duration_ns(value_ns)}", value_ns, row, colour)
        for row, (name, value_ns, colour) in enumerate(marks)
    ]
    caption = f"All {len(ordered_ns):,} queries. Several humps mean several kinds of query, or interference."
    return Chart("How latencies are spread", caption, {"data": [trace], "layout": layout})


def latency_distribution(curves: Sequence[Curve], bound_ns: int | None = None) -> Chart:
    """Cumulative distributions with the tail expanded: every further nine gets the same height."""
    traces = []
    deepest = 0.0
    for curve, colour in zip(curves, _colours(len(curves)), strict=True):
        count = len(curve.ordered_ns)
        deepest = max(deepest, float(np.log10(max(count, 10))))
        heights = np.linspace(0.0, np.log10(count), min(CDF_POINTS, count))
        places = np.unique(
            np.minimum(count - 1, np.floor(count * (1 - 10.0**-heights)).astype(np.int64))
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": curve.name,
                "x": _seconds(np.maximum(curve.ordered_ns[places], 1)),
                "y": _rounded(-np.log10(1 - places / count)),
                "text": [f"{100 * place / count:.6g} %" for place in places.tolist()],
                "line": {"shape": "hv", "color": colour, "width": 2},
                "hovertemplate": "%{text} within %{x:.4s}s<extra>%{fullData.name}</extra>",
            }
        )
    ticks = [share for share in TAIL_TICKS if _nines(share) <= deepest + 0.01]
    least_ns = min(int(curve.ordered_ns[0]) for curve in curves)
    greatest_ns = max(int(curve.ordered_ns[-1]) for curve in curves)
    layout = layout_of(
        xaxis=_latency_axis("latency", least_ns, max(greatest_ns, bound_ns or 0)),
        yaxis={
            "title": {"text": "percentile"},
            "tickvals": [_nines(share) for share in ticks],
            "ticktext": [f"{share:g}" for share in ticks],
        },
        showlegend=len(curves) > 1,
    )
    if bound_ns:
        layout["shapes"] = [_vertical(bound_ns, BAD)]
        layout["annotations"] = [_mark(f"bound {format_duration_ns(bound_ns)}", bound_ns, 0, BAD)]
        layout["margin"] = {**layout["margin"], "t": 36}
    return Chart(
        "Latency at every percentile",
        f"The tail is expanded: each further nine has the same height. Drawn through up to {CDF_POINTS} "
        f"measured latencies, the greatest included.",
        {"data": traces, "layout": layout},
    )


def band_over_time(
    seconds: NDArray[np.float64],
    bands_s: dict[str, NDArray[np.float64]],
    bound_ns: int | None = None,
) -> Chart:
    """Least, median, p99 and greatest latency of each slice of time, shapes (slices,)."""
    x = _rounded(seconds)

    def line(name: str, colour: str, width: float, **more: Any) -> dict[str, Any]:
        return {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": x,
            "y": _precise(bands_s[name]),
            "connectgaps": False,
            "line": {"color": colour, "width": width},
            "hovertemplate": "%{y:.4s}s<extra>" + name + "</extra>",
            **more,
        }

    traces = [
        line("min", QUIET, 0.5),
        line("max", QUIET, 0.5, fill="tonexty", fillcolor="rgba(148,163,184,0.25)"),
        line("p99", SECOND, 1.5),
        line("median", ACCENT, 2),
    ]
    layout = layout_of(
        xaxis={"title": {"text": "time of issue (s)"}},
        yaxis=_latency_axis(
            "",  # the picture's own title says it
            float(np.nanmin(bands_s["min"])) / NS,
            max(float(np.nanmax(bands_s["max"])) / NS, bound_ns or 0),
        ),
        showlegend=True,
        hovermode="x unified",
    )
    if bound_ns:
        layout["shapes"] = [_horizontal(bound_ns * NS, BAD)]
    return Chart(
        "Latency over time",
        "Each slice shows all its queries, from least to greatest latency. A slope is drift; a high start is "
        "warm-up; lonely peaks are interruptions.",
        {"data": traces, "layout": layout},
        switchable=True,
    )


def rate_over_time(
    seconds: NDArray[np.float64], rates: dict[str, NDArray[np.float64]], unit: str
) -> Chart:
    """One or two rates in each slice of time, shapes (slices,); the last is drawn on top."""
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": _rounded(seconds),
            "y": _precise(values),
            "line": {"shape": "hvh", "color": colour, "width": 2},
            "hovertemplate": "%{y:,.4s} " + unit + "<extra>" + name + "</extra>",
        }
        for (name, values), colour in zip(
            rates.items(), (QUIET, ACCENT)[-len(rates) :], strict=True
        )
    ]
    layout = layout_of(
        xaxis={"title": {"text": "time (s)"}},
        yaxis={"title": {"text": unit}, "rangemode": "tozero", "exponentformat": "SI"},
        showlegend=len(traces) > 1,
        hovermode="x unified",
    )
    return Chart(
        "Throughput over time",
        "Completions in each slice. A steady system gives a level line.",
        {"data": traces, "layout": layout},
    )


def probes(found: Sequence[dict[str, Any]], bound_ns: int, share: float) -> Chart:
    """The tests of a search for the peak: rate against latency, valid or not."""
    groups = (("VALID", True, GOOD, "circle"), ("INVALID", False, BAD, "x"))
    traces = []
    for name, valid, colour, symbol in groups:
        chosen = [
            (number, probe)
            for number, probe in enumerate(found, start=1)
            if probe["valid"] is valid and probe["percentile_latency_ns"]
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": name,
                "x": [probe["target_qps"] for _, probe in chosen],
                "y": [probe["percentile_latency_ns"] * NS for _, probe in chosen],
                "text": [str(number) for number, _ in chosen],
                "textposition": "top center",
                "marker": {"color": colour, "size": 9, "symbol": symbol},
                "hovertemplate": "probe %{text}: %{x:,.4g} queries/s, %{y:.3s}s<extra>"
                + name
                + "</extra>",
            }
        )
    measured_ns = [probe["percentile_latency_ns"] or bound_ns for probe in found]
    layout = layout_of(
        xaxis={"title": {"text": "target rate (queries/s)"}, "type": "log", "exponentformat": "SI"},
        yaxis=_latency_axis(
            f"p{100 * share:g} latency", min(*measured_ns, bound_ns), max(*measured_ns, bound_ns)
        ),
        showlegend=True,
        shapes=[_horizontal(bound_ns * NS, BAD)],
    )
    return Chart(
        "The search for the highest valid rate",
        "Numbered in the order they were run; the line is the latency bound. A probe that could not pass "
        "any more was stopped early.",
        {"data": traces, "layout": layout},
    )


def layout_of(**changes: Any) -> dict[str, Any]:
    """A figure's layout: ours, with what this figure has of its own."""
    layout: dict[str, Any] = {
        "showlegend": False,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 64, "r": 16, "t": 28, "b": 48},
        "hoverlabel": {"align": "left"},
        "dragmode": False,
        **changes,
    }
    layout["margin"] = {"l": 64, "r": 16, "t": 28, "b": 48, **changes.get("margin", {})}
    return layout


def _latency_axis(title: str, low_ns: float, high_ns: float) -> dict[str, Any]:
    """A logarithmic axis whose every label is a whole figure with its unit."""
    low_ns, high_ns = max(low_ns, 1.0), max(high_ns, 1.0)
    decades = np.arange(np.floor(np.log10(low_ns)), np.ceil(np.log10(high_ns)) + 1)
    steps = (1, 2, 5) if np.log10(high_ns / low_ns) < DECADES_WITH_STEPS else (1,)
    ticks_ns = [step * 10.0**decade for decade in decades for step in steps]
    return {
        "title": {"text": title},
        "type": "log",
        "tickmode": "array",
        "tickvals": _seconds(np.array(ticks_ns)),
        "ticktext": [_tick(tick_ns) for tick_ns in ticks_ns],
        # For the linear scale that a reader may switch to.
        "exponentformat": "SI",
        "minexponent": 0,
        "ticksuffix": "s",
    }


def _tick(time_ns: float) -> str:
    """`20 µs`: a round figure, so without the digits that a measured one would carry."""
    figure, unit = format_duration_ns(time_ns).split()
    return f"{figure.rstrip('0').rstrip('.') if '.' in figure else figure} {unit}"


def _vertical(value_ns: float, colour: str) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": value_ns * NS,
        "x1": value_ns * NS,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": colour, "width": 1.5, "dash": "dot"},
    }


def _horizontal(value: float, colour: str) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "line": {"color": colour, "width": 1.5, "dash": "dot"},
    }


def _mark(text: str, value_ns: float, row: int, colour: str) -> dict[str, Any]:
    """A label above the plot; rows keep neighbours from lying on each other."""
    return {
        "x": float(np.log10(value_ns * NS)),
        "xref": "x",
        "y": 1,
        "yref": "paper",
        "yshift": 8 + 15 * row,
        "text": text,
        "showarrow": False,
        "font": {"size": 11, "color": colour},
    }


def _nines(share_percent: float) -> float:
    return float(-np.log10(1 - share_percent / 100))


def _colours(count: int) -> list[str]:
    return [PALETTE[index % len(PALETTE)] for index in range(count)]


def _seconds(times_ns: NDArray[Any]) -> list[float]:
    return _precise(np.asarray(times_ns, dtype=np.float64) * NS)


def _rounded(values: NDArray[Any]) -> list[float]:
    rounded: list[float] = np.round(values.astype(np.float64), 4).tolist()
    return rounded


def _precise(values: NDArray[Any]) -> list[Any]:
    """Six digits are more than a screen shows; a slice without a value becomes a gap."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.tolist()]
