"""A task that can be trained to its target, and the reference implementation that trains it.

A `TrainingTask` is data and metric (NumPy only); its `learner` is model, optimiser and batches (PyTorch,
imported when it is made). Neither knows anything about time: `gnomon.systems.pytorch` has the loop.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from gnomon.core.errors import DataError, SettingsError
from gnomon.core.task import IndexArray, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

Hyperparameters: TypeAlias = Mapping[str, float | int | str]
"""By the field's log keys: `global_batch_size`, `opt_name`, `opt_base_learning_rate`, ..."""


@dataclass(frozen=True)
class Recipe:
    """What one process of one training run is made from.

    Attributes:
        seed: Of this run: initial weights, order of samples, dropout, negatives.
        hyperparameters: By log key.
        device: As PyTorch names it (`cpu`, `cuda:0`).
        rank: Of this process, from 0.
        world_size: How many processes train together. They share every global batch equally.
    """

    seed: int
    hyperparameters: Hyperparameters
    device: str = "cpu"
    rank: int = 0
    world_size: int = 1

    @property
    def global_batch_size(self) -> int:
        """Samples of one step of the optimiser, over all processes."""
        return int(self.number("global_batch_size"))

    def number(self, key: str) -> float:
        """A hyperparameter that is a number.

        Raises:
            SettingsError: It is not there, or not a number.
        """
        value = self.hyperparameters.get(key)
        if isinstance(value, str) or value is None:
            raise SettingsError(
                f"hyperparameter {key} must be a number, got {value!r} (--set {key}=N)"
            )
        return value

    def share_of(self, batch: IndexArray) -> IndexArray:
        """The samples of a global batch that this process trains on: every `world_size`-th."""
        return batch[self.rank :: self.world_size]


class Learner(Protocol):
    """The reference implementation of one training run in one process.

    Making one builds the model and must not read any data: that is what the clock does not count. The
    model's initial weights and the order of samples are functions of the recipe's seed alone, the same
    in every process of a run. No layer may depend on how a batch is split (no batch normalisation): two
    processes then compute what one computes at the same global batch size.
    """

    model: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler | None
    """Stepped after every step of the optimiser."""

    def load_data(self) -> None:
        """Bring data into memory as far as it fits: the first thing after the clock has started."""

    def batches(self, epoch: int) -> Iterator[Any]:
        """This process's share of every global batch of one epoch, in order.

        Args:
            epoch: From 1.
        """

    def made_up_batch(self) -> Any:
        """A batch of the same shapes and types without any data in it, to warm up on."""

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The mean loss over the batch, a scalar. `model` is `self.model`, perhaps wrapped."""

    def answers(self, samples: IndexArray) -> NDArray[Any]:
        """The model's answers on held-out samples, as `Task.score` takes them; first axis = sample."""


class TrainingTask(Task):
    """Data, metric and reference implementation of something that is trained.

    Samples have one range of indices: `range(len(self))` are held out and only ever evaluated on, and the
    `training_size` after them are trained on.
    """

    threads: int | None = None
    """Most of each process, unless a person asks for others; None for no bound. Steps of a few milliseconds
    lose more to threads that wait for each other, when anything else runs, than they gain."""

    training_size: int
    """Samples of one epoch; for self-play, positions of one iteration, which have no index."""

    def prepare(self) -> None:
        """Generate stand-in data, or what else is made once and for all: the clock does not count it.

        Data that is read from a disk stays there until the clock runs.
        """

    def targets(self, samples: IndexArray) -> Any:
        """What is to be learnt of these samples (labels, say), for a training loop of one's own.

        Raises:
            DataError: The task gives none out.
        """
        raise DataError(f"task {self.name!r} gives no targets out: train it with --system pytorch")

    @property
    def held_out(self) -> IndexArray:
        """Indices of all samples that the quality is measured on, shape (n,)."""
        return np.arange(len(self), dtype=np.int64)

    @property
    def trained_on(self) -> IndexArray:
        """Indices of all samples that are trained on, shape (training_size,)."""
        return np.arange(len(self), len(self) + self.training_size, dtype=np.int64)

    @abstractmethod
    def learner(self, recipe: Recipe) -> Learner:
        """The reference implementation, freshly initialised.

        Raises:
            MissingExtraError: PyTorch is not installed.
            SettingsError: A hyperparameter is missing or out of range.
        """

    def model(self, format: str) -> Path:  # noqa: A002 - the field's word
        """Nothing ships: a training task starts from random weights."""
        return super().model(format)


def require_training(task: Task) -> TrainingTask:
    """The task as one that can be trained.

    Raises:
        SettingsError: It cannot.
    """
    if not isinstance(task, TrainingTask):
        raise SettingsError(
            f"task {task.name!r} has nothing to train: see `gnomon list` for training benchmarks"
        )
    return task
