"""`gnomon recommend`: what compressed embeddings cost a click model, and models to serve."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnomon.cli.ending import watched
from gnomon.cli.exit_codes import EXIT_INTERRUPTED
from gnomon.core.errors import SettingsError, UnknownNameError

if TYPE_CHECKING:
    from gnomon.recommend.config import DlrmConfig
    from gnomon.recommend.recipe import Recipe
    from gnomon.recommend.sweep import ClickSource
    from gnomon.recommend.sweep_folder import SweepState

recommend = typer.Typer(
    no_args_is_help=True, help="Train click models over compressed embedding tables."
)

QUICK_ROWS = 60_000
QUICK_HELD_OUT = 30_000
ROWS = 1_000_000
TRAINING = "Training"
DATA = "Data"
OUTPUT = "Output"

Rows = Annotated[
    int | None,
    typer.Option(help="Samples to train on; default: 1,000,000.", min=1, rich_help_panel=DATA),
]
HeldOut = Annotated[
    int | None,
    typer.Option(help="Samples held out; default: a fifth of --rows.", min=1, rich_help_panel=DATA),
]
Data = Annotated[
    tuple[str, Path] | None,
    typer.Option(
        metavar="FORMAT PATH",
        help="Data of your own: criteo-tsv or criteo-binary and the file, or criteo-npy and the folder. "
        "Default: the synthetic log.",
        rich_help_panel=DATA,
    ),
]
MostRows = Annotated[
    int, typer.Option(help="With --data: most rows of a table.", min=1, rich_help_panel=DATA)
]
Epochs = Annotated[
    int | None, typer.Option(help="Passes; default: 2.", min=1, rich_help_panel=TRAINING)
]
Dim = Annotated[
    int, typer.Option(help="Weights in an embedding row.", min=1, rich_help_panel=TRAINING)
]
Batch = Annotated[
    int | None,
    typer.Option(help="Samples a step; default: the recipe's.", min=1, rich_help_panel=TRAINING),
]
RecipeName = Annotated[
    str, typer.Option(help="small, mlperf-v1 or mlperf-v2.", rich_help_panel=TRAINING)
]
Target = Annotated[
    float | None,
    typer.Option(help="Stop at the first evaluation with this AUC.", rich_help_panel=TRAINING),
]
EvaluateEvery = Annotated[
    int,
    typer.Option(
        help="Evaluate after so many steps too; 0: after each epoch.",
        min=0,
        rich_help_panel=TRAINING,
    ),
]
Threads = Annotated[
    int, typer.Option(help="Threads of a training.", min=1, rich_help_panel=TRAINING)
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of a table.", rich_help_panel=OUTPUT)
]


@recommend.command("sweep")
def sweep(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Few samples: a minute or two.", rich_help_panel=DATA),
    ] = False,
    methods: Annotated[
        str,
        typer.Option(
            help="full, robe, hash-shared, hash-capped, qr, tt; with options as robe:block=4 or "
            "robe:sign=element.",
            rich_help_panel=TRAINING,
        ),
    ] = "full,robe,hash-shared,hash-capped",
    compression: Annotated[
        str, typer.Option(help="How many times fewer weights.", rich_help_panel=TRAINING)
    ] = "10,100,1000",
    seeds: Annotated[
        int, typer.Option(help="Trainings of each, 3 or more.", min=1, rich_help_panel=TRAINING)
    ] = 3,
    rows: Rows = None,
    held_out: HeldOut = None,
    data: Data = None,
    most_rows: MostRows = 100_000,
    epochs: Epochs = None,
    dim: Dim = 16,
    batch: Batch = None,
    recipe: RecipeName = "small",
    target: Target = None,
    evaluate_every: EvaluateEvery = 0,
    threads: Threads = 1,
    workers: Annotated[
        int, typer.Option(help="Trainings side by side.", min=1, rich_help_panel=TRAINING)
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The sweep's folder; default: sweeps/… by its settings.", rich_help_panel=OUTPUT
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Train every method at every compression for several seeds; show AUC against compression.

    Each finished training is kept: the same command goes on with an interrupted sweep, and adds methods,
    compressions and seeds to a finished one.
    """
    from gnomon.recommend.sweep import SweepConfig, run_sweep, variants_of

    config = SweepConfig(
        source=_source(data, rows, held_out, most_rows, quick=quick),
        variants=variants_of(_words(methods), _numbers(compression)),
        seeds=tuple(range(seeds)),
        model=_model(dim),
        recipe=_recipe(recipe, batch),
        epochs=epochs or 2,
        evaluate_every=evaluate_every,
        target=target,
        threads=threads,
    )
    folder = out or config.default_folder(Path("sweeps"))
    with _interruptible(f"finished trainings are kept in {folder}; the same command goes on"):
        with watched() as line:
            state = run_sweep(config, folder, workers=workers, observer=line)
        _show(state, json=json)


@recommend.command("report")
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a sweep, finished or not.")],
    json: Json = False,
) -> None:
    """Show what is finished of a sweep, and write its page, summary.json and auc.csv anew."""
    from gnomon.recommend.sweep_folder import read_sweep

    _show(read_sweep(folder), json=json)


@recommend.command("train")
def train(
    method: Annotated[
        str, typer.Argument(help="full or robe; with options as robe:block=4.")
    ] = "robe",
    compression: Annotated[
        float, typer.Option(help="How many times fewer weights.", rich_help_panel=TRAINING)
    ] = 100.0,
    seed: Annotated[
        int, typer.Option(help="Of weights and order.", min=0, rich_help_panel=TRAINING)
    ] = 0,
    rows: Rows = None,
    held_out: HeldOut = None,
    data: Data = None,
    most_rows: MostRows = 100_000,
    epochs: Epochs = None,
    dim: Dim = 16,
    batch: Batch = None,
    recipe: RecipeName = "small",
    target: Target = None,
    evaluate_every: EvaluateEvery = 0,
    threads: Threads = 1,
    stored: Annotated[
        str, typer.Option(help="float32, float16 or bfloat16.", rich_help_panel=OUTPUT)
    ] = "float32",
    out: Annotated[
        Path | None,
        typer.Option(help="The model's folder; default: models/….", rich_help_panel=OUTPUT),
    ] = None,
    json: Json = False,
) -> None:
    """Train one click model and save it as a folder that is served without PyTorch."""
    from gnomon.recommend.export import check_saved, save_model
    from gnomon.recommend.recipe import TrainConfig, Variant
    from gnomon.recommend.train import train as carry_out

    config = TrainConfig(
        _model(dim),
        Variant.of(method, compression),
        _recipe(recipe, batch),
        epochs=epochs or 2,
        seed=seed,
        evaluate_every=evaluate_every,
        target=target,
        threads=threads,
    )
    kept = check_saved(config.variant, stored)
    source = _source(data, rows, held_out, most_rows, quick=False)
    folder = out or Path("models") / f"dlrm-{config.variant.slug}-seed{seed}"
    with _interruptible("nothing is saved"):
        with watched() as line:
            clicks = source.load()
            observer = _told(line, config.variant.name) if line else None
            model, record = carry_out(config, clicks, observer)
        save_model(model, config, record, clicks, folder, stored=kept)
    told = {"path": str(folder), **record.as_dict(), "data": clicks.source}
    if json:
        typer.echo(json_module.dumps(told, indent=2))
        return
    for found in record.by_epoch or record.evaluations[-1:]:
        typer.echo(f"epoch {found.epoch}     AUC {found.auc:.4f}, log loss {found.log_loss:.4f}")
    typer.echo(f"data        {clicks.source['name']}")
    typer.echo(f"model       {folder}")


def _show(state: SweepState, *, json: bool) -> None:
    from gnomon.recommend.summary import summarise
    from gnomon.results.sweep_report import sweep_view, write_sweep_report

    written = write_sweep_report(state)
    if json:
        told = {"path": str(state.path), "report": str(written), **summarise(state).as_dict()}
        typer.echo(json_module.dumps(told, indent=2))
        return
    from rich.console import Console

    console = Console()
    console.print(sweep_view(state, console.width), highlight=False)
    console.print(f"sweep       {state.path}", highlight=False, soft_wrap=True)
    console.print(f"report      {written}", highlight=False, soft_wrap=True)


@contextmanager
def _interruptible(kept: str) -> Iterator[None]:
    """Ctrl-C in one line that says what there is now, and the exit code of an interruption."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"gnomon: interrupted: {kept}", err=True)
        raise SystemExit(EXIT_INTERRUPTED) from None


def _told(line: Any, name: str) -> Any:
    from gnomon.core.protocol import Progress
    from gnomon.recommend.record import Step

    def observe(step: Step) -> None:
        auc = "" if step.auc is None else f", AUC {step.auc:.4f}"
        line(Progress(name, step.share_done, step.elapsed_s, f"epoch {step.epoch}{auc}"))

    return observe


def _source(
    data: tuple[str, Path] | None,
    rows: int | None,
    held_out: int | None,
    most_rows: int,
    *,
    quick: bool,
) -> ClickSource:
    from gnomon.recommend.data import CriteoClicks, SyntheticClicks

    train_rows = rows or (QUICK_ROWS if quick else ROWS)
    held_out = held_out or (QUICK_HELD_OUT if quick and not rows else max(1, train_rows // 5))
    if data is None:
        return SyntheticClicks(train_rows, held_out)
    form, path = data
    return CriteoClicks(form, path, train_rows, held_out, most_rows)  # type: ignore[arg-type]


def _model(dim: int) -> DlrmConfig:
    from gnomon.recommend.config import DLRM_SMALL

    return replace(DLRM_SMALL, dim=dim, bottom=(*DLRM_SMALL.bottom[:-1], dim))


def _recipe(name: str, batch: int | None) -> Recipe:
    from gnomon.recommend.recipe import RECIPES

    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    return RECIPES[name] if batch is None else replace(RECIPES[name], batch_size=batch)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in _words(text)]
    except ValueError:
        raise SettingsError(
            f"--compression takes numbers such as 10,100,1000, got {text!r}"
        ) from None
