"""A click log with learnable labels and a known best AUC, made as fast as it would be read.

Public Criteo data cannot ship in a package, and the generators of dlrm and torchrec label at random, so
nothing can be learned from theirs. Here a row's labels come from a latent-factor model of its ids and
dense features: how well a model can do is known (the Bayes AUC), and so is what it lost to compression.

    id of table t   Zipf over a random order of its rows
    w_id            N(0, id_weight^2 / tables)               v_id   N(0, ...) in R^factors
    logit           sum w_id + sum over pairs <v_i, v_j> + <dense, u> + 0.3 dense_weight tanh(d_0 d_1)
    label           Bernoulli(sigmoid(scale * logit + bias))

The pair term has standard deviation `interaction_weight` over uniform ids, <dense, u> has `dense_weight`;
what a model is shown of a normal d is log(1 + exp(d)), non-negative and skewed as logged counts are.

Rows are made in chunks, each from its own place in one Philox stream and from nothing else, so any range
costs the same and is the same whoever asks for it. Only NumPy's raw bit streams are used, which NumPy
keeps stable; sums are elementwise in a fixed order, and what has to be a logarithm or an exponential is
computed in double precision, so that machines agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gnomon.core.errors import SettingsError
from gnomon.tasks.clicks.alias import AliasTable, alias_table
from gnomon.tasks.clicks.auc import roc_auc
from gnomon.tasks.clicks.batch import (
    DENSE_FEATURES,
    ClickBatch,
    ClickSchema,
    check_batch_size,
    check_range,
    rebatch,
)

CHUNK_ROWS = 4096
LEVELS = 1 << 16
"""Dense features are drawn from this many equally likely levels of their distribution."""

SYNTHETIC_ROWS = (
    100_000, 60_000, 40_000, 20_000, 10_000, 5_000, 2_000, 1_000, 500, 200, 100, 50, 20, 10, 4, 3,
    300, 30, 7, 15_000, 8_000, 30_000, 3_000, 600, 50, 25,
)  # fmt: skip
"""Rows of the default 26 tables, 295,899 in all: spread over sizes as Criteo's are."""

_ROWS, _TABLE, _DENSE = 0, 1, 2  # what a stream is for: third word of its counter


@dataclass(frozen=True)
class ClickLog:
    """A synthetic click log without end: rows 0, 1, 2, ... are settled by these values alone.

        log = ClickLog()
        for batch in log.batches(0, 1_000_000, 2048):
            train(batch.dense, batch.ids, batch.labels)
        best = log.bayes_auc(1_000_000, 1_200_000)

    Of the default's first million rows 19.7 % are clicks and the Bayes AUC is 0.8562; of the 200,000 after
    them it is 0.8587. Other seeds differ: a few frequent ids carry much of the logit.

    Attributes:
        rows: Rows of each embedding table.
        zipf_exponent: An id of rank r is drawn with probability proportional to r^-zipf_exponent.
        id_weight: Standard deviation of the summed id weights, were ids uniform.
        interaction_weight: The same of the pairwise terms. Large values need many rows to be learned.
        dense_weight: The same of the linear dense term.
        scale: What the logit is multiplied by: how predictable a click is.
        bias: Added to it: how frequent a click is.
        seed: Settles weights and rows, 0 to 2^64 - 1.
        factors: Length of an id's latent vector.

    Raises:
        SettingsError: A value out of range.
    """

    rows: tuple[int, ...] = SYNTHETIC_ROWS
    zipf_exponent: float = 1.2
    id_weight: float = 1.7
    interaction_weight: float = 0.4
    dense_weight: float = 0.5
    scale: float = 1.0
    bias: float = -1.9
    seed: int = 3
    factors: int = 8

    def __post_init__(self) -> None:
        ClickSchema(self.rows)
        for name in ("zipf_exponent", "id_weight", "interaction_weight", "dense_weight", "scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise SettingsError(f"{name} must be a number of at least 0, got {value}")
        if not math.isfinite(self.bias):
            raise SettingsError(f"bias must be a finite number, got {self.bias}")
        if not 0 <= self.seed < 1 << 64:
            raise SettingsError(f"seed must be 0 to 2^64 - 1, got {self.seed}")
        if not 1 <= self.factors <= 1024:
            raise SettingsError(f"factors must be 1 to 1024, got {self.factors}")

    @property
    def schema(self) -> ClickSchema:
        """The tables that the ids point into, one lookup each."""
        return ClickSchema(self.rows)

    def generate(self, start: int, stop: int) -> ClickBatch:
        """Rows `[start, stop)` at once.

        Raises:
            SettingsError: Not 0 <= start <= stop.
        """
        for batch in self.batches(start, stop, max(1, stop - start)):
            return batch
        empty = np.empty((0, DENSE_FEATURES), np.float32)
        return ClickBatch(empty, np.empty((0, len(self.rows)), np.int64), empty[:, 0])

    def batches(self, start: int, stop: int, batch_size: int) -> Iterator[ClickBatch]:
        """Rows `[start, stop)` in batches; only the last may be smaller.

        Raises:
            SettingsError: Not 0 <= start <= stop, or a batch size below 1.
        """
        check_range(start, stop)
        check_batch_size(batch_size)
        return rebatch((batch for batch, _ in self._chunks(start, stop)), batch_size)

    def probabilities(self, start: int, stop: int) -> NDArray[np.float64]:
        """The true click probability of rows `[start, stop)`, float64 (stop - start,).

        Raises:
            SettingsError: Not 0 <= start <= stop.
        """
        check_range(start, stop)
        return np.concatenate([np.empty(0), *(true for _, true in self._chunks(start, stop))])

    def bayes_auc(self, start: int, stop: int) -> float:
        """The AUC of the true probabilities on rows `[start, stop)`: no model can expect to do better.

        Raises:
            SettingsError: Not 0 <= start <= stop.
            DataError: So few rows that all of them are clicks, or none is.
        """
        check_range(start, stop)
        chunks = [(true, batch.labels) for batch, true in self._chunks(start, stop)]
        truth = np.concatenate([np.empty(0), *(true for true, _ in chunks)])
        return roc_auc(truth, np.concatenate([np.empty(0), *(labels for _, labels in chunks)]))

    def _chunks(self, start: int, stop: int) -> Iterator[tuple[ClickBatch, NDArray[np.float64]]]:
        for chunk in range(start // CHUNK_ROWS, -(-stop // CHUNK_ROWS)):
            batch, true = self._truth.chunk(chunk)
            first = max(start - chunk * CHUNK_ROWS, 0)
            last = min(stop - chunk * CHUNK_ROWS, CHUNK_ROWS)
            if first < last:
                yield batch.part(first, last), true[first:last]

    @cached_property
    def _truth(self) -> _Truth:
        return _Truth(self)

    def __getstate__(self) -> dict[str, object]:
        """What settles the log, without the tables made from it: they are made again where needed."""
        return {name: value for name, value in self.__dict__.items() if name != "_truth"}


class _Truth:
    """The latent model of a `ClickLog`, and the rows that come of it.

    The pair term needs no pairs: sum over i<j of <v_i, v_j> = (|sum v|^2 - sum |v|^2) / 2, and |v|^2 is a
    constant of each id, so it is kept in the id's weight.
    """

    def __init__(self, log: ClickLog) -> None:
        self._log = log
        tables, factors = len(log.rows), log.factors
        # <v_i, v_j> sums to standard deviation `interaction_weight` over all pairs.
        spread = math.sqrt(log.interaction_weight * math.sqrt(2 / factors) / tables)
        self._samplers: list[AliasTable] = []
        self._weights: list[NDArray[np.float32]] = []
        self._vectors: list[NDArray[np.float32]] = []
        for table, rows in enumerate(log.rows):
            raw = self._stream(table, _TABLE, rows * (2 + factors))
            zipf = np.arange(1, rows + 1, dtype=np.float64) ** -log.zipf_exponent
            probabilities = np.empty(rows)
            probabilities[np.argsort(raw[:rows], kind="stable")] = zipf / zipf.sum()
            self._samplers.append(alias_table(probabilities))
            vectors = _normal(raw[2 * rows :].reshape(rows, factors)) * spread
            weights = _normal(raw[rows : 2 * rows]) * (log.id_weight / math.sqrt(tables))
            self._vectors.append(vectors.astype(np.float32))
            self._weights.append((weights - 0.5 * (vectors**2).sum(axis=1)).astype(np.float32))
        spread = log.dense_weight / math.sqrt(DENSE_FEATURES)
        self._dense_weights = _normal(self._stream(0, _DENSE, DENSE_FEATURES)) * spread
        levels = ndtri((np.arange(LEVELS) + 0.5) / LEVELS)
        self._level = levels.astype(np.float32)
        self._shown_level = np.logaddexp(0, levels).astype(np.float32)

    def _stream(self, index: int, purpose: int, count: int) -> NDArray[np.uint64]:
        source = np.random.Philox(key=[self._log.seed, 0], counter=[0, index, purpose, 0])
        return source.random_raw(count)

    def chunk(self, index: int) -> tuple[ClickBatch, NDArray[np.float64]]:
        """The `CHUNK_ROWS` rows of one chunk, and their true click probabilities."""
        n, tables = CHUNK_ROWS, len(self._samplers)
        raw = self._stream(index, _ROWS, (n * (4 * (tables + 1) + 2 * DENSE_FEATURES)) // 8)
        wide = raw[: n * (tables + 1) // 2].view(np.uint32).reshape(tables + 1, n)
        levels = raw[n * (tables + 1) // 2 :].view(np.uint16).reshape(DENSE_FEATURES, n)

        ids = np.empty((tables, n), np.int64)
        logit = np.zeros(n, np.float32)
        summed = np.zeros((n, self._log.factors), np.float32)
        vectors = np.empty_like(summed)
        for table, sampler in enumerate(self._samplers):
            ids[table] = sampler.sample(wide[table])
            # mode="clip" spares NumPy a buffer; no id is out of range.
            self._vectors[table].take(ids[table], axis=0, out=vectors, mode="clip")
            summed += vectors
            logit += self._weights[table].take(ids[table], mode="clip")
        for factor in range(self._log.factors):
            logit += np.float32(0.5) * summed[:, factor] ** 2

        where = levels.astype(np.intp)
        dense = self._level.take(where, mode="clip")
        for feature, weight in zip(dense, self._dense_weights, strict=True):
            logit += feature * np.float32(weight)
        bend = np.tanh(dense[0].astype(np.float64) * dense[1])
        log = self._log
        exact = log.scale * (logit + 0.3 * log.dense_weight * bend) + log.bias
        with np.errstate(over="ignore"):
            true = 1 / (1 + np.exp(-exact))
        labels = wide[-1] * 2.0**-32 < true
        shown = np.ascontiguousarray(self._shown_level.take(where, mode="clip").T)
        return ClickBatch(shown, np.ascontiguousarray(ids.T), labels.astype(np.float32)), true


def _normal(raw: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Standard normal numbers from uniform 64-bit ones, by the inverse distribution function."""
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    normal: NDArray[np.float64] = ndtri(uniform)
    return normal
