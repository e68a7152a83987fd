"""`gnomon resume RUN`: go on with a run that did not come to its end."""

from __future__ import annotations

from typing import Annotated

import typer

from gnomon.cli.ending import end_with, watched
from gnomon.cli.interrupted import end_resuming_interrupted


def resume(
    run: Annotated[
        str, typer.Argument(help="A run folder, the start of its name, or `latest`.")
    ] = "latest",
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report.html into the run folder.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Go on with a run that was interrupted or killed.

    Tests that were finished are kept, all others are measured anew; nothing is resumed inside a load test. A
    federation goes on from its last saved round.
    The configuration is the one that the run began with. Refused if the machine, the software, the data or
    the system has changed since.
    """
    from gnomon.core.execute import resume as go_on
    from gnomon.results.locate import find_run

    path = find_run(run)
    try:
        with watched() as line:
            finished = go_on(path, observer=line)
        end_with([finished], report=report, json=json)
    except KeyboardInterrupt:
        end_resuming_interrupted(path)
