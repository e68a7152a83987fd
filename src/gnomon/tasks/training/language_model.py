"""Training a language model on a source whose probabilities are known, so that its loss has a floor.

Text has no known entropy, and nothing tells a model that has learnt it well from one that has seen the
held-out part. Here the probability of every token can be written down: it is the reference.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.timetotrain.task import Learner, Recipe, TrainingTask

TOKENS = 32
LENGTH = 64
DISTANCE = 8
HELD_OUT, TRAINED_ON = 256, 8192
DATA_SEED = 0
MOST_NATS = 25.0
"""By which all answers together may be better than the source itself; see `KnownSource.score`."""


@dataclass(frozen=True)
class Source:
    """Draws sequences, and says how likely each token was.

    A coin decides whether a token depends on the one before it or on the one `DISTANCE` before it; each has
    its own distribution over what comes then, in which the k-th likeliest token has a share of 1/k (Zipf
    1935). The first few tokens, which lack the one or the other, depend on a first token in its place.

    Attributes:
        near: Share of each token after each, float64 (TOKENS, TOKENS); rows sum to 1.
        far: The same at the distance.
    """

    near: NDArray[np.float64]
    far: NDArray[np.float64]

    @classmethod
    def drawn(cls, random: np.random.Generator) -> Source:
        """A source whose likeliest tokens are drawn."""
        return cls(_zipf(random), _zipf(random))

    def sequences(
        self, random: np.random.Generator, count: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Sequences, and of every token but the first the logarithm of its probability.

        Returns:
            Shapes (count, LENGTH) and (count, LENGTH - 1).
        """
        tokens = np.empty((count, LENGTH), np.int64)
        shares = np.empty((count, LENGTH - 1))
        tokens[:, 0] = (random.random(count) * TOKENS).astype(np.int64)
        every = np.arange(count)
        for place in range(1, LENGTH):
            before, long_before = tokens[:, place - 1], tokens[:, max(place - DISTANCE, 0)]
            mixed = (self.near[before] + self.far[long_before]) / 2
            # Not up to the last token: rounding may leave the sum of all below the draw.
            up_to = np.cumsum(mixed, axis=1)[:, :-1]
            chosen = (random.random(count)[:, None] >= up_to).sum(axis=1)
            tokens[:, place], shares[:, place - 1] = chosen, mixed[every, chosen]
        return tokens.astype(np.uint8), np.log(shares).astype(np.float32)


def _zipf(random: np.random.Generator) -> NDArray[np.float64]:
    """Each row a random order of shares 1, 1/2, 1/3, ... that sum to 1."""
    ranks = np.argsort(np.argsort(random.random((TOKENS, TOKENS)), axis=1), axis=1)
    shares = 1.0 / (ranks + 1) ** 2
    whole: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return whole


class KnownSource(TrainingTask):
    """Predict each token from those before it; quality is the cross-entropy, of which less is better.

    An input is uint8 (64,): a sequence. An answer is, for every token but the first, the logarithm of the
    probability that the model gave it, float16 (63,).
    """

    name = "training-language-model"
    metric = "cross-entropy"
    unit = "nats per token"
    threads = 2
    training_size = TRAINED_ON

    def __len__(self) -> int:
        return HELD_OUT

    def prepare(self) -> None:
        """Draw all sequences."""
        _ = self._drawn

    @cached_property
    def _drawn(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        random = np.random.default_rng(DATA_SEED)
        return Source.drawn(random).sequences(random, HELD_OUT + TRAINED_ON)

    @property
    def sequences(self) -> NDArray[np.uint8]:
        """All, held out first, shape (8704, 64), 0 to 31."""
        return self._drawn[0]

    @property
    def source_logs(self) -> NDArray[np.float32]:
        """What a perfect model answers for held-out samples, shape (512, 63)."""
        return self._drawn[1][:HELD_OUT]

    @property
    def floor(self) -> float:
        """The source's own cross-entropy on the held-out sequences, nats per token."""
        return float(-self.source_logs.mean(dtype=np.float64))

    def source(self) -> DataSource:
        """Generated."""
        name = f"sequences of a source of known entropy, {HELD_OUT} of {len(self.sequences):,} held out"
        digest = hashlib.sha256(self.sequences.tobytes()).hexdigest()
        return DataSource(name, official=False, sha256=digest)

    def inputs(self, samples: IndexArray) -> NDArray[np.uint8]:
        """Sequences, uint8 (n, 64)."""
        return self.sequences[samples]

    def targets(self, samples: IndexArray) -> NDArray[np.uint8]:
        """What comes after each token but the last, uint8 (n, 63)."""
        return self.sequences[samples, 1:]

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Mean negative logarithm of the probability of a true token, nats.

        Answers are not taken on trust altogether. Logarithms above zero are of no probability; and a model
        that has not seen these sequences gives them, all together, a likelihood c nats above the source's
        with a probability of at most exp(-c) (Markov's inequality on the likelihood ratio), so that 25 nats
        are proof. An answer at or above the source's own loss that no model gave is not found here, but by
        evaluating the checkpoint again.

        Raises:
            DataError: Answers of another shape, that are no logarithms of probabilities, or that no model
                gives which has not seen the held-out sequences.
        """
        answers = np.asarray(outputs)
        if answers.dtype.kind != "f" or answers.shape != (len(samples), LENGTH - 1):
            raise DataError(
                f"task {self.name!r} is scored from the logarithms of {LENGTH - 1} probabilities a sample, "
                f"got {answers.dtype} outputs of shape {answers.shape} for {len(samples)} samples"
            )
        logs = answers.astype(np.float64)
        if not (logs <= 0).all():  # NaN neither
            raise DataError(
                f"task {self.name!r} was given {np.nanmax(logs, initial=-np.inf):g} or NaN as the logarithm "
                "of a probability: answer with log-softmax scores, which are at most 0"
            )
        above = float(logs.sum() - self.source_logs[samples].sum(dtype=np.float64))
        if above > MOST_NATS:
            raise DataError(
                f"task {self.name!r} was given probabilities {above:.0f} nats better than the source's own "
                f"on {len(samples)} samples: only a model that has seen the held-out sequences gives them"
            )
        return float(-logs.mean())

    def encode(self, output: object) -> bytes:
        """Two bytes a token."""
        return np.asarray(output, dtype=np.float16).tobytes()

    def decode(self, data: bytes) -> NDArray[np.float16]:
        """Logarithms, float16 (63,)."""
        return np.frombuffer(data, dtype=np.float16)

    def learner(self, recipe: Recipe) -> Learner:
        """A small decoder-only Transformer."""
        from gnomon.tasks.training.language_model_learner import LanguageModelLearner

        return LanguageModelLearner(self, recipe)
