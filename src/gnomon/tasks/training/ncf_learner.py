"""How NeuMF learns who takes what: all pairs in memory, negatives drawn for a whole epoch at once.

The model is that of He et al. 2017 (arXiv:1708.05031, section 3.4), with the field's initial weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np

from gnomon.core.errors import MissingExtraError
from gnomon.core.task import IndexArray
from gnomon.tasks.training.batches import epoch_order
from gnomon.tasks.training.interactions import NEGATIVES, RECOMMENDED
from gnomon.timetotrain.task import Recipe

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    from gnomon.tasks.training.optimizers import make_optimizer
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnomon.tasks.training.interactions import InteractionTask

PAIRS_AT_ONCE = {"cpu": 1 << 14, "cuda": 1 << 20}
"""Scored together in an evaluation, by kind of device: on a CPU what fits its caches."""
MOST_FLAGS = 1 << 28
"""Above so many pairs of user and item, whether one was taken is searched for, not looked up."""

Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class NeuMfConfig:
    """Widths of the model.

    Attributes:
        factors: Of the matrix factorisation.
        layers: Inputs of the first layer, then outputs of each; half of the first is a user's part.
    """

    factors: int
    layers: tuple[int, ...]


class NeuMf(nn.Module):
    """Neural matrix factorisation: a product of factors beside layers over user and item.

    A user's factors and its part of the layers' input are one row, so that one look-up brings both.
    """

    def __init__(self, users: int, items: int, config: NeuMfConfig) -> None:
        """Draw all weights: rows N(0, 0.01), layers Glorot uniform, the last LeCun uniform, biases 0."""
        super().__init__()
        self.widths = [config.factors, config.layers[0] // 2]
        self.users = nn.Embedding(users, sum(self.widths))
        self.items = nn.Embedding(items, sum(self.widths))
        self.layers = nn.ModuleList(
            nn.Linear(inputs, outputs)
            for inputs, outputs in zip(config.layers, config.layers[1:], strict=False)
        )
        self.last = nn.Linear(config.factors + config.layers[-1], 1)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.01)
        for layer in self.layers:
            nn.init.xavier_uniform_(cast("nn.Linear", layer).weight)
            nn.init.zeros_(cast("nn.Linear", layer).bias)
        limit = (3 / self.last.in_features) ** 0.5
        nn.init.uniform_(self.last.weight, -limit, limit)
        nn.init.zeros_(self.last.bias)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits that these users take these items, int64 (n,) each to (n,)."""
        # split, not slices: its gradient is one copy.
        user, user_part = self.users(users).split(self.widths, dim=1)
        item, item_part = self.items(items).split(self.widths, dim=1)
        hidden = torch.cat([user_part, item_part], dim=1)
        for layer in self.layers:
            hidden = torch.relu_(layer(hidden))
        return cast("Tensor", self.last(torch.cat([user * item, hidden], dim=1)).squeeze(1))


class NcfLearner:
    """Model, optimiser and batches of one run in one process; a batch is users, items and labels."""

    def __init__(self, task: InteractionTask, recipe: Recipe, config: NeuMfConfig) -> None:
        self._task, self._recipe = task, recipe
        users, items = task.shape
        torch.manual_seed(recipe.seed)
        self.model: nn.Module = NeuMf(users, items, config).to(recipe.device)
        self.optimizer, self.schedule = make_optimizer(self.model, recipe)

    def load_data(self) -> None:
        """Pairs and candidates, brought to the device."""
        _ = self._pairs, self._taken, self._candidates

    @cached_property
    def _pairs(self) -> Tensor:
        return self._there(self._task.data.pairs).to(torch.int64).T.contiguous()

    @cached_property
    def _taken(self) -> Tensor:
        """A flag for every pair of user and item, or, where they are too many, the sorted pairs taken."""
        data = self._task.data
        keys = self._pairs[0] * data.items + self._pairs[1]
        if data.users * data.items > MOST_FLAGS:
            return keys.sort().values
        flags = torch.zeros(data.users * data.items, dtype=torch.bool, device=keys.device)
        flags[keys] = True
        return flags

    @cached_property
    def _candidates(self) -> Tensor:
        return self._there(self._task.data.candidates)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Users, items (int64) and whether they were taken (float32), (share,) each, of every step."""
        users, taken = self._pairs
        drawn = self._negatives(epoch)
        order = epoch_order(self._recipe, np.arange(self._task.training_size), epoch)
        shuffled = self._there(order.reshape(-1))
        share = order.shape[1]
        rows = torch.cat([users, users.repeat(NEGATIVES)]).index_select(0, shuffled)
        columns = torch.cat([taken, drawn]).index_select(0, shuffled)
        labels = (shuffled < len(users)).to(torch.float32)
        return zip(*(torch.split(part, share) for part in (rows, columns, labels)), strict=True)

    def _negatives(self, epoch: int) -> Tensor:
        """Items that the users of the pairs, `NEGATIVES` times over, did not take, int64."""
        users, items = self._pairs[0].repeat(NEGATIVES), self._task.data.items
        generator = torch.Generator(self._recipe.device)
        # Apart from the order's generator, which takes [seed, epoch].
        words = np.random.SeedSequence([self._recipe.seed, epoch, 1]).generate_state(1, np.uint64)
        generator.manual_seed(int(words[0] >> np.uint64(1)))

        def draw(count: int) -> Tensor:
            return torch.randint(items, (count,), generator=generator, device=users.device)

        drawn = draw(len(users))
        again = self._was_taken(users * items + drawn).nonzero().squeeze(1)
        while len(again):
            fresh = draw(len(again))
            drawn[again] = fresh
            again = again[self._was_taken(users[again] * items + fresh)]
        return drawn

    def _was_taken(self, keys: Tensor) -> Tensor:
        if self._taken.dtype is torch.bool:
            return self._taken[keys]
        place = torch.searchsorted(self._taken, keys).clamp_(max=len(self._taken) - 1)
        return self._taken[place] == keys

    def made_up_batch(self) -> Batch:
        """The first user and item, over and over."""
        share = self._recipe.global_batch_size // self._recipe.world_size
        same = torch.zeros(share, dtype=torch.int64, device=self._recipe.device)
        return same, same, same.to(torch.float32)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Binary cross-entropy."""
        users, items, labels = batch
        return functional.binary_cross_entropy_with_logits(model(users, items), labels)

    def answers(self, samples: IndexArray) -> NDArray[np.uint16]:
        """Places of the ten candidates of the highest scores, best first, shape (n, 10)."""
        width = self._candidates.shape[1]
        at_once = PAIRS_AT_ONCE["cpu" if self._recipe.device == "cpu" else "cuda"]
        best = []
        for users in torch.split(self._there(samples), max(1, at_once // width)):
            items = self._candidates[users].to(torch.int64)
            scores = self.model(users.repeat_interleave(width), items.reshape(-1))
            best.append(scores.view(-1, width).topk(RECOMMENDED).indices)
        return torch.cat(best).cpu().numpy().astype(np.uint16)

    def _there(self, array: NDArray[np.int32] | IndexArray) -> Tensor:
        return torch.from_numpy(array).to(self._recipe.device)
