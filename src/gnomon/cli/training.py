"""`gnomon training`: logs of training runs, reference points, scaling, and machines that join a run."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.training_logs import check, convergence, export, score

training = typer.Typer(
    no_args_is_help=True, help="Logs of training runs, reference points, scaling, joining a run."
)
training.command("check")(check)
training.command("score")(score)
training.command("convergence")(convergence)
training.command("export")(export)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@training.command("reference")
def reference(
    runs: Annotated[list[str], typer.Argument(help="Runs of one benchmark at one batch size.")],
    points: Annotated[
        Path, typer.Option("--points", help="The file they are put into; made if missing.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a point of the same batch size.")
    ] = False,
    creator: Annotated[str, typer.Option(help="Who ran them.")] = "",
) -> None:
    """Make a reference convergence point of finished runs, in the field's format.

    It takes twice as many runs as a result is made of, all converged:
    `gnomon run train-digits --runs 10`, then `gnomon training reference latest --points mine.json`.
    """
    from gnomon.core.errors import UsageError
    from gnomon.core.run import Run
    from gnomon.results.locate import open_runs
    from gnomon.timetotrain.reference_point_files import merge_reference_point
    from gnomon.timetotrain.reference_points import make_reference_point

    opened = open_runs(runs)
    first = _trained(opened[0])
    if any(_trained(run) != first for run in opened):
        raise UsageError(
            "the runs differ in benchmark or hyperparameters: a point is of one batch size and one setting"
        )
    benchmark, hyperparameters, needed = first
    rows = [row for run in opened for row in run.result["time-to-train"]["each"]]
    good = [row["epochs"] for row in rows if row["converged"]]
    if len(good) < len(rows):
        typer.echo(
            f"{len(rows) - len(good)} of {len(rows)} runs did not converge, and are left out"
        )
    newest: Run = opened[-1]
    point = make_reference_point(
        benchmark,
        int(hyperparameters["global_batch_size"]),
        good,
        runs=needed,
        hyperparameters=hyperparameters,
        creator=creator,
        when=newest.record["started_at"][:10],
        platform=newest.record["system"]["name"],
        precision="fp32",
    )
    merge_reference_point(points, point, replace_same=replace)
    typer.echo(
        f"{point.name}: {len(good)} runs, olympic mean {point.mean():.4g} epochs, in {points}"
    )


def _trained(run: Any) -> tuple[str, dict[str, Any], int]:
    """Benchmark, hyperparameters and the number of runs that a result needs."""
    from gnomon.core.errors import UsageError
    from gnomon.core.spec import Benchmark
    from gnomon.timetotrain.settings import MEASUREMENT, declaration_of

    stored = run.measurements.get(MEASUREMENT)
    if stored is None or stored["result"] is None:
        raise UsageError(
            f"{run.id} has no finished training runs: gnomon run train-digits makes some"
        )
    benchmark = Benchmark.model_validate(run.record["benchmark"])
    needed = declaration_of(benchmark).runs
    return benchmark.name, dict(stored["settings"]["hyperparameters"]), needed


@training.command("hyperparameters")
def hyperparameters(
    run: Annotated[str, typer.Argument(help="A run, the start of its name, or `latest`.")],
    other: Annotated[str, typer.Argument(help="The run that it is held against.")],
    borrowed: Annotated[
        bool,
        typer.Option(
            "--borrowed", help="The first says it took its hyperparameters from the other."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Hold the hyperparameters of two runs against each other under the benchmark's rules."""
    from rich.console import Console
    from rich.table import Table

    from gnomon.core.errors import UsageError
    from gnomon.core.spec import Benchmark
    from gnomon.results.locate import load
    from gnomon.timetotrain.hyperparameters import compare_hyperparameters
    from gnomon.timetotrain.settings import declaration_of

    opened = [load(name) for name in (run, other)]
    mine, theirs = (_trained(each) for each in opened)
    if mine[0] != theirs[0]:
        raise UsageError(
            f"the runs are of {mine[0]!r} and {theirs[0]!r}: compare runs of one benchmark"
        )
    declared = declaration_of(Benchmark.model_validate(opened[0].record["benchmark"]))
    checks = compare_hyperparameters(
        declared.may_vary,
        declared.hyperparameters if borrowed else theirs[1],
        mine[1],
        borrowed_from=theirs[1] if borrowed else None,
    )
    if json:
        typer.echo(json_module.dumps([asdict(each) for each in checks], indent=2))
    else:
        table = Table("hyperparameter", "found", "required", "", header_style="bold")
        for each in checks:
            mark = "[green]✓[/green]" if each.passed else f"[red]✗[/red] {each.why}"
            name = each.name.removeprefix("hyperparameter_")
            table.add_row(name, each.found, each.required, mark)
        Console().print(table)
    raise typer.Exit(0 if all(each.passed for each in checks) else 1)


@training.command("scaling")
def scaling(
    runs: Annotated[list[str], typer.Argument(help="Runs with different numbers of processes.")],
    json: Json = False,
) -> None:
    """How much faster more processes train, and what is lost in throughput and to larger batches."""
    from rich.console import Console
    from rich.table import Table

    from gnomon.core.errors import UsageError
    from gnomon.core.units import format_rate, format_seconds
    from gnomon.results.locate import open_runs
    from gnomon.results.training_charts import scaling_of

    points = scaling_of(open_runs(runs))
    if not points:
        raise UsageError("none of the runs has a score: gnomon show says why")
    if json:
        typer.echo(json_module.dumps([asdict(point) for point in points], indent=2))
        return
    table = Table(header_style="bold")
    for title in ("processes", "time to train", "throughput", "speed-up", "efficiency"):
        table.add_column(title, justify="right")
    table.add_column("of which throughput", justify="right")
    table.add_column("and samples to target", justify="right")
    for point in points:
        table.add_row(
            str(point.processes),
            format_seconds(point.seconds),
            format_rate(point.samples_per_second, "samples/s"),
            f"{point.speed_up:.2f}",
            f"{100 * point.efficiency:.0f} %",
            f"{100 * point.throughput_efficiency:.0f} %",
            f"{100 * point.convergence_efficiency:.0f} %",
        )
    Console().print(table)


@training.command("join")
def join(
    address: Annotated[str, typer.Argument(help="HOST:PORT that the first machine was given.")],
    nodes: Annotated[int, typer.Option(min=2, help="Machines in all.")],
    processes: Annotated[int, typer.Option(min=1, help="Of this machine.")] = 1,
    patience: Annotated[
        float,
        typer.Option(min=1, help="Seconds without a further run after which this one leaves."),
    ] = 120.0,
) -> None:
    """Train together with another machine, run after run, until its campaign is over.

    On the first machine: `gnomon run train-digits --nodes 2 --rendezvous HOST:PORT`.
    """
    from gnomon.timetotrain.join import join_campaign

    done = join_campaign(address, nodes, processes, patience, typer.echo)
    typer.echo(f"took part in {done} runs")
