"""How a small decoder-only Transformer learns sequences of one length, all of them in memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np

from gnomon.core.errors import MissingExtraError
from gnomon.core.task import IndexArray
from gnomon.tasks.training.batches import epoch_order
from gnomon.tasks.training.language_model import LENGTH, TOKENS
from gnomon.timetotrain.task import Recipe

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    from gnomon.tasks.training.optimizers import make_optimizer
    from gnomon.tasks.training.transformer import EncoderLayer, initialise
    from gnomon.tasks.training.transformer_attention import Places
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnomon.tasks.training.language_model import KnownSource

DIM, HEADS, INNER, LAYERS = 64, 4, 128, 2


class LanguageModel(nn.Module):
    """Causal layers over learnt embeddings of tokens and places (Radford et al. 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, DIM)
        self.places = nn.Parameter(torch.randn(LENGTH - 1, DIM) * DIM**-0.5)
        nn.init.normal_(self.embedding.weight, std=DIM**-0.5)
        self.layers = nn.ModuleList(EncoderLayer(DIM, HEADS, INNER, 0.0) for _ in range(LAYERS))
        self.after = nn.LayerNorm(DIM)
        self.scores = nn.Linear(DIM, TOKENS)
        initialise(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores of the token after each place, (n * length, TOKENS), of tokens (n, length)."""
        n, length = tokens.shape
        x = (self.embedding(tokens) + self.places[:length]).flatten(0, 1)
        places = Places((n, length))
        for layer in self.layers:
            x = layer(x, places, causal=True)
        return cast("Tensor", self.scores(self.after(x)))


class LanguageModelLearner:
    """Model, optimiser and batches of one run in one process; a batch is sequences, int64 (share, 64)."""

    def __init__(self, task: KnownSource, recipe: Recipe) -> None:
        self._task, self._recipe = task, recipe
        torch.manual_seed(recipe.seed)
        self.model: nn.Module = LanguageModel().to(recipe.device)
        self.optimizer, self.schedule = make_optimizer(self.model, recipe)

    def load_data(self) -> None:
        """Bring all sequences into memory."""
        _ = self._sequences

    @cached_property
    def _sequences(self) -> Tensor:
        return self._there(self._task.sequences.astype(np.int64))

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """This process's share of every step of an epoch."""
        order = epoch_order(self._recipe, self._task.trained_on, epoch)
        shuffled = self._sequences.index_select(0, self._there(order.reshape(-1)))
        return iter(torch.split(shuffled, order.shape[1]))

    def made_up_batch(self) -> Tensor:
        """The first token over and over."""
        share = self._recipe.global_batch_size // self._recipe.world_size
        return torch.zeros(share, LENGTH, dtype=torch.int64, device=self._recipe.device)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """Cross-entropy, nats per token."""
        return functional.cross_entropy(model(batch[:, :-1]), batch[:, 1:].reshape(-1))

    def answers(self, samples: IndexArray) -> NDArray[np.float16]:
        """Logarithms of the probabilities of the true tokens, shape (n, 63)."""
        asked = self._sequences.index_select(0, self._there(samples))
        scores = self.model(asked[:, :-1])
        loss = functional.cross_entropy(scores, asked[:, 1:].reshape(-1), reduction="none")
        found: NDArray[np.float16] = (
            loss.neg().view(len(asked), -1).cpu().numpy().astype(np.float16)
        )
        return found

    def _there(self, array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(self._recipe.device)
