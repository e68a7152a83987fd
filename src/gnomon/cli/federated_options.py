"""The options of `gnomon run` for federated benchmarks, each with its help; `run.py` takes them in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

PANEL = "Federated"
FLEET = "Federated: the fleet"
TRAINING = "Federated: training"


def _option(panel: str, words: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=words, rich_help_panel=panel, show_default=False, **more)


Gamma = Annotated[
    float | None,
    _option(
        PANEL,
        "What counts: a joule costs gamma dollars, a second 1 - gamma. 0 is time only, 1 energy only.",
    ),
]
Controller = Annotated[
    str | None,
    _option(
        PANEL,
        "Who chooses K (clients a round) and E (local iterations): adaptive learns while it trains, paper "
        "estimates first and then keeps to its plan, fixed:K,E is your choice.",
    ),
]
TargetLoss = Annotated[
    float | None, _option(PANEL, "Training ends when the loss over all clients is there.")
]
MaxRounds = Annotated[int | None, _option(PANEL, "Give up after so many rounds.")]
MaxEnergy = Annotated[
    float | None, _option(PANEL, "Joules that may be spent; time: --max-duration.")
]
Grid = Annotated[
    Path | None,
    _option(PANEL, "A finished grid (gnomon federated grid) to take the regret against."),
]
Seed = Annotated[
    int | None, _option(PANEL, "Of sampling, batches and faults; the same seed, the same run.")
]
Clients = Annotated[int | None, _option(FLEET, "How many clients there are (N).")]
Partition = Annotated[
    str | None,
    _option(
        FLEET,
        "How data is dealt out: iid, labels:2, dirichlet:0.5, power-law, natural. Default: the benchmark's.",
    ),
]
DataSeed = Annotated[
    int | None, _option(FLEET, "Of the data, its partition and simulated devices.")
]
Devices = Annotated[
    str | None,
    _option(
        FLEET,
        "What devices cost: paper, normal, uniform, lognormal, equal, or a file (CSV of costs, or "
        "FedScale's device_info).",
    ),
]
Availability = Annotated[
    float | None, _option(FLEET, "Simulated: share of the time a client can be asked.")
]
AvailabilityBlock = Annotated[
    float | None, _option(FLEET, "Simulated: seconds a client stays, or stays away.")
]
AvailabilityTrace = Annotated[
    Path | None,
    _option(
        FLEET,
        "Simulated: when each client is there: CSV with client,start_s,end_s, or FedScale's behaviour trace. "
        "Who leaves in mid-round drops out.",
    ),
]
Dropout = Annotated[float | None, _option(FLEET, "Simulated: chance to drop out of a round.")]
SlowdownSigma = Annotated[
    float | None, _option(FLEET, "Simulated: sigma of a log-normal factor on each client's time.")
]
MaxLocalIterations = Annotated[int | None, _option(TRAINING, "The greatest E to consider.")]
BatchSize = Annotated[int | None, _option(TRAINING, "Samples a local iteration.")]
LearningRate = Annotated[float | None, _option(TRAINING, "Of local SGD, in the first round.")]
Decay = Annotated[
    str | None,
    _option(
        TRAINING, "Of the learning rate: constant, exponential:FACTOR a round, inverse:ROUNDS."
    ),
]
Regularisation = Annotated[float | None, _option(TRAINING, "Of the loss: times ||w||^2 / 2.")]
Proximal = Annotated[float | None, _option(TRAINING, "FedProx's mu.")]
Sampling = Annotated[
    str | None,
    _option(TRAINING, "uniform, without replacement; or weighted by samples, with replacement."),
]
OverSelection = Annotated[
    float | None, _option(TRAINING, "Clients asked per client wanted; the first K reports count.")
]
Deadline = Annotated[float | None, _option(TRAINING, "Seconds after which a report is not used.")]
Aggregation = Annotated[
    str | None, _option(TRAINING, "How updates become one: samples, mean, median, krum:2 ...")
]
ServerOptimizer = Annotated[
    str | None, _option(TRAINING, "What the server does with it: avg, avgm, adam, yogi, adagrad.")
]
MaxUpdateNorm = Annotated[float | None, _option(TRAINING, "Bound on a client's update.")]
ClipNorm = Annotated[float | None, _option(TRAINING, "Differential privacy: clip updates to it.")]
NoiseMultiplier = Annotated[
    float | None, _option(TRAINING, "Differential privacy: noise, in units of the clip norm.")
]
EvaluateEvery = Annotated[
    int | None,
    _option(TRAINING, "Rounds between two losses. Training: samples between two evaluations."),
]
Concurrency = Annotated[
    int | None,
    _option(TRAINING, "Asynchronous rounds: so many clients are at work at all times."),
]
StalenessPower = Annotated[
    float | None,
    _option(TRAINING, "Asynchronous: an update s rounds old counts (1 + s)^-this as much."),
]
