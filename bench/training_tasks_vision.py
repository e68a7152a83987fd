"""The small vision tasks' reference implementations against plain PyTorch loops over the same model.

    python bench/training_tasks_vision.py [--threads 1] [--epochs 8] [--json training_tasks_vision.json]

The loops take turns, an epoch each. With one thread processor time counts, which other programs disturb less;
with several it is wall time. A variant's figure is its fastest epoch. Loops: indexing batch by batch with the
optimiser's loop over parameters (what a tutorial does), the same with the optimiser's many-tensor and fused
kernels on an epoch that was copied in order, and that in the channels-last layout.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine

from gnomon.tasks.training.digits import TrainingDigits
from gnomon.tasks.training.scenes import TrainingScenes
from gnomon.timetotrain.task import Learner, Recipe, TrainingTask

RECIPES: dict[str, tuple[type[TrainingTask], dict[str, Any]]] = {
    "train-digits": (
        TrainingDigits,
        {
            "global_batch_size": 32,
            "opt_name": "sgd",
            "opt_base_learning_rate": 0.05,
            "opt_sgd_momentum": 0.9,
        },
    ),
    "train-detection": (
        TrainingScenes,
        {"global_batch_size": 16, "opt_name": "adam", "opt_base_learning_rate": 0.002},
    ),
}
PLAIN = ("indexed", "foreach", "fused", "fused channels-last")
Epoch = Callable[[], int]
"""Trains an epoch and says how many steps it took."""


def reference(learner: Learner) -> Epoch:
    """The reference implementation, in the loop that a run has."""
    epoch = 0

    def train() -> int:
        nonlocal epoch
        epoch, steps = epoch + 1, 0
        for batch in learner.batches(epoch):
            learner.optimizer.zero_grad(set_to_none=True)
            learner.loss(learner.model, batch).backward()
            learner.optimizer.step()
            steps += 1
        return steps

    return train


def plain(kind: str, learner: Learner, hyperparameters: dict[str, Any]) -> Epoch:
    """A loop by hand over the same model, loss and data."""
    size = hyperparameters["global_batch_size"]
    whole = [torch.cat(parts) for parts in zip(*learner.batches(1), strict=True)]
    model = learner.model
    if "channels-last" in kind:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    kernels: dict[str, Any] = {"fused": True} if "fused" in kind else {"foreach": "foreach" in kind}
    rate = hyperparameters["opt_base_learning_rate"]
    optimizer: torch.optim.Optimizer
    if hyperparameters["opt_name"] == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=rate, **kernels)
    else:
        momentum = hyperparameters["opt_sgd_momentum"]
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, **kernels)

    def train() -> int:
        order = torch.randperm(len(whole[0]))
        copied = None if kind == "indexed" else [part[order] for part in whole]
        starts = range(0, len(order) - size + 1, size)
        for start in starts:
            if copied is None:
                batch = tuple(part[order[start : start + size]] for part in whole)
            else:
                batch = tuple(part[start : start + size] for part in copied)
            optimizer.zero_grad()
            learner.loss(model, batch).backward()
            optimizer.step()
        return len(starts)

    return train


def compared(name: str, epochs: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Milliseconds a step of every loop, and of one evaluation."""
    made, hyperparameters = RECIPES[name]
    task = made()

    def fresh() -> Learner:
        return task.learner(Recipe(1, hyperparameters))

    learner = fresh()
    loops = {"reference": reference(learner)}
    loops |= {kind: plain(kind, fresh(), hyperparameters) for kind in PLAIN}
    best = dict.fromkeys(loops, float("inf"))
    evaluation = float("inf")
    for _ in range(epochs):
        for kind, train in loops.items():
            started = clock()
            steps = train()
            best[kind] = min(best[kind], (clock() - started) / steps * 1e3)
        started = clock()
        with torch.inference_mode():
            task.score(task.held_out, learner.answers(task.held_out))
        evaluation = min(evaluation, (clock() - started) * 1e3)
    ratio = best["reference"] / min(best[kind] for kind in PLAIN)
    return {"step_ms": best, "evaluation_ms": evaluation, "reference_to_best_plain": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    found: dict[str, Any] = {
        "machine": describe_machine(),
        "threads": arguments.threads,
        "torch": torch.__version__,
    }
    for name in RECIPES:
        found[name] = compared(name, arguments.epochs, clock)
        steps = ", ".join(f"{kind} {ms:.2f}" for kind, ms in found[name]["step_ms"].items())
        print(
            f"{name}: ms a step: {steps}; evaluation {found[name]['evaluation_ms']:.1f} ms; "
            f"reference / best plain {found[name]['reference_to_best_plain']:.3f}",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
