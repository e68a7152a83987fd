"""The charts of a sweep: AUC against compression, and by epoch. Plain Plotly figures, as all charts here."""

from __future__ import annotations

from math import log10
from typing import Any

from gnomon.recommend.summary import Spread, SweepSummary, VariantSummary
from gnomon.results.charts import GOOD, PALETTE, QUIET, Chart, layout_of

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross")
DASHES = ("solid", "dash", "dot", "dashdot")
STEPS = (1, 2, 5)
APART = 1.05
"""Points of different methods at one compression stand apart by this factor, so that bars can be told."""
LEVEL = "#7b899d"


def auc_against_compression(summary: SweepSummary) -> Chart:
    """Best AUC of each method at each compression, with the full tables and the best possible as lines."""
    style = _styles(summary)
    traces = []
    for number, (method, colour, symbol) in enumerate(style):
        apart = APART ** (number - (len(style) - 1) / 2)
        found = [entry for entry in summary.variants if entry.variant.method == method]
        found.sort(key=lambda entry: entry.compression)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": method,
                "x": [float(f"{entry.compression * apart:.6g}") for entry in found],
                "y": [_auc(entry.best.mean) for entry in found],
                "error_y": _bars([entry.best for entry in found], colour),
                "text": [_words(entry) for entry in found],
                "line": {"color": colour, "width": 2},
                "marker": {"color": colour, "size": 8, "symbol": symbol},
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    full = next((entry for entry in summary.variants if entry.variant.kind == "full"), None)
    levels = []
    if full is not None:
        levels.append((full.best.mean, f"full tables {full.best.mean:.4f}", LEVEL))
        if full.best.half_width is not None:
            traces.insert(0, _band(full.best, summary))
    if summary.bayes_auc is not None:
        levels.append((summary.bayes_auc, f"best possible (Bayes) {summary.bayes_auc:.4f}", GOOD))
    reached = [entry.compression for entry in summary.variants if entry.variant.kind != "full"]
    layout = _layout(
        xaxis=_compression_axis(reached),
        yaxis={"title": {"text": "AUC, held out"}, "tickformat": ".3f", "nticks": 8},
    )
    layout["shapes"] = [_level(value, colour) for value, _, colour in levels]
    layout["annotations"] = [_label(value, text, colour) for value, text, colour in levels]
    bars = "Bars and the band are 95 % t intervals over seeds." if _has_bars(summary) else ""
    return Chart(
        "AUC against compression",
        "Each method at equal numbers of trained weights, at its best epoch. Points at one compression are "
        "set apart a little. " + bars,
        {"data": traces, "layout": layout},
    )


def auc_by_epoch(summary: SweepSummary) -> Chart:
    """Mean AUC of every variant after each epoch."""
    colours = {method: (colour, symbol) for method, colour, symbol in _styles(summary)}
    factors = sorted({entry.variant.compression for entry in summary.variants})
    compressed = [factor for factor in factors if factor > 1]
    traces = []
    for entry in summary.variants:
        colour, symbol = colours.get(entry.variant.method, (QUIET, SYMBOLS[0]))
        dash = "solid"
        if entry.variant.compression in compressed:
            dash = DASHES[compressed.index(entry.variant.compression) % len(DASHES)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": entry.variant.name,
                "x": list(range(1, len(entry.by_epoch) + 1)),
                "y": [_auc(found.mean) for found in entry.by_epoch],
                "text": [_half(found) for found in entry.by_epoch],
                "line": {"color": colour, "width": 2, "dash": dash},
                "marker": {"color": colour, "size": 7, "symbol": symbol},
                "hovertemplate": "%{y:.4f}%{text} after epoch %{x}<extra>"
                + entry.variant.name
                + "</extra>",
            }
        )
    layout = _layout(
        xaxis={"title": {"text": "epoch"}, "dtick": 1, "range": [0.8, summary.epochs + 0.2]},
        yaxis={"title": {"text": "AUC, held out"}, "tickformat": ".3f", "nticks": 8},
    )
    if summary.bayes_auc is not None:
        text = f"best possible (Bayes) {summary.bayes_auc:.4f}"
        layout["shapes"] = [_level(summary.bayes_auc, GOOD)]
        layout["annotations"] = [_label(summary.bayes_auc, text, GOOD)]
    return Chart(
        "AUC by epoch",
        "A curve that falls is overfitting. Colours are methods; the greater the compression, the more "
        "broken the line.",
        {"data": traces, "layout": layout},
    )


def _styles(summary: SweepSummary) -> list[tuple[str, str, str]]:
    """Method, colour and symbol of each compressed method, in the order of the plan."""
    methods = dict.fromkeys(
        entry.variant.method for entry in summary.variants if entry.variant.kind != "full"
    )
    return [
        (method, PALETTE[number % len(PALETTE)], SYMBOLS[number % len(SYMBOLS)])
        for number, method in enumerate(methods)
    ]


def _words(entry: VariantSummary) -> str:
    best, plural = entry.best, "s" * (entry.best.count > 1)
    return (
        f"<b>{entry.variant.name}</b><br>AUC {best.mean:.4f}{_half(best)}, {best.count} seed{plural}<br>"
        f"{entry.weights:,} weights, {entry.compression:.4g} times fewer"
    )


def _half(found: Spread) -> str:
    return "" if found.half_width is None else f" ± {found.half_width:.4f}"


def _bars(found: Any, colour: str) -> dict[str, Any]:
    return {
        "type": "data",
        "array": [_auc(entry.half_width or 0.0) for entry in found],
        "visible": any(entry.half_width for entry in found),
        "color": colour,
        "thickness": 1.5,
        "width": 5,
    }


def _band(best: Spread, summary: SweepSummary) -> dict[str, Any]:
    """The interval of the full tables, from edge to edge of the measured compressions."""
    reached = [entry.compression for entry in summary.variants if entry.variant.kind != "full"]
    low, high = (min(reached) / 2, max(reached) * 2) if reached else (1.0, 10.0)
    half = best.half_width or 0.0
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [low, high, high, low],
        "y": [_auc(y) for y in (best.mean - half,) * 2 + (best.mean + half,) * 2],
        "fill": "toself",
        "fillcolor": "rgba(148,163,184,0.18)",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _compression_axis(reached: list[float]) -> dict[str, Any]:
    low, high = (min(reached), max(reached)) if reached else (1.0, 10.0)
    wide = high / low > 30
    ticks = [step * 10.0**power for power in range(10) for step in ((1,) if wide else STEPS)]
    shown = [tick for tick in ticks if low / 2 <= tick <= high * 2] or [low]
    return {
        "title": {"text": "compression (times fewer weights)"},
        "type": "log",
        "range": [log10(low / 1.6), log10(high * 1.6)],
        "tickmode": "array",
        "tickvals": shown,
        "ticktext": [f"{tick:,.0f}×" for tick in shown],
    }


def _level(value: float, colour: str) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "line": {"color": colour, "width": 1.5, "dash": "dot"},
    }


def _label(value: float, text: str, colour: str) -> dict[str, Any]:
    return {
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "y": value,
        "yanchor": "bottom",
        "text": text,
        "showarrow": False,
        "font": {"size": 11, "color": colour},
    }


def _layout(**changes: Any) -> dict[str, Any]:
    """As the other charts look, with the legend below: it is longer here."""
    legend = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
    return layout_of(**{"showlegend": True, "legend": legend, "margin": {"t": 16}, **changes})


def _has_bars(summary: SweepSummary) -> bool:
    return any(entry.best.half_width is not None for entry in summary.variants)


def _auc(value: float) -> float:
    return float(f"{value:.6f}")
