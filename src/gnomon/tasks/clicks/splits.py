"""Which rows of Criteo's last day are for test and which for validation.

The field's two code bases agree on the halves and disagree on their names.
"""

from __future__ import annotations

from typing import NamedTuple


class EvaluationSplit(NamedTuple):
    """Row numbers of day 23: `range`s, so `batches(split.test.start, split.test.stop, ...)`."""

    test: range
    validation: range


def dlrm_split(rows: int) -> EvaluationSplit:
    """The first half, rounded up, is for test (facebookresearch/dlrm, `numpy_to_binary`)."""
    middle = (rows + 1) // 2
    return EvaluationSplit(range(middle), range(middle, rows))


def torchrec_split(rows: int) -> EvaluationSplit:
    """The first half, rounded up, is for validation (torchrec, `InMemoryBinaryCriteoIterDataPipe`)."""
    test, validation = dlrm_split(rows)
    return EvaluationSplit(test=validation, validation=test)
