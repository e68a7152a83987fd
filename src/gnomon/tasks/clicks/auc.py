"""Area under the ROC curve, as the field computes it for click prediction: over all samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gnomon.core.errors import DataError


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """The share of (click, no click) pairs in which the click has the higher score, ties counting half.

    Pairs are counted in whole numbers, so the result is exact up to its one division; scikit-learn's
    `roc_auc_score` agrees to rounding. One sort: O(n log n).

    Args:
        scores: Any monotone function of the click probability, (n,); infinities are allowed.
        labels: 1 for a click, else 0, (n,).

    Raises:
        DataError: Shapes that differ, a score that is NaN, a label other than 0 and 1, or one class only.
    """
    values, clicks = np.asarray(scores), np.asarray(labels)
    if values.ndim != 1 or values.shape != clicks.shape:
        raise DataError(
            f"AUC needs one score and one label a sample, got shapes {values.shape} and {clicks.shape}"
        )
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    missing = np.isnan(values)
    if missing.any():
        raise DataError(
            f"{int(missing.sum())} of {len(values)} scores are NaN, first at sample "
            f"{int(np.argmax(missing))}: the model diverged; lower the learning rate"
        )
    clicked = clicks == 1
    positives = int(clicked.sum())
    negatives = int((clicks == 0).sum())
    if positives + negatives != len(clicks):
        other = clicks[~clicked & (clicks != 0)][0]
        raise DataError(f"labels must be 0 or 1 for AUC, got {other}")
    if not positives or not negatives:
        raise DataError(
            f"AUC needs clicks and non-clicks, got {positives} and {negatives}: score more samples"
        )
    order = np.argsort(values)
    values, clicked = values[order], clicked[order]
    last = np.flatnonzero(np.r_[values[1:] != values[:-1], True])  # of each group of equal scores
    clicks_up_to = np.cumsum(clicked, dtype=np.int64)[last]
    others_up_to = last + 1 - clicks_up_to
    clicks_in = np.diff(clicks_up_to, prepend=0)
    others_before = np.r_[0, others_up_to[:-1]]
    twice_won = np.sum(clicks_in * (others_before + others_up_to), dtype=np.int64)
    return int(twice_won) / (2 * positives * negatives)
