"""`gnomon report RUN...`: write one self-contained HTML file about one or several runs."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_OUTPUT = Path("report.html")


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Run folders, starts of their names, or `latest` (the default)."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write.")
    ] = DEFAULT_OUTPUT,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write an HTML report that opens offline.

    Several runs share one page, with their latencies in one picture. Exits with 1 if any run is INVALID.
    """
    from gnomon.results.locate import open_runs
    from gnomon.results.report import report_json, write_report

    opened = open_runs(runs or ["latest"])
    written = write_report(opened, output)
    if json:
        typer.echo(json_module.dumps(report_json(opened, written), indent=2))
    else:
        typer.echo(f"report      {written}")
    raise typer.Exit(0 if all(run.verdict.valid for run in opened) else 1)
