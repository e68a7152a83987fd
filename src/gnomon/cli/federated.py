"""`gnomon federated`: federated learning at the least cost in seconds and joules."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnomon.cli.federated_grid import grid
from gnomon.core.errors import SettingsError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gnomon.fleet.cost import Weighted
    from gnomon.fleet.devices import Devices
    from gnomon.fleet.planner import Advice, Choice
    from gnomon.fleet.solve import Method

federated = typer.Typer(
    no_args_is_help=True, help="Federated learning at the least cost in seconds and joules."
)

federated.command("grid")(grid)

METHODS: dict[str, tuple[Method, ...]] = {
    "exact": ("exact",),
    "alternating": ("alternating",),
    "both": ("exact", "alternating"),
}
MEANINGS = {
    "alternating": "the paper's alternating search, and what it costs beyond the exact choice"
}
MOST_STRETCHES = 8
FLEET = "Fleet"
TRAINING = "Training"
OUTPUT = "Output"


@federated.command("plan")
def plan(
    devices: Annotated[
        Path | None,
        typer.Argument(
            help="CSV with a line for each device: compute_s,communication_s,compute_j,communication_j "
            "and, if you like, name and samples."
        ),
    ] = None,
    gamma: Annotated[
        list[float] | None,
        typer.Option(
            help="Dollars a joule; a second is 1 - gamma. 0: only time counts, 1: only energy. "
            "May be given several times; default: 0, 0.5 and 1.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    ratio: Annotated[
        str | None,
        typer.Option(
            metavar="LOW:HIGH",
            help="Range in which A0/B0 may lie, or one value; default: 10:1000. High where local models "
            "drift apart little.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    a0: Annotated[
        float | None, typer.Option(help="A0, if it is known.", rich_help_panel=TRAINING)
    ] = None,
    b0: Annotated[
        float | None, typer.Option(help="B0, if it is known.", rich_help_panel=TRAINING)
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="Loss above the least possible at which training ends; with A0 and B0, totals are "
            "absolute.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    deadline_s: Annotated[
        float | None,
        typer.Option(help="Most seconds until the target.", rich_help_panel=TRAINING),
    ] = None,
    budget_j: Annotated[
        float | None, typer.Option(help="Most joules until the target.", rich_help_panel=TRAINING)
    ] = None,
    max_local_iterations: Annotated[
        int, typer.Option(help="Greatest E to consider.", min=1, rich_help_panel=TRAINING)
    ] = 200,
    clients: Annotated[
        int | None,
        typer.Option(
            help="Without a file: so many simulated devices, as in the paper.",
            min=1,
            rich_help_panel=FLEET,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of the simulated devices.", min=0, rich_help_panel=FLEET)
    ] = 0,
    weighted: Annotated[
        bool,
        typer.Option(
            "--weighted",
            help="K draws with replacement, by each device's samples, instead of K different devices.",
            rich_help_panel=FLEET,
        ),
    ] = False,
    method: Annotated[
        str,
        typer.Option(
            help="exact: every K and E. alternating: the paper's search. Or both.",
            rich_help_panel=OUTPUT,
        ),
    ] = "exact",
    example: Annotated[
        Path | None,
        typer.Option(
            help="Write an example of a device file there, and stop.", rich_help_panel=OUTPUT
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Choose K and E for a fleet, before any training.

    A round asks **K** of the N devices, each does **E** local iterations, and the slowest ends it. More
    devices or iterations a round mean fewer rounds, each longer and with more energy. Rounds follow
    (A0 + B0 g(K) E²) / (epsilon E), g falling from 2 at K = 1 to 1 at K = N: **A0** stands for noise and the
    way to go, **B0** for how far local models drift apart. Only **A0/B0** matters for the choice.

    DEVICES is a CSV file with a line for each device and the columns compute_s, compute_j (of one local
    iteration), communication_s, communication_j (of one exchange of the model), and, if you like, name and
    samples. `gnomon federated plan --example fleet.csv` writes one to edit; then
    `gnomon federated plan fleet.csv --gamma 0.5`.

    After Luo et al., Cost-effective federated learning design (INFOCOM 2021).
    """
    from gnomon.fleet.planner import advise, constants_of

    if example is not None:
        _write_example(example)
        return
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    constants = constants_of(a0, b0, epsilon, ratio, with_replacement=weighted)
    advice = advise(
        _fleet(devices, clients, seed),
        gamma or (0.0, 0.5, 1.0),
        constants,
        methods=METHODS[method],
        max_local_iterations=max_local_iterations,
        sampling=_weighted(devices) if weighted else None,
        max_duration_s=deadline_s,
        max_energy_j=budget_j,
    )
    if json:
        typer.echo(json_module.dumps(advice.to_json(), indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for part in plan_view(advice):
        console.print(part)


def plan_view(advice: Advice) -> list[RenderableType]:
    """Fleet, choices, how they move with A0/B0, and what to know; no line is longer than 80 columns."""
    from rich.markup import escape

    total = (
        "totals are absolute"
        if advice.absolute
        else f"totals are shares of those at K={advice.clients}, E=1, as epsilon is unknown"
    )
    parts: list[RenderableType] = [
        f"[bold]{advice.clients} devices[/bold], {escape(advice.source)}",
        f"at A0/B0 = {advice.ratio:.4g}; {total}",
    ]
    for method in dict.fromkeys(choice.method for choice in advice.choices):
        parts += ["", *([MEANINGS[method]] if method in MEANINGS else [])]
        parts.append(_choices([choice for choice in advice.choices if choice.method == method]))
    if advice.outlooks and advice.ratios is not None and advice.ratios[0] < advice.ratios[1]:
        parts += ["", _moves(advice)]
        low, high = advice.ratios
        parts += [
            f"gamma {outlook.gamma:g}: kept over all of {low:.4g}:{high:.4g}, the choice for "
            f"{advice.ratio:.4g} costs at most {_percent(outlook.regret)} more"
            for outlook in advice.outlooks
        ]
    if advice.clients > 1 and any(choice.clients_per_round == 1 for choice in advice.choices):
        parts += [
            "",
            "[dim]note[/dim] K=1: by this bound more devices a round save at most half of the rounds; "
            "training often gains more, so try a few K before you rely on it",
        ]
    return parts


def _choices(choices: list[Choice]) -> RenderableType:
    """A table of one method's choices."""
    from rich.table import Table

    exact = choices[0].method == "exact"
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for name in ("gamma", "K", "E", "s/round", "J/round", "rounds", "seconds", "joules", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    if not exact:
        table.add_column("excess", justify="right", no_wrap=True)
    for choice in choices:
        table.add_row(*_figures(choice), *([] if exact else [_percent(choice.excess)]))
    return table


def _figures(choice: Choice) -> list[str]:
    numbers = (
        choice.round_duration_s,
        choice.round_energy_j,
        choice.rounds,
        choice.duration_s,
        choice.energy_j,
        choice.cost,
    )
    return [
        f"{choice.gamma:g}",
        str(choice.clients_per_round),
        str(choice.local_iterations),
        *(f"{number:.3g}" for number in numbers),
    ]


def _moves(advice: Advice) -> RenderableType:
    from rich.table import Table

    from gnomon.fleet.planner import merged

    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for name in ("gamma", "A0/B0 from", "to", "K", "E"):
        table.add_column(name, justify="right", no_wrap=True)
    for outlook in advice.outlooks:
        for place, stretch in enumerate(merged(outlook.stretches, MOST_STRETCHES)):
            table.add_row(
                "" if place else f"{outlook.gamma:g}",
                f"{stretch.low:.4g}",
                f"{stretch.high:.4g}",
                _span(stretch.clients_per_round),
                _span(stretch.local_iterations),
            )
    return table


def _span(ends: tuple[int, int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}-{ends[1]}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _fleet(path: Path | None, clients: int | None, seed: int) -> Devices:
    from gnomon.fleet.device_files import normal_devices, read_devices

    if path is not None:
        if clients is not None:
            raise UsageError("give a file of devices or --clients, not both")
        return read_devices(path)
    if clients is None:
        raise UsageError(
            "which fleet? Give a CSV of devices (--example FILE writes one) or --clients N for simulated ones"
        )
    return normal_devices(clients, seed)


def _weighted(path: Path | None) -> Weighted:
    from gnomon.fleet.cost import Weighted
    from gnomon.fleet.device_files import read_shares

    if path is None:
        raise UsageError("--weighted needs a file of devices with a column samples")
    return Weighted(read_shares(path))


def _write_example(path: Path) -> None:
    from gnomon.core.files import write_atomically
    from gnomon.fleet.planner import EXAMPLE

    if path.exists():
        raise SettingsError(f"{path} exists and is left as it is: name another file")
    write_atomically(path, EXAMPLE.replace("THIS_FILE", str(path)).encode())
    typer.echo(f"devices     {path}")
