"""What the harness costs, and how fast the reference implementations reach their targets.

    python bench/training.py [--pairs 7] [--json bench/results/training.json]

`harness`: the loop of `gnomon.systems.pytorch` through a session, with its journal on disk, against the same
loop bare, which evaluates as often and stops at the same target; pairs of the same seed, in turn. The time
that is spent in the session itself is counted too, for it is smaller than what pairs differ by.

`peers`: time to the target of `train-digits`, on the same split of the data, evaluated as often: the
reference implementation against Lightning's trainer with a data loader on the same model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine

from gnomon.core.registry import BENCHMARKS
from gnomon.timetotrain.group import Alone
from gnomon.timetotrain.journal import Journal
from gnomon.timetotrain.plan import Plan
from gnomon.timetotrain.session import TrainingSession
from gnomon.timetotrain.task import Recipe

HARNESS_ON = ("train-digits", "train-ncf", "train-self-play")
TARGET = "train-digits"


def plan_of(benchmark: Any, seed: int) -> Plan:
    return Plan(
        benchmark=benchmark.model_dump(mode="json"),
        settings=dict(benchmark.settings),
        data=None,
        system=None,
        number=1,
        seed=seed,
    )


def loop(learner: Any, step: Any, evaluate: Any, epochs: Any, finished: Any) -> None:
    """The training loop itself, the same for both."""
    for epoch in epochs():
        learner.model.train()
        for batch in learner.batches(epoch):
            learner.optimizer.zero_grad(set_to_none=True)
            loss = learner.loss(learner.model, batch)
            loss.backward()
            learner.optimizer.step()
            if learner.schedule is not None:
                learner.schedule.step()
            if step(loss.detach()):
                learner.model.eval()
                with torch.inference_mode():
                    evaluate(learner.answers)
                learner.model.train()
            if finished():
                break


def through_session(plan: Plan, task: Any) -> tuple[float, float, int]:
    """Seconds of the clock, of them in the session itself, and samples."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        run = TrainingSession(plan, task, journal, Alone(), Path(folder))
        learner = task.learner(run.recipe())
        spent = [0.0]

        def step(loss: Any) -> bool:
            began = time.perf_counter()
            due = run.step(loss)
            spent[0] += time.perf_counter() - began
            return due

        def evaluate(answers: Any) -> None:
            began = time.perf_counter()
            inside = [0.0]

            def answered(samples: Any) -> Any:
                start = time.perf_counter()
                found = answers(samples)
                inside[0] += time.perf_counter() - start
                return found

            score, task_score = [0.0], task.score

            def scored(samples: Any, outputs: Any) -> float:
                start = time.perf_counter()
                found = task_score(samples, outputs)
                score[0] += time.perf_counter() - start
                return float(found)

            task.score = scored
            try:
                run.evaluate(answered)
            finally:
                del task.score
            spent[0] += time.perf_counter() - began - inside[0] - score[0]

        run.start()
        began = time.perf_counter()
        learner.load_data()
        loop(learner, step, evaluate, run.epochs, lambda: run.finished)
        taken = time.perf_counter() - began
        journal.close()
        return taken, spent[0], run.samples_trained


def bare(plan: Plan, task: Any) -> tuple[float, int]:
    """Seconds and samples of the same loop without a session."""
    how, target = plan.how, plan.declared.quality
    learner = task.learner(Recipe(plan.seed, how.hyperparameters))
    batch, every = int(how.hyperparameters["global_batch_size"]), how.evaluate_every_samples
    trained, due, done = 0, every, False

    def step(loss: Any) -> bool:
        nonlocal trained
        trained += batch
        return trained >= due

    def evaluate(answers: Any) -> None:
        nonlocal due, done
        due += every
        done = target.met_by(task.score(task.held_out, answers(task.held_out)))

    def epochs() -> Any:
        epoch = 0
        while not done and trained < how.max_epochs * task.training_size:
            epoch += 1
            yield epoch

    began = time.perf_counter()
    learner.load_data()
    loop(learner, step, evaluate, epochs, lambda: done)
    return time.perf_counter() - began, trained


def harness(name: str, pairs: int) -> dict[str, Any]:
    """Pairs of the same seed, in turn."""
    benchmark = BENCHMARKS.load(name)
    with_session, alone, spent = [], [], []
    for seed in range(pairs + 1):
        plan = plan_of(benchmark, seed)
        task = plan.task()
        task.prepare()
        # Whoever comes first would pay for what both then find in memory.
        task.learner(Recipe(seed, plan.how.hyperparameters)).load_data()
        if seed % 2:
            took, inside, samples = through_session(plan, task)
            took_bare, samples_bare = bare(plan, task)
        else:
            took_bare, samples_bare = bare(plan, task)
            took, inside, samples = through_session(plan, task)
        assert samples == samples_bare, "both train on the same samples"
        if seed:  # the first pair warms up
            with_session.append(took)
            alone.append(took_bare)
            spent.append(inside / took)
    ratio = statistics.median(a / b for a, b in zip(with_session, alone, strict=True))
    share = statistics.median(spent)
    print(
        f"harness {name}: {ratio:.4f} times the bare loop (median of {pairs} pairs, "
        f"{statistics.median(alone):.2f} s); in the session itself {100 * share:.3f} % of the clock"
    )
    return {
        "benchmark": name,
        "ratio": ratio,
        "share_in_session": share,
        "bare_s": alone,
        "session_s": with_session,
    }


def with_lightning(plan: Plan, task: Any) -> float:
    """The model of the reference implementation under Lightning's trainer, with a data loader."""
    import logging

    import lightning
    from torch.utils.data import DataLoader, TensorDataset

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    how = plan.how
    learner = task.learner(Recipe(plan.seed, how.hyperparameters))
    labels = task.targets

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = learner.model

        def training_step(self, batch: Any, _: int) -> Any:
            return learner.loss(self.model, tuple(batch))

        def configure_optimizers(self) -> Any:
            return learner.optimizer

    def loader(samples: Any, *, shuffle: bool, size: int) -> Any:
        data = TensorDataset(
            torch.from_numpy(task.inputs(samples)), torch.from_numpy(labels(samples))
        )
        return DataLoader(data, size, shuffle=shuffle, drop_last=shuffle)

    class Stop(lightning.Callback):
        trained = 0
        due = how.evaluate_every_samples

        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            self.trained += int(how.hyperparameters["global_batch_size"])
            if self.trained < self.due:
                return
            self.due += how.evaluate_every_samples
            module.eval()
            with torch.inference_mode():
                found = [(module.model(x).argmax(1) == y).float() for x, y in held_out]
            module.train()
            trainer.should_stop = plan.declared.quality.met_by(float(torch.cat(found).mean()))

    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, max_epochs=40, callbacks=[Stop()], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, limit_val_batches=0,
    )  # fmt: skip
    module = Module()
    began = time.perf_counter()
    held_out = loader(task.held_out, shuffle=False, size=360)
    size = int(how.hyperparameters["global_batch_size"])
    trainer.fit(module, loader(task.trained_on, shuffle=True, size=size))
    return time.perf_counter() - began


def peers(pairs: int) -> dict[str, Any]:
    benchmark = BENCHMARKS.load(TARGET)
    ways = {
        "reference": lambda plan, task: bare(plan, task)[0],
        "lightning": with_lightning,
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(pairs + 1):
        for name, way in ways.items():
            plan = plan_of(benchmark, seed)
            seconds = way(plan, plan.task())
            if seed:
                taken[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    print(
        f"peers {TARGET}: reference {medians['reference']:.3f} s to the target, lightning "
        f"{medians['lightning']:.3f} s: {medians['lightning'] / medians['reference']:.2f} times as long"
    )
    return {"benchmark": TARGET, "seconds": taken, "medians": medians}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=("harness", "peers"))
    parser.add_argument("--json", type=Path, default=Path("bench/results/training.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    found: dict[str, Any] = {"machine": describe_machine(), "threads": arguments.threads}
    if arguments.only != "peers":
        known = [name for name in HARNESS_ON if name in BENCHMARKS]
        found["harness"] = [harness(name, arguments.pairs) for name in known]
    if arguments.only != "harness":
        found["peers"] = peers(arguments.pairs)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
