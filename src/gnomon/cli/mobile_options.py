"""Options of `gnomon run` for phones, laptops and the benchmarks that a task file describes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PANEL = "Mobile"

TaskFile = Annotated[
    Path | None,
    typer.Option(
        help="Where the benchmark is described: the app's tasks.pbtxt, or TOML. The app's `local:///` "
        "is then the folder of --data.",
        rich_help_panel=PANEL,
    ),
]
Cooldown = Annotated[
    float | None,
    typer.Option(
        help="Rest before each performance test but the first, in seconds; default: as the rules have it.",
        rich_help_panel=PANEL,
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="fp32, fp16 or int8: which of the task's models; several, separated by commas, are measured one "
        "after the other.",
        rich_help_panel=PANEL,
    ),
]
