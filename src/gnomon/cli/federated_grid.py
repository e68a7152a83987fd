"""`gnomon federated grid`: the same federation at every K and E, and which choice was best at each gamma."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnomon.cli import federated_options as fed
from gnomon.cli.ending import watched
from gnomon.cli.exit_codes import EXIT_INTERRUPTED
from gnomon.core.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gnomon.fleet.grid_file import Grid
    from gnomon.fleet.grid_summary import BestChoice

GRID = "The grid"
OUTPUT = "Output"


def grid(
    context: typer.Context,
    benchmark: Annotated[
        str, typer.Argument(help="A federated benchmark; see `gnomon list`.")
    ] = "federated",
    clients_per_round: Annotated[
        str | None,
        typer.Option(
            help="Values of K, as 1,2,5,10; default: 8, evenly in the logarithm from 1 to N.",
            rich_help_panel=GRID,
        ),
    ] = None,
    local_iterations: Annotated[
        str | None,
        typer.Option(
            help="Values of E; default: 7, evenly in the logarithm from 1 to --max-local-iterations.",
            rich_help_panel=GRID,
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Trainings at each K and E.", min=1, rich_help_panel=GRID)
    ] = 3,
    workers: Annotated[
        int,
        typer.Option(help="Trainings side by side, a thread each.", min=1, rich_help_panel=GRID),
    ] = 2,
    target_loss: fed.TargetLoss = None,
    max_rounds: fed.MaxRounds = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Data of your own: a file or a folder, for a benchmark that takes one.",
            rich_help_panel=fed.FLEET,
        ),
    ] = None,
    clients: fed.Clients = None,
    partition: fed.Partition = None,
    data_seed: fed.DataSeed = None,
    devices: fed.Devices = None,
    availability: fed.Availability = None,
    availability_block: fed.AvailabilityBlock = None,
    dropout: fed.Dropout = None,
    slowdown_sigma: fed.SlowdownSigma = None,
    model: Annotated[
        str | None, typer.Option(help="logistic or cnn.", rich_help_panel=fed.TRAINING)
    ] = None,
    max_local_iterations: fed.MaxLocalIterations = None,
    batch_size: fed.BatchSize = None,
    learning_rate: fed.LearningRate = None,
    decay: fed.Decay = None,
    regularisation: fed.Regularisation = None,
    proximal: fed.Proximal = None,
    sampling: fed.Sampling = None,
    over_selection: fed.OverSelection = None,
    deadline: fed.Deadline = None,
    aggregation: fed.Aggregation = None,
    server_optimizer: fed.ServerOptimizer = None,
    max_update_norm: fed.MaxUpdateNorm = None,
    clip_norm: fed.ClipNorm = None,
    noise_multiplier: fed.NoiseMultiplier = None,
    evaluate_every: fed.EvaluateEvery = None,
    gamma: Annotated[
        list[float] | None,
        typer.Option(
            help="Dollars a joule; may be repeated. Default: 0, 0.25, 0.5, 0.75 and 1. One grid serves all.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The grid's folder; default: grids/… by its settings.", rich_help_panel=OUTPUT
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Train with every fixed K and E to the target, on the simulated fleet; show the best choice.

    What a controller chose can then be held against it: `gnomon run federated --grid FOLDER` tells the
    regret. Each finished training is kept: the same command goes on with an interrupted grid, and adds
    values and seeds to a finished one. A training that takes --max-rounds is given up, and its point is out.
    """
    from gnomon.core.registry import BENCHMARKS
    from gnomon.core.task import make_task
    from gnomon.fleet.assembly import assemble
    from gnomon.fleet.grid import CLIENTS_VALUES, ITERATIONS_VALUES, run_grid, spread_values
    from gnomon.fleet.grid_folder import GridPlan
    from gnomon.fleet.grid_summary import GAMMAS, best_choices
    from gnomon.fleet.record import devices_sha256
    from gnomon.results.grid_report import write_grid_report

    gammas = tuple(gamma or GAMMAS)
    for each in gammas:
        if not 0 <= each <= 1:
            raise SettingsError(
                f"--gamma must be from 0 (time only) to 1 (energy only), got {each:g}"
            )
    declared = BENCHMARKS.load(benchmark)
    if declared.protocol != "fleet":
        raise SettingsError(
            f"{benchmark!r} is not federated: choose a federated benchmark (gnomon list)"
        )
    task = make_task(declared.task, data.absolute() if data else None)
    federation = assemble(declared, task, _options(context))
    most = federation.settings.max_local_iterations
    plan = GridPlan(
        federation.blueprint,
        devices_sha256(federation.devices),
        _values(clients_per_round, "--clients-per-round")
        or spread_values(federation.blueprint.clients, CLIENTS_VALUES),
        _values(local_iterations, "--local-iterations") or spread_values(most, ITERATIONS_VALUES),
        tuple(range(seeds)),
    )
    folder = out or Path("grids") / f"{declared.name}-{plan.digest}"
    try:
        with watched() as line:
            made = run_grid(plan, folder, federation.devices, workers=workers, observer=line)
    except KeyboardInterrupt:
        typer.echo(
            f"gnomon: interrupted: finished trainings are kept in {folder}; the same command goes on",
            err=True,
        )
        raise SystemExit(EXIT_INTERRUPTED) from None
    report = write_grid_report(made, folder, declared.title, gammas)
    best = best_choices(made, gammas)
    if json:
        told = {"path": str(folder), "report": str(report), **_as_json(made, best)}
        typer.echo(json_module.dumps(told, indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for part in grid_view(made, best):
        console.print(part)
    console.print(f"grid        {folder}", soft_wrap=True)
    console.print(f"report      {report}", soft_wrap=True)


def grid_view(made: Grid, best: list[BestChoice]) -> list[RenderableType]:
    """The best choice at each gamma; no line is longer than 80 columns."""
    from rich.table import Table

    from gnomon.results.grid_report import grid_columns, grid_remarks

    columns = grid_columns(best)
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*row)
    parts: list[RenderableType] = [table, ""] if best else []
    return [*parts, *(f"[dim]{remark}[/dim]" for remark in grid_remarks(made, best))]


def _as_json(made: Grid, best: list[BestChoice]) -> dict[str, Any]:
    return {
        "target_loss": made.blueprint.settings.target_loss,
        "points": len(made.points),
        "reached": sum(point.reached for point in made.points),
        "best": [choice.to_json() for choice in best],
    }


def _options(context: typer.Context) -> Any:
    """The options that stand on the command line, by the protocol's names."""
    from gnomon.cli.asked import OPTION_OF
    from gnomon.core.execute import parse_options
    from gnomon.fleet.options import FleetOptions

    given = {}
    for name, value in context.params.items():
        option = OPTION_OF.get(name, name)
        source = context.get_parameter_source(name)
        stands = source is not None and source.name != "DEFAULT"
        if stands and option in FleetOptions.model_fields and option != "gamma":
            given[option] = value
    return parse_options(FleetOptions, given)


def _values(text: str | None, option: str) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        return tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise SettingsError(
            f"{option} takes whole numbers such as 1,2,5,10, got {text!r}"
        ) from None
