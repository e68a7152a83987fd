"""What commands that measure share: being watched while they do, and telling what came of it."""

from __future__ import annotations

import json as json_module
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from gnomon.cli.asked import LeftOut
from gnomon.cli.progress import ProgressLine, progress_line
from gnomon.core.run import Run

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def watched() -> Iterator[ProgressLine | None]:
    """A live line if there is a terminal to show it on; a polite kill keeps what was measured."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    line = progress_line()
    with line or nullcontext():
        yield line


def end_with(
    finished: Sequence[Run], *, report: bool, json: bool, left_out: Sequence[LeftOut] = ()
) -> NoReturn:
    """Write the report if asked to, print the runs, and exit with 0 if all are VALID, 1 if not.

    Several runs are compared, the first being the baseline; those of several frameworks stand in one table.
    """
    written = None
    if report:
        from gnomon.results.report import write_report

        written = write_report(finished, finished[-1].path / "report.html")
    if json:
        typer.echo(json_module.dumps(_all_as_json(finished, written, left_out), indent=2))
    else:
        _print(finished, written)
    raise typer.Exit(0 if all(run.verdict.valid for run in finished) else 1)


def _all_as_json(finished: Sequence[Run], written: Path | None, left_out: Sequence[LeftOut]) -> Any:
    """One run as an object, several as a list; with the rows of their table if they have one.

    What is left of several is told as several are: whoever asked for them looks for it there.
    """
    from gnomon.results.frameworks import of_frameworks

    if left_out or (len(finished) > 1 and of_frameworks(finished)):
        return runs_as_json(finished, written, left_out)
    told = [_as_json(run, written) for run in finished]
    return told[0] if len(told) == 1 else told


def runs_as_json(
    finished: Sequence[Run], written: Path | None, left_out: Sequence[LeftOut]
) -> dict[str, Any]:
    """Runs, the rows of their table if they have one, and what was asked for and has no model."""
    from gnomon.results.frameworks import framework_rows, of_frameworks

    rows = framework_rows(finished) if finished and of_frameworks(finished) else []
    return {
        "runs": [_as_json(run, written) for run in finished],
        "frameworks": [asdict(row) for row in rows],
        "left_out": [asdict(each) for each in left_out],
    }


def print_runs(finished: Sequence[Run]) -> None:
    """Those runs of several that are complete: their table if they have one, and their folders."""
    from rich.console import Console

    from gnomon.results.frameworks import of_frameworks

    console = Console()
    if finished and of_frameworks(finished):
        _print_frameworks(console, finished)
    else:
        _print_each(console, finished)


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

    from gnomon.results.frameworks import of_frameworks

    console = Console()
    if len(finished) > 1 and of_frameworks(finished):
        _print_frameworks(console, finished)
    else:
        _print_each(console, finished)
    if written:
        console.print(f"report      {written}", highlight=False, soft_wrap=True)


def _print_each(console: Console, finished: Sequence[Run]) -> None:
    """Every run by itself, then what differs between them."""
    from gnomon.results.table import run_view

    for run in finished:
        console.print(run_view(run))
        console.print(f"run folder  {run.path}", highlight=False, soft_wrap=True)
    if len(finished) > 1:
        from gnomon.cli.compare import comparison_view
        from gnomon.results.compare import compare

        console.print()
        for part in comparison_view(compare(finished)):
            console.print(part, highlight=False)


def _print_frameworks(console: Console, finished: Sequence[Run]) -> None:
    """One table of all, then where each lies and what to change about it."""
    from gnomon.results.frameworks import framework_table
    from gnomon.results.table import failure_lines

    console.print(framework_table(finished))
    for run in finished:
        console.print(f"run folder  {run.path}", highlight=False, soft_wrap=True)
        for line in failure_lines(run.verdict):
            console.print(line)
