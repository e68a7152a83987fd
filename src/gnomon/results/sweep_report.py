"""What a sweep came to: a table for the terminal, an HTML page that opens offline, the figures as files.

Everything is computed from the finished trainings in the sweep's folder; nothing is added to them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gnomon.core.errors import RunFolderError, UsageError
from gnomon.core.files import write_atomically
from gnomon.core.units import format_bytes, format_count, format_duration_ns
from gnomon.core.version import __version__
from gnomon.recommend.summary import (
    Spread,
    SweepSummary,
    VariantSummary,
    summarise,
    tidy_rows,
)
from gnomon.recommend.sweep_folder import SweepState
from gnomon.results.charts import Chart
from gnomon.results.report import flat
from gnomon.results.sweep_charts import auc_against_compression, auc_by_epoch

REPORT_FILE = "report.html"
SUMMARY_FILE = "summary.json"
ROWS_FILE = "auc.csv"


DISPENSABLE = ("seeds", "compression", "training", "AUC, epoch", "weights", "against full")
"""Columns that a narrow terminal goes without, in this order; the page has them all."""


@dataclass(frozen=True)
class Column:
    """One column of the summary: its heading, what stands in it, whether it is a figure."""

    heading: str
    cells: tuple[str, ...]
    figure: bool = True


def sweep_columns(summary: SweepSummary) -> list[Column]:
    """The summary as columns of text, one row a variant; columns with nothing in them are left out."""
    entries = summary.variants

    def column(heading: str, cells: Sequence[str], figure: bool = True) -> Column:
        return Column(heading, tuple(cells), figure)

    columns = [
        column("embedding", [entry.variant.name for entry in entries], figure=False),
        column("best AUC", [plus_minus(entry.best) for entry in entries]),
        column("epoch", [str(entry.best_epoch or "") for entry in entries]),
        column("against full", [_difference(entry.against_full) for entry in entries]),
        column("weights", [format_count(entry.weights) for entry in entries]),
        column("size", [format_bytes(entry.embedding_bytes) for entry in entries]),
        column("compression", [f"{entry.compression:.4g}x" for entry in entries]),
    ]
    for epoch in range(max((len(entry.by_epoch) for entry in entries), default=0)):
        cells = [
            plus_minus(entry.by_epoch[epoch]) if epoch < len(entry.by_epoch) else ""
            for entry in entries
        ]
        columns.append(column(f"AUC, epoch {epoch + 1}", cells))
    if summary.target is not None:
        columns.append(column("time to target", [_to_target(entry) for entry in entries]))
    columns.append(column("training", [_seconds(entry.training.mean) for entry in entries]))
    columns.append(column("seeds", [str(len(entry.seeds)) for entry in entries]))
    return [kept for kept in columns if any(kept.cells)]


def sweep_view(sweep: SweepState, width: int = 160) -> RenderableType:
    """What a person wants to see of a sweep at once, in a terminal of so many characters."""
    summary = summarise(sweep)
    columns = sweep_columns(summary)
    for heading in DISPENSABLE:
        if _width(columns) > width:
            columns = [kept for kept in columns if not kept.heading.startswith(heading)]
    table = Table(title="Click models", title_justify="left", title_style="bold")
    for shown in columns:
        table.add_column(shown.heading, justify="right" if shown.figure else "left", no_wrap=True)
    for row in zip(*(shown.cells for shown in columns), strict=True):
        table.add_row(*row)
    return Group(table, *(Text(line, style="dim") for line in remarks(summary)))


def _width(columns: Sequence[Column]) -> int:
    return 1 + sum(3 + max(map(len, (shown.heading, *shown.cells))) for shown in columns)


def remarks(summary: SweepSummary) -> Iterator[str]:
    """What has to be known to read the figures."""
    best = "" if summary.bayes_auc is None else f"; best possible AUC {summary.bayes_auc:.4f}"
    yield f"{summary.data}{best}"
    yield "± is the standard deviation over seeds; against full: paired by seed, with its 95 % interval"
    if summary.target is not None:
        yield (
            f"trainings stop at AUC {summary.target:g}, so compare times to target and not AUCs; "
            f"evaluations are not in these times"
        )
    if summary.finished < summary.planned:
        yield f"{summary.finished} of {summary.planned} trainings are finished: the same command goes on"
    if summary.surroundings > 1:
        yield "trainings ran on different machines or with different --workers: times do not compare"


def write_sweep_report(sweep: SweepState, folder: Path | str | None = None) -> Path:
    """Write `report.html`, `summary.json` and `auc.csv`; return the page's path.

    Args:
        sweep: With at least one finished training.
        folder: Where to; default: the sweep's own.

    Raises:
        UsageError: Nothing is finished.
        RunFolderError: A file cannot be written.
    """
    if not sweep.runs:
        raise UsageError(f"nothing is finished in {sweep.path}: sweep first")
    folder = Path(folder) if folder is not None else sweep.path
    summary = summarise(sweep)
    charts = sweep_charts(summary)
    told = summary.as_dict() | {"figures": {chart.title: chart.figure for chart in charts}}
    files = {
        SUMMARY_FILE: json.dumps(told, indent=1) + "\n",
        ROWS_FILE: _csv(tidy_rows(sweep)),
        REPORT_FILE: render_sweep(sweep, summary, charts),
    }
    for name, text in files.items():
        try:
            write_atomically(folder / name, text.encode())
        except OSError as error:
            raise RunFolderError(f"cannot write {folder / name}: {error.strerror}") from None
    return folder / REPORT_FILE


def sweep_charts(summary: SweepSummary) -> list[Chart]:
    """AUC against compression if anything is compressed, and AUC by epoch if an epoch is complete."""
    charts = []
    if any(entry.variant.kind != "full" for entry in summary.variants):
        charts.append(auc_against_compression(summary))
    if any(entry.by_epoch for entry in summary.variants):
        charts.append(auc_by_epoch(summary))
    return charts


def render_sweep(sweep: SweepState, summary: SweepSummary, charts: Sequence[Chart]) -> str:
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
    columns = sweep_columns(summary)
    return environment.get_template("sweep.html").render(
        headings=[(column.heading, column.figure) for column in columns],
        rows=list(zip(*(column.cells for column in columns), strict=True)),
        summary=summary,
        remarks=list(remarks(summary)),
        charts=charts,
        settings=list(flat(sweep.settings)),
        environment=list(flat(sweep.runs[-1].environment)),
        folder=sweep.path.name,
        files=[SUMMARY_FILE, ROWS_FILE, "sweep.json", "runs/"],
        version=__version__,
        plotly=get_plotlyjs() if charts else "",
    )


def plus_minus(found: Spread) -> str:
    """`0.8247 ± 0.0004`: mean and standard deviation over seeds."""
    if found.deviation is None:
        return f"{found.mean:.4f}"
    return f"{found.mean:.4f} ± {found.deviation:.4f}"


def _difference(found: Spread | None) -> str:
    if found is None:
        return ""
    half = "" if found.half_width is None else f" ± {found.half_width:.4f}"
    return f"{found.mean:+.4f}{half}".replace("-", "−")


def _to_target(entry: VariantSummary) -> str:
    if entry.time_to_target is None:
        return "not reached"
    missed = len(entry.seeds) - entry.reached
    few = f" ({entry.reached} of {len(entry.seeds)} seeds)" if missed else ""
    return f"{_seconds(entry.time_to_target.mean)}{few}"


def _seconds(seconds: float) -> str:
    return format_duration_ns(seconds * 1e9)


def _figure(chart: Chart) -> str:
    """A chart as JSON that may stand inside a script element."""
    return json.dumps(chart.figure, separators=(",", ":")).replace("</", "<\\/")


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
