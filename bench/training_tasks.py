"""The small training tasks' reference implementations against plain PyTorch of the same mathematics.

    python bench/training_tasks.py [--threads 1] [--rounds 5] [--json bench/results/training_tasks.json]

The loops take turns, an epoch or 100 steps each. With one thread processor time counts, which other programs
disturb less; with several it is wall time. A loop's figure is its fastest turn. The rivals are in
`training_rivals.py`; self-play has none, for there most of the work is the search.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from training_rivals import RIVALS, Train

from gnomon.core.registry import BENCHMARKS, TASKS
from gnomon.timetotrain.task import Learner, Recipe

MOST_STEPS = 100
WHOLE_EPOCH = 10**9
WHOLE = ("train-ncf",)
"""Whose negatives are drawn for an epoch at once, in both: a part of one would not be charged rightly."""


def reference(learner: Learner) -> Train:
    """The reference implementation, in the loop that a run has."""
    epoch = 0

    def train(most: int) -> int:
        nonlocal epoch
        epoch, steps = epoch + 1, 0
        for batch in learner.batches(epoch):
            learner.optimizer.zero_grad(set_to_none=True)
            learner.loss(learner.model, batch).backward()
            learner.optimizer.step()
            if learner.schedule is not None:
                learner.schedule.step()
            steps += 1
            if steps == most:
                break
        return steps

    return train


def compared(name: str, rounds: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Milliseconds a step of every loop, and of one evaluation."""
    benchmark = BENCHMARKS.load(name)
    task, hyperparameters = TASKS.load(benchmark.task)(), benchmark.settings["hyperparameters"]
    task.prepare()

    def fresh() -> Learner:
        made: Learner = task.learner(Recipe(1, hyperparameters))
        made.load_data()
        return made

    learner = fresh()
    loops = {"reference": reference(learner)} | RIVALS[name](task, fresh, hyperparameters)
    most = WHOLE_EPOCH if name in WHOLE else MOST_STEPS
    best, evaluation = dict.fromkeys(loops, float("inf")), float("inf")
    for _ in range(rounds):
        for kind, train in loops.items():
            started = clock()
            steps = train(most)
            best[kind] = min(best[kind], (clock() - started) / steps * 1e3)
        learner.model.eval()
        started = clock()
        with torch.inference_mode():
            task.score(task.held_out, learner.answers(task.held_out))
        evaluation = min(evaluation, (clock() - started) * 1e3)
        learner.model.train()
    ratio = best["reference"] / min(ms for kind, ms in best.items() if kind != "reference")
    return {"step_ms": best, "evaluation_ms": evaluation, "reference_to_best_plain": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=RIVALS, action="append")
    parser.add_argument("--json", type=Path, default=Path("bench/results/training_tasks.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", message="enable_nested_tensor")  # of PyTorch's own layers
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    found: dict[str, Any] = {
        "machine": describe_machine(),
        "threads": arguments.threads,
        "torch": torch.__version__,
    }
    for name in arguments.only or RIVALS:
        found[name] = compared(name, arguments.rounds, clock)
        steps = ", ".join(f"{kind} {ms:.2f}" for kind, ms in found[name]["step_ms"].items())
        print(
            f"{name}: ms a step: {steps}; evaluation {found[name]['evaluation_ms']:.1f} ms; "
            f"reference / best plain {found[name]['reference_to_best_plain']:.3f}"
        )
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
