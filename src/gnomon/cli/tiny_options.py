"""Options of `gnomon run` that are for boards."""

from __future__ import annotations

from typing import Annotated

import typer

PANEL = "Boards (tiny)"

Board = Annotated[
    str | None,
    typer.Option(
        help="host, mps2-an385, mps2-an386 or mps2-an500 (emulated Cortex-M3, M4, M7), serial for what is "
        "plugged in, or a port: /dev/ttyACM0, socket://HOST:PORT.",
        rich_help_panel=PANEL,
    ),
]
Energy = Annotated[
    str | None,
    typer.Option(
        help="Measure energy too, with this monitor: lpm01a, joulescope, rapl, nvml; NAME:PORT for its port, "
        "@VOLTS for the supply it gives: lpm01a:/dev/ttyACM1@3.3.",
        rich_help_panel=PANEL,
    ),
]
Iterations = Annotated[
    int | None,
    typer.Option(
        help="Inferences in a timed window. Left out, as many as fill it.", rich_help_panel=PANEL
    ),
]
Warmups = Annotated[
    int | None, typer.Option(help="Untimed inferences before a window.", rich_help_panel=PANEL)
]
