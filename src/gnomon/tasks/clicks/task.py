"""Click prediction as a task: held-out impressions of the synthetic log, scored by AUC."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray, Outputs, Task
from gnomon.tasks.clicks.auc import roc_auc
from gnomon.tasks.clicks.batch import ClickBatch, ClickSchema
from gnomon.tasks.clicks.synthetic import ClickLog

FIRST_HELD_OUT = 100_000_000
"""Models are trained on the rows before this one."""
HELD_OUT = 100_000


def impressions(batch: ClickBatch) -> NDArray[np.void]:
    """A batch as one structured array, a record an impression: `dense` float32 (13,), `ids` int32."""
    records = np.empty(
        len(batch),
        dtype=[
            ("dense", np.float32, batch.dense.shape[1:]),
            ("ids", np.int32, batch.ids.shape[1:]),
        ],
    )
    records["dense"] = batch.dense
    records["ids"] = batch.ids
    return records


def scored(samples: IndexArray, outputs: Outputs, labels: NDArray[np.float32]) -> float:
    """AUC of one probability a sample.

    Raises:
        DataError: Another number of outputs, or what `roc_auc` refuses.
    """
    scores = np.asarray(outputs, dtype=np.float32)
    if scores.size != len(samples):
        raise DataError(
            f"clicks are scored from one probability a sample, got outputs of shape {scores.shape} "
            f"for {len(samples)} samples"
        )
    return roc_auc(scores.ravel(), labels[samples])


class Clicks(Task):
    """Predict the probability of a click.

    An input is a record of `dense` float32 (13,) and `ids` int32 (26,); an output is one probability.
    """

    name = "clicks"
    metric = "AUC"

    def __init__(self, log: ClickLog | None = None, count: int = HELD_OUT) -> None:
        self._log = log or ClickLog()
        self._count = count

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of each embedding table that the ids point into."""
        return self._log.rows

    @property
    def schema(self) -> ClickSchema:
        """The tables, and one lookup in each."""
        return self._log.schema

    @cached_property
    def _batch(self) -> ClickBatch:
        return self._log.generate(FIRST_HELD_OUT, FIRST_HELD_OUT + self._count)

    @cached_property
    def _records(self) -> NDArray[np.void]:
        return impressions(self._batch)

    def __len__(self) -> int:
        return self._count

    def source(self) -> DataSource:
        """Generated, and never to be taken for Criteo's."""
        digest = hashlib.sha256(self._records.tobytes() + self._batch.labels.tobytes()).hexdigest()
        return DataSource(
            f"synthetic click log, seed {self._log.seed}, rows {FIRST_HELD_OUT:,} to "
            f"{FIRST_HELD_OUT + self._count - 1:,}",
            official=False,
            sha256=digest,
        )

    def inputs(self, samples: IndexArray) -> NDArray[np.void]:
        """Impressions as records, shape (n,)."""
        return self._records[samples]

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Area under the ROC curve over all samples together."""
        return scored(samples, outputs, self._batch.labels)
