"""`gnomon list`: the benchmarks, systems and tasks there are, and the packages they come from."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnomon.core.errors import GnomonError
from gnomon.core.registry import BENCHMARKS, SYSTEMS, Registry
from gnomon.core.spec import Benchmark

if TYPE_CHECKING:
    from rich.console import RenderableType


def list_(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List benchmarks and systems.

    A broken plug-in is named in its row and hurts nothing else.
    """
    benchmarks, systems = _benchmarks(), _systems(SYSTEMS)
    if json:
        typer.echo(json_module.dumps({"benchmarks": benchmarks, "systems": systems}, indent=2))
        return
    from rich.console import Console

    console = Console()
    origins = {row["from"] for row in (*benchmarks, *systems)} != {"gnomon"}
    columns = ("name", "what", "suite", "system")
    console.print(_table("Benchmarks", columns, benchmarks, origins))
    console.print(_table("Systems", ("name", "what"), systems, origins))
    console.print(
        "[dim]gnomon run NAME --system SYSTEM measures one; gnomon run --help has more.[/dim]"
    )


def _table(
    title: str, columns: tuple[str, ...], rows: list[dict[str, Any]], origins: bool
) -> RenderableType:
    """Rows in which only `what` is broken; where all of them come from gnomon itself, that is not said."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    for column in (*columns, "from") if origins else columns:
        table.add_column(column, overflow="fold", no_wrap=column != "what")
    for row in rows:
        cells = {
            "name": row["name"],
            "what": row.get("title") or row.get("what") or f"[red]{row['error']}[/red]",
            "suite": row.get("suite", ""),
            "system": row.get("default_system", ""),
            "from": row["from"],
        }
        table.add_row(*(cells[str(column.header)] for column in table.columns))
    return table


def _benchmarks() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for entry in BENCHMARKS:
        row: dict[str, Any] = {"name": entry.name, "from": entry.origin}
        try:
            declared = BENCHMARKS.load(entry.name)
            row.update(
                title=declared.title,
                suite=declared.suite,
                task=declared.task,
                protocol=declared.protocol,
                default_system=declared.default_system,
                quality=declared.quality.model_dump(mode="json"),
                scenarios=_scenarios(declared),
                specification=declared.specification,
            )
        except GnomonError as error:
            row["error"] = str(error)
        rows.append(row)
    return rows


def _scenarios(declared: Benchmark) -> list[str]:
    """The scenarios of a load benchmark; other protocols have none."""
    if declared.protocol != "load":
        return []
    from gnomon.loadgen.options import declaration_of

    return [scenario.value for scenario in declaration_of(declared).scenarios]


def _systems(registry: Registry) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for entry in registry:
        row: dict[str, Any] = {"name": entry.name, "from": entry.origin}
        try:
            row["what"] = (registry.load(entry.name).__doc__ or "").strip().splitlines()[0]
        except GnomonError as error:
            row["error"] = str(error)
        rows.append(row)
    return rows
