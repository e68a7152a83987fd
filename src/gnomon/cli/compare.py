"""`gnomon compare RUN RUN...`: what differs between runs, and whether it may be called a difference."""

from __future__ import annotations

import json as json_module
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gnomon.results.claims import Row
    from gnomon.results.compare import Comparison
    from gnomon.results.sides import Side

NARROW = len("no difference")
COLOURS = {"faster": "green", "better": "green", "slower": "red", "worse": "red"}


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Run folders or the starts of their names; the first is the baseline."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare runs of one benchmark, the first being the baseline.

    Runs of the same system, settings and environment make up one side; three or more a side count the
    variation from run to run. Exits with 0 if every run is VALID, 1 if not.
    """
    from rich.console import Console

    from gnomon.results.compare import compare as compare_runs
    from gnomon.results.locate import open_runs

    comparison = compare_runs(open_runs(runs or []))
    if json:
        typer.echo(json_module.dumps(comparison.to_json(), indent=2))
    else:
        console = Console(highlight=False)
        for part in comparison_view(comparison):
            console.print(part)
    raise typer.Exit(0 if comparison.valid else 1)


def comparison_view(comparison: Comparison) -> list[RenderableType]:
    """Sides, one table a candidate, warnings and notes; no line is longer than 80 columns."""
    from rich.markup import escape
    from rich.padding import Padding
    from rich.text import Text

    baseline, *candidates = comparison.sides
    parts: list[RenderableType] = [Text(f"benchmark {comparison.benchmark}", style="bold")]
    parts += [_side(side) for side in comparison.sides]
    for candidate in candidates:
        rows = [row for row in comparison.rows if row.candidate == candidate.label]
        parts += [Text(), _table(baseline, candidate, rows)]
        parts += [
            Padding(
                f"[bold]{row.measurement}[/bold], {escape(row.metric)}: {escape(row.why)}",
                (0, 0, 0, 2),
            )
            for row in rows
            if row.why
        ]
    parts.append(Text())
    for mark, lines in (
        ("[yellow]warning[/yellow]", comparison.warnings),
        ("[dim]note[/dim]", comparison.notes),
    ):
        parts += [f"{mark} {escape(line)}" for line in lines]
    return parts


def _side(side: Side) -> RenderableType:
    from rich.padding import Padding
    from rich.text import Text

    line = Text(f"{side.label} {side.system}", style="bold")
    line.append(f"  {side.verdict}", style="green" if side.valid else "red")
    for run in side.runs:
        line.append(f"\n{run}", style="dim not bold")
    return Padding(line, (0, 0, 0, 2))


def _table(baseline: Side, candidate: Side, rows: list[Row]) -> RenderableType:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{candidate.label} against {baseline.label}",
        title_justify="left",
        title_style="bold",
        header_style="bold underline",
        box=None,
        padding=(0, 1),
        pad_edge=False,
    )
    # What must not lose its end is broken by hand, so that the values are what gives way.
    table.add_column("measurement", no_wrap=True)
    for label in (baseline.label, candidate.label):
        table.add_column(label, justify="right", overflow="fold")
    table.add_column(f"{candidate.label} / {baseline.label}\n95 % interval", no_wrap=True)
    table.add_column("p (Holm)\nCliff's δ", no_wrap=True)
    table.add_column("conclusion", no_wrap=True)
    for row in rows:
        table.add_row(
            f"{row.measurement}\n[dim]{escape(fill(row.metric, NARROW))}[/dim]",
            _value(row, row.baseline_value),
            _value(row, row.candidate_value),
            _ratio(row),
            _test(row),
            f"[{COLOURS.get(row.conclusion, 'default')}]{fill(row.conclusion, NARROW)}",
        )
    return table


def _value(row: Row, value: float | None) -> str:
    from gnomon.results.table import headline

    if value is None:
        return "no result"
    return headline({"metric": {"value": value, "unit": row.unit}})


def _ratio(row: Row) -> str:
    """Ratio over its interval; for accuracy the difference over its interval, in percentage points."""
    interval = row.interval
    if row.interval_of == "difference" and interval is not None:
        difference = (row.candidate_value or 0.0) - (row.baseline_value or 0.0)
        return f"{100 * difference:+.2f} points\n{100 * interval.low:+.2f} to {100 * interval.high:+.2f}"
    ratio = "" if row.ratio is None else _factor(row.ratio)
    return (
        ratio
        if interval is None
        else f"{ratio}\n{_factor(interval.low)} to {_factor(interval.high)}"
    )


def _factor(value: float) -> str:
    """Three decimals where they matter, three digits elsewhere."""
    return f"{value:.3f}" if 0.1 <= value < 10 else f"{value:.3g}"


def _test(row: Row) -> str:
    if row.p_adjusted is None:
        return ""
    p_value = "< 0.001" if row.p_adjusted < 0.001 else f"{row.p_adjusted:.3f}"
    return p_value if row.cliffs_delta is None else f"{p_value}\n{row.cliffs_delta:+.2f}"
