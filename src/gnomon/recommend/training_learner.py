"""How a DLRM learns clicks from a seed: all tables in one, and a step of one look-up.

The generated log is kept in memory whole; Criteo's, shuffled by its preprocessing, is read from disk batch by
batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np

from gnomon.core.errors import MissingExtraError, SettingsError
from gnomon.core.task import IndexArray
from gnomon.recommend.config import DLRM_SMALL, DLRM_V1, DlrmConfig
from gnomon.timetotrain.task import Recipe

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
    from torch.optim import SGD, Adagrad, Optimizer
    from torch.optim.lr_scheduler import LambdaLR, LRScheduler

    from gnomon.recommend.model import Dlrm
    from gnomon.tasks.training.batches import epoch_order
    from gnomon.tasks.training.optimizers import (
        ALWAYS,
        SCHEDULES,
        WARM_UP,
        learning_rate_factor,
    )
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnomon.recommend.training_task import ClickTask, TrainingClicks, TrainingCriteo
    from gnomon.tasks.clicks import ClickBatch

EVALUATED_AT_ONCE = {"cpu": 2048, "cuda": 1 << 17}
"""Samples scored together, by kind of device: on a CPU what fits its caches."""

OPTIMIZERS: dict[str, dict[str, float]] = {
    "adagrad": {"opt_adagrad_epsilon": 1e-8, "opt_adagrad_initial_accumulator_value": 0.0},
    "sgd": {},
}
"""By `opt_name`: the keys it reads, and what they are unless given."""

Batch = tuple[Tensor, Tensor, Tensor]


class StackedTables(nn.Embedding):
    """All tables one above the other in one: a single look-up and a single gradient.

    Takes rows of the stack (n, tables), gives float32 (n, tables, dim). Each table begins as U(-a, a) with
    a = sqrt(1 / its rows), as in facebookresearch/dlrm (`create_emb`).
    """

    def __init__(self, rows: tuple[int, ...], dim: int, *, sparse: bool) -> None:
        """Draw every row.

        Args:
            rows: Rows of each table.
            dim: Weights in a row.
            sparse: Gradients of the rows looked up only, for tables too large to pass over in a step.
        """
        limits = torch.tensor(rows, dtype=torch.float32).rsqrt()
        drawn = torch.empty(sum(rows), dim).uniform_(-1, 1)
        for table, limit in zip(torch.split(drawn, list(rows)), limits.tolist(), strict=True):
            table.mul_(limit)
        super().__init__(sum(rows), dim, sparse=sparse, _weight=drawn)


class DlrmLearner:
    """Model and optimiser of one run in one process; a batch is dense features, rows and labels."""

    def __init__(
        self, task: ClickTask, recipe: Recipe, config: DlrmConfig, *, sparse: bool
    ) -> None:
        self._recipe = recipe
        rows = task.schema.rows
        self._offsets = np.r_[0, np.cumsum(rows)[:-1]]
        torch.manual_seed(recipe.seed)
        embedding = StackedTables(rows, config.dim, sparse=sparse)
        self.model: nn.Module = Dlrm(config, embedding).to(recipe.device)
        self.optimizer, self.schedule = make_click_optimizer(self.model, recipe, fused=not sparse)

    def made_up_batch(self) -> Batch:
        """The first row of every table, nothing else."""
        share = self._recipe.global_batch_size // self._recipe.world_size
        config = cast("Dlrm", self.model).config
        device = self._recipe.device
        ids = torch.from_numpy(self._offsets).to(device).expand(share, -1).contiguous()
        return (
            torch.zeros(share, config.dense, device=device),
            ids,
            torch.zeros(share, device=device),
        )

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Binary cross-entropy."""
        dense, ids, labels = batch
        return functional.binary_cross_entropy_with_logits(model(dense, ids), labels)

    def _scores(self, parts: Iterator[tuple[Tensor, Tensor]]) -> NDArray[np.float32]:
        scores = [self.model(dense, ids).float() for dense, ids in parts]
        found: NDArray[np.float32] = torch.cat(scores).cpu().numpy()
        return found

    @property
    def _at_once(self) -> int:
        return EVALUATED_AT_ONCE["cpu" if self._recipe.device == "cpu" else "cuda"]


class ClickLearner(DlrmLearner):
    """On the generated log: small, in memory."""

    def __init__(self, task: TrainingClicks, recipe: Recipe) -> None:
        # So small that a pass over all weights costs less than sorting out which rows were looked up.
        super().__init__(task, recipe, DLRM_SMALL, sparse=False)
        self._task = task

    def load_data(self) -> None:
        """All impressions."""
        _ = self._impressions

    @cached_property
    def _impressions(self) -> tuple[Tensor, Tensor, Tensor]:
        data = self._task.data
        ids = data.ids + self._offsets  # 64 bits: look-ups of 32 are slower
        device = self._recipe.device
        dense, rows, labels = (torch.from_numpy(array) for array in (data.dense, ids, data.labels))
        return dense.to(device), rows.to(device), labels.to(device)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Dense features (share, 13), rows int64 (share, 26) and labels (share,) of every step."""
        order = epoch_order(self._recipe, self._task.trained_on, epoch)
        shuffled = torch.from_numpy(order.reshape(-1)).to(self._recipe.device)
        parts = (whole.index_select(0, shuffled) for whole in self._impressions)
        return zip(*(torch.split(part, order.shape[1]) for part in parts), strict=True)

    def answers(self, samples: IndexArray) -> NDArray[np.float32]:
        """One logit each, shape (n,)."""
        asked = torch.from_numpy(samples).to(self._recipe.device)
        dense, ids, _ = self._impressions
        return self._scores(
            (dense.index_select(0, part), ids.index_select(0, part))
            for part in torch.split(asked, self._at_once)
        )


class CriteoLearner(DlrmLearner):
    """On Criteo Terabyte: the field's widths, 204 million rows of 128, sparse gradients."""

    def __init__(self, task: TrainingCriteo, recipe: Recipe) -> None:
        # Asked for explicitly: torch would note once a process that it does not check sparse gradients.
        torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]
        super().__init__(task, recipe, DLRM_V1, sparse=True)
        self._task = task

    def load_data(self) -> None:
        """Map the files; what is read of them is read batch by batch."""
        _ = self._task.trained, self._task.tested

    def batches(self, epoch: int) -> Iterator[Batch]:
        """As `ClickLearner.batches`: each batch consecutive in the file, batches in an order of the seed.

        So the reference has it (facebookresearch/dlrm, `--mlperf-bin-shuffle`).
        """
        size = self._recipe.global_batch_size
        steps = len(self._task.trained) // size
        if not steps:
            raise SettingsError(
                f"global_batch_size must be 1 to {len(self._task.trained)}, the impressions of an epoch, "
                f"got {size} (--set global_batch_size=N)"
            )
        share = slice(self._recipe.rank, None, self._recipe.world_size)
        order = np.random.default_rng([self._recipe.seed, epoch]).permutation(steps)
        for start in (order * size).tolist():
            batch = next(self._task.trained.batches(start, start + size, size))
            dense, ids = self._there(batch, share)
            yield dense, ids, torch.from_numpy(batch.labels[share]).to(self._recipe.device)

    def answers(self, samples: IndexArray) -> NDArray[np.float32]:
        """One logit each, shape (n,)."""
        parts = np.split(samples, range(self._at_once, len(samples), self._at_once))
        return self._scores(self._there(self._task.batch(part), slice(None)) for part in parts)

    def _there(self, batch: ClickBatch, chosen: slice) -> tuple[Tensor, Tensor]:
        device = self._recipe.device
        ids = torch.from_numpy(batch.ids[chosen] + self._offsets)
        return torch.from_numpy(batch.dense[chosen]).to(device), ids.to(device)


def make_click_optimizer(
    model: nn.Module, recipe: Recipe, *, fused: bool
) -> tuple[Optimizer, LRScheduler | None]:
    """Adagrad or plain SGD, which take sparse gradients, and the schedule if the rate ever changes.

    Args:
        model: What is optimised.
        recipe: With `opt_name` and `opt_base_learning_rate`; the keys of `OPTIMIZERS` and of the schedule.
        fused: One kernel over all weights; not for sparse gradients.

    Raises:
        SettingsError: Another optimiser, or a hyperparameter that is missing, out of range, or read by
            nothing.
    """
    name = str(recipe.hyperparameters.get("opt_name"))
    if name not in OPTIMIZERS:
        raise SettingsError(
            f"hyperparameter opt_name must be adagrad or sgd, got {name!r} (--set opt_name=adagrad)"
        )
    schedule = str(recipe.hyperparameters.get("opt_learning_rate_decay_schedule", "constant"))
    factor = learning_rate_factor(recipe)
    read = {*ALWAYS, *OPTIMIZERS[name], *WARM_UP, *SCHEDULES[schedule]}
    read.add("opt_learning_rate_decay_schedule")
    for key in recipe.hyperparameters:
        if key.startswith("opt_") and key not in read:
            raise SettingsError(
                f"hyperparameter {key} is read by neither {name} nor the {schedule} schedule: leave it out, "
                f"of {sorted(read)}"
            )
    rate = recipe.number("opt_base_learning_rate")
    if not rate > 0:
        raise SettingsError(
            f"hyperparameter opt_base_learning_rate must be above 0, got {rate:g} "
            f"(--set opt_base_learning_rate=0.02)"
        )
    weights = list(model.parameters())
    optimizer: Optimizer
    if name == "sgd":
        optimizer = SGD(weights, lr=rate, fused=fused)
    else:
        given = [
            recipe.number(key) if key in recipe.hyperparameters else default
            for key, default in OPTIMIZERS[name].items()
        ]
        if min(given) < 0:
            keys = " and ".join(OPTIMIZERS[name])
            raise SettingsError(f"hyperparameters {keys} must be at least 0, got {given}")
        optimizer = Adagrad(
            weights, lr=rate, eps=given[0], initial_accumulator_value=given[1], fused=fused
        )
    return optimizer, LambdaLR(optimizer, factor) if factor else None
