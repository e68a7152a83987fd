"""Batches that worker processes read from disk while the model trains.

What is random about a sample is drawn from the run's seed, the epoch and the sample alone: the same whoever
reads it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gnomon.core.errors import MissingExtraError

try:
    import torch
    from torch.utils.data import DataLoader, Dataset
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

MOST_WORKERS = 16

Read = Callable[[int, np.random.Generator], Any]
"""One sample by index, with a generator of its own."""
Collate = Callable[[list[Any]], Any]
"""Samples as one batch of tensors."""


class _Samples(Dataset[Any]):
    def __init__(self, read: Read, seed: int, epoch: int) -> None:
        self._read, self._seed, self._epoch = read, seed, epoch

    def __getitem__(self, sample: int) -> Any:
        return self._read(sample, np.random.default_rng([self._seed, self._epoch, sample]))


def read_batches(
    read: Read,
    batches: list[list[int]],
    collate: Collate,
    *,
    seed: int,
    epoch: int,
    device: str,
) -> Iterator[Any]:
    """The batches in order, on the processor.

    Args:
        read: Reads one sample.
        batches: Which samples are in which batch.
        collate: Makes a batch of them.
        seed: Of the run.
        epoch: For evaluation, 0.
        device: Where the batches go; for a GPU they are put where it can fetch them itself.
    """
    workers = min(_worker_count(), len(batches))
    loader = DataLoader(
        _Samples(read, seed, epoch),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.device(device).type == "cuda",
        # Forked, workers share the list of files, which is long.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )
    return iter(loader)


def _worker_count() -> int:
    """This process's share of the cores, less one to train on."""
    if multiprocessing.current_process().daemon:
        return 0  # such a process may have no children
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(min(MOST_WORKERS, (os.cpu_count() or 1) // beside - 1), 0)
