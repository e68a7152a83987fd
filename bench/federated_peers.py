"""The contenders of `federated.py`, each run in a process of its own by an interpreter that has it.

All train the same: multinomial logistic regression, `ITERATIONS` local SGD iterations a client and round on
batches of `BATCH`, one averaged model a round. Everyone maps the same file of random samples, so that no
contender pays for drawing data or holds a copy of it; its pages are touched before the first round.

A contender prints one line, `RESULT {json}`, when its last round has ended, and stays as it is until its
standard input is closed: then its memory, that of its child processes included, can be looked at.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FEATURES, CLASSES, SAMPLES = 784, 10, 600
ITERATIONS, BATCH, LEARNING_RATE = 10, 24, 0.1
PAGE_FLOATS = 1024
SEED = 0


class Work(NamedTuple):
    """What is asked of a contender."""

    contender: str
    folder: str
    clients: int
    clients_per_round: int
    rounds: int


def write_data(folder: Path, clients: int) -> None:
    """Random samples of so many clients, one after another; smaller fleets take the first of them."""
    rng = np.random.default_rng(SEED)
    count = clients * SAMPLES
    features = np.lib.format.open_memmap(
        folder / "features.npy", mode="w+", dtype=np.float32, shape=(count, FEATURES)
    )
    for start in range(0, count, SAMPLES):
        features[start : start + SAMPLES] = rng.random((SAMPLES, FEATURES), dtype=np.float32)
    features.flush()
    np.save(folder / "labels.npy", rng.integers(0, CLASSES, count))


def load(folder: str, clients: int) -> tuple[np.ndarray, np.ndarray]:
    """The samples of a fleet: float32 (n, FEATURES), a map of the file, and int64 (n,)."""
    count = clients * SAMPLES
    # Copy on write: PyTorch warns of arrays it may not write to. Nobody does.
    features = np.asarray(np.load(Path(folder) / "features.npy", mmap_mode="c"))[:count]
    features.reshape(-1)[::PAGE_FLOATS].max()
    return features, np.load(Path(folder) / "labels.npy")[:count]


def finish(stamps: list[float], packages: tuple[str, ...], **more: Any) -> None:
    """Tell when each round ended, and wait to be looked at."""
    told = {"stamps": stamps, "versions": {name: version(name) for name in packages}}
    print("RESULT " + json.dumps(told | more), flush=True)
    sys.stdin.read()


def gnomon_server(work: Work) -> Any:
    """Gnomon's federation at its start."""
    from gnomon.core.task import DataSource
    from gnomon.fleet.control import parse_controller
    from gnomon.fleet.data import FederatedData
    from gnomon.fleet.device_files import normal_devices
    from gnomon.fleet.logistic import LogisticLearner
    from gnomon.fleet.server import Server
    from gnomon.fleet.settings import FederatedSettings

    features, labels = load(work.folder, work.clients)
    data = FederatedData(
        features=features,
        labels=labels,
        offsets=np.arange(work.clients + 1) * SAMPLES,
        test_features=features[:1],
        test_labels=labels[:1],
        classes=CLASSES,
        source=DataSource("random", official=False, sha256=""),
        partition="equal",
    )
    settings = FederatedSettings(
        seed=SEED,
        max_rounds=work.rounds,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        decay="constant",
        evaluate_every=0,
    )
    return Server(
        settings,
        LogisticLearner(data),
        normal_devices(work.clients, SEED),
        np.diff(data.offsets),
        parse_controller(f"fixed:{work.clients_per_round},{ITERATIONS}"),
    )


def run_gnomon(work: Work) -> None:
    """`simulate` with a fixed controller: sampling, batches, training, virtual clock, energy, ledger."""
    from gnomon.fleet.simulated import simulate

    server = gnomon_server(work)
    stamps: list[float] = []
    simulate(server, observer=lambda _: stamps.append(time.monotonic()))
    digest = hashlib.sha256(server.parameters.tobytes()).hexdigest()
    finish(stamps, ("gnomon", "numpy"), sha256=digest, ledger=len(server.ledger.clients))


def run_torch(work: Work) -> None:
    """The loop that people write: a module and an optimiser a client, the mean of the models."""
    import torch

    torch.set_num_threads(1)  # faster than more at this size
    features, labels = (torch.from_numpy(each) for each in load(work.folder, work.clients))
    rng = np.random.default_rng(SEED)
    state = torch.nn.Linear(FEATURES, CLASSES).state_dict()
    loss_of = torch.nn.CrossEntropyLoss()
    stamps: list[float] = []
    for _ in range(work.rounds):
        states = []
        for client in rng.choice(work.clients, work.clients_per_round, replace=False):
            model = torch.nn.Linear(FEATURES, CLASSES)
            model.load_state_dict(state)
            optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
            for _ in range(ITERATIONS):
                rows = torch.from_numpy(rng.integers(0, SAMPLES, BATCH) + client * SAMPLES)
                optimizer.zero_grad()
                loss_of(model(features[rows]), labels[rows]).backward()
                optimizer.step()
            states.append(model.state_dict())
        state = {name: torch.stack([one[name] for one in states]).mean(0) for name in state}
        stamps.append(time.monotonic())
    finish(stamps, ("torch",))


def run_pfl(work: Work) -> None:
    """pfl-research: `FederatedAveraging` on `SimulatedBackend` in one process.

    Its way of batching is kept: the same slices of a client's samples in the same order every round, cut once
    and kept with the user's data set, which is cheaper than drawing them. No weighting, as all clients have
    equally many samples; no printing of metrics. It always evaluates its clients in round 0.
    """
    import torch
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.algorithm.federated_averaging import FederatedAveraging
    from pfl.callback.base import TrainingProcessCallback
    from pfl.data.dataset import Dataset
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.sampling import get_user_sampler
    from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
    from pfl.metrics import Metrics, Weighted
    from pfl.model.pytorch import PyTorchModel

    torch.set_num_threads(1)  # faster than more at this size
    stamps: list[float] = []

    class Regression(torch.nn.Linear):
        def loss(self, features, labels):
            return torch.nn.functional.cross_entropy(self(features), labels)

        def metrics(self, features, labels):
            return {"loss": Weighted.from_unweighted(self.loss(features, labels).item())}

    class Stamp(TrainingProcessCallback):
        def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
            stamps.append(time.monotonic())
            return False, Metrics()

    features, labels = (torch.from_numpy(each) for each in load(work.folder, work.clients))
    users = [
        Dataset(
            (
                features[client * SAMPLES : (client + 1) * SAMPLES],
                labels[client * SAMPLES : (client + 1) * SAMPLES],
            )
        )
        for client in range(work.clients)
    ]
    np.random.seed(SEED)  # noqa: NPY002 - the generator that pfl draws from
    torch.manual_seed(SEED)
    sampler = get_user_sampler("random", list(range(work.clients)))
    module = Regression(FEATURES, CLASSES)
    users_by_number = FederatedDataset(users.__getitem__, sampler)
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=work.rounds,
            evaluation_frequency=work.rounds + 1,
            train_cohort_size=work.clients_per_round,
            val_cohort_size=None,
        ),
        SimulatedBackend(training_data=users_by_number, val_data=users_by_number),
        PyTorchModel(module, torch.optim.SGD, torch.optim.SGD(module.parameters(), lr=1.0)),
        NNTrainHyperParams(
            local_batch_size=BATCH,
            local_num_epochs=None,
            local_num_steps=ITERATIONS,
            local_learning_rate=LEARNING_RATE,
        ),
        NNEvalHyperParams(local_batch_size=None),
        [Stamp()],
        send_metrics_to_platform=False,
    )
    finish(stamps, ("pfl", "torch"))


def run_flower(work: Work, poll_s: float | None = None) -> None:
    """Flower's simulation engine; see `federated_flower.py`.

    Args:
        work: What is asked.
        poll_s: Seconds between two looks for replies; None for Flower's own 0.1.
    """
    from federated_flower import run

    stamps: list[float] = []
    packages = ("flwr", "ray", "torch")
    run(work, stamps, lambda actors: finish(stamps, packages, actors=actors), poll_s)


def check_against_loop(work: Work) -> None:
    """Gnomon's model after some rounds against PyTorch's autograd and SGD on the same clients and batches."""
    import torch

    from gnomon.fleet.randomness import batch_indices
    from gnomon.fleet.server import sampled_clients
    from gnomon.fleet.simulated import simulate

    server = gnomon_server(work)
    stamps: list[float] = []
    simulate(server, observer=lambda _: stamps.append(time.monotonic()))
    features, labels = (torch.from_numpy(each) for each in load(work.folder, work.clients))
    state = {"weight": torch.zeros(CLASSES, FEATURES), "bias": torch.zeros(CLASSES)}
    for number in range(work.rounds):
        clients, _ = sampled_clients(
            server.settings, server.weights, number, work.clients_per_round, None
        )
        states = []
        for client in clients.tolist():
            model = torch.nn.Linear(FEATURES, CLASSES)
            model.load_state_dict(state)
            optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
            (drawn,) = batch_indices(
                SEED, number, np.array([client]), ITERATIONS, BATCH, np.array([SAMPLES])
            )
            for rows in torch.from_numpy(drawn + client * SAMPLES):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(features[rows]), labels[rows]).backward()
                optimizer.step()
            states.append(model.state_dict())
        state = {name: torch.stack([one[name] for one in states]).mean(0) for name in state}
    plain = np.concatenate([state["weight"].numpy().ravel(), state["bias"].numpy()])
    finish(
        stamps,
        ("gnomon", "torch"),
        sha256=hashlib.sha256(server.parameters.tobytes()).hexdigest(),
        difference=float(np.abs(plain - server.parameters).max()),
        largest=float(np.abs(plain).max()),
    )


CONTENDERS = {
    "gnomon": run_gnomon,
    "flower": run_flower,
    "flower-eager": lambda work: run_flower(work, poll_s=0.005),
    "pfl": run_pfl,
    "torch": run_torch,
    "check": check_against_loop,
}


def main() -> None:
    """`python -c "import federated_peers; federated_peers.main()" '[...]'`, the members of `Work`."""
    work = Work(*json.loads(sys.argv[1]))
    CONTENDERS[work.contender](work)
