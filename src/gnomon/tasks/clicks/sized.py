"""Impressions that point into tables of Criteo 1TB's sizes: ids by a Zipf law, clicks by chance.

For speed and memory at the published size, where neither the data nor a trained model can be had. Nothing
can be learned from them: the AUC of any model on them is one half.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnomon.core.task import DataSource, IndexArray, Outputs, Task
from gnomon.tasks.clicks.batch import DENSE_FEATURES, MLPERF_V2, ClickBatch, ClickSchema
from gnomon.tasks.clicks.task import impressions, scored

SEED = 1
ZIPF_EXPONENT = 1.05
CLICK_RATE = 0.03


def zipf_ids(
    rng: np.random.Generator, rows: int, shape: tuple[int, ...], exponent: float
) -> NDArray[np.int64]:
    """Ids of which a few are frequent, scattered over the table.

    Ranks follow the continuous power law on [1, rows + 1), cut to whole numbers: no table of probabilities
    is needed, however many rows there are.
    """
    power = 1 - exponent
    top = (rows + 1.0) ** power
    ranks = (1 + rng.random(shape) * (top - 1)) ** (1 / power)
    drawn: NDArray[np.int64] = np.minimum(ranks.astype(np.int64), rows)
    scattered: NDArray[np.int64] = (drawn * 7919 * 104_729 + 12_345) % rows
    return scattered


class CriteoSized(Task):
    """One lookup a table, as in DLRM v1.

    An input is a record of `dense` float32 (13,) and `ids` int32 (lookups,); an output is one probability.
    """

    name = "criteo-sized"
    metric = "AUC"
    schema = ClickSchema(MLPERF_V2.rows)
    count = 204_800

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of each embedding table: 204,184,588 in all."""
        return self.schema.rows

    @cached_property
    def _batch(self) -> ClickBatch:
        rng = np.random.default_rng(SEED)
        columns = [
            zipf_ids(rng, rows, (self.count, lookups), ZIPF_EXPONENT)
            for rows, lookups in zip(self.schema.rows, self.schema.hotness, strict=True)
        ]
        dense = np.log1p(rng.exponential(3.0, (self.count, DENSE_FEATURES))).astype(np.float32)
        labels = (rng.random(self.count) < CLICK_RATE).astype(np.float32)
        return ClickBatch(dense, np.concatenate(columns, axis=1), labels)

    @cached_property
    def _records(self) -> NDArray[np.void]:
        return impressions(self._batch)

    def __len__(self) -> int:
        return self.count

    def source(self) -> DataSource:
        """Random, and never to be taken for Criteo's."""
        return DataSource(
            f"random impressions over tables of Criteo 1TB's sizes, seed {SEED}",
            official=False,
            sha256=hashlib.sha256(self._records.tobytes()).hexdigest(),
        )

    def inputs(self, samples: IndexArray) -> NDArray[np.void]:
        """Impressions as records, shape (n,)."""
        return self._records[samples]

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Area under the ROC curve: about one half, whatever the model."""
        return scored(samples, outputs, self._batch.labels)


class CriteoSizedMultiHot(CriteoSized):
    """214 lookups an impression, as in DLRM-DCNv2."""

    name = "criteo-sized-multi-hot"
    schema = MLPERF_V2
    count = 65_536
