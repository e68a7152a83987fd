"""How a small Transformer learns a parallel corpus that fits into memory.

A batch is cut after its longest sentence, and the model computes little on the padding that is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gnomon.core.errors import MissingExtraError
from gnomon.core.task import IndexArray
from gnomon.tasks.training.batches import epoch_order
from gnomon.tasks.training.translation import token_counts
from gnomon.timetotrain.task import Recipe

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    from gnomon.tasks.training.optimizers import make_optimizer
    from gnomon.tasks.training.transformer import PADDING, Transformer
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnomon.tasks.training.parallel_corpus import EmojiNames

DIM, HEADS, INNER, LAYERS = 64, 4, 128, 2
LONGEST = 64
"""Tokens of any sentence that the model has places for."""


class TranslationLearner:
    """Model, optimiser and batches of one run in one process; a batch is sources and translations."""

    def __init__(self, task: EmojiNames, recipe: Recipe) -> None:
        self._task, self._recipe = task, recipe
        torch.manual_seed(recipe.seed)
        self.model: nn.Module = Transformer(
            len(task.subwords),
            dim=DIM,
            heads=HEADS,
            inner=INNER,
            layers=LAYERS,
            dropout=0.0,
            longest=LONGEST,
        ).to(recipe.device)
        self.optimizer, self.schedule = make_optimizer(self.model, recipe)

    def load_data(self) -> None:
        """Cut all sentences into subwords."""
        _ = self._trained_on, self._held_out

    @cached_property
    def _trained_on(self) -> tuple[Tensor, Tensor]:
        source, target = self._task.training_tokens
        return self._there(source), self._there(target)

    @cached_property
    def _held_out(self) -> Tensor:
        return self._there(self._task.held_out_tokens)

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        return np.stack([token_counts(tokens) for tokens in self._task.training_tokens], axis=1)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Token ids of sources and translations, int64 (share, longest), of every step of an epoch."""
        order = epoch_order(self._recipe, np.arange(self._task.training_size), epoch)
        longest = self._counts[order].max(axis=1)
        shuffled = self._there(order.reshape(-1))
        sources, targets = (whole.index_select(0, shuffled) for whole in self._trained_on)
        share = order.shape[1]
        for source, target, (width, height) in zip(
            torch.split(sources, share), torch.split(targets, share), longest.tolist(), strict=True
        ):
            yield source[:, :width], target[:, :height]

    def made_up_batch(self) -> tuple[Tensor, Tensor]:
        """One token over and over, at half the greatest length."""
        share = self._recipe.global_batch_size // self._recipe.world_size
        tokens = torch.full((share, LONGEST // 4), 2, dtype=torch.int64, device=self._recipe.device)
        return tokens, tokens.clone()

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy of a translation's tokens, over the mean number of tokens of all translations.

        Dividing by the tokens of this batch instead would weigh sentences by the batch they fall into, and
        two processes with different numbers of tokens would not average to one.
        """
        source, target = batch
        kept = target != PADDING
        scores = model(source, functional.pad(target[:, :-1], (1, 0), value=PADDING), kept)
        total = functional.cross_entropy(scores, target[kept], reduction="sum")
        return total / (len(source) * TOKENS_A_TRANSLATION)

    def answers(self, samples: IndexArray) -> NDArray[np.uint16]:
        """Greedy translations, shape (n, 32)."""
        asked = self._held_out.index_select(0, self._there(samples))
        model = self.model
        assert isinstance(model, Transformer)
        said = model.greedy(asked, self._task.longest_answer)
        found: NDArray[np.uint16] = said.cpu().numpy().astype(np.uint16)
        return found

    def _there(self, array: NDArray[np.int32] | NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(self._recipe.device, torch.int64)


TOKENS_A_TRANSLATION = 8
"""About what the corpus has, its ends included: a constant, so that it is the same in every process."""
