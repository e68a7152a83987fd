"""The options of `gnomon run` for training benchmarks, each with its help; `run.py` takes them in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from gnomon.core.errors import SettingsError

PANEL = "Training"


def _option(words: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=words, rich_help_panel=PANEL, show_default=False, **more)


Runs = Annotated[
    int | None,
    _option("Seeds to train; the score is their olympic mean. Default: as many as the rules ask."),
]
Processes = Annotated[
    int | None, _option("Processes that train together on this machine, through torchrun.")
]
Nodes = Annotated[
    int | None,
    _option("Machines that train together; on the others: gnomon training join HOST:PORT."),
]
Rendezvous = Annotated[
    str | None, _option("Address and port of this machine, where the others come to.")
]
Cluster = Annotated[
    str | None,
    _option("Spread the seeds over a Ray cluster: its address, or `local` for this machine."),
]
Set = Annotated[
    list[str] | None,
    _option(
        "A hyperparameter otherwise than the reference, by its log key, e.g. "
        "opt_base_learning_rate=0.1; may be repeated.",
        "--set",
        metavar="KEY=VALUE",
    ),
]
MaxEpochs = Annotated[
    float | None, _option("A run that takes longer has not converged. Seconds: --max-duration.")
]
Patience = Annotated[
    int | None, _option("Evaluations without a new best after which a run is hopeless.")
]


def parse_hyperparameters(pairs: Iterable[str]) -> dict[str, Any]:
    """`key=value` by key; numbers are read as such.

    Raises:
        SettingsError: One is no such pair.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip() or not text.strip():
            raise SettingsError(f"--set takes KEY=VALUE, got {pair!r}")
        try:
            value = json.loads(text)
        except ValueError:
            value = text.strip()
        found[key.strip()] = value if isinstance(value, int | float | str) else text.strip()
    return found
