"""What a finished grid came to: columns for a table, remarks, and an HTML page that opens offline.

Everything is computed from the grid; nothing is added to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.errors import RunFolderError
from gnomon.core.files import write_atomically
from gnomon.core.units import format_count, format_dollars, format_energy, format_seconds
from gnomon.core.version import __version__
from gnomon.fleet.grid_file import Grid, GridPoint
from gnomon.fleet.grid_folder import PLAN_FILE, TRIALS_FOLDER
from gnomon.fleet.grid_summary import GAMMAS, NEAR, BestChoice, best_choices
from gnomon.fleet.options import GRID_FILE
from gnomon.results.charts import ACCENT, QUIET, Chart
from gnomon.results.fleet_surface import grid_surface
from gnomon.results.report import flat
from gnomon.results.surface_chart import surface_chart

REPORT_FILE = "report.html"
POINT_HEADINGS = ("K", "E", "target", "rounds", "time", "energy", "loss", "seeds")


def write_grid_report(
    grid: Grid, folder: Path, title: str, gammas: Sequence[float] = GAMMAS
) -> Path:
    """Write `report.html` into the grid's folder and return its path.

    Raises:
        RunFolderError: It cannot be written.
    """
    path = folder / REPORT_FILE
    try:
        write_atomically(path, render_grid(grid, folder.name, title, gammas).encode())
    except OSError as error:
        raise RunFolderError(f"cannot write {path}: {error.strerror}") from None
    return path


def render_grid(grid: Grid, folder: str, title: str, gammas: Sequence[float] = GAMMAS) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("gnomon.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    best = best_choices(grid, gammas)
    columns = grid_columns(best)
    return environment.get_template("grid.html").render(
        title=title,
        best=best,
        columns=columns,
        rows=list(zip(*(cells for _, cells in columns), strict=True)),
        remarks=list(grid_remarks(grid, best)),
        charts=grid_charts(grid, gammas),
        point_headings=POINT_HEADINGS,
        points=[_cells(point) for point in grid.points],
        settings=list(flat(grid.blueprint.to_json())),
        folder=folder,
        files=[GRID_FILE, PLAN_FILE, f"{TRIALS_FOLDER}/"],
        version=__version__,
        plotly=get_plotlyjs(),
    )


def grid_charts(grid: Grid, gammas: Sequence[float] = GAMMAS) -> list[Chart]:
    """A heat map for each gamma, and time against energy, which all of them come from."""
    charts = [
        surface_chart(
            grid_surface(grid, gamma),
            f"Cost to the target at gamma {gamma:g}",
            f"${1 - gamma:g} a second, ${gamma:g} a joule. Brighter is cheaper.",
        )
        for gamma in gammas
    ]
    return [*charts, time_against_energy(grid)]


def time_against_energy(grid: Grid) -> Chart:
    """Seconds and joules of every point that reached the target, with the border no point is below."""
    reached = [point for point in grid.points if point.reached]
    border = _border(reached)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers+text",
            "name": name,
            "x": [float(f"{point.duration_s:.6g}") for point in points],
            "y": [float(f"{point.energy_j:.6g}") for point in points],
            "text": [f"{p.clients_per_round},{p.local_iterations}" for p in points]
            if labels
            else "",
            "textposition": "top right",
            "textfont": {"size": 10},
            "customdata": [
                f"K {p.clients_per_round}, E {p.local_iterations}: {p.rounds:.0f} rounds<br>"
                f"{format_seconds(p.duration_s)}, {format_energy(p.energy_j)}"
                for p in points
            ],
            "marker": {"color": colour, "size": size},
            "hovertemplate": "%{customdata}<extra>" + name + "</extra>",
        }
        for name, points, colour, size, labels in (
            ("others", [p for p in reached if p not in border], QUIET, 7, False),
            ("K,E that no point beats in both", border, ACCENT, 10, True),
        )
    ]
    layout = {
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 64, "r": 24, "t": 28, "b": 48},
        "hoverlabel": {"align": "left"},
        "dragmode": False,
        "xaxis": {
            "title": {"text": "time to the target (s)"},
            **_ticks([point.duration_s for point in reached]),
        },
        "yaxis": {
            "title": {"text": "energy to the target (J)"},
            **_ticks([point.energy_j for point in reached]),
        },
    }
    return Chart(
        "Time against energy",
        "Each point is a K and E. The best at any gamma is on the border at the lower left.",
        {"data": traces, "layout": layout},
    )


def _ticks(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis labelled at 1, 2, 5 of every power of ten; at every digit if it is short."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive) / 1.2, max(positive) * 1.2
    steps = (1, 2, 5) if high > 5 * low else range(1, 10)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [float(f"{step * 10.0**decade:.6g}") for decade in decades for step in steps]
    return {
        "type": "log",
        "range": [float(np.log10(low)), float(np.log10(high))],
        "tickvals": ticks,
        "ticktext": [f"{tick:,g}" for tick in ticks],
    }


def grid_columns(best: Sequence[BestChoice]) -> list[tuple[str, list[str]]]:
    """Heading and cells, one row a gamma."""
    columns = [
        ("gamma", [f"{choice.gamma:g}" for choice in best]),
        ("K", [str(choice.clients_per_round) for choice in best]),
        ("E", [str(choice.local_iterations) for choice in best]),
        ("rounds", [f"{choice.rounds:.0f}" for choice in best]),
        ("time", [format_seconds(choice.duration_s) for choice in best]),
        ("energy", [format_energy(choice.energy_j) for choice in best]),
        ("cost", [_plus_minus(choice) for choice in best]),
        (f"within {100 * NEAR:.0f} %", [str(choice.near) for choice in best]),
    ]
    if any(choice.as_good is not None for choice in best):
        columns.append(("in noise", [str(choice.as_good or "") for choice in best]))
    return columns


def grid_remarks(grid: Grid, best: Sequence[BestChoice]) -> Iterator[str]:
    """What has to be known to read the figures."""
    reached = sum(point.reached for point in grid.points)
    seeds = max((len(point.trials) for point in grid.points), default=0)
    target = grid.blueprint.settings.target_loss
    yield (
        f"{reached} of {len(grid.points)} points reached the target loss {target:g} for "
        f"{'every one of ' if seeds > 1 else ''}{seeds} seed{'s' * (seeds != 1)}; the others are left out"
    )
    if best and seeds > 1:
        yield "costs are means over seeds, ± their standard error"
        yield (
            f"within {100 * NEAR:.0f} %: points that cost at most so much more, the best included; in "
            f"noise: points less than two standard errors of the difference above it"
        )
        yield "the least of many noisy means is a little too low: a regret against it, a little too high"
    elif best:
        yield "one seed only, so that noise is not known: --seeds 3 adds two"
    edges = _on_edges(grid, best)
    if edges:
        yield f"at gamma {', '.join(edges)} the best is on an edge of the grid within its range"


def _on_edges(grid: Grid, best: Sequence[BestChoice]) -> list[str]:
    """Gammas whose best point has the greatest E of the grid, although E could be greater."""
    greatest = max((point.local_iterations for point in grid.points), default=0)
    return [
        f"{choice.gamma:g}"
        for choice in best
        if choice.local_iterations == greatest
        and greatest < grid.blueprint.settings.max_local_iterations
    ]


def _border(points: Sequence[GridPoint]) -> list[GridPoint]:
    """Points that no other beats in both time and energy, the quickest first."""
    found: list[GridPoint] = []
    least_j = np.inf
    for point in sorted(points, key=lambda each: (each.duration_s, each.energy_j)):
        if point.energy_j < least_j:
            found.append(point)
            least_j = point.energy_j
    return found


def _plus_minus(choice: BestChoice) -> str:
    if choice.standard_error is None:
        return format_dollars(choice.cost)
    return f"{format_dollars(choice.cost)} ± {choice.standard_error:.2g}"


def _cells(point: GridPoint) -> list[str]:
    reached = sum(trial.reached for trial in point.trials)
    return [
        str(point.clients_per_round),
        str(point.local_iterations),
        "reached" if point.reached else f"missed by {len(point.trials) - reached}",
        format_count(round(point.rounds)),
        format_seconds(point.duration_s),
        format_energy(point.energy_j),
        f"{point.loss:.4f}",
        str(len(point.trials)),
    ]


def _figure(chart: Chart) -> str:
    """A chart as JSON that may stand inside a script element."""
    return json.dumps(chart.figure, separators=(",", ":")).replace("</", "<\\/")
