"""A cost surface as a heat map, and the choices of a run as marks on it.

Axes and colours are logarithmic; the cheapest is the brightest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.fleet.ledger import Rows
from gnomon.fleet.outcome import ESTIMATE
from gnomon.results.charts import QUIET, Chart
from gnomon.results.fleet_surface import Surface

COLOURS = "Viridis"
MOST_DECADES = 1.3
"""Colours end at so many powers of ten above the least cost: what is dearer is all alike."""
MOST_LABELLED = 80
INK, PAPER, GLASS = "#0f172a", "#ffffff", "rgba(255,255,255,0.3)"
"""Of marks that must be told from every colour of the map and from the page, light or dark."""
STEPS = (1, 2, 5)
MOST_NUMBERED = 12


def surface_chart(
    surface: Surface, title: str, caption: str, marks: Sequence[dict[str, Any]] = ()
) -> Chart:
    """A heat map, with further traces on top."""
    traces: list[dict[str, Any]] = []
    known = surface.cost[np.isfinite(surface.cost) & (surface.cost > 0)]
    if len(known):
        traces.append(_heat(surface, known))
        if surface.cost.size <= MOST_LABELLED:
            traces.append(_costs(surface, traces[0]))
    if surface.missed:
        traces.append(
            _points(surface.missed, "target not reached", symbol="x", size=8, color=QUIET)
        )
    traces += marks
    if surface.best is not None:
        star = {"symbol": "star", "size": 15, "color": "#facc15", "line": _outline(1.5)}
        traces.append(_points((surface.best,), "best of the grid", **star))
    marked = [trace for trace in traces if trace["type"] == "scatter"]
    layout = {
        "showlegend": any(trace.get("showlegend", True) for trace in marked),
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 56, "r": 8, "t": 28, "b": 48},
        "hoverlabel": {"align": "left"},
        "dragmode": False,
        "xaxis": _axis(
            "K, clients a round", surface.clients_per_round, [trace["x"] for trace in marked]
        ),
        "yaxis": _axis(
            "E, local iterations", surface.local_iterations, [trace["y"] for trace in marked]
        ),
    }
    return Chart(title, caption, {"data": traces, "layout": layout})


def path_marks(rounds: Rows) -> list[dict[str, Any]]:
    """The choices of a run as traces: what was sampled, and the way of training.

    A few choices are numbered in order; of many, start and end are named.
    """
    marks = []
    sampled = _visits(rounds[rounds["phase"] == ESTIMATE])
    if sampled:
        hollow = {"symbol": "circle", "size": 11, "color": GLASS, "line": _outline(2)}
        marks.append(_points(sampled, "sampled to estimate", **hollow))
    training = rounds[rounds["phase"] != ESTIMATE]
    way = _way(training)
    if len(way) > 1:
        marks += [_line(way, PAPER, 4.0), _line(way, INK, 1.5)]
    if way:
        dots = {"symbol": "circle", "size": 9, "color": PAPER, "line": _outline(1.5)}
        marks.append(_points(_visits(training), "trained with", **dots))
    whole = _way(rounds)
    if 1 < len(whole) <= MOST_NUMBERED:
        marks.append(_labels([(str(number), pair) for number, pair in enumerate(whole, start=1)]))
    elif len(way) > 1:
        marks.append(_labels([("start", way[0]), ("end", way[-1])]))
    return marks


def _way(rounds: Rows) -> list[tuple[int, int]]:
    """K and E whenever they changed."""
    pairs = zip(
        rounds["clients_per_round"].tolist(), rounds["local_iterations"].tolist(), strict=True
    )
    return [pair for pair, _ in groupby(pairs)]


def _heat(surface: Surface, known: NDArray[np.float64]) -> dict[str, Any]:
    low = float(np.log10(known.min()))
    high = min(max(float(np.log10(known.max())), low + 0.02), low + MOST_DECADES)
    positive = np.where(surface.cost > 0, surface.cost, np.nan)
    ticks = _dollar_ticks(low, high)
    beyond = float(np.log10(known.max())) > high
    gap = 1 if surface.cost.size <= MOST_LABELLED else 0
    return {
        "type": "heatmap",
        "x": _edges(surface.clients_per_round),
        "y": _edges(surface.local_iterations),
        "z": [
            [round(value, 4) if math.isfinite(value) else None for value in row]
            for row in np.log10(positive).tolist()
        ],
        "zmin": low,
        "zmax": high,
        "colorscale": COLOURS,
        "reversescale": True,
        "hoverongaps": False,
        "customdata": surface.words,
        "hovertemplate": "%{customdata}<extra></extra>",
        "colorbar": {
            "tickvals": ticks,
            "ticktext": [
                f"${float(f'{10**tick:.3g}'):,g}" + "+" * (beyond and tick == high)
                for tick in ticks
            ],
            "thickness": 12,
            "outlinewidth": 0,
        },
        "xgap": gap,
        "ygap": gap,
    }


def _costs(surface: Surface, heat: dict[str, Any]) -> dict[str, Any]:
    """Each cell's cost, below its middle: marks are in the middle."""
    middle = (heat["zmin"] + heat["zmax"]) / 2
    lower = _edges(surface.local_iterations)
    found = [
        (k, float(f"{e**0.4 * lower[row] ** 0.6:.6g}"), float(surface.cost[row, column]))
        for row, e in enumerate(surface.local_iterations.tolist())
        for column, k in enumerate(surface.clients_per_round.tolist())
        if surface.cost[row, column] > 0
    ]
    return {
        "type": "scatter",
        "mode": "text",
        "x": [k for k, _, _ in found],
        "y": [e for _, e, _ in found],
        "text": [_short_dollars(cost) for _, _, cost in found],
        "textfont": {
            "size": 10,
            "color": [INK if math.log10(cost) < middle else PAPER for _, _, cost in found],
        },
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _dollar_ticks(low: float, high: float) -> list[float]:
    """Logarithms of round sums between the ends, and the ends."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    inner = [decade + math.log10(step) for decade in decades for step in STEPS]
    apart = 0.06 * (high - low)
    return [low, *(tick for tick in inner if low + apart < tick < high - apart), high]


def _short_dollars(value: float) -> str:
    """Three digits, for a cell: `$4.23k`."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"${value / size:.3g}{unit}"
    return f"${value:.3g}"


def _edges(values: NDArray[np.int64]) -> list[float]:
    """Cells that meet halfway between values, on a logarithmic axis; shape (n + 1,)."""
    logs = np.log(values.astype(np.float64))
    if len(logs) == 1:
        inner, first, last = np.array([]), logs[0] - 0.35, logs[0] + 0.35
    else:
        inner = (logs[:-1] + logs[1:]) / 2
        first, last = 2 * logs[0] - inner[0], 2 * logs[-1] - inner[-1]
    return [float(f"{edge:.6g}") for edge in np.exp([first, *inner, last]).tolist()]


def _axis(title: str, values: NDArray[np.int64], marked: Sequence[Sequence[int]]) -> dict[str, Any]:
    edges = _edges(values)
    places = [place for trace in marked for place in trace]
    low = min(edges[0], *(place / 1.15 for place in places), edges[0])
    high = max(edges[-1], *(place * 1.15 for place in places), edges[-1])
    if len(values) <= MOST_NUMBERED:
        ticks = [int(value) for value in values]
    else:
        ticks = [step * 10**power for power in range(9) for step in STEPS]
        ticks = [tick for tick in ticks if low <= tick <= high]
    return {
        "title": {"text": title},
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [f"{tick:,}" for tick in ticks],
        "showgrid": False,
        "zeroline": False,
    }


def _visits(rounds: Rows) -> tuple[tuple[int, int, str], ...]:
    """Each choice once, with how many rounds it had."""
    pairs = np.stack([rounds["clients_per_round"], rounds["local_iterations"]], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return tuple(
        (k, e, f"K {k}, E {e}: {count} round{'s' * (count > 1)}")
        for (k, e), count in zip(found.tolist(), counts.tolist(), strict=True)
    )


def _points(places: Sequence[tuple[int, int, str]], name: str, **marker: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [place[0] for place in places],
        "y": [place[1] for place in places],
        "text": [place[2] for place in places],
        "marker": marker,
        "hovertemplate": "%{text}<extra>" + name + "</extra>",
    }


def _line(way: Sequence[tuple[int, int]], colour: str, width: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [k for k, _ in way],
        "y": [e for _, e in way],
        "line": {"color": colour, "width": width},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _labels(numbered: Sequence[tuple[str, tuple[int, int]]]) -> dict[str, Any]:
    """Words above points; those of one point together."""
    at: dict[tuple[int, int], list[str]] = {}
    for text, pair in numbered:
        at.setdefault(pair, []).append(text)
    ends = [(", ".join(texts), pair) for pair, texts in at.items()]
    return {
        "type": "scatter",
        "mode": "text",
        "x": [k for _, (k, _) in ends],
        "y": [e for _, (_, e) in ends],
        "text": [f"<b>{text}</b>" for text, _ in ends],
        "textposition": "top center",
        "textfont": {"size": 12, "color": INK, "shadow": f"0 0 3px {PAPER}, 0 0 3px {PAPER}"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _outline(width: float) -> dict[str, Any]:
    return {"color": INK, "width": width}
