"""What commands that measure share: being watched while they do, and telling what came of it."""

from __future__ import annotations

import json as json_module
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import NoReturn

import typer

from gnomon.cli.progress import ProgressLine, progress_line
from gnomon.core.run import Run


@contextmanager
def watched() -> Iterator[ProgressLine | None]:
    """A live line if there is a terminal to show it on; a polite kill keeps what was measured."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    line = progress_line()
    with line or nullcontext():
        yield line


def end_with(finished: Run, *, report: bool, json: bool) -> NoReturn:
    """Write the report if asked to, print the run, and exit with 0 if it is VALID, 1 if not."""
    written = None
    if report:
        from gnomon.results.report import write_report

        written = write_report([finished], finished.path / "report.html")
    verdict = finished.verdict
    if json:
        typer.echo(
            json_module.dumps(
                {
                    "path": str(finished.path),
                    "status": finished.status,
                    "verdict": verdict.to_json(),
                    "result": finished.result,
                    "report": str(written) if written else None,
                },
                indent=2,
            )
        )
    else:
        from rich.console import Console

        from gnomon.results.table import run_view

        console = Console()
        console.print(run_view(finished))
        console.print(f"run folder  {finished.path}", highlight=False, soft_wrap=True)
        if written:
            console.print(f"report      {written}", highlight=False, soft_wrap=True)
    raise typer.Exit(0 if verdict.valid else 1)
