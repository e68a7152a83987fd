"""`gnomon doctor`: what this machine is, what will make its numbers noisy, and what would help."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from gnomon.core.noise import Finding

SIGNS = {
    "ok": "[green]✓[/green]",
    "advice": "[cyan]i[/cyan]",
    "warning": "[yellow]![/yellow]",
    "problem": "[red]✗[/red]",
}


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at this machine before you trust it with a measurement.

    Changes nothing. Exits with 1 only if something would keep a run from working.
    """
    from gnomon.core.environment import capture
    from gnomon.core.noise import examine

    environment, findings = capture(), [*examine(), _kernels()]
    if json:
        both = {"environment": environment, "findings": [finding.to_json() for finding in findings]}
        typer.echo(json_module.dumps(both, indent=2))
    else:
        from rich.console import Console
        from rich.table import Table

        console = Console()
        console.print(_summary(environment), highlight=False)
        table = Table(show_header=True, header_style="bold", box=None, pad_edge=False)
        table.add_column("", width=1)
        table.add_column("looked at", no_wrap=True)
        table.add_column("found", overflow="fold")
        table.add_column("what would help", overflow="fold", style="dim")
        for finding in findings:
            table.add_row(SIGNS[finding.level], finding.name, finding.found, finding.advice)
        console.print(table)
        noisy = sum(finding.level == "warning" for finding in findings)
        console.print(
            f"[yellow]{noisy} thing(s) will show in the numbers.[/yellow] Gnomon changes nothing."
            if noisy
            else "[green]Nothing here should disturb a measurement.[/green]"
        )
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


def _kernels() -> Finding:
    """Whether embeddings and local training were compiled, and for which instructions."""
    from gnomon.core.noise import Finding
    from gnomon.embedding import compiled
    from gnomon.fleet import softmax_sgd

    isa = compiled()
    if isa is not None and softmax_sgd.compiled():
        return Finding("compiled kernels", "ok", isa)
    return Finding(
        "compiled kernels",
        "warning",
        "not compiled: NumPy does their work, slowly",
        "install a C++ compiler, then: pip install --force-reinstall --no-cache-dir gnomon",
    )


def _summary(environment: dict[str, Any]) -> str:
    from gnomon.core.units import format_bytes

    cpu, system = environment["cpu"], environment["os"]
    return (
        f"[bold]{cpu['model'] or cpu['architecture']}[/bold], {cpu['available_cores']:g} of "
        f"{cpu['logical_cores']} cores, {format_bytes(environment['memory']['total_bytes'])}, "
        f"{system['distribution'] or system['name']}, Python {environment['python']['version']}\n"
    )
