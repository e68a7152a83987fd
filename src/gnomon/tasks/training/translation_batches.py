"""Batches of sentences of like length, the same in every process of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import SettingsError
from gnomon.core.task import IndexArray
from gnomon.tasks.training.batches import epoch_order
from gnomon.timetotrain.task import Recipe


def batches_of_like_length(
    recipe: Recipe, lengths: NDArray[np.int64], epoch: int, *, pool: int | None = None
) -> IndexArray:
    """This process's places in the training data of every global batch of one epoch.

    All places are shuffled, those of each pool of batches put in order of length, and cut into batches,
    which are shuffled again. The incomplete last batch of the shuffled places is left out.

    Args:
        recipe: Its seed and batch size.
        lengths: Of every sentence, shape (n,).
        epoch: From 1.
        pool: Batches that are sorted together; all of them if None.

    Returns:
        Shape (steps, global_batch_size / world_size).

    Raises:
        SettingsError: The batch is larger than the data, or cannot be shared equally.
    """
    batch, processes = recipe.global_batch_size, recipe.world_size
    if batch % processes:
        raise SettingsError(
            f"global_batch_size {batch} cannot be shared equally by {processes} processes: take a "
            f"multiple of {processes} (--set global_batch_size=N)"
        )
    alone = replace(recipe, rank=0, world_size=1)
    shuffled = epoch_order(alone, np.arange(len(lengths)), epoch).reshape(-1)
    size = batch * (pool or len(lengths))
    in_order = [
        part[np.argsort(lengths[part], kind="stable")]
        for part in np.split(shuffled, range(size, len(shuffled), size))
    ]
    batches = np.concatenate(in_order).reshape(-1, batch)
    mixed: IndexArray = np.random.default_rng([recipe.seed, epoch, 1]).permutation(batches)
    return mixed[:, recipe.rank :: processes]
