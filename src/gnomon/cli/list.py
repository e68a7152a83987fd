"""`gnomon list`: the benchmarks, systems and tasks there are, and the packages they come from."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import typer

from gnomon.core.errors import GnomonError
from gnomon.core.registry import BENCHMARKS, SYSTEMS, Registry
from gnomon.core.spec import Benchmark


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
    from rich.table import Table

    console = Console()
    table = Table(title="Benchmarks", title_justify="left", header_style="bold")
    for column in ("name", "suite", "what", "scenarios", "default system", "from"):
        table.add_column(column, overflow="fold")
    for row in benchmarks:
        table.add_row(
            row["name"],
            row.get("suite", ""),
            row.get("title") or f"[red]{row['error']}[/red]",
            ", ".join(row.get("scenarios", [])),
            row.get("default_system", ""),
            row["from"],
        )
    console.print(table)
    table = Table(title="Systems", title_justify="left", header_style="bold")
    for column in ("name", "what", "from"):
        table.add_column(column, overflow="fold")
    for row in systems:
        table.add_row(row["name"], row.get("what") or f"[red]{row['error']}[/red]", row["from"])
    console.print(table)
    console.print(
        "[dim]gnomon run NAME --system SYSTEM measures one; gnomon run --help has more.[/dim]"
    )


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
