"""What a training loop reports to: the clock, the schedule of evaluations, and when to stop.

A loop of one's own is as small as this:

    def train(run):
        model = make_model(seed=run.seed)
        run.start()                                         # the clock runs from here on
        images, labels = run.inputs(run.trained_on), run.targets(run.trained_on)
        for epoch in run.epochs():
            for batch in batches_of(images, labels):
                loss = step(model, batch)
                if run.step(loss):                          # an evaluation is due
                    run.evaluate(lambda samples: model.predict(run.inputs(samples)))
                if run.finished:
                    break

It ends at the target, or when the run is hopeless; `evaluate` asks for the held-out samples and scores the
answers itself. What a loop says of itself is taken down as said, for the rules to judge.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.clocks import read_clocks
from gnomon.core.errors import SystemFault
from gnomon.core.task import IndexArray, Outputs
from gnomon.timetotrain import journal as events
from gnomon.timetotrain.answers import MOST_BYTES, kept_as_array
from gnomon.timetotrain.group import Group
from gnomon.timetotrain.journal import Journal
from gnomon.timetotrain.plan import Plan
from gnomon.timetotrain.settings import max_samples
from gnomon.timetotrain.task import Recipe, TrainingTask

Answer = Callable[[IndexArray], Outputs]
"""From indices of held-out samples to the model's answers, in the same order."""

TARGET = "target"
"""Why a run stopped that reached it; all other reasons are those of a run that did not."""
EPOCHS, PATIENCE, DURATION, DIVERGED = "epochs", "patience", "duration", "diverged"
ENDED, RAISED = "ended", "raised"


class TrainingSession:
    """One training run, as its loop sees it.

    Args:
        plan: What is to be done.
        task: Data and metric.
        journal: Where everything is noted.
        group: The processes that train together.
        folder: Of the run.
        began: Monotonic and wall time at which initialisation began; None for now.
    """

    def __init__(
        self,
        plan: Plan,
        task: TrainingTask,
        journal: Journal,
        group: Group,
        folder: Path,
        began: tuple[int, int] | None = None,
    ) -> None:
        self.plan, self.task, self.group, self.folder = plan, task, group, folder
        self.settings = plan.how
        self.quality: float | None = None
        self.finished = False
        self.samples_trained = 0
        self.epoch = 0
        self.kept: dict[int, Any] = {}
        self._target = plan.declared.quality
        self._journal = journal
        self._clock_ns: int | None = None
        self._due = self.settings.evaluate_every_samples
        self._batch = int(self.settings.hyperparameters["global_batch_size"])
        self._loss: Any = None
        self._best: float | None = None
        self._since_best = 0
        self._evaluations = 0
        self._touched = False
        journal.write(
            events.INIT_START,
            at=began,
            seed=plan.seed,
            number=plan.number,
            world_size=group.world_size,
            hyperparameters=dict(self.settings.hyperparameters),
            training_size=task.training_size,
            held_out=len(task),
        )

    @property
    def seed(self) -> int:
        """Of this run: initial weights and order of samples are to follow from it."""
        return self.plan.seed

    @property
    def hyperparameters(self) -> dict[str, float | int | str]:
        """By log key."""
        return dict(self.settings.hyperparameters)

    @property
    def trained_on(self) -> IndexArray:
        """Indices of the samples to train on, shape (n,)."""
        return self.task.trained_on

    @property
    def held_out(self) -> IndexArray:
        """Indices of the samples that the quality is measured on, shape (n,)."""
        return self.task.held_out

    def recipe(self, device: str = "cpu") -> Recipe:
        """What the reference implementation is made from in this process."""
        return Recipe(
            self.seed, self.hyperparameters, device, self.group.rank, self.group.world_size
        )

    def inputs(self, samples: IndexArray) -> Any:
        """Inputs of these samples. The clock must be running: this is data."""
        self._touch()
        return self.task.inputs(samples)

    def targets(self, samples: IndexArray) -> Any:
        """What is to be learnt of these samples. The clock must be running.

        Raises:
            DataError: The task gives none out.
        """
        self._touch()
        return self.task.targets(samples)

    def start(self) -> None:
        """End initialisation and start the clock: to be called before data is first touched."""
        if self._clock_ns is not None:
            raise SystemFault("the training loop started the clock twice: call start() once")
        self.group.gather(None)  # the slowest process ends the initialisation of all
        self._clock_ns = self._journal.write(events.RUN_START).monotonic_ns

    def epochs(self) -> Iterator[int]:
        """Numbers of the epochs, from 1, until the run is finished."""
        self._require_started()
        while not self.finished:
            self.epoch += 1
            before = self.samples_trained
            self._journal.write(events.EPOCH_START, epoch=self.epoch)
            yield self.epoch
            self._journal.write(events.EPOCH_STOP, epoch=self.epoch, samples=self.samples_trained)
            if self.samples_trained == before and not self.finished:
                raise SystemFault(
                    "the training loop went through an epoch without run.step(loss): call it after every "
                    "step of the optimiser"
                )

    def step(self, loss: Any = None, *, samples: int | None = None) -> bool:
        """Note a step of the optimiser; returns whether an evaluation is due.

        Args:
            loss: Of the step: a number, or a tensor, which is read only now and then.
            samples: Trained on in this step, over all processes; None for the global batch size.
        """
        if self.finished:
            return False
        self._loss = loss
        self.samples_trained += self._batch if samples is None else samples
        if self.samples_trained < self._due:
            return False
        if self.samples_trained >= self._due + self.settings.evaluate_every_samples:
            raise SystemFault(
                f"the training loop has not evaluated for {self.samples_trained - self._due:,} samples since "
                f"an evaluation was due: call run.evaluate(...) whenever run.step(...) returns True"
            )
        return True

    def evaluate(self, answer: Answer) -> bool:
        """Measure the quality on all held-out samples; returns whether the run is finished.

        Every process answers its share of them.

        Args:
            answer: The model's answers on samples it is given.
        """
        self._require_started()
        began_ns = time.perf_counter_ns()
        rank, world_size = self.group.rank, self.group.world_size
        asked = self.held_out
        shares = self.group.gather(kept_as_array(answer(asked[rank::world_size])))
        outputs = put_together(shares, len(asked))
        quality = 0.0
        if self.group.leads:
            quality = float(self.task.score(asked, outputs))
        return self._evaluated(quality, began_ns, outputs=outputs, asked=None)

    def report(
        self, quality: float, *, samples: IndexArray | None = None, answers: Any = None
    ) -> bool:
        """Take down a quality that the loop measured itself; returns whether the run is finished.

        Args:
            quality: As the benchmark's metric has it.
            samples: Indices of the samples it was measured on, so that it can be seen that all were held out.
            answers: On all held-out samples in order, so that the quality can be recomputed.
        """
        self._require_started()
        outputs = None if answers is None else kept_as_array(answers)
        asked = np.empty(0, np.int64) if samples is None else np.asarray(samples, np.int64)
        return self._evaluated(float(quality), time.perf_counter_ns(), outputs=outputs, asked=asked)

    def keep(self, save: Callable[[Path], None], restore: Callable[[Path], Answer]) -> None:
        """Hand over the trained model, after the clock has stopped.

        It is read back and evaluated once more: a quality that its own checkpoint does not have is none.

        Args:
            save: Writes the model to a file.
            restore: From that file alone to answers on samples.
        """
        from gnomon.timetotrain.checkpoint import keep_checkpoint

        if not self.finished:
            raise SystemFault("the training loop hands its model over too early: keep() comes last")
        keep_checkpoint(self, self._journal, save, restore)

    def end(self) -> None:
        """Close the run: one whose loop came to its end without the target has not converged."""
        if not self.finished:
            why = (
                "the training loop never evaluated: call run.evaluate(...) when run.step(...) is True"
                if not self._evaluations
                else "the training loop ended before the target was reached"
            )
            self._stop(ENDED, why)

    def fail(self, why: str) -> None:
        """Close the run as one that broke."""
        if not self.finished:
            self._stop(RAISED, why)
        else:
            self._journal.write(events.FAULT, why=why)

    def _touch(self) -> None:
        if not self._touched and self._clock_ns is None:
            self._journal.write(events.DATA_TOUCHED)
        self._touched = True

    def _require_started(self) -> None:
        if self._clock_ns is None:
            raise SystemFault(
                "the training loop did not start the clock: call run.start() before data is touched"
            )

    def _evaluated(
        self, quality: float, began_ns: int, *, outputs: Any, asked: IndexArray | None
    ) -> bool:
        """Note an evaluation and decide whether the run goes on; all processes decide the same."""
        if self.finished:
            return True
        self._evaluations += 1
        now_ns, wall_ns = read_clocks()
        # Of the whole batch, of which every process saw its share.
        losses = self.group.gather(math.nan if self._loss is None else float(self._loss))
        loss = sum(losses) / len(losses)
        elapsed_ns = now_ns - (self._clock_ns or now_ns)
        quality, diverged, elapsed_ns = self.group.from_leader(
            (quality, self._loss is not None and not math.isfinite(loss), elapsed_ns)
        )
        said: dict[str, Any] = {} if asked is None else self._said(asked)
        self._journal.write(
            events.EVALUATION,
            at=(now_ns, wall_ns),
            quality=quality if math.isfinite(quality) else None,
            samples=self.samples_trained,
            epoch=self.epoch,
            duration_ns=now_ns - began_ns,
            loss=loss if math.isfinite(loss) else None,
            **said,
        )
        self.quality = quality
        if self.group.leads and outputs is not None:
            if sum(kept.nbytes for kept in self.kept.values()) > MOST_BYTES:
                self.kept.clear()
            self.kept[self._evaluations] = outputs
        every = self.settings.evaluate_every_samples
        self._due += every * max(0, (self.samples_trained - self._due) // every + 1)
        self._decide(quality, diverged, elapsed_ns, at=(now_ns, wall_ns))
        return self.finished

    def _said(self, asked: IndexArray) -> dict[str, Any]:
        """Which samples a loop says that it evaluated on, in numbers."""
        held_out = self.held_out
        return {
            "reported": True,
            "evaluated_on": len(asked),
            "trained_on": int(np.isin(asked, self.trained_on).sum()),
            "missing": len(np.setdiff1d(held_out, asked)),
        }

    def _decide(self, quality: float, diverged: bool, elapsed_ns: int, at: tuple[int, int]) -> None:
        settings = self.settings
        better = quality > (self._best if self._best is not None else -math.inf)
        if not self._target.higher_is_better:
            better = quality < (self._best if self._best is not None else math.inf)
        self._best = quality if better else self._best
        self._since_best = 0 if better else self._since_best + 1
        if self._target.met_by(quality):
            self._stop(TARGET, "", at=at)
        elif diverged or not math.isfinite(quality):
            self._stop(DIVERGED, "the loss is no longer finite: use a smaller learning rate")
        elif self.samples_trained >= max_samples(settings, self.task.training_size):
            self._stop(EPOCHS, f"the target was not reached in {settings.max_epochs:g} epochs")
        elif settings.patience is not None and self._since_best >= settings.patience:
            self._stop(PATIENCE, f"no new best in {settings.patience} evaluations")
        elif settings.max_duration_s is not None and elapsed_ns > settings.max_duration_s * 1e9:
            self._stop(DURATION, f"the target was not reached in {settings.max_duration_s:g} s")

    def _stop(self, reason: str, why: str, at: tuple[int, int] | None = None) -> None:
        self._journal.write(
            events.RUN_STOP, at=at, reason=reason, why=why, samples=self.samples_trained
        )
        self.finished = True


def put_together(shares: list[Any], count: int) -> Any:
    """The answers of all processes in the order of samples; process i answered every i-th of them."""
    if len(shares) == 1:
        return shares[0]
    whole = np.empty((count, *shares[0].shape[1:]), shares[0].dtype)
    for rank, share in enumerate(shares):
        whole[rank :: len(shares)] = share
    return whole
