"""How the field's Transformer and GNMT learn WMT's sentences: both with label smoothing, both by beam search.

A batch is a number of pairs of like length, not of tokens as in the field's Transformer, so that every
process and every step has the same number of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gnomon.core.errors import MissingExtraError
from gnomon.core.task import IndexArray
from gnomon.tasks.training.translation import token_counts
from gnomon.tasks.training.translation_batches import batches_of_like_length
from gnomon.timetotrain.task import Recipe

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    from gnomon.tasks.training.optimizers import make_optimizer
    from gnomon.tasks.training.transformer import PADDING, Transformer
    from gnomon.tasks.training.transformer_beams import TransformerBeams
    from gnomon.tasks.training.translation_beam import Stepper, beam_search
    from gnomon.tasks.training.wmt_gnmt import Gnmt, GnmtBeams
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnomon.tasks.training.wmt import WmtTranslation

POOL = 80
"""Batches that are sorted by length together, as in the field's GNMT."""

LABEL_SMOOTHING = 0.1
TOKENS_A_TRANSLATION = 30
"""About what WMT has: a constant, so that gradients of several processes average to those of one."""

EVALUATED_TOGETHER = 64
LONGER_THAN_SOURCE = 50
"""Tokens by which a translation may be longer than its source."""

ALPHA = 0.6
"""Exponent of the length penalty, in both."""

BIG = {"dim": 1024, "heads": 16, "inner": 4096, "layers": 6}
"""Vaswani et al. 2017, table 3."""

GNMT = {"dim": 1024, "layers": 4}


class WmtLearner:
    """Model, optimiser and batches of one run in one process; a batch is sources and translations.

    Args:
        task: Its sentences.
        recipe: Of the run.
        model: Called with source, decoder input and the places that scores are wanted of.
        begin: From sources, beams and most steps to the state of a beam search on the model.
        beams: Of each sentence.
    """

    def __init__(
        self,
        task: WmtTranslation,
        recipe: Recipe,
        model: nn.Module,
        begin: Callable[[Tensor, int, int], Stepper],
        beams: int,
    ) -> None:
        self._task, self._recipe, self._begin, self._beams = task, recipe, begin, beams
        self.model = model
        self.optimizer, self.schedule = make_optimizer(model, recipe)

    def load_data(self) -> None:
        """Map the token ids into memory."""
        _ = self._lengths, self._task.held_out_tokens

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        english, german = self._task.training_sentences
        both: NDArray[np.int64] = (english.counts + german.counts)[self._task.trained_pairs]
        return both

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Token ids of sources and translations, int64 (share, longest), of every step of an epoch."""
        english, german = self._task.training_sentences
        for places in batches_of_like_length(self._recipe, self._lengths, epoch, pool=POOL):
            pairs = self._task.trained_pairs[places]
            yield self._there(english.padded(pairs)), self._there(german.padded(pairs))

    def made_up_batch(self) -> tuple[Tensor, Tensor]:
        """One token over and over, at about the mean length."""
        share = self._recipe.global_batch_size // self._recipe.world_size
        tokens = np.full((share, TOKENS_A_TRANSLATION), 2)
        return self._there(tokens), self._there(tokens)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy with label smoothing, per translation of mean length."""
        source, target = batch
        kept = target != PADDING
        scores = model(source, functional.pad(target[:, :-1], (1, 0), value=PADDING), kept)
        total = functional.cross_entropy(
            scores, target[kept], reduction="sum", label_smoothing=LABEL_SMOOTHING
        )
        return total / (len(source) * TOKENS_A_TRANSLATION)

    def answers(self, samples: IndexArray) -> NDArray[np.uint16]:
        """Translations by beam search, shape (n, 256)."""
        sources = self._task.inputs(samples)
        longest = self._task.longest_answer
        counts = np.minimum(token_counts(sources), longest)
        found = np.full((len(samples), longest), PADDING, np.uint16)
        order = np.argsort(-counts, kind="stable")
        for start in range(0, len(order), EVALUATED_TOGETHER):
            rows = order[start : start + EVALUATED_TOGETHER]
            limits = np.minimum(counts[rows] + LONGER_THAN_SOURCE, longest)
            source = self._there(sources[rows, : counts[rows].max()])
            state = self._begin(source, self._beams, int(limits.max()))
            said = beam_search(state, len(rows), self._beams, self._there(limits), ALPHA)
            found[rows, : said.shape[1]] = said.cpu().numpy()
        return found

    def _there(self, array: NDArray[np.int32] | NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(self._recipe.device, torch.int64)


def transformer_learner(task: WmtTranslation, recipe: Recipe) -> WmtLearner:
    """Transformer (big), with dropout 0.1 as the field trains it; beam 4."""
    torch.manual_seed(recipe.seed)
    longest = max(task.longest_answer, task.longest_trained)
    model = Transformer(len(task.subwords), **BIG, dropout=0.1, longest=longest).to(recipe.device)

    def begin(source: Tensor, beams: int, longest: int) -> TransformerBeams:
        return TransformerBeams(model, source, beams, longest)

    return WmtLearner(task, recipe, model, begin, beams=4)


def gnmt_learner(task: WmtTranslation, recipe: Recipe) -> WmtLearner:
    """GNMT with four layers of 1,024 and dropout 0.2; beam 5, without the coverage penalty."""
    torch.manual_seed(recipe.seed)
    model = Gnmt(len(task.subwords), **GNMT, dropout=0.2).to(recipe.device)

    def begin(source: Tensor, beams: int, longest: int) -> GnmtBeams:
        return GnmtBeams(model, source, beams)

    return WmtLearner(task, recipe, model, begin, beams=5)
