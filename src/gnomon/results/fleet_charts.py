"""The charts of a federation, from its rounds and clients: loss, choices, cost, clients, the cost surface."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.units import format_dollars, format_energy, format_seconds
from gnomon.fleet.ledger import Rows
from gnomon.fleet.orders import Outcome
from gnomon.fleet.outcome import ESTIMATE
from gnomon.fleet.record import FleetSamples
from gnomon.results.charts import ACCENT, BAD, GOOD, QUIET, SECOND, Chart, layout_of
from gnomon.results.fleet_surface import run_surface
from gnomon.results.surface_chart import path_marks, surface_chart

PHASES = {"train": ("training", ACCENT), ESTIMATE: ("estimation", SECOND)}
OUTCOMES = {
    Outcome.USED: ("used", ACCENT),
    Outcome.SPARE: ("spare", QUIET),
    Outcome.LATE: ("late", SECOND),
    Outcome.DROPPED: ("dropped", BAD),
    Outcome.REJECTED: ("rejected", "#8b5cf6"),
}
WASH = "rgba(245,158,11,0.14)"
MOST_POINTS = 2000
MOST_BARS = 400
LOG_FROM = 8.0
"""Losses that span such a factor are drawn on a logarithmic axis."""
TICKS = tuple(step * 10.0**power for power in range(-4, 8) for step in (1, 2, 5))


def fleet_charts(samples: FleetSamples, stored: dict[str, Any]) -> list[Chart]:
    """The charts of one federation; none before its first round.

    Args:
        samples: Its raw record.
        stored: Its entry in `run.json`.
    """
    if not len(samples.rounds):
        return []
    settings = stored["settings"]["settings"]
    gamma = float(settings["gamma"])
    charts = []
    if np.isfinite(samples.rounds["loss"]).any():
        initial = (stored.get("result") or {}).get("initial_loss")
        charts.append(loss_over_time(samples.rounds, settings.get("target_loss"), initial))
    surface, told = run_surface(samples, settings)
    return [
        *charts,
        choices(samples.rounds),
        surface_chart(
            surface,
            f"Cost over K and E, at gamma {gamma:g}",
            f"{told} Brighter is cheaper; marks are the run's own choices, in order.",
            path_marks(samples.rounds),
        ),
        cost_so_far(samples.rounds, gamma),
        spent_by_clients(samples, "duration_s"),
        spent_by_clients(samples, "energy_j"),
    ]


def loss_over_time(rounds: Rows, target: float | None, initial: float | None) -> Chart:
    """Loss after each round against the fleet's own clock, coloured by phase."""
    traces, shown = [], set()
    for course in _courses(rounds):
        x = [float(course["started_s"][0]), *_ends_s(course).tolist()]
        y = [initial, *(_known(loss) for loss in course["loss"].tolist())]
        words = ["at first", *_round_words(course)]
        if course["start"][0] == "best" or initial is None:
            x, y, words = x[1:], y[1:], words[1:]
        phase = str(course["phase"][0])
        name, colour = PHASES.get(phase, (phase, QUIET))
        keep = _thin(len(x))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines" if len(x) > 2 else "lines+markers",
                "name": name,
                "legendgroup": name,
                "showlegend": name not in shown,
                "x": [_digits(x[place]) for place in keep],
                "y": [y[place] for place in keep],
                "text": [words[place] for place in keep],
                "connectgaps": True,
                "line": {"color": colour, "width": 1.5},
                "hovertemplate": "loss %{y:.4f}, %{text}<extra>" + name + "</extra>",
            }
        )
        shown.add(name)
    losses = rounds["loss"][np.isfinite(rounds["loss"]) & (rounds["loss"] > 0)]
    wide = len(losses) > 0 and losses.max() / losses.min() > LOG_FROM
    layout = layout_of(
        xaxis={"title": {"text": "time on the fleet's clock (s)"}, "rangemode": "tozero"},
        yaxis={
            "title": {"text": "loss over all clients"},
            **(_log_ticks(float(losses.min()), float(losses.max())) if wide else {}),
        },
        showlegend=len(shown) > 1,
    )
    if target is not None:
        layout["shapes"] = [_level(target)]
        layout["annotations"] = [_level_label(f"target {target:g}", target, log=bool(wide))]
    anew = bool((rounds["start"][1:] != "here").any())
    restarts = (
        " It jumps where training began anew, or went back to its best model." if anew else ""
    )
    return Chart(
        "Loss over time", f"After each round.{restarts}", {"data": traces, "layout": layout}
    )


def choices(rounds: Rows) -> Chart:
    """K and E of each round."""
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": x,
            "y": y,
            "line": {"shape": "hv", "color": colour, "width": 2},
            "hovertemplate": f"{letter} %{{y}} from round %{{x}}<extra></extra>",
        }
        for letter, name, key, colour in (
            ("K", "K, clients a round", "clients_per_round", ACCENT),
            ("E", "E, local iterations", "local_iterations", "#10b981"),
        )
        for x, y in (_steps(rounds[key]),)
    ]
    both = np.concatenate([rounds["clients_per_round"], rounds["local_iterations"]])
    low, high = float(both.min()) / 1.3, float(both.max()) * 1.3
    layout = layout_of(
        xaxis={"title": {"text": "round"}, "range": [1, len(rounds) + 1]},
        yaxis={
            "title": {"text": "K and E"},
            "range": [float(np.log10(low)), float(np.log10(high))],
            **_log_ticks(low, high),
        },
        showlegend=True,
        shapes=list(_estimation_bands(rounds)),
    )
    shaded = " Shaded rounds were run to estimate." if layout["shapes"] else ""
    return Chart(
        "The choice, round by round", f"On a logarithmic scale.{shaded}", _figure(traces, layout)
    )


def cost_so_far(rounds: Rows, gamma: float) -> Chart:
    """Dollars up to each round, those for seconds and those for joules on top of each other."""
    keep = _thin(len(rounds))
    numbers = [place + 1 for place in keep]
    duration_s, energy_j = np.cumsum(rounds["duration_s"]), np.cumsum(rounds["energy_j"])
    traces = []
    for name, price, spent, colour, words in (
        ("time", 1 - gamma, duration_s, ACCENT, format_seconds),
        ("energy", gamma, energy_j, SECOND, format_energy),
    ):
        if price == 0:
            continue
        dollars = (price * spent)[keep].tolist()
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{name}, ${price:g} a {'second' if name == 'time' else 'joule'}",
                "stackgroup": "cost",
                "x": numbers,
                "y": [_digits(value) for value in dollars],
                "text": [
                    f"{format_dollars(value)} for {words(amount)}"
                    for value, amount in zip(dollars, spent[keep].tolist(), strict=True)
                ],
                "line": {"color": colour, "width": 1},
                "hovertemplate": "%{text} up to round %{x}<extra>" + name + "</extra>",
            }
        )
    layout = layout_of(
        xaxis={"title": {"text": "round"}},
        yaxis={"title": {"text": "cost so far ($)"}, "tickprefix": "$", "rangemode": "tozero"},
        showlegend=True,
        shapes=list(_estimation_bands(rounds)),
    )
    shaded = " Shaded rounds were run to estimate." if layout["shapes"] else ""
    return Chart(
        "What it cost", f"Time and energy add up to the cost.{shaded}", _figure(traces, layout)
    )


def spent_by_clients(samples: FleetSamples, key: str) -> Chart:
    """Seconds or joules of each client over all rounds, by what became of its work."""
    clients, words = samples.clients, format_seconds if key == "duration_s" else format_energy
    number = len(samples.devices)
    total = np.bincount(clients["client"], weights=clients[key], minlength=number)
    asked = np.bincount(clients["client"], minlength=number)
    order = np.argsort(-total, kind="stable")
    order = order[asked[order] > 0][:MOST_BARS]
    traces = []
    for outcome, (name, colour) in OUTCOMES.items():
        chosen = clients[clients["outcome"] == outcome.value]
        if not len(chosen):
            continue
        spent = np.bincount(chosen["client"], weights=chosen[key], minlength=number)[order]
        times = np.bincount(chosen["client"], minlength=number)[order]
        traces.append(
            {
                "type": "bar",
                "name": name,
                "x": list(range(1, len(order) + 1)),
                "y": [_digits(value) for value in spent.tolist()],
                "text": [
                    f"{_client_name(samples, client)}: {words(value)} in {count} of "
                    f"{asked[client]} rounds, {words(total[client])} in all"
                    for client, value, count in zip(
                        order.tolist(), spent.tolist(), times.tolist(), strict=True
                    )
                ],
                "textposition": "none",
                "marker": {"color": colour, "line": {"width": 0}},
                "hovertemplate": "%{text}<extra>" + name + "</extra>",
            }
        )
    title, axis = (
        ("How long clients worked", "seconds of work (s)")
        if key == "duration_s"
        else ("What clients used", "energy (J)")
    )
    layout = layout_of(
        xaxis={"title": {"text": "clients, the greatest first"}},
        yaxis={"title": {"text": axis}, "rangemode": "tozero"},
        barmode="stack",
        bargap=0.15 if len(order) <= 60 else 0,
        showlegend=len(traces) > 1,
    )
    spare = " Spare: still at work when the round was complete." if _any_spare(clients) else ""
    return Chart(title, _clients_caption(asked, len(order)) + spare, _figure(traces, layout))


def _clients_caption(asked: NDArray[np.int64], shown: int) -> str:
    took_part = int(np.count_nonzero(asked))
    words = f"{took_part} of {len(asked)} clients were asked at least once"
    if took_part > shown:
        words += f"; shown are the {shown} that spent most"
    return f"Over all rounds, by what became of the work. {words}."


def _any_spare(clients: Rows) -> bool:
    return bool((clients["outcome"] == Outcome.SPARE.value).any())


def _client_name(samples: FleetSamples, client: int) -> str:
    names = samples.devices.names
    return names[client] if names else f"client {client}"


def _courses(rounds: Rows) -> Iterator[Rows]:
    """Rounds that go on from each other, in one phase."""
    anew = (rounds["start"] != "here") | np.r_[True, rounds["phase"][1:] != rounds["phase"][:-1]]
    anew[0] = False
    yield from np.split(rounds, np.flatnonzero(anew))


def _estimation_bands(rounds: Rows) -> Iterator[dict[str, Any]]:
    """Rectangles behind the rounds that were run to estimate."""
    flags = np.r_[0, (rounds["phase"] == ESTIMATE).astype(np.int8), 0]
    changes = np.diff(flags)
    for first, last in zip(
        np.flatnonzero(changes == 1), np.flatnonzero(changes == -1), strict=True
    ):
        yield {
            "type": "rect",
            "layer": "below",
            "x0": int(first) + 1,
            "x1": int(last) + 1,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "fillcolor": WASH,
            "line": {"width": 0},
        }


def _steps(values: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """Where a step line turns: the round of each change, and the end."""
    changes = np.flatnonzero(np.diff(values)) + 1
    places = np.r_[0, changes]
    x, y = (places + 1).tolist(), values[places].tolist()
    return [*x, len(values) + 1], [*y, y[-1]]


def _round_words(course: Rows) -> list[str]:
    return [
        f"round {row['round'] + 1}, K {row['clients_per_round']}, E {row['local_iterations']}, "
        f"{format_seconds(row['started_s'] + row['duration_s'])}"
        for row in course
    ]


def _ends_s(rounds: Rows) -> NDArray[np.float64]:
    ends: NDArray[np.float64] = rounds["started_s"] + rounds["duration_s"]
    return ends


def _thin(count: int) -> list[int]:
    """Places to draw: all, or evenly so many, the last one among them."""
    places: list[int] = np.unique(
        np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(int)
    ).tolist()
    return places


def _known(value: float) -> float | None:
    return _digits(value) if np.isfinite(value) else None


def _digits(value: float) -> float:
    """Six digits are more than a screen shows."""
    return float(f"{value:.6g}")


def _figure(traces: list[dict[str, Any]], layout: dict[str, Any]) -> dict[str, Any]:
    return {"data": traces, "layout": layout}


def _log_ticks(low: float, high: float) -> dict[str, Any]:
    """A logarithmic axis that is labelled at 1, 2, 5 of every power of ten in and around this range."""
    ticks = [tick for tick in TICKS if low / 3 <= tick <= 3 * high]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,g}" for tick in ticks]}


def _level(value: float) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "line": {"color": GOOD, "width": 1.5, "dash": "dot"},
    }


def _level_label(text: str, value: float, *, log: bool) -> dict[str, Any]:
    return {
        "xref": "paper",
        "x": 0.01,
        "xanchor": "left",
        "y": float(np.log10(value)) if log else value,
        "yanchor": "bottom",
        "text": text,
        "showarrow": False,
        "font": {"size": 11, "color": GOOD},
    }
