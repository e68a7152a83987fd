"""`gnomon show RUN`: a run's results and verdict, as they are on record."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer


def show(
    run: Annotated[
        str, typer.Argument(help="A run folder, the start of its name, or `latest`.")
    ] = "latest",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a run.

    Exits with 0 if it is VALID, 1 if not. `gnomon check` recomputes it instead.
    """
    from rich.console import Console

    from gnomon.core.run import Run
    from gnomon.results.locate import find_run
    from gnomon.results.table import run_view

    opened = Run.open(find_run(run))
    verdict = opened.verdict
    if json:
        record = {
            **opened.record,
            "path": str(opened.path),
            "status": opened.status,
            "verdict": verdict.to_json(),
        }
        typer.echo(json_module.dumps(record, indent=2))
    else:
        console = Console()
        console.print(run_view(opened))
        console.print(f"[dim]run folder[/dim]  {opened.path}")
    raise typer.Exit(0 if verdict.valid else 1)
