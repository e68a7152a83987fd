"""The Flower app of `federated.py`: what a user writes, in a module that Ray's actors import.

One CPU a client, so that there are as many actors as cores (two a core, or one for two cores, were no
faster); Flower's FedAvg without evaluation; its log and Ray's are off. The engine hands out messages every
0.1 s, which is no setting. The server looks for replies as often; that is an attribute of its grid, which
an app can set.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_LOG_LEVEL", "ERROR")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import torch
from federated_peers import BATCH, CLASSES, FEATURES, ITERATIONS, LEARNING_RATE, SAMPLES, Work, load
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

client_app = ClientApp()


@functools.cache
def samples(folder: str, clients: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Everyone's samples, mapped once in each process."""
    features, labels = load(folder, clients)
    return torch.from_numpy(features), torch.from_numpy(labels)


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """E iterations of SGD on batches drawn from one client's samples."""
    torch.set_num_threads(1)
    config = message.content["config"]
    features, labels = samples(str(config["folder"]), int(config["clients"]))
    client = int(context.node_config["partition-id"])
    rng = np.random.default_rng((client, int(config["server-round"])))
    model = torch.nn.Linear(FEATURES, CLASSES)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=float(config["learning-rate"]))
    loss_of = torch.nn.CrossEntropyLoss()
    for _ in range(int(config["local-iterations"])):
        rows = torch.from_numpy(rng.integers(0, SAMPLES, BATCH) + client * SAMPLES)
        optimizer.zero_grad()
        loss_of(model(features[rows]), labels[rows]).backward()
        optimizer.step()
    content = {
        "arrays": ArrayRecord(model.state_dict()),
        "metrics": MetricRecord({"num-examples": SAMPLES}),
    }
    return Message(content=RecordDict(content), reply_to=message)


class Stamped(FedAvg):
    """FedAvg that notes when each round has been aggregated."""

    def __init__(self, stamps: list[float], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.stamps = stamps

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        replies = list(replies)
        failed = [reply.error.reason for reply in replies if reply.has_error()]
        if failed:
            raise RuntimeError(f"a client failed: {failed[0]}")
        aggregated = super().aggregate_train(server_round, replies)
        self.stamps.append(time.monotonic())
        return aggregated


def run(
    work: Work, stamps: list[float], finished: Callable[[int], None], poll_s: float | None
) -> None:
    """All rounds; `finished` is called, with the number of actors, while these still live."""
    cores = len(os.sched_getaffinity(0))
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        if poll_s is not None:
            grid.pull_interval = poll_s
        strategy = Stamped(
            stamps,
            fraction_train=work.clients_per_round / work.clients,
            fraction_evaluate=0.0,
            min_train_nodes=work.clients_per_round,
            min_available_nodes=work.clients,
        )
        strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(torch.nn.Linear(FEATURES, CLASSES).state_dict()),
            num_rounds=work.rounds,
            train_config=ConfigRecord(
                {
                    "folder": work.folder,
                    "clients": work.clients,
                    "local-iterations": ITERATIONS,
                    "learning-rate": LEARNING_RATE,
                }
            ),
        )
        finished(cores)

    run_simulation(
        server_app=server_app,
        client_app=client_app,
        num_supernodes=work.clients,
        backend_config={
            "client_resources": {"num_cpus": 1.0, "num_gpus": 0.0},
            "init_args": {"num_cpus": cores},
        },
    )
