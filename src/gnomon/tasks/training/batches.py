"""The order in which a run sees its samples: the same in every process, drawn anew each epoch.

Data that fits into memory is kept there whole; an epoch is then one shuffled copy cut into batches.
"""

from __future__ import annotations

import numpy as np

from gnomon.core.errors import SettingsError
from gnomon.core.task import IndexArray
from gnomon.timetotrain.task import Recipe


def epoch_order(recipe: Recipe, samples: IndexArray, epoch: int) -> IndexArray:
    """This process's samples of every global batch of one epoch.

    An incomplete last batch is left out: processes of unequal share would weigh its samples unequally.

    Args:
        recipe: Its seed and batch size.
        samples: All that are trained on, shape (n,).
        epoch: From 1.

    Returns:
        Shape (steps, global_batch_size / world_size).

    Raises:
        SettingsError: The batch is larger than the data, or cannot be shared equally.
    """
    share_size(recipe)
    batch = recipe.global_batch_size
    if batch > len(samples):
        raise SettingsError(
            f"global_batch_size must be at most {len(samples)}, the samples of an epoch, got {batch} "
            f"(--set global_batch_size=N)"
        )
    shuffled = np.random.default_rng([recipe.seed, epoch]).permutation(samples)
    steps = len(samples) // batch
    whole = shuffled[: steps * batch].reshape(steps, batch)
    return np.stack([recipe.share_of(one) for one in whole])


def share_size(recipe: Recipe) -> int:
    """Samples that one process takes of a global batch.

    Raises:
        SettingsError: The batch is empty, or cannot be shared equally.
    """
    batch, processes = recipe.global_batch_size, recipe.world_size
    if batch < 1:
        raise SettingsError(
            f"global_batch_size must be at least 1, got {batch} (--set global_batch_size=N)"
        )
    if batch % processes:
        raise SettingsError(
            f"global_batch_size {batch} cannot be shared equally by {processes} processes: take a "
            f"multiple of {processes} (--set global_batch_size={batch - batch % processes + processes})"
        )
    return batch // processes
