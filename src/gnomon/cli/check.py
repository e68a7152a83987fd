"""`gnomon check RUN`: make results and verdict again from the raw samples alone."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer


def check(
    run: Annotated[
        str,
        typer.Argument(
            help="A run folder, the start of its name, `latest`, or a folder of mlperf_log files."
        ),
    ] = "latest",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recompute a run from its raw samples, and say where its record disagrees.

    Samples and arrival times are also held against the schedule that the run's seeds give. Exits with
    0 only if the recomputed verdict is VALID and nothing disagrees.
    """
    from rich.console import Console

    from gnomon.results.check import check as check_path
    from gnomon.results.locate import find_run
    from gnomon.results.table import failure_lines, verdict_line

    report = check_path(find_run(run))
    if json:
        typer.echo(json_module.dumps(report.to_json(), indent=2))
    else:
        console = Console()
        if report.claim:
            console.print(report.claim, highlight=False, soft_wrap=True)
        console.print(verdict_line(report.verdict))
        for line in failure_lines(report.verdict):
            console.print(line)
        for words in report.disagreements:
            console.print(f"  [red]✗[/red] [bold]disagreement[/bold]: {words}", highlight=False)
        if not report.disagreements and not report.verdict.remark.startswith("not recomputed"):
            console.print("the record agrees with its raw samples, its logs and its seeds")
    raise typer.Exit(0 if report.fine else 1)
