"""What commands that measure share: being watched while they do, and telling what came of it."""

from __future__ import annotations

import json as json_module
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

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


def end_with(finished: Sequence[Run], *, report: bool, json: bool) -> NoReturn:
    """Write the report if asked to, print the runs, and exit with 0 if all are VALID, 1 if not.

    Several runs are compared, the first being the baseline.
    """
    written = None
    if report:
        from gnomon.results.report import write_report

        written = write_report(finished, finished[-1].path / "report.html")
    if json:
        told = [_as_json(run, written) for run in finished]
        typer.echo(json_module.dumps(told[0] if len(told) == 1 else told, indent=2))
    else:
        _print(finished, written)
    raise typer.Exit(0 if all(run.verdict.valid for run in finished) else 1)


def _as_json(run: Run, written: Path | None) -> dict[str, Any]:
    return {
        "path": str(run.path),
        "status": run.status,
        "verdict": run.verdict.to_json(),
        "result": run.result,
        "report": str(written) if written else None,
    }


def _print(finished: Sequence[Run], written: Path | None) -> None:
    from rich.console import Console

    from gnomon.results.table import run_view

    console = Console()
    for run in finished:
        console.print(run_view(run))
        console.print(f"run folder  {run.path}", highlight=False, soft_wrap=True)
    if len(finished) > 1:
        from gnomon.cli.compare import comparison_view
        from gnomon.results.compare import compare

        console.print()
        for part in comparison_view(compare(finished)):
            console.print(part, highlight=False)
    if written:
        console.print(f"report      {written}", highlight=False, soft_wrap=True)
